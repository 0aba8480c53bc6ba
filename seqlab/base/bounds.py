"""Number types with a lower and an upper bound, for configs and options."""

from typing import Annotated

from pydantic import Field

MAX_COUNT = 2**31 - 1
"""Largest count of ids, steps or lines; the product of two such counts fits into 64 bits."""
MAX_NUMBER = 1e38
"""About the largest number in single precision (fp32)."""
MIN_POSITIVE = 1e-37
"""About the smallest normal fp32 number: smaller ones are slow, or become 0."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[float, Field(ge=MIN_POSITIVE, le=MAX_NUMBER)]
NonNegative = Annotated[float, Field(ge=0, le=MAX_NUMBER)]
Finite = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Threads = Annotated[int, Field(ge=1, le=1024)]
BeamSize = Annotated[int, Field(ge=1, le=100_000)]
MAX_VOCAB_SIZE = 2**27
"""Largest number of ids in a vocabulary: more than the distinct words of any corpus; each id fits into 32 bits."""
