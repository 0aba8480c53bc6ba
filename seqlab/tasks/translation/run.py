"""Loaded translation run: translate lines and score pairs of lines with any engine."""

from collections.abc import Sequence
from typing import Unpack

from seqlab.base.world import ProgressCallback
from seqlab.inference.engine import Engine, PairScore
from seqlab.inference.lines import TextCounts, locations_or_numbers, refuse_newlines
from seqlab.inference.parallel_engine import ParallelEngine, RowDistributor
from seqlab.runs.validate import build
from seqlab.search.config import OutputLimits, SearchConfig, SearchOptions
from seqlab.tasks.translation.translator import Translation, Translator, count_unfinished, warn_of_unfinished
from seqlab.text import Tokenizer, encode_unknown, find_unknown


class Run:
    """A translator or an ensemble: translate lines and score pairs. Returned by `seqlab.load` for translation runs."""

    def __init__(
        self,
        engine: Engine,
        src_tokenizer: Tokenizer,
        tgt_tokenizer: Tokenizer,
        *,
        max_src_tokens: int,
        output_limits: OutputLimits,
        has_copied_unknowns: bool = False,
    ) -> None:
        """Combine an engine with the tokenizers of both sides; the limits are those of `Translator`."""
        self.engine = engine
        self.src_tokenizer, self.tgt_tokenizer = src_tokenizer, tgt_tokenizer
        self.translator = Translator(
            engine,
            src_tokenizer,
            tgt_tokenizer,
            max_src_tokens=max_src_tokens,
            output_limits=output_limits,
            has_copied_unknowns=has_copied_unknowns,
        )

    def __repr__(self) -> str:
        sides = (self.src_tokenizer, self.tgt_tokenizer)
        return f"Run({self.engine!r}, {' to '.join(f'{side.vocab_size:,}' for side in sides)} ids)"

    def distributed(self, distributor: RowDistributor) -> "Run":
        """Return a run that distributes its rows among ranks or forked workers; all ranks must pass the same lines."""
        return Run(
            ParallelEngine(self.engine, distributor),
            self.src_tokenizer,
            self.tgt_tokenizer,
            max_src_tokens=self.translator.max_src_tokens,
            output_limits=self.translator.output_limits,
            has_copied_unknowns=self.translator.has_copied_unknowns,
        )

    def translate(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[str]:
        """Translate lines; return the best hypothesis of each. The arguments are those of `translate_detailed`.

        Warnings give the numbers of translations that were cut at the length limit or have U+FFFD (bytes that are no
        character), and of lines with unknown words.
        """
        translations = self.translate_detailed(
            lines,
            prefixes=prefixes,
            need_scores=False,
            batch_tokens=batch_tokens,
            progress=progress,
            locations=locations,
            **search,
        )
        warn_of_unfinished(count_unfinished(translations), len(translations))
        counts, texts = TextCounts("translations"), [translation.text for translation in translations]
        self.translator.count_texts(counts, lines, texts)
        counts.warn()
        return texts

    def translate_detailed(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        need_scores: bool = True,
        need_attention: bool = False,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[Translation]:
        """Translate lines; return the n-best list of each with scores and details.

        Args:
            lines: text without newlines.
            prefixes: for each line, the required prefix of its translations.
            need_scores: whether scores are needed; otherwise they may be approximate or NaN.
            need_attention: whether to return the attention of the best hypotheses (`Translation.alignments`).
            batch_tokens: padded source tokens times `beam_size` per batch; affects speed and memory.
            progress: called after each batch with its number of lines (or segments of split lines).
            locations: source location of each line, for messages; `line 1`, `line 2`, ... by default.
            search: fields of `SearchConfig`: beam_size, num_hypotheses, length_alpha, ...
        """
        config = build(SearchConfig, search)
        return self.translator.translate(
            lines,
            config,
            prefixes=prefixes,
            need_scores=need_scores,
            need_attention=need_attention,
            batch_tokens=batch_tokens,
            progress=progress,
            locations=locations,
        )

    def score(
        self,
        src_lines: Sequence[str],
        tgt_lines: Sequence[str],
        *,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[PairScore]:
        """Compute the log-probability in nats of each target line given its source line, and its number of tokens.

        Scores are in fp32 unless the run was loaded with another `precision`; if its translations are in bf16, the
        first call loads the model again.

        Args:
            src_lines: text without newlines.
            tgt_lines: as many lines.
            batch_tokens: padded tokens per batch of the source or the target, the longer of the two.
            progress: called after each batch with its number of pairs.
            locations: source location of each pair, for messages; `line 1`, `line 2`, ... by default.

        Raises:
            ValueError: the sides differ in their number of lines, or a line contains a newline or has more tokens than
                the model's `max_length`.
        """
        src_rows, tgt_rows = self.encode_pairs(src_lines, tgt_lines, locations)
        return self.engine.score(src_rows, tgt_rows, batch_tokens=batch_tokens, progress=progress)

    def encode_pairs(
        self, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None = None
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Encode the source and target lines; warn of unknown tags. The arguments and errors are those of `score`."""
        if len(src_lines) != len(tgt_lines):
            raise ValueError(
                f"`src_lines` and `tgt_lines` must have the same number of lines, but have {len(src_lines)} and "
                f"{len(tgt_lines)}."
            )
        refuse_newlines(src_lines, "src_lines")
        refuse_newlines(tgt_lines, "tgt_lines")
        locations = locations_or_numbers(locations, len(src_lines))
        self.translator.warn_of_tags(src_lines, locations)
        copies = self.translator.has_copied_unknowns
        unknown = find_unknown(self.src_tokenizer, src_lines) if copies else [[] for _ in src_lines]
        src_rows = encode_unknown(self.src_tokenizer, src_lines, unknown)
        tgt_rows = encode_unknown(self.tgt_tokenizer, tgt_lines, unknown)
        max_length = self.translator.output_limits.max_length
        for location, *rows in zip(locations, src_rows, tgt_rows, strict=True):
            for side, row in zip(("source", "target"), rows, strict=True):
                if len(row) + 1 > max_length:
                    raise ValueError(
                        f"{location}: the {side} has {len(row) + 1:,} tokens, but the model reads at most "
                        f"{max_length:,}: remove this pair."
                    )
        return src_rows, tgt_rows
