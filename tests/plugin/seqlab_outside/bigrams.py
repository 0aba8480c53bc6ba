"""A command that is declared as data: `seqlab bigrams FILE --most 3`."""

from collections import Counter
from itertools import pairwise
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.commands import Command


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Options:
    """List the most frequent bigrams of a file."""

    file: str
    """One sentence per line, words between spaces."""
    most: Annotated[int, Field(ge=1)] = 10
    """How many are listed."""


def run(options: Options) -> None:
    """Print each with how often it stands there; raises ValueError, which the user sees in one line, for none."""
    with open(options.file, encoding="utf-8", newline="\n") as lines:
        counts = Counter(bigram for line in lines for bigram in pairwise(line.split()))
    if not counts:
        raise ValueError(f"{options.file} has no line of two words.")
    for bigram, count in counts.most_common(options.most):
        print(count, *bigram)


BIGRAMS = Command(Options, run)
