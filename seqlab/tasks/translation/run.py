"""A trained run, ready to be used: text in, text out."""

from collections.abc import Sequence
from typing import Unpack

from seqlab.base.world import OnRows
from seqlab.inference.engine import Engine, PairScore
from seqlab.inference.lines import locations_or_numbers, refuse_newlines
from seqlab.inference.parallel_engine import ParallelEngine, RowDistributor
from seqlab.runs.validate import build
from seqlab.search.config import OutputLimits, SearchConfig, SearchOptions
from seqlab.tasks.translation.translator import Translation, Translator, unfinished, warn_of_unfinished
from seqlab.text import Tokenizer, encode_unknown, find_unknown


class Run:
    """What `seqlab.load` gives: translate and score with whatever engine computes."""

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
        """Put an engine between tokenizers; the limits are those of `Translator`."""
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

    def shared(self, distributor: RowDistributor) -> "Run":
        """Give the same run on the ranks of a `World`, which are all given the same lines, or on `ForkedWorkers`."""
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
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[str]:
        """Translate lines and return the best hypothesis of each; the arguments are those of `translate_detailed`.

        A warning counts the translations that the length limit ended.
        """
        found = self.translate_detailed(
            lines,
            prefixes=prefixes,
            need_scores=False,
            batch_tokens=batch_tokens,
            progress=progress,
            locations=locations,
            **search,
        )
        warn_of_unfinished(unfinished(found), len(found))
        return [translation.text for translation in found]

    def translate_detailed(
        self,
        lines: Sequence[str],
        *,
        prefixes: Sequence[str] | None = None,
        need_scores: bool = True,
        need_attention: bool = False,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
        **search: Unpack[SearchOptions],
    ) -> list[Translation]:
        """Translate lines and give n-best lists with scores and what happened to each line.

        Args:
            lines: text without newlines.
            prefixes: for each line the text that its translations must begin with.
            need_scores: whether the scores will be looked at: if not, they may be rough or NaN.
            need_attention: whether to return what the best translations attended to (`Translation.alignments`).
            batch_tokens: padded source tokens times `beam_size` that are searched together: speed and memory.
            progress: called after each batch with how many lines (pieces of lines that were cut) are done.
            locations: where each line stands, for messages; `line 1` and so on unless given.
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
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[PairScore]:
        """Give the log-probability of each target line given its source line, in nats, and its number of tokens.

        Args:
            src_lines: text without newlines.
            tgt_lines: as many.
            batch_tokens: padded tokens of the longer side that are scored together.
            progress: called after each batch with its number of pairs.
            locations: where each pair stands, for messages; `line 1` and so on unless given.

        Raises:
            ValueError: the sides have different numbers of lines, a line holds a newline or has more tokens than the
                model's `max_length`.
        """
        src_rows, tgt_rows = self.encode_pairs(src_lines, tgt_lines, locations)
        return self.engine.score(src_rows, tgt_rows, batch_tokens=batch_tokens, progress=progress)

    def encode_pairs(
        self, src_lines: Sequence[str], tgt_lines: Sequence[str], locations: Sequence[str] | None = None
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Give the ids of both sides, with a warning of unknown tags; arguments and errors as those of `score`."""
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
        longest = self.translator.output_limits.max_length
        for place, *rows in zip(locations, src_rows, tgt_rows, strict=True):
            for side, row in zip(("source", "target"), rows, strict=True):
                if len(row) + 1 > longest:
                    raise ValueError(
                        f"{place}: the {side} has {len(row) + 1:,} tokens, but the model takes {longest:,}: leave the "
                        "pair out."
                    )
        return src_rows, tgt_rows
