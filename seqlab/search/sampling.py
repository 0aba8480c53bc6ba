"""Sampling from any autoregressive model: random continuations of each row of a batch.

**The same seed gives the same ids in any batch.** Each sample has its own random stream: Philox (Salmon et al. 2011)
with the pair (seed, row number) as key and the number of the sample as counter. At each step one number in [0, 1) is
drawn and looked up in the cumulative probabilities of the ids in ascending order (inverse CDF). These sums are exact,
so the other rows have no influence.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.models.interfaces import State, Step
from seqlab.models.outputs import NEG_INF
from seqlab.search.config import NUM_SEEDS, SamplingConfig
from seqlab.search.constraints import ban_ids
from seqlab.search.cuda_graph import cuda_graph_step
from seqlab.search.filters import apply_filters, integer_probs
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import sample_length_limits
from seqlab.search.protocols import Stepper
from seqlab.search.rules import refuse_nan

NUMBERS_PER_DRAW = 64
"""Random numbers generated for a row by one call: calls for single numbers would take longer than the generation."""


class UniformNumbers:
    """Uniform random numbers for several samples of each row.

    The t-th number of a sample depends only on the seed, the row's number, the sample's number in its row, and t.
    """

    def __init__(self, seed: int, row_numbers: Sequence[int], num_samples: int) -> None:
        self.streams = [
            np.random.Philox(
                key=np.array([seed, number], dtype=np.uint64), counter=np.array([0, 0, 0, index], dtype=np.uint64)
            )
            for number in row_numbers
            for index in range(num_samples)
        ]
        self.block: NDArray[np.uint64] = np.zeros((len(self.streams), NUMBERS_PER_DRAW), dtype=np.uint64)
        self.drawn = 0

    def draw(self, rows: list[int]) -> NDArray[np.float64]:
        """Draw the next number in [0, 1) of some rows: (N,). A row that is left out once must not be drawn later."""
        column = self.drawn % NUMBERS_PER_DRAW
        if column == 0:
            for row in rows:
                self.block[row] = self.streams[row].random_raw(NUMBERS_PER_DRAW)
        self.drawn += 1
        return (self.block[rows, column] >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class _Rules:
    """Constraints on samples, and the conditions that end them."""

    end_id: int | None
    """eos, if it ends a sample."""
    min_length: int
    max_lengths: list[int]
    """Maximum length of each sample."""
    banned_ids: Tensor
    """1D int64: ids that no sample may contain."""
    stop: Callable[[list[int]], bool] | None

    def apply(self, scores: Tensor, position: int) -> Tensor:
        """Set the scores (N, W) of ids that are not allowed at this position (from 0) to -inf, in place."""
        ban_ids(scores, self.banned_ids)
        if self.end_id is not None and position + 1 < self.min_length:
            scores[:, self.end_id] = NEG_INF
        return scores

    def has_ended(self, sample: int, ids: list[int]) -> bool:
        """Return whether a sample, by its number, ends here, after the last of its ids was drawn."""
        if ids[-1] == self.end_id or len(ids) >= self.max_lengths[sample]:
            return True
        return self.stop is not None and len(ids) >= self.min_length and self.stop(ids)


class _Samples:
    """Growing samples of B rows."""

    def __init__(self, count: int) -> None:
        self.ids: list[list[int]] = [[] for _ in range(count)]
        self.log_probs: list[list[float]] = [[] for _ in range(count)]
        self.attention: list[Tensor] = []  # (B, S) of each step

    def append(self, rows: list[int], ids: list[int], log_probs: list[float]) -> None:
        """Append an id to the samples of some rows."""
        for row, drawn, log_prob in zip(rows, ids, log_probs, strict=True):
            self.ids[row].append(drawn)
            self.log_probs[row].append(log_prob)

    def append_attention(self, rows: list[int], attention: Tensor) -> None:
        """Append the attention (N, S) of a step."""
        padded = attention.new_zeros(len(self.ids), attention.shape[1])
        padded[rows] = attention
        self.attention.append(padded)

    def hypotheses(self, end_id: int | None) -> list[Hypothesis]:
        """Convert the samples to hypotheses; samples that end with `end_id` are finished, and their ids omit it."""
        attention = torch.stack(self.attention, dim=1).cpu() if self.attention else None  # (B, T, S)
        hypotheses = []
        for i, (ids, log_probs) in enumerate(zip(self.ids, self.log_probs, strict=True)):
            finished = ids[-1:] == [end_id]
            log_prob = math.fsum(log_probs)
            hypotheses.append(
                Hypothesis(
                    ids=ids[: len(ids) - finished],
                    score=log_prob,
                    log_prob=log_prob,
                    finished=finished,
                    token_log_probs=log_probs,
                    attention=None if attention is None else attention[i, : len(ids)].clone(),
                )
            )
        return hypotheses


@torch.inference_mode()
def sample(
    stepper: Stepper,
    batch: Any,
    config: SamplingConfig,
    *,
    row_numbers: Sequence[int] | None = None,
    num_samples: int = 1,
    prior_ids: Tensor | None = None,
    banned_ids: Sequence[int] = (),
    ends_at_eos: bool = True,
    stop: Callable[[list[int]], bool] | None = None,
    on_step: Callable[[list[int], list[int]], None] | None = None,
    need_attention: bool = False,
) -> list[Hypothesis]:
    """Draw `num_samples` samples for each row of the batch, row after row; the model reads each row once.

    The log-probabilities of a sample are those of the model, before temperature and filters; `score` is their sum. If
    all continuations of a sample are forbidden (-inf), it ends unfinished.

    Args:
        stepper: the model.
        batch: input of `stepper.start`.
        config: distribution, limits and seed.
        row_numbers: number of each row, for example its line in a file; default: 0 to B - 1. Rows with the same number
            draw the same random numbers.
        num_samples: number of samples of each row.
        prior_ids: (B, T) ids that the repetition penalty also applies to, such as those of a prompt.
        banned_ids: ids that no sample may contain, for example padding.
        ends_at_eos: whether eos ends a sample. If not, eos is kept like any other id: in a model of continuous text it
            marks the end of a line.
        stop: function that receives the ids of a row so far and returns whether the sample ends here. All ids are
            kept, and the sample is not `finished`.
        on_step: called after each step with the rows of the batch that have drawn an id, and with these ids, eos
            included: for streaming.
        need_attention: also return the attention of each sample.

    Raises:
        ValueError: a banned id or a row number is invalid, or the model's scores are NaN.
    """
    last_ids, seen_ids, state = _start(stepper, batch, need_attention, prior_ids, num_samples)
    numbers = _check_row_numbers(row_numbers, len(last_ids) // num_samples)
    uniforms = UniformNumbers(config.seed, numbers, num_samples)
    max_lengths = _max_lengths(batch, len(numbers), config, num_samples)
    rules = _make_rules(stepper, config, max_lengths, banned_ids, ends_at_eos, stop, last_ids.device)
    active = list(range(len(last_ids)))  # the sample that each of the N rows of a step extends
    longest = max(max_lengths, default=0)
    take_step: Callable[[Tensor, Any], Step] = stepper.step
    if num_samples == 1:  # the graphs need the same number of rows for each sentence
        take_step, state = cuda_graph_step(stepper, state, last_ids.device, 1, longest)
    samples = _Samples(len(active))
    for position in range(longest):
        step = take_step(last_ids, state)
        scores = rules.apply(step.scores.float(), position)
        best = scores.amax(dim=1)
        indices = [index for index, value in enumerate(best.tolist()) if value > NEG_INF]
        if len(indices) < len(active):
            refuse_nan(best, f"at position {position}")
            scores[best == NEG_INF] = 0.0  # these rows end here: their ids are not used, but must be defined
        last_ids = draw_ids(apply_filters(scores, seen_ids, config), torch.from_numpy(uniforms.draw(active)))
        ids, log_probs = last_ids.tolist(), scores.gather(1, last_ids[:, None])[:, 0].tolist()
        if step.attention is not None:
            samples.append_attention(active, step.attention)
        rows, ids, log_probs = ([values[index] for index in indices] for values in (active, ids, log_probs))
        samples.append(rows, ids, log_probs)
        if on_step is not None:
            on_step(rows, ids)
        indices = [index for index in indices if not rules.has_ended(row := active[index], samples.ids[row])]
        if not indices:
            break
        seen_ids, state = torch.cat([seen_ids, last_ids[:, None]], dim=1), step.state
        if len(indices) < len(active):
            kept = torch.tensor(indices, device=last_ids.device)
            active = [active[index] for index in indices]
            last_ids, seen_ids, state = last_ids[kept], seen_ids[kept], state.select(kept)
    return samples.hypotheses(rules.end_id)


def draw_ids(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Draw ids by inverse CDF: look up `uniforms` in the cumulative probabilities, lower ids first: (N,) int64.

    scores: (N, W), log-probabilities up to a constant for each row. At least one score per row must be above -inf; ids
    with a score of -inf are never drawn. uniforms: (N,) float64 in [0, 1).
    """
    cumulative = integer_probs(scores).cumsum(dim=1)
    # A number below 1 has at most 53 bits, so its product with the sum is rounded to less than the sum.
    thresholds = uniforms.to(scores.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, thresholds, right=True)[:, 0]


