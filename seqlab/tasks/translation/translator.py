"""Translate lines: encode, split long lines into segments, search, decode, and join the segments."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from seqlab.base.world import ProgressCallback
from seqlab.inference.engine import Engine
from seqlab.inference.lines import (
    TextCounts,
    continues_word,
    distinct_texts,
    is_divided_anew,
    locations_or_numbers,
    refuse_newlines,
    replace_control_characters,
)
from seqlab.inference.splitting import Segment, join_segments, split_line
from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.search.hypothesis import Hypothesis, combined_score
from seqlab.search.length import length_limits
from seqlab.text import TAB, Tokenizer, encode_unknown, find_unknown

logger = logging.getLogger(__name__)

MAX_WARNINGS = 10
"""Maximum number of warnings of one kind per call: one for each unknown tag, and one for each line without text."""
WEIGHT_DECIMALS = 4
"""Decimal places of attention weights."""


@dataclass(frozen=True)
class Alignment:
    """Attention weights between the tokens of a source and its translation; of one segment if the line was split."""

    src: list[str]
    """Source tokens, the end of sentence last."""
    tgt: list[str]
    """Target tokens, with the end of sentence if it was predicted as a token."""
    weights: list[list[float]]
    """(target tokens, source tokens); each row sums to one."""


@dataclass(frozen=True)
class ScoredText:
    """One hypothesis of a line."""

    text: str
    score: float
    """Log-probability after the length penalty, and in beam search the coverage penalty; higher is better."""
    log_prob: float
    """In nats, including ends of sentence."""
    num_tokens: int
    """Number of tokens, including ends of sentence."""
    finished: bool
    """False if the hypothesis was cut at the maximum length."""


@dataclass(frozen=True)
class Translation:
    """The translation of one line."""

    hypotheses: list[ScoredText]
    """Hypotheses, best first, with different texts; an empty line has an empty hypothesis with score 0.

    For a line that was split, hypothesis i joins the i-th hypotheses of all segments, so the scores may be unsorted."""
    truncated: bool
    """Whether the line was too long for the model and was translated in segments."""
    num_pieces: int
    """Number of translated segments: 0 for an empty line, 1 unless `truncated`."""
    control_characters: int
    """Control characters of the hypotheses that were replaced by spaces."""
    alignments: list[Alignment] | None = None
    """Attention of the best hypothesis, for each translated segment; None if not requested."""

    @property
    def text(self) -> str:
        """The text of the best hypothesis."""
        return self.hypotheses[0].text

    @property
    def score(self) -> float:
        """The score of the best hypothesis."""
        return self.hypotheses[0].score


class Translator:
    """Translate lines with an engine and the tokenizers of source and target."""

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
        self.engine = engine
        self.src_tokenizer, self.tgt_tokenizer = src_tokenizer, tgt_tokenizer
        self.max_src_tokens = max_src_tokens  # longer lines are split
        self.output_limits = output_limits  # of hypotheses, including eos
        self.has_copied_unknowns = has_copied_unknowns  # unknown source words have separate ids

    def translate(
        self,
        lines: Sequence[str],
        config: SearchConfig,
        *,
        prefixes: Sequence[str] | None = None,
        need_scores: bool = True,
        need_attention: bool = False,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[Translation]:
        """Translate each line.

        Args:
            lines: text without newlines.
            config: settings of the search.
            prefixes: for each line, the required prefix of its translations; may be empty.
            need_scores: whether scores are needed; otherwise they may be approximate or NaN.
            need_attention: whether to return the attention of the best hypotheses.
            batch_tokens: padded source tokens times `beam_size` per batch; None for the default of the engine.
            progress: called after each batch with its number of lines (or segments of split lines).
            locations: source location of each line, for messages; `line 1`, `line 2`, ... by default.

        Raises:
            ValueError: a line contains a newline, the numbers of prefixes and lines differ, or a prefix is too long.
        """
        refuse_newlines(lines, "lines")
        locations = locations_or_numbers(locations, len(lines))
        self.warn_of_tags(lines, locations)
        segments = self._split_lines(lines)
        rows = [segment.ids for segment in chain.from_iterable(segments)]
        limited = config.with_limits(self.output_limits)
        forced = None if prefixes is None else self._encode_prefixes(prefixes, segments, limited, locations)
        decoded_rows = self.engine.decode(
            rows,
            limited,
            prefixes=forced,
            need_scores=need_scores,
            need_attention=need_attention,
            batch_tokens=batch_tokens,
            progress=progress,
        )
        if forced is not None:
            check_prefixes(forced, decoded_rows, segments, locations)
        decoded = zip(decoded_rows, self._decode(segments, decoded_rows), strict=True)
        translations = []
        for location, line_segments in zip(locations, segments, strict=True):
            n_best, texts = zip(*(next(decoded) for _ in line_segments), strict=True)
            alignments = self._alignments(line_segments, n_best, need_attention)
            translations.append(_join_translations(line_segments, n_best, texts, config, alignments))
            if len(line_segments) > 1:
                text = "%s is too long for the model, which reads at most %d tokens: translated in %d segments"
                logger.warning(text, location, self.max_src_tokens, len(line_segments))
        if prefixes is not None:
            warn_of_continued_words(prefixes, translations, self.tgt_tokenizer)
        return translations

    def _decode(
        self, segments: Sequence[Sequence[Segment]], n_best: Sequence[Sequence[Hypothesis]]
    ) -> Iterator[list[str]]:
        """Decode the hypotheses of each segment to texts."""
        unknown = None
        if self.has_copied_unknowns:
            unknown = [segment.unknown for segment, best in zip(chain(*segments), n_best, strict=True) for _ in best]
        texts = iter(self.tgt_tokenizer.decode([hypothesis.ids for best in n_best for hypothesis in best], unknown))
        return ([next(texts) for _ in best] for best in n_best)

    def count_texts(self, counts: TextCounts, lines: Sequence[str], texts: Sequence[str]) -> None:
        """Count lines with unknown words that are not copied, and translations with U+FFFD."""
        if not self.has_copied_unknowns:
            counts.add_inputs(self.src_tokenizer, lines)
        counts.add_outputs(texts)

    def warn_of_tags(self, lines: Sequence[str], locations: Sequence[str]) -> None:
        """Warn of unknown tags, of tags without text and of text without tags; of tabs if the tokenizer has no tags."""
        if not self.src_tokenizer.tag_ids:
            if len(lines) > 1 and all(TAB in line for line in lines):
                text = "%s and all other lines have a tab, which is read as text: are they columns of a .tsv file?"
                logger.warning(text, locations[0])
            return
        unknown: dict[str, str] = {}
        without_text, without_tags = [], []
        for location, line in zip(locations, lines, strict=True):
            for tag in self.src_tokenizer.unknown_tags(line):
                unknown.setdefault(tag, location)
            text, _, tags = line.partition(TAB)
            if tags.strip() and not text.strip():
                without_text.append(location)
            if text.strip() and not tags.strip():
                without_tags.append(location)
        for tag, location in islice(unknown.items(), MAX_WARNINGS):
            logger.warning("%s has the tag %r, which is not in the training data: it is read as unknown", location, tag)
        if len(unknown) > MAX_WARNINGS:
            logger.warning(
                "%d more tags are unknown: check that the text after the tab is tags", len(unknown) - MAX_WARNINGS
            )
        for location in without_text[:MAX_WARNINGS]:
            logger.warning("%s has tags but no text before them: it is read as empty", location)
        if len(without_text) > MAX_WARNINGS:
            logger.warning("%d more lines have no text before their tags", len(without_text) - MAX_WARNINGS)
        if without_tags:
            text = "%s (and %d more) has no tags after a tab, but the training data has: is a column missing?"
            logger.warning(text, without_tags[0], len(without_tags) - 1)

    def _alignments(
        self, segments: Sequence[Segment], n_best: Sequence[Sequence[Hypothesis]], need_attention: bool
    ) -> list[Alignment] | None:
        """Return the attention of the best hypothesis of each segment that is not empty."""
        if not need_attention:
            return None
        tokenizers = self.src_tokenizer, self.tgt_tokenizer
        pairs = zip(segments, n_best, strict=True)
        return [
            align_attention(segment.ids, best[0], tokenizers, segment.unknown) for segment, best in pairs if segment.ids
        ]

    def _split_lines(self, lines: Sequence[str]) -> list[list[Segment]]:
        """Encode lines, and split those that are too long into segments."""
        unknown = find_unknown(self.src_tokenizer, lines) if self.has_copied_unknowns else [[] for _ in lines]
        rows = encode_unknown(self.src_tokenizer, lines, unknown)
        return [self._split(*pair) for pair in zip(lines, rows, unknown, strict=True)]

    def _split(self, line: str, ids: list[int], unknown: list[str]) -> list[Segment]:
        """Split a line that is too long; each segment has the tags and the unknown words of the line."""
        text, tab, tags = line.partition(TAB) if len(self.src_tokenizer.tag_ids) else (line, "", "")

        def encode(texts: Sequence[str]) -> list[list[int]]:
            return encode_unknown(self.src_tokenizer, [part + tab + tags for part in texts], [unknown] * len(texts))

        return split_line(text, ids, self.max_src_tokens, encode, unknown, self.tgt_tokenizer.has_words)

    def _encode_prefixes(
        self,
        prefixes: Sequence[str],
        segments: Sequence[Sequence[Segment]],
        config: SearchConfig,
        locations: Sequence[str],
    ) -> list[list[int]]:
        """Encode the prefix of each line for its first segment; raise ValueError for an impossible prefix."""
        if len(prefixes) != len(segments):
            raise ValueError(f"`prefixes` must have one entry per line ({len(segments)}), but has {len(prefixes)}.")
        refuse_newlines(prefixes, "prefixes")
        forced, tokenizer = [], self.tgt_tokenizer
        if len(tokenizer.tag_ids):
            for location, text in zip(locations, prefixes, strict=True):
                if TAB in text:
                    raise ValueError(f"{location}: its prefix {text!r} has a tab, but only sources have tags.")
        complete = [self._without_separate_space(prefix) for prefix in prefixes]
        encoded = encode_unknown(tokenizer, complete, [first.unknown for first, *_ in segments])
        for location, text, prefix, (first, *further) in zip(locations, prefixes, encoded, segments, strict=True):
            if tokenizer.unk_id in prefix:
                raise ValueError(f"{location}: its prefix {text!r} has unknown tokens: leave them out.")
            _, [limit] = length_limits([len(first.ids) + 1], 1, config)
            if first.ids and len(prefix) >= limit:
                raise ValueError(
                    f"{location}: its prefix has {len(prefix)} tokens, but its translation may have at most "
                    f"{limit - 1}: shorten it, or raise `max_length_offset`, `max_length_ratio` or `max_length` "
                    f"(the model outputs at most {self.output_limits.max_length - 1})."
                )
            forced.append(prefix)
            forced.extend([] for _ in further)
        return forced

    def _without_separate_space(self, prefix: str) -> str:
        """Remove spaces at the end of a prefix that are tokens of their own, unlike the space before a word.

        A blank prefix becomes empty.
        """
        if not prefix.strip():
            return ""
        ids, with_word = self.tgt_tokenizer.encode([prefix, f"{prefix}a"]) if prefix.endswith(" ") else ([], [])
        return prefix.rstrip(" ") if ids != with_word[: len(ids)] else prefix


def warn_of_continued_words(prefixes: Sequence[str], translations: Sequence[Translation], tokenizer: Tokenizer) -> None:
    """Warn of translations that continue the last word of their prefix, and of words in other tokens than usual."""
    pairs = zip(prefixes, (translation.text for translation in translations), strict=True)
    continued = [(prefix, text) for prefix, text in pairs if prefix.strip() and continues_word(prefix, text)]
    if continued:
        prefix, text = continued[0]
        unusual = sum(is_divided_anew(*pair, tokenizer) for pair in continued)
        logger.warning(
            "%d of %d translations continue the last word of their prefix, such as `%s` in `%s`%s",
            len(continued),
            len(prefixes),
            prefix.split()[-1],
            text,
            f": {unusual} of these words have other tokens than in training, so end prefixes with complete words"
            if unusual
            else "",
        )


def count_unfinished(translations: Sequence[Translation]) -> int:
    """Count the translations that were cut at the length limit."""
    return sum(not translation.hypotheses[0].finished for translation in translations)


def warn_of_unfinished(count: int, total: int) -> None:
    """Log a warning if translations were cut at the length limit."""
    if count:
        text = "%s of %s translations reached the length limit (%s) and are incomplete"
        limits = "`max_length_ratio`, `max_length_offset`, `max_length` or the model's"
        logger.warning(text, f"{count:,}", f"{total:,}", limits)


def check_prefixes(
    forced: Sequence[Sequence[int]],
    n_best: Sequence[Sequence[Hypothesis]],
    segments: Sequence[Sequence[Segment]],
    locations: Sequence[str],
) -> None:
    """Raise ValueError if a hypothesis does not start with its prefix: the source may limit its length."""
    repeated = [location for location, parts in zip(locations, segments, strict=True) for _ in parts]
    for location, prefix, best, segment in zip(repeated, forced, n_best, chain.from_iterable(segments), strict=True):
        if segment.ids and any(hypothesis.ids[: len(prefix)] != list(prefix) for hypothesis in best):
            raise ValueError(
                f"{location}: its prefix has {len(prefix)} tokens, more than the model can output for a line of this "
                "length: shorten it."
            )


def _join_translations(
    segments: Sequence[Segment],
    n_best: Sequence[Sequence[Hypothesis]],
    texts: Sequence[Sequence[str]],
    config: SearchConfig,
    alignments: list[Alignment] | None,
) -> Translation:
    """Join the i-th hypotheses of all segments of a line; a segment with fewer hypotheses repeats its last one."""
    hypotheses, replaced = [], 0
    for rank in range(max(len(best) for best in n_best)):
        ranked = [best[min(rank, len(best) - 1)] for best in n_best]
        text = join_segments([segment_texts[min(rank, len(segment_texts) - 1)] for segment_texts in texts], segments)
        text, count = replace_control_characters(text)
        replaced += count
        filled = [h for h, segment in zip(ranked, segments, strict=True) if segment.ids]
        num_tokens = sum(h.num_tokens for h in filled)
        log_prob = math.fsum(h.log_prob for h in ranked)
        score = ranked[0].score if len(ranked) == 1 else combined_score(log_prob, num_tokens, filled, config)
        hypotheses.append(ScoredText(text, score, log_prob, num_tokens, all(h.finished for h in ranked)))
    is_empty = not any(segment.ids for segment in segments)
    return Translation(
        distinct_texts(hypotheses), len(segments) > 1, 0 if is_empty else len(segments), replaced, alignments
    )


def align_attention(
    src_ids: Sequence[int],
    hypothesis: Hypothesis,
    tokenizers: tuple[Tokenizer, Tokenizer],
    unknown: Sequence[str],
) -> Alignment:
    """Label the attention weights of a hypothesis with token strings; `unknown`: words with ids outside the vocabulary.

    Raises:
        ValueError: the hypothesis has no attention weights.
    """
    src_tokenizer, tgt_tokenizer = tokenizers
    if hypothesis.attention is None:
        raise ValueError(
            "There are no attention weights: the model, or one of the ensemble, does not attend to the source."
        )
    tgt_ids = [*hypothesis.ids, tgt_tokenizer.eos_id][: len(hypothesis.attention)]
    weights = hypothesis.attention[:, : len(src_ids) + 1].tolist()
    return Alignment(
        _token_strings(src_tokenizer, [*src_ids, src_tokenizer.eos_id], unknown),
        _token_strings(tgt_tokenizer, tgt_ids, unknown),
        [[round(weight, WEIGHT_DECIMALS) for weight in row] for row in weights],
    )


def _token_strings(tokenizer: Tokenizer, ids: Sequence[int], unknown: Sequence[str]) -> list[str]:
    """Return the string of each id: a token, an unknown word, or a tag without its prefix."""
    size, tags = tokenizer.vocab_size, tokenizer.tag_ids
    names = [tokenizer.tokens([index])[0] if index < size else unknown[index - size] for index in ids]
    return [name.removeprefix(r"\t") or "<unk>" if i in tags else name for i, name in zip(ids, names, strict=True)]
