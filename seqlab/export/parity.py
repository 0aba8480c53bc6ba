"""Compare an exported model with its run: scores and translations of real lines."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqlab.evaluation import evaluate
from seqlab.inference.engine import Engine
from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.text import Tokenizer

MAX_SCORE_DIFFERENCE = 1e-3
"""Maximum difference of a token's log-probability between the engines in fp32, in nats."""
MIN_IDENTICAL = 0.98
"""Minimum share of lines with the same greedy translation in fp32; rounding can change the others."""


@dataclass(frozen=True)
class Parity:
    """Agreement of two engines."""

    lines: int
    largest_score_difference: float
    """Maximum difference between the log-probabilities of the same target token, in nats."""
    identical_greedy: float
    """Share of lines with the same greedy translation."""
    identical_beam: float
    """Share of lines with the same translation by beam search."""
    chrf_beam: float
    """chrF of one engine's beam-search translations against the other's, 100 if they are the same. (BLEU would be 0 for
    translations of fewer than four words.)"""

    @property
    def is_exact(self) -> bool:
        """Whether both engines compute the same function, up to rounding in fp32."""
        return self.largest_score_difference <= MAX_SCORE_DIFFERENCE and self.identical_greedy >= MIN_IDENTICAL

    def __str__(self) -> str:
        return (
            f"{self.lines} lines: log-probabilities differ by up to {self.largest_score_difference:.2g} nats "
            f"per token; the same translation for {self.identical_greedy:.1%} (greedy), {self.identical_beam:.1%} "
            f"(beam search); chrF between the two {self.chrf_beam:.1f}"
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
        engine: the engine to check.
        reference: the engine that it is compared with.
        src_rows: source ids; no row is empty.
        tgt_rows: targets to score; None scores the reference's greedy translations.
        tokenizer: the target tokenizer.
        limits: maximum lengths of the hypotheses.
    """
    sizes = (1, SearchConfig().beam_size)
    searches = [SearchConfig(beam_size=size, early_stopping=True).with_limits(limits) for size in sizes]
    greedy, beam = ([_best_ids(side, src_rows, search) for side in (engine, reference)] for search in searches)
    targets = [ids[: limits.max_length - 1] for ids in greedy[1]] if tgt_rows is None else tgt_rows
    pairs = zip(engine.score(src_rows, targets), reference.score(src_rows, targets), strict=True)
    differences = (
        abs(one - other)
        for pair in pairs
        for one, other in zip(*(score.token_log_probs for score in pair), strict=True)
    )
    texts, references = map(tokenizer.decode, beam)
    chrf = evaluate(texts, [references], ["chrf"])["chrf"].value
    return Parity(len(src_rows), max(differences), _share_identical(greedy), _share_identical(beam), chrf)


def _best_ids(engine: Engine, src_rows: Sequence[Sequence[int]], search: SearchConfig) -> list[list[int]]:
    """Return the ids of the best hypothesis of each row."""
    return [hypotheses[0].ids for hypotheses in engine.decode(src_rows, search)]


def _share_identical(both: Sequence[Sequence[Sequence[int]]]) -> float:
    """Return the share of rows that are the same in both lists."""
    same = [one == other for one, other in zip(*both, strict=True)]
    return sum(same) / len(same)
