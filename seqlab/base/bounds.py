"""Types of the numbers in configs and options: each has a lower and an upper bound."""

from typing import Annotated

from pydantic import Field

MAX_COUNT = 2**31 - 1
"""Largest number of ids, steps or lines: the product of two fits into 64 bits."""
MAX_NUMBER = 1e38
"""About the largest number in single precision."""
MIN_POSITIVE = 1e-37
"""About the smallest normal number in single precision: what is smaller becomes 0 there, or costs time."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[float, Field(ge=MIN_POSITIVE, le=MAX_NUMBER)]
NonNegative = Annotated[float, Field(ge=0, le=MAX_NUMBER)]
Finite = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Threads = Annotated[int, Field(ge=1, le=1024)]
BeamSize = Annotated[int, Field(ge=1, le=100_000)]
MAX_VOCABULARY = 2**27
"""Ids of a vocabulary: more than any text has words, and few enough for 32-bit products with a width."""
