"""Length penalties and length limits. A length counts ids and includes eos (see `SearchConfig`)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqlab.search.config import SearchConfig

if TYPE_CHECKING:
    import torch


def length_penalty(length: int, config: SearchConfig) -> float:
    """Compute what the log-probability of a hypothesis of this length is divided by; 1 for length 0."""
    if length == 0:
        return 1.0
    base = (5 + length) / 6 if config.length_penalty == "gnmt" else float(length)
    return math.pow(base, config.length_alpha)


def penalty_table(longest: int, config: SearchConfig, device: "torch.device") -> "torch.Tensor":
    """Tabulate the penalties of the lengths 0 to `longest`: (longest + 1,) float32.

    From Python's floats: a vectorised power may round an element differently when the table has another size, and
    the size depends on the batch.
    """
    import torch  # the lengths below are also asked for where no torch is loaded

    return torch.tensor([length_penalty(n, config) for n in range(longest + 1)], dtype=torch.float32, device=device)


def length_limits(src_lengths: Sequence[int] | None, count: int, config: SearchConfig) -> tuple[list[int], list[int]]:
    """Give the shortest and the longest allowed length for each of `count` sentences.

    Raises:
        ValueError: if a minimum length is relative to a source that there is not.
    """
    if src_lengths is None:
        if config.min_length_ratio > 0:
            raise ValueError(
                f"`min_length_ratio` is {config.min_length_ratio}, but the batch has no `src_lengths` to apply it to."
            )
        return [1] * count, [config.max_length] * count
    longest = [config.max_length_for(n) for n in src_lengths]
    shortest = [
        min(limit, max(1, math.floor(config.min_length_ratio * n)))
        for n, limit in zip(src_lengths, longest, strict=True)
    ]
    return shortest, longest
