"""Exact search for the hypothesis with the highest score, depth-first with pruning (Stahlberg & Byrne 2019, D19-1331).

A prefix is pruned as soon as none of its continuations can exceed the best score so far. Log-probabilities only
decrease, so a continuation of a prefix of log-probability p scores at most p / max(penalty(l)) over the lengths l that
are still allowed. A higher initial score prunes more prefixes; the score of a beam search is a good one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import State
from seqlab.models.outputs import NEG_INF
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import Stepper
from seqlab.search.rules import Rules, make_rules, refuse_nan

MAX_STEPS_PER_SENTENCE = 10_000
"""Default maximum number of model steps for a sentence."""


@dataclass(frozen=True)
class ExactResult:
    """Result of exact search for one sentence."""

    best: Hypothesis | None
    """Best hypothesis that ends with eos; None if no score exceeds that of `min_scores`."""
    is_complete: bool
    """Whether all other hypotheses are ruled out; False if `max_steps` ended the search."""
    num_steps: int
    """Number of model steps."""


@torch.inference_mode()
def exact_search(
    stepper: Stepper,
    batch: Any,
    config: SearchConfig,
    *,
    min_scores: Sequence[float] | None = None,
    banned_ids: Sequence[int] = (),
    max_steps: int = MAX_STEPS_PER_SENTENCE,
) -> list[ExactResult]:
    """Find the finished hypothesis of each sentence with the highest score.

    Only the length penalty, the limits and `no_repeat_ngram_size` of `config` are used. Of equal scores the first
    hypothesis found is returned.

    Args:
        stepper: the model; its scores must be at most 0.
        batch: input of `stepper.start`.
        config: length penalty and limits.
        min_scores: score of a known hypothesis of each sentence; only hypotheses with a higher score are found.
        banned_ids: ids that no hypothesis may contain.
        max_steps: maximum number of model steps for a sentence.

    Raises:
        ValueError: as for `beam_search`.
    """
    last_ids, state = stepper.start(batch)
    rules = make_rules(stepper, batch, config, last_ids, None, banned_ids)
    results = []
    for sentence in range(len(last_ids)):
        row = torch.tensor([sentence], device=last_ids.device)
        min_score = NEG_INF if min_scores is None else min_scores[sentence]
        search = _DepthFirstSearch(stepper, rules, row, min_score, max_steps)
        sentence_state = state.fork() if len(last_ids) == 1 else state.fork().select(row)
        search.run(sentence_state, last_ids[row])
        results.append(ExactResult(search.best, search.is_complete, search.num_steps))
    return results


@dataclass(frozen=True)
class _Prefix:
    """A prefix and its continuations that have not been tried yet."""

    ids: list[int]
    log_probs: list[float]
    log_prob: float
    state: State
    """State after the last id; only copies of it are stepped."""
    rest: Iterator[tuple[float, int]]
    """Scores and ids of the next tokens, best first."""


class _DepthFirstSearch:
    """Depth-first search for one sentence."""

    def __init__(self, stepper: Stepper, rules: Rules, sentence: Tensor, min_score: float, max_steps: int) -> None:
        self.stepper, self.rules, self.sentence = stepper, rules, sentence
        self.best_score, self.max_steps = min_score, max_steps
        self.max_length = int(rules.max_lengths[sentence])
        self.best_penalties = [float(rules.best_penalty(sentence, length)) for length in range(1, self.max_length + 2)]
        self.best: Hypothesis | None = None
        self.num_steps = 0
        self.is_complete = False

    def run(self, state: State, last_ids: Tensor) -> None:
        """Try all prefixes that can exceed the best score, the most probable ids first; consumes the state."""
        prefixes = [self._extend(state, last_ids, [], [])]
        while prefixes:
            prefix = prefixes[-1]
            continuation = next(prefix.rest, None)
            # The hypothesis is longer than the prefix by this id and at least by eos.
            if continuation is None or self._is_pruned(prefix.log_prob + continuation[0], len(prefix.ids) + 1):
                prefixes.pop()
                continue
            if self.num_steps >= self.max_steps:
                return
            value, index = continuation
            ids, log_probs = [*prefix.ids, index], [*prefix.log_probs, value]
            prefixes.append(self._extend(prefix.state.fork(), last_ids.new_tensor([index]), ids, log_probs))
        self.is_complete = True

    def _is_pruned(self, log_prob: float, length: int) -> bool:
        return log_prob == NEG_INF or log_prob / self.best_penalties[length] <= self.best_score

    def _extend(self, state: State, last_ids: Tensor, ids: list[int], log_probs: list[float]) -> "_Prefix":
        """Read a prefix's last id, and keep the hypothesis that ends after it if it is the best; consumes the state."""
        self.num_steps += 1
        step = self.stepper.step(last_ids, state)
        prefix_ids = torch.tensor([ids], dtype=torch.int64, device=last_ids.device)
        scores = self.rules.apply(step.scores.float(), self.sentence, prefix_ids, len(ids))
        refuse_nan(scores.amax(1), f"at position {len(ids)}")
        self._keep_if_best(ids, [*log_probs, float(scores[0, self.rules.eos_id])])
        if len(ids) + 1 >= self.max_length:
            return _Prefix(ids, log_probs, sum(log_probs), step.state, iter(()))
        values, order = scores[0].sort(descending=True, stable=True)
        pairs = zip(values.tolist(), order.tolist(), strict=True)
        rest = ((value, index) for value, index in pairs if index != self.rules.eos_id)
        return _Prefix(ids, log_probs, sum(log_probs), step.state, rest)

    def _keep_if_best(self, ids: list[int], log_probs: list[float]) -> None:
        """Keep the hypothesis of these ids if it is the best so far."""
        log_prob = sum(log_probs)
        score = log_prob / float(self.rules.penalties[len(log_probs)])
        if log_prob > NEG_INF and score > self.best_score:
            self.best_score = score
            self.best = Hypothesis(ids, score, log_prob, True, log_probs)
