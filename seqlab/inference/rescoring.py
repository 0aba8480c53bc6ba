"""Rescoring: one engine searches for hypotheses, and another engine scores and sorts them.

With a non-autoregressive search this is noisy parallel decoding (Gu et al. 2018, arXiv:1711.02281): an autoregressive
model scores all hypotheses in one pass.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from seqlab.base.world import ProgressCallback
from seqlab.inference.engine import Engine, PairScore
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis, combined_score


class RescoringEngine:
    """An `Engine` with the hypotheses of one engine and the scores of another."""

    def __init__(self, engine: Engine, scorer: Engine) -> None:
        """Combine two engines, which must have the same vocabularies."""
        self.engine, self.scorer = engine, scorer

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        batch_tokens: int | None = None,
        **options: Any,
    ) -> list[list[Hypothesis]]:
        """Search for `beam_size` hypotheses with the first engine; return the `num_hypotheses` best by the scorer.

        Raises:
            ValueError: `beam_size` is 1.
        """
        if config.beam_size == 1:
            raise ValueError(
                "`rescore` chooses between the hypotheses of a beam, but `beam_size: 1` has only one: raise it."
            )
        all_hypotheses = replace(config, num_hypotheses=config.beam_size)
        n_best = self.engine.decode(src_rows, all_hypotheses, batch_tokens=batch_tokens, **options)
        indices = [(row, rank) for row, best in enumerate(n_best) if len(src_rows[row]) for rank in range(len(best))]
        scores = self.scorer.score(
            [src_rows[row] for row, _ in indices],
            [n_best[row][rank].ids for row, rank in indices],
            batch_tokens=batch_tokens,
        )
        for (row, rank), score in zip(indices, scores, strict=True):
            n_best[row][rank] = _replace_scores(n_best[row][rank], score, config)
        return [sorted(best, key=_sort_key)[: config.num_hypotheses] for best in n_best]

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[PairScore]:
        """Score with the scorer."""
        return self.scorer.score(src_rows, tgt_rows, batch_tokens=batch_tokens, progress=progress)


def _sort_key(hypothesis: Hypothesis) -> tuple[bool, bool, float]:
    """Sort finished hypotheses first, then those with a nonzero probability under the scorer, then by score."""
    return not hypothesis.finished, IMPOSSIBLE_LOG_PROB in hypothesis.token_log_probs, -hypothesis.score


def _replace_scores(hypothesis: Hypothesis, pair_score: PairScore, config: SearchConfig) -> Hypothesis:
    """Replace a hypothesis's log-probabilities by those of the scorer; eos counts if the hypothesis is finished.

    The coverage penalty stays unchanged, as it depends only on the attention of the first engine.
    """
    token_log_probs = pair_score.token_log_probs[: hypothesis.num_tokens]
    log_prob = sum(token_log_probs)
    score = combined_score(log_prob, hypothesis.num_tokens, [hypothesis], config)
    return replace(hypothesis, score=score, log_prob=log_prob, token_log_probs=token_log_probs)
