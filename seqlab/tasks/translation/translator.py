"""Text in, text out: encode, cut what is too long, search, join, decode."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from seqlab.base.world import OnRows
from seqlab.inference.engine import Engine
from seqlab.inference.lines import locations_or_numbers, refuse_newlines, replace_control_characters
from seqlab.inference.splitting import Segment, join_segments, split_line
from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.search.hypothesis import Hypothesis, combined_score
from seqlab.search.length import length_limits
from seqlab.text import TAB, Tokenizer, encode_unknown, find_unknown

_log = logging.getLogger(__name__)

SHOWN = 10
"""Unknown tags that are named of the lines that are translated together."""
DIGITS = 4
"""Digits behind the point of a weight."""


@dataclass(frozen=True)
class Alignment:
    """The attention of one translation; of a line that was cut, of one piece."""

    src: list[str]
    """The names of the source's symbols, the end of sentence last."""
    tgt: list[str]
    """Those of the translation's, its end last where that is said as a symbol."""
    weights: list[list[float]]
    """For each symbol of the translation its attention to each of the source, which sums to one."""


@dataclass(frozen=True)
class ScoredText:
    """One hypothesis of a line."""

    text: str
    score: float
    """The log-probability after the length penalty, in a beam with the coverage penalty: higher is better."""
    log_prob: float
    """In nats, the ends of sentence counted."""
    num_tokens: int
    """Ends of sentence counted."""
    finished: bool
    """False where the maximum length ended it."""


@dataclass(frozen=True)
class Translation:
    """What one line became."""

    hypotheses: list[ScoredText]
    """Best first, at least one; an empty line has the empty one with score 0.

    Those of a line that was cut are the best of all its pieces, the second of all, and so on, whatever their scores as
    wholes, which depend on how long the pieces' are."""
    truncated: bool
    """Whether the line was too long for the model: it was cut, and its pieces were translated on their own."""
    num_pieces: int
    """How many pieces were translated: 0 for an empty line, 1 unless `truncated`."""
    control_characters: int
    """Control characters of the hypotheses that were replaced by spaces."""
    alignments: list[Alignment] | None = None
    """What the best hypothesis attended to, for each piece that was translated; None where it was not asked for."""

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.hypotheses[0].text

    @property
    def score(self) -> float:
        """The score of the best hypothesis."""
        return self.hypotheses[0].score


