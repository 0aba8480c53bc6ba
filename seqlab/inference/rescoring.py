"""One engine searches, another decides: hypotheses in the order of what other models score them with.

Of a model that predicts all symbols at once this is noisy parallel decoding (Gu et al. 2018, arXiv:1711.02281): a model
that goes left to right scores all of its hypotheses in one pass.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seqlab.base.world import OnRows
from seqlab.inference.engine import Engine, PairScore
from seqlab.models.interfaces import IMPOSSIBLE_LOG_PROB
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis, combined_score


class RescoringEngine:
    """An `Engine` whose scores are those of a second one, and its hypotheses those of the first."""

    def __init__(self, engine: Engine, scorer: Engine) -> None:
        """Both must have the same vocabularies."""
        self.engine, self.scorer = engine, scorer

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        batch_tokens: int | None = None,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Search `beam_size` hypotheses as the first engine does; the best `num_hypotheses` are the scorer's choice.

        Raises:
            ValueError: there is but one hypothesis to choose.
        """
        if config.beam_size == 1:
            raise ValueError("`rescore` chooses between the hypotheses of a beam: `beam_size: 1` has one.")
        every = replace(config, num_hypotheses=config.beam_size)
        found = self.engine.decode(src_rows, every, batch_tokens=batch_tokens, **options)
        places = [(row, rank) for row, best in enumerate(found) if len(src_rows[row]) for rank in range(len(best))]
        scores = self.scorer.score(
            [src_rows[row] for row, _ in places],
            [found[row][rank].ids for row, rank in places],
            batch_tokens=batch_tokens,
        )
        for (row, rank), score in zip(places, scores, strict=True):
            found[row][rank] = _rescored(found[row][rank], score, config)
        return [sorted(best, key=_rank)[: config.num_hypotheses] for best in found]

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
    ) -> list[PairScore]:
        """Score as the scorer does."""
        return self.scorer.score(src_rows, tgt_rows, batch_tokens=batch_tokens, progress=progress)


def _rank(hypothesis: Hypothesis) -> tuple[bool, bool, float]:
    """Put what is finished first, and what the scorer would never say behind what it would."""
    return not hypothesis.finished, IMPOSSIBLE_LOG_PROB in hypothesis.token_log_probs, -hypothesis.score


def _rescored(hypothesis: Hypothesis, found: PairScore, config: SearchConfig) -> Hypothesis:
    """Put another log-probability in the place of a hypothesis's own; the end of sentence counts where it was found.

    The coverage penalty stays, as it is of the source that the hypothesis has attended to.
    """
    shares = found.token_log_probs[: hypothesis.num_tokens]
    log_prob = sum(shares)
    score = combined_score(log_prob, hypothesis.num_tokens, [hypothesis], config)
    return replace(hypothesis, score=score, log_prob=log_prob, token_log_probs=shares)