def _start(
    stepper: Stepper, batch: Any, need_attention: bool, prior_ids: Tensor | None, num_samples: int
) -> tuple[Tensor, Tensor, State]:
    """Read the batch; return the last ids (N,), the prior ids (N, T) and the state, repeated for each sample."""
    last_ids, state = stepper.start(batch, need_attention)
    prior_ids = last_ids.new_zeros(len(last_ids), 0) if prior_ids is None else prior_ids
    if num_samples == 1:
        return last_ids, prior_ids, state
    rows = torch.arange(len(last_ids), device=last_ids.device).repeat_interleave(num_samples)
    return last_ids[rows], prior_ids[rows], state.select(rows)


def _max_lengths(batch: Any, count: int, config: SamplingConfig, num_samples: int) -> list[int]:
    """Return the maximum length of each sample."""
    src_lengths = getattr(batch, "src_lengths", None)
    limits = sample_length_limits(None if src_lengths is None else src_lengths.tolist(), count, config)
    return [limit for limit in limits for _ in range(num_samples)]


def _make_rules(
    stepper: Stepper,
    config: SamplingConfig,
    max_lengths: list[int],
    banned_ids: Sequence[int],
    ends_at_eos: bool,
    stop: Callable[[list[int]], bool] | None,
    device: torch.device,
) -> _Rules:
    if ends_at_eos and stepper.eos_id in banned_ids:
        raise ValueError(
            f"`banned_ids` must not contain `eos_id` ({stepper.eos_id}), which ends the samples. If eos should not end "
            "them, set `ends_at_eos` to False."
        )
    for invalid in (n for n in banned_ids if not 0 <= n < stepper.vocab_size):
        raise ValueError(f"`banned_ids` must be from 0 to {stepper.vocab_size - 1}, but one is {invalid}.")
    banned = torch.tensor(list(banned_ids), dtype=torch.int64, device=device)
    return _Rules(stepper.eos_id if ends_at_eos else None, config.min_length, max_lengths, banned, stop)


def _check_row_numbers(row_numbers: Sequence[int] | None, count: int) -> Sequence[int]:
    """Check and return the number of each of `count` rows; default: 0 to `count` - 1."""
    if row_numbers is None:
        return range(count)
    if len(row_numbers) != count:
        raise ValueError(f"`row_numbers` must have one number per row ({count}), but has {len(row_numbers)}.")
    for invalid in (n for n in row_numbers if not 0 <= n < NUM_SEEDS):
        raise ValueError(f"`row_numbers` must be from 0 to {NUM_SEEDS - 1}, but one is {invalid}.")
    return row_numbers