class Translator:
    """Translate lines with an engine and the tokenizers of its two sides."""

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
        self.max_src_tokens = max_src_tokens  # longer lines are cut
        self.output_limits = output_limits  # of hypotheses, eos counted
        self.has_copied_unknowns = has_copied_unknowns  # words that the vocabulary lacks have ids of their own

    def translate(
        self,
        lines: Sequence[str],
        config: SearchConfig,
        *,
        prefixes: Sequence[str] | None = None,
        need_scores: bool = True,
        need_attention: bool = False,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[Translation]:
        """Translate each line.

        Args:
            lines: text without newlines.
            config: how to search.
            prefixes: for each line the text that its translations must begin with; may be empty.
            need_scores: whether the scores will be looked at: if not, they may be rough or NaN.
            need_attention: whether to return what the best hypotheses attended to.
            batch_tokens: padded source tokens times `beam_size` that are searched together; None takes what is fast.
            progress: called after each batch with its number of pieces of lines.
            locations: where each line stands, for messages; `line 1` and so on unless given.

        Raises:
            ValueError: a line holds a newline, or there are more or fewer prefixes than lines, or a prefix is too long.
        """
        refuse_newlines(lines, "lines")
        locations = locations_or_numbers(locations, len(lines))
        self.warn_of_tags(lines, locations)
        pieces = self._pieces(lines)
        rows = [piece.ids for piece in chain.from_iterable(pieces)]
        limited = config.with_limits(self.output_limits)
        forced = None if prefixes is None else self._forced(prefixes, pieces, limited, locations)
        found = self.engine.decode(
            rows,
            limited,
            prefixes=forced,
            need_scores=need_scores,
            need_attention=need_attention,
            batch_tokens=batch_tokens,
            progress=progress,
        )
        if forced is not None:
            refuse_cut(forced, found, pieces, locations)
        decoded = zip(found, self._texts(pieces, found), strict=True)
        translations = []
        for place, parts in zip(locations, pieces, strict=True):
            bests, texts = zip(*(next(decoded) for _ in parts), strict=True)
            translations.append(_joined(parts, bests, texts, config, self._aligned(parts, bests, need_attention)))
            if len(parts) > 1:
                text = "%s is too long for the model, which reads %d tokens at most: translated in %d pieces"
                _log.warning(text, place, self.max_src_tokens, len(parts))
        return translations

    def _texts(self, pieces: Sequence[Sequence[Segment]], found: Sequence[Sequence[Hypothesis]]) -> Iterator[list[str]]:
        """Give the text of each hypothesis of each piece."""
        unknown = None
        if self.has_copied_unknowns:
            unknown = [piece.unknown for piece, best in zip(chain(*pieces), found, strict=True) for _ in best]
        texts = iter(self.tgt_tokenizer.decode([hypothesis.ids for best in found for hypothesis in best], unknown))
        return ([next(texts) for _ in best] for best in found)

    def warn_of_tags(self, lines: Sequence[str], locations: Sequence[str]) -> None:
        """Warn of tags that the vocabulary lacks, of tags without text and of text without tags; if tags are read."""
        if not self.src_tokenizer.tag_ids:
            return
        unknown: dict[str, str] = {}
        alone, bare = [], []
        for place, line in zip(locations, lines, strict=True):
            for tag in self.src_tokenizer.unknown_tags(line):
                unknown.setdefault(tag, place)
            text, _, tags = line.partition(TAB)
            if tags.strip() and not text.strip():
                alone.append(place)
            if text.strip() and not tags.strip():
                bare.append(place)
        for tag, place in islice(unknown.items(), SHOWN):
            _log.warning("%s has the tag %r, which training did not have: it is read as unknown", place, tag)
        if len(unknown) > SHOWN:
            _log.warning("%d other tags are unknown, too: are they what stands behind the tab?", len(unknown) - SHOWN)
        for place in alone[:SHOWN]:
            _log.warning("%s has tags, but nothing before them: it is read as empty", place)
        if len(alone) > SHOWN:
            _log.warning("%d other lines have nothing before their tags, too", len(alone) - SHOWN)
        if bare:
            text = "%s has no tags behind a tab, as training had (and %d more): is a column missing?"
            _log.warning(text, bare[0], len(bare) - 1)

    def _aligned(
        self, parts: Sequence[Segment], bests: Sequence[Sequence[Hypothesis]], need_attention: bool
    ) -> list[Alignment] | None:
        if not need_attention:
            return None
        tokenizers = self.src_tokenizer, self.tgt_tokenizer
        pairs = zip(parts, bests, strict=True)
        return [align(piece.ids, best[0], tokenizers, piece.unknown) for piece, best in pairs if piece.ids]

    def _pieces(self, lines: Sequence[str]) -> list[list[Segment]]:
        unknown = find_unknown(self.src_tokenizer, lines) if self.has_copied_unknowns else [[] for _ in lines]
        rows = encode_unknown(self.src_tokenizer, lines, unknown)
        return [self._cut(*each) for each in zip(lines, rows, unknown, strict=True)]

    def _cut(self, line: str, ids: list[int], unknown: list[str]) -> list[Segment]:
        """Cut a line that is too long; every piece has the line's tags, and knows its unknown words."""
        text, tab, tags = line.partition(TAB) if len(self.src_tokenizer.tag_ids) else (line, "", "")

        def encode(parts: Sequence[str]) -> list[list[int]]:
            return encode_unknown(self.src_tokenizer, [part + tab + tags for part in parts], [unknown] * len(parts))

        return split_line(text, ids, self.max_src_tokens, encode, unknown, self.tgt_tokenizer.has_words)

    def _forced(
        self,
        prefixes: Sequence[str],
        pieces: Sequence[Sequence[Segment]],
        config: SearchConfig,
        locations: Sequence[str],
    ) -> list[list[int]]:
        """Force a line's prefix upon its first piece; raises ValueError for one that cannot be."""
        if len(prefixes) != len(pieces):
            raise ValueError(f"`prefixes` must have one entry per line ({len(pieces)}), but has {len(prefixes)}.")
        refuse_newlines(prefixes, "prefixes")
        forced, tokenizer = [], self.tgt_tokenizer
        if len(tokenizer.tag_ids):
            for place, text in zip(locations, prefixes, strict=True):
                if TAB in text:
                    raise ValueError(f"{place}: its prefix {text!r} has a tab, but only sources have tags.")
        encoded = encode_unknown(tokenizer, prefixes, [parts[0].unknown for parts in pieces])
        for place, text, prefix, parts in zip(locations, prefixes, encoded, pieces, strict=True):
            if tokenizer.unk_id in prefix:
                raise ValueError(f"{place}: its prefix {text!r} holds text that the vocabulary lacks: leave it out.")
            _, [limit] = length_limits([len(parts[0].ids) + 1], 1, config)
            if parts[0].ids and len(prefix) >= limit:
                raise ValueError(
                    f"{place}: its prefix has {len(prefix)} tokens, but its translation may have no more "
                    f"than {limit - 1}: shorten it, or raise `max_length_offset`, `max_length_ratio` or `max_length` "
                    f"(the model outputs {self.output_limits.max_length - 1} at most)."
                )
            forced.append(prefix)
            forced.extend([] for _ in parts[1:])
        return forced


def unfinished(translations: Sequence[Translation]) -> int:
    """Count the translations whose best hypothesis the length limit ended."""
    return sum(not translation.hypotheses[0].finished for translation in translations)


def warn_of_unfinished(count: int, total: int) -> None:
    """Warn of translations that the length limit ended, where there are any."""
    if count:
        text = "%s of %s translations are cut: they reached the length limit (%s) before they ended"
        limits = "`max_length_ratio`, `max_length_offset`, `max_length` or the model's own"
        _log.warning(text, f"{count:,}", f"{total:,}", limits)


def refuse_cut(
    forced: Sequence[Sequence[int]],
    found: Sequence[Sequence[Hypothesis]],
    pieces: Sequence[Sequence[Segment]],
    locations: Sequence[str],
) -> None:
    """Raise ValueError for a line whose translation does not begin with its prefix: a model of frames may lack room."""
    of_pieces = [place for place, parts in zip(locations, pieces, strict=True) for _ in parts]
    for place, prefix, best, piece in zip(of_pieces, forced, found, chain.from_iterable(pieces), strict=True):
        if piece.ids and any(hypothesis.ids[: len(prefix)] != list(prefix) for hypothesis in best):
            raise ValueError(
                f"{place}: its prefix has {len(prefix)} tokens, which are more than the model can say "
                "for so short a line: shorten it."
            )


def _joined(
    pieces: Sequence[Segment],
    bests: Sequence[Sequence[Hypothesis]],
    texts: Sequence[Sequence[str]],
    config: SearchConfig,
    alignments: list[Alignment] | None,
) -> Translation:
    """Join the i-th hypotheses of all pieces of a line; where a piece has fewer, its last one stands in."""
    hypotheses, replaced = [], 0
    for rank in range(max(len(best) for best in bests)):
        chosen = [best[min(rank, len(best) - 1)] for best in bests]
        text = join_segments([part[min(rank, len(part) - 1)] for part in texts], pieces)
        text, count = replace_control_characters(text)
        replaced += count
        filled = [h for h, piece in zip(chosen, pieces, strict=True) if piece.ids]
        num_tokens = sum(h.num_tokens for h in filled)
        log_prob = math.fsum(h.log_prob for h in chosen)
        score = chosen[0].score if len(chosen) == 1 else combined_score(log_prob, num_tokens, filled, config)
        hypotheses.append(ScoredText(text, score, log_prob, num_tokens, all(h.finished for h in chosen)))
    is_empty = not any(piece.ids for piece in pieces)
    return Translation(hypotheses, len(pieces) > 1, 0 if is_empty else len(pieces), replaced, alignments)


def align(
    src_ids: Sequence[int],
    hypothesis: Hypothesis,
    tokenizers: tuple[Tokenizer, Tokenizer],
    unknown: Sequence[str],
) -> Alignment:
    """Name the symbols that a hypothesis's attention is between; `unknown`: words with ids of their own."""
    src_tokenizer, tgt_tokenizer = tokenizers
    if hypothesis.attention is None:
        raise ValueError("There is no alignment to be written: the model, or one of several, attends to nothing.")
    tgt_ids = [*hypothesis.ids, tgt_tokenizer.eos_id][: len(hypothesis.attention)]
    return Alignment(
        _names(src_tokenizer, [*src_ids, src_tokenizer.eos_id], unknown),
        _names(tgt_tokenizer, tgt_ids, unknown),
        [[round(weight, DIGITS) for weight in row] for row in hypothesis.attention[:, : len(src_ids) + 1].tolist()],
    )


def _names(tokenizer: Tokenizer, ids: Sequence[int], unknown: Sequence[str]) -> list[str]:
    size, tags = tokenizer.vocab_size, tokenizer.tag_ids
    names = [tokenizer.tokens([index])[0] if index < size else unknown[index - size] for index in ids]
    return [name.removeprefix(r"\t") or "<unk>" if i in tags else name for i, name in zip(ids, names, strict=True)]
