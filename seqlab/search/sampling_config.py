"""How to sample: one typed config."""

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import MAX_NUMBER, Count, CountOrZero

NUM_SEEDS = 2**64
"""Seeds and the numbers of rows are below this: together they are the key of a generator."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SamplingConfig:
    """Choose the distribution that ids are drawn from, the limits and the seed.

    `repetition_penalty` acts first, then the others in the order in which they stand here, each on what the one before
    it left, renormalised. The defaults draw from the model's own distribution.
    """

    temperature: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """What log-probabilities are divided by: below 1 prefers the probable ids, above 1 evens out. `top_k: 1` takes the
    most probable id at each step."""
    top_k: CountOrZero = 0
    """Draw from this many most probable ids; 0 is off, 1 is greedy search."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the nucleus: the fewest most probable ids that together have this probability; 1 is off."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Draw from the ids with at least this share of the best one's probability; 0 is off."""
    typical_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Draw from the fewest ids that together have this probability, those first whose information content is closest
    to the expected one; 1 is off."""
    repetition_penalty: Annotated[float, Field(ge=1e-4, le=MAX_NUMBER)] = 1.0
    """The power that the probability of an id is raised to once it was drawn or read in the prompt, before
    renormalising; 1 is off, 1.2 is usual."""
    max_length: Count = 256
    """Longest sample in ids, eos counted, the prompt not."""
    min_length: CountOrZero = 0
    """Shortest sample in ids, eos counted: neither eos nor a stop condition ends it before."""
    seed: Annotated[int, Field(ge=0, lt=NUM_SEEDS)] = 1
    """Seed of all draws; with it and a row's number they are the same in any batch."""

    def __post_init__(self) -> None:
        if self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length} instead."
            )
