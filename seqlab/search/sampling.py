"""Sampling from any left-to-right model: one random continuation for each row of a batch.

**The same seed gives the same ids in any batch.** Every row draws from a stream of its own, which its number selects:
Philox (Salmon et al. 2011), whose key is the pair (seed, number of the row). One number in [0, 1) is drawn at each
step and looked up in the cumulated probabilities in the order of the ids (inverse CDF), whose sums are exact in any
batch. What the other rows draw, and when they end, is never seen.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.models.interfaces import NEG_INF, Stepper
from seqlab.search.config import NUM_SEEDS, SamplingConfig
from seqlab.search.constraints import ban_ids
from seqlab.search.cuda_graph import cuda_graph_step
from seqlab.search.filters import apply_filters, integer_probs
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.rules import refuse_nan

BLOCK = 64
"""Random numbers that each row draws at a time: one call for each number would cost more than the numbers do."""


class _Uniforms:
    """Uniform numbers for B rows; the t-th number of a row depends on the seed, the row's number and t alone."""

    def __init__(self, seed: int, row_numbers: Sequence[int]) -> None:
        self.streams = [np.random.Philox(key=np.array([seed, number], dtype=np.uint64)) for number in row_numbers]
        self.block: NDArray[np.uint64] = np.zeros((len(row_numbers), BLOCK), dtype=np.uint64)
        self.drawn = 0

    def draw(self, rows: list[int]) -> NDArray[np.float64]:
        """Draw the next number in [0, 1) of some rows: (N,). Rows that are left out once are left out from then on."""
        column = self.drawn % BLOCK
        if column == 0:
            for row in rows:
                self.block[row] = self.streams[row].random_raw(BLOCK)
        self.drawn += 1
        return (self.block[rows, column] >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class _Rules:
    """What the samples of one call may hold, and what ends them."""

    end_id: int | None
    """eos, where it ends a sample."""
    min_length: int
    banned_ids: Tensor
    """(any,) int64."""
    stop: Callable[[list[int]], bool] | None

    def apply(self, scores: Tensor, position: int) -> Tensor:
        """Set the scores (N, W) of what is not allowed at this position (from 0) to -inf, in place."""
        ban_ids(scores, self.banned_ids)
        if self.end_id is not None and position + 1 < self.min_length:
            scores[:, self.end_id] = NEG_INF
        return scores

    def ends(self, ids: list[int]) -> bool:
        """Tell whether a sample that has just got the last of these ids ends with it."""
        if ids[-1] == self.end_id:
            return True
        return self.stop is not None and len(ids) >= self.min_length and self.stop(ids)


class _Samples:
    """The samples of B rows as they grow."""

    def __init__(self, count: int) -> None:
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.log_probs: list[list[float]] = [[] for _ in range(count)]
        self.attention: list[Tensor] = []  # (B, S) of each step

    def append(self, rows: list[int], ids: list[int], log_probs: list[float]) -> None:
        """Add an id to the samples of some rows."""
        for row, drawn, log_prob in zip(rows, ids, log_probs, strict=True):
            self.ids[row].append(drawn)
            self.log_probs[row].append(log_prob)

    def append_attention(self, rows: list[int], attention: Tensor) -> None:
        """Add the attention (N, S) of a step."""
        padded = attention.new_zeros(len(self.ids), attention.shape[1])
        padded[rows] = attention
        self.attention.append(padded)

    def hypotheses(self, end_id: int | None) -> list[Hypothesis]:
        """Write out all samples; those that end with `end_id` are finished, and leave it out."""
        attention = torch.stack(self.attention, dim=1).cpu() if self.attention else None  # (B, T, S)
        found = []
        for i, (ids, log_probs) in enumerate(zip(self.ids, self.log_probs, strict=True)):
            finished = ids[-1:] == [end_id]
            log_prob = math.fsum(log_probs)
            found.append(
                Hypothesis(
                    ids=ids[: len(ids) - finished],
                    score=log_prob,
                    log_prob=log_prob,
                    finished=finished,
                    token_log_probs=log_probs,
                    attention=None if attention is None else attention[i, : len(ids)].clone(),
                )
            )
        return found


@torch.inference_mode()
def sample(
    stepper: Stepper,
    batch: Any,
    config: SamplingConfig,
    *,
    row_numbers: Sequence[int] | None = None,
    said: Tensor | None = None,
    banned_ids: Sequence[int] = (),
    ends_at_eos: bool = True,
    stop: Callable[[list[int]], bool] | None = None,
    on_step: Callable[[list[int], list[int]], None] | None = None,
    need_attention: bool = False,
) -> list[Hypothesis]:
    """Draw one sample for each row of the batch, in its order; for several of one prompt, repeat its row.

    The log-probabilities of a sample are the model's own, before the temperature and the filters; `score` is their sum.
    A sample whose every continuation is forbidden (-inf) stays as it is, unfinished.

    Args:
        stepper: the model.
        batch: what `stepper.start` reads.
        config: what to draw from, the limits and the seed.
        row_numbers: the number of each row, for example in the file that it is from; 0 to B - 1 by default. Rows of the
            same number draw the same random numbers.
        said: ids (B, T) that count as repeated when they are drawn, as those of a prompt.
        banned_ids: ids that no sample may hold, for example padding.
        ends_at_eos: whether eos ends a sample. If not, it is an id like the others and is kept: in a model of running
            text, where it stands for the end of a line.
        stop: reads the ids of a row so far and says whether they end here; all are kept, and the sample is not
            `finished`.
        on_step: called after each step with the rows of the batch that have drawn an id and with these ids, eos
            included: for text to be shown as it comes.
        need_attention: also return the attention of each sample.

    Raises:
        ValueError: if a banned id or a row's number is impossible, or if the model's scores are NaN.
    """
    last_ids, state = stepper.start(batch, need_attention)
    rules = _make_rules(stepper, config, banned_ids, ends_at_eos, stop, last_ids.device)
    active = list(range(len(last_ids)))  # the row of the batch that each of the N rows of a step continues
    take_step, state = cuda_graph_step(stepper, state, last_ids.device, 1, config.max_length)
    uniforms = _Uniforms(config.seed, _checked_numbers(row_numbers, len(active)))
    samples = _Samples(len(active))
    said = last_ids.new_zeros(len(active), 0) if said is None else said  # (N, position)
    for position in range(config.max_length):
        step = take_step(last_ids, state)
        scores = rules.apply(step.scores.float(), position)
        best = scores.amax(dim=1)
        places = [place for place, value in enumerate(best.tolist()) if value > NEG_INF]
        if len(places) < len(active):
            refuse_nan(best, f"at position {position}")
            scores[best == NEG_INF] = 0.0  # these rows end as they are: what they draw is not read, but must be defined
        last_ids = draw_ids(apply_filters(scores, said, config), torch.from_numpy(uniforms.draw(active)))
        ids, log_probs = last_ids.tolist(), scores.gather(1, last_ids[:, None])[:, 0].tolist()
        if step.attention is not None:
            samples.append_attention(active, step.attention)
        rows, ids, log_probs = ([values[place] for place in places] for values in (active, ids, log_probs))
        samples.append(rows, ids, log_probs)
        if on_step is not None:
            on_step(rows, ids)
        places = [place for place in places if not rules.ends(samples.ids[active[place]])]
        if not places:
            break
        said, state = torch.cat([said, last_ids[:, None]], dim=1), step.state
        if len(places) < len(active):
            kept = torch.tensor(places, device=last_ids.device)
            active = [active[place] for place in places]
            last_ids, said, state = last_ids[kept], said[kept], state.select(kept)
    return samples.hypotheses(rules.end_id)


def draw_ids(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Look numbers in [0, 1) up in the cumulated probabilities of scores (N, W), lower ids first: (N,) int64.

    uniforms: (N,) float64. An id with the score -inf is never drawn. Scores are log-probabilities up to a constant for
    each row, which must have one above -inf.
    """
    cumulated = integer_probs(scores).cumsum(dim=1)
    # A number below 1 has at most 53 bits, so that its product with the sum stays below the sum when it is rounded.
    wanted = uniforms.to(scores.device)[:, None] * cumulated[:, -1:]
    return torch.searchsorted(cumulated, wanted, right=True)[:, 0]


def _make_rules(
    stepper: Stepper,
    config: SamplingConfig,
    banned_ids: Sequence[int],
    ends_at_eos: bool,
    stop: Callable[[list[int]], bool] | None,
    device: torch.device,
) -> _Rules:
    if ends_at_eos and stepper.eos_id in banned_ids:
        raise ValueError(
            f"`banned_ids` must not contain `eos_id` ({stepper.eos_id}), which ends the samples. Where eos is an id "
            "like the others, set `ends_at_eos` to False."
        )
    for unknown in (n for n in banned_ids if not 0 <= n < stepper.vocab_size):
        raise ValueError(f"`banned_ids` must be from 0 to {stepper.vocab_size - 1}, but one is {unknown}.")
    banned = torch.tensor(list(banned_ids), dtype=torch.int64, device=device)
    return _Rules(stepper.eos_id if ends_at_eos else None, config.min_length, banned, stop)


def _checked_numbers(row_numbers: Sequence[int] | None, count: int) -> Sequence[int]:
    """Give the number of each of `count` rows."""
    if row_numbers is None:
        return range(count)
    if len(row_numbers) != count:
        raise ValueError(f"`row_numbers` must have one number per row ({count}), but has {len(row_numbers)}.")
    for impossible in (n for n in row_numbers if not 0 <= n < NUM_SEEDS):
        raise ValueError(f"`row_numbers` must be from 0 to {NUM_SEEDS - 1}, but one is {impossible}.")
    return row_numbers
