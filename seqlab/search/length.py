"""Length penalties and length limits; lengths are in ids and include eos (see `SearchConfig`)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqlab.search.config import SamplingConfig, SearchConfig

if TYPE_CHECKING:
    import torch


def length_penalty(length: int, config: SearchConfig) -> float:
    """Compute the divisor of the log-probability of a hypothesis of this length; 1 for a length of 0."""
    if length == 0:
        return 1.0
    base = (5 + length) / 6 if config.length_penalty == "gnmt" else float(length)
    return math.pow(base, config.length_alpha)


def penalty_table(max_length: int, config: SearchConfig, device: "torch.device") -> "torch.Tensor":
    """Tabulate the length penalties of the lengths 0 to `max_length`: (max_length + 1,) float32.

    Computed with Python floats: a vectorized power may round an element differently in a table of another size, and
    the size depends on the batch.
    """
    import torch  # here, because the other functions are also called without torch

    return torch.tensor([length_penalty(n, config) for n in range(max_length + 1)], dtype=torch.float32, device=device)


def length_limits(src_lengths: Sequence[int] | None, count: int, config: SearchConfig) -> tuple[list[int], list[int]]:
    """Return the minimum and the maximum hypothesis lengths of `count` sentences.

    Raises:
        ValueError: `min_length_ratio` is set, but there are no source lengths.
    """
    if src_lengths is None:
        if config.min_length_ratio > 0:
            raise ValueError(
                f"`min_length_ratio` is {config.min_length_ratio}, but the batch has no `src_lengths` to apply it to."
            )
        return [1] * count, [config.max_length] * count
    max_lengths = [config.max_length_for(n) for n in src_lengths]
    min_lengths = [
        min(max_length, max(1, math.floor(config.min_length_ratio * n)))
        for n, max_length in zip(src_lengths, max_lengths, strict=True)
    ]
    return min_lengths, max_lengths


def sample_length_limits(src_lengths: Sequence[int] | None, count: int, config: SamplingConfig) -> list[int]:
    """Return the maximum lengths of the samples of `count` sentences.

    Raises:
        ValueError: `max_length_ratio` is set, but there are no source lengths.
    """
    if config.max_length_ratio is None:
        return [config.max_length] * count
    if src_lengths is None:
        raise ValueError(
            f"`max_length_ratio` is {config.max_length_ratio}, but the batch has no `src_lengths` to apply it to."
        )
    return [config.max_length_for(n) for n in src_lengths]
