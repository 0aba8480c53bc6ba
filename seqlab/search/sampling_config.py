"""How to sample: one typed config."""

import math

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

NUM_SEEDS = 2**64
"""Seeds and the numbers of rows are below this: together they are the key of a generator."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SamplingConfig:
    """Choose the distribution that ids are drawn from, the limits and the seed.

    `repetition_penalty` acts first, then the others in the order in which they stand here, each on what the one before
    it left, renormalised. The defaults draw from the model's own distribution.
    """

    temperature: float = 1.0
    """What log-probabilities are divided by: below 1 prefers the probable ids, above 1 evens out."""
    top_k: int = 0
    """Draw from this many most probable ids; 0 is off, 1 is greedy search."""
    top_p: float = 1.0
    """Draw from the nucleus: the fewest most probable ids that together have this probability; 1 is off."""
    min_p: float = 0.0
    """Draw from the ids with at least this share of the best one's probability; 0 is off."""
    typical_p: float = 1.0
    """Draw from the fewest ids that together have this probability, those first whose information content is closest
    to the expected one; 1 is off."""
    repetition_penalty: float = 1.0
    """The power that the probability of an id is raised to once it was drawn or read in the prompt, before
    renormalising; 1 is off, 1.2 is usual."""
    max_length: int = 256
    """Longest sample in ids, eos counted, the prompt not."""
    min_length: int = 0
    """Shortest sample in ids, eos counted: neither eos nor a stop condition ends it before."""
    seed: int = 1
    """Seed of all draws; with it and a row's number they are the same in any batch."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"`temperature` must be finite and above 0, but is {self.temperature} instead. To take the most "
                "probable id at each step, set `top_k` to 1."
            )
        for name in ("top_p", "typical_p"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"`{name}` must be above 0 and at most 1 (off), but is {getattr(self, name)} instead. To take the "
                    "most probable id at each step, set `top_k` to 1."
                )
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"`min_p` must be between 0 (off) and 1, but is {self.min_p} instead.")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise ValueError(
                f"`repetition_penalty` must be finite and above 0, but is {self.repetition_penalty} instead; 1 is off, "
                "more makes repetition rarer."
            )
        for name, least in (("top_k", 0), ("max_length", 1), ("min_length", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, but is {getattr(self, name)} instead.")
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length} instead."
            )
        if not 0 <= self.seed < NUM_SEEDS:
            raise ValueError(f"`seed` must be from 0 to {NUM_SEEDS - 1}, but is {self.seed} instead.")
