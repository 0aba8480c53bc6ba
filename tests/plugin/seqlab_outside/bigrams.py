"""A command: `seqlab bigrams FILE --count 3`."""

from collections import Counter
from itertools import pairwise
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.commands import Command


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class BigramsOptions:
    """List the most frequent bigrams of a file."""

    file: str
    """A text file with one sentence per line and words separated by spaces."""
    count: Annotated[int, Field(ge=1)] = 10
    """Number of bigrams to list."""


def run(options: BigramsOptions) -> None:
    """Print the count and the words of each bigram.

    Raises ValueError if there are none; the command line shows the message in one line.
    """
    with open(options.file, encoding="utf-8", newline="\n") as lines:
        frequencies = Counter(bigram for line in lines for bigram in pairwise(line.split()))
    if not frequencies:
        raise ValueError(f"{options.file} has no line with two or more words.")
    for bigram, frequency in frequencies.most_common(options.count):
        print(frequency, *bigram)


BIGRAMS = Command(BigramsOptions, run)
