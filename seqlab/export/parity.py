"""Whether an exported model says what the run says, on real lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.evaluation import evaluate
from seqlab.inference.engine import Engine
from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.text import Tokenizer

TOLERANCE = 1e-3
"""Largest difference of a token's log-probability, in nats, between fp32 here and fp32 there."""
MIN_IDENTICAL = 0.98
"""Share of lines whose greedy translation must be the same in fp32: a near tie may go the other way."""


@dataclass(frozen=True)
class Parity:
    """How two engines agree."""

    lines: int
    largest_score_difference: float
    """Of the log-probabilities of the same target tokens, in nats."""
    identical_greedy: float
    """Share of lines with the same greedy translation."""
    identical_beam: float
    """Share of lines with the same translation by beam search."""
    chrf_beam: float
    """chrF of one engine's translations by beam search against the other's: 100 where they are the same. (BLEU is 0
    where none has four words.)"""

    @property
    def is_exact(self) -> bool:
        """Tell whether the two compute the same function, up to the rounding of fp32."""
        return self.largest_score_difference <= TOLERANCE and self.identical_greedy >= MIN_IDENTICAL

    def __str__(self) -> str:
        return (
            f"{self.lines} lines: log-probabilities differ by up to {self.largest_score_difference:.2g} nats a token; "
            f"the same translation for {self.identical_greedy:.1%} (greedy), {self.identical_beam:.1%} (beam search); "
            f"chrF between the two {self.chrf_beam:.1f}"
        )


def compare_engines(
    engine: Engine,
    reference: Engine,
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]] | None,
    tokenizer: Tokenizer,
    limits: OutputLimits,
) -> Parity:
    """Score and translate the same rows with both engines.

    Args:
        engine: what is checked.
        reference: what it should equal.
        src_rows: source ids, none of them empty.
        tgt_rows: targets to score; None takes the reference's greedy translations.
        tokenizer: the target side's.
        limits: how long hypotheses may become.
    """
    sizes = (1, SearchConfig().beam_size)
    searches = [SearchConfig(beam_size=size, early_stopping=True).with_limits(limits) for size in sizes]
    greedy, beam = ([_ids(each, src_rows, search) for each in (engine, reference)] for search in searches)
    targets = [ids[: limits.max_length - 1] for ids in greedy[1]] if tgt_rows is None else tgt_rows
    pairs = zip(engine.score(src_rows, targets), reference.score(src_rows, targets), strict=True)
    differences = (
        abs(one - other)
        for pair in pairs
        for one, other in zip(*(score.token_log_probs for score in pair), strict=True)
    )
    texts, references = map(tokenizer.decode, beam)
    chrf = evaluate(texts, [references], ["chrf"])["chrf"].value
    return Parity(len(src_rows), max(differences), _share(greedy), _share(beam), chrf)


def _ids(engine: Engine, src_rows: Sequence[Sequence[int]], search: SearchConfig) -> list[list[int]]:
    return [best[0].ids for best in engine.decode(src_rows, search)]


def _share(both: Sequence[Sequence[Sequence[int]]]) -> float:
    same = [one == other for one, other in zip(*both, strict=True)]
    return sum(same) / len(same)
