"""Exact search: the hypothesis with the highest score of all, depth-first with pruning (Stahlberg & Byrne 2019,
D19-1331).

A prefix is given up as soon as nothing that begins with it can beat the best hypothesis so far: log-probabilities only
fall, so that what continues a prefix of log-probability p can score p / max(penalty(l)) at most, where l runs over the
lengths that are still allowed. The better the first hypothesis, the less is left to try; that of a beam is a good one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import NEG_INF, State, Stepper
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.rules import Rules, make_rules, refuse_nan

MAX_STEPS_PER_SENTENCE = 10_000
"""Steps of the model that are tried for a sentence unless the caller says otherwise."""


@dataclass(frozen=True)
class ExactResult:
    """What exact search found for a sentence."""

    best: Hypothesis | None
    """The best hypothesis that ends with eos; None where nothing beats `min_scores`."""
    is_complete: bool
    """Whether all others are ruled out; False where `max_steps` ended the search."""
    num_steps: int
    """Steps of the model that it took."""


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
    """Search the best finished hypothesis of each sentence.

    Of `config`, the length penalty, the limits and `no_repeat_ngram_size` are read. Of equal scores the first one found
    wins.

    Args:
        stepper: the model; its scores must be at most 0.
        batch: what `stepper.start` reads.
        config: length penalty and limits.
        min_scores: for each sentence a score that is known to be reached; only what is above it is found.
        banned_ids: ids that no hypothesis may hold.
        max_steps: steps of the model for a sentence at most.

    Raises:
        ValueError: as `beam_search`.
    """
    last_ids, state = stepper.start(batch)
    rules = make_rules(stepper, batch, config, last_ids, None, banned_ids)
    found = []
    for sentence in range(len(last_ids)):
        row = torch.tensor([sentence], device=last_ids.device)
        least = NEG_INF if min_scores is None else min_scores[sentence]
        depths = _DepthFirst(stepper, rules, row, least, max_steps)
        own = state.fork() if len(last_ids) == 1 else state.fork().select(row)
        depths.search(own, last_ids[row])
        found.append(ExactResult(depths.best, depths.is_complete, depths.num_steps))
    return found


@dataclass(frozen=True)
class _Prefix:
    """A prefix, and what has not been tried behind it."""

    ids: list[int]
    log_probs: list[float]
    log_prob: float
    state: State
    """After its last id; only copies of it are stepped."""
    rest: Iterator[tuple[float, int]]
    """Scores and ids, best first."""


class _DepthFirst:
    """The search for one sentence."""

    def __init__(self, stepper: Stepper, rules: Rules, sentence: Tensor, least: float, max_steps: int) -> None:
        self.stepper, self.rules, self.sentence = stepper, rules, sentence
        self.least, self.max_steps = least, max_steps
        self.longest = int(rules.longest[sentence])
        self.bounds = [float(rules.best_penalty(sentence, length)) for length in range(1, self.longest + 2)]
        self.best: Hypothesis | None = None
        self.num_steps = 0
        self.is_complete = False

    def search(self, state: State, last_ids: Tensor) -> None:
        """Try everything, from the likeliest id to those that cannot win; consumes the state."""
        prefixes = [self._extend(state, last_ids, [], [])]
        while prefixes:
            prefix = prefixes[-1]
            following = next(prefix.rest, None)
            # Longer by this id and at least by eos.
            if following is None or self._cannot_win(prefix.log_prob + following[0], len(prefix.ids) + 1):
                prefixes.pop()
                continue
            if self.num_steps >= self.max_steps:
                return
            value, index = following
            ids, log_probs = [*prefix.ids, index], [*prefix.log_probs, value]
            prefixes.append(self._extend(prefix.state.fork(), last_ids.new_tensor([index]), ids, log_probs))
        self.is_complete = True

    def _cannot_win(self, log_prob: float, length: int) -> bool:
        return log_prob == NEG_INF or log_prob / self.bounds[length] <= self.least

    def _extend(self, state: State, last_ids: Tensor, ids: list[int], log_probs: list[float]) -> "_Prefix":
        """Read a prefix's last id, and see whether the hypothesis that ends there is the best; consumes the state."""
        self.num_steps += 1
        step = self.stepper.step(last_ids, state)
        read = torch.tensor([ids], dtype=torch.int64, device=last_ids.device)
        scores = self.rules.apply(step.scores.float(), self.sentence, read, len(ids))
        refuse_nan(scores.amax(1), f"at position {len(ids)}")
        self._end(ids, [*log_probs, float(scores[0, self.rules.eos_id])])
        if len(ids) + 1 >= self.longest:
            return _Prefix(ids, log_probs, sum(log_probs), step.state, iter(()))
        values, order = scores[0].sort(descending=True, stable=True)
        pairs = zip(values.tolist(), order.tolist(), strict=True)
        rest = ((value, index) for value, index in pairs if index != self.rules.eos_id)
        return _Prefix(ids, log_probs, sum(log_probs), step.state, rest)

    def _end(self, ids: list[int], log_probs: list[float]) -> None:
        """Keep a hypothesis that ends here if it is the best so far."""
        log_prob = sum(log_probs)
        score = log_prob / float(self.rules.penalties[len(log_probs)])
        if log_prob > NEG_INF and score > self.least:
            self.least = score
            self.best = Hypothesis(ids, score, log_prob, True, log_probs)
