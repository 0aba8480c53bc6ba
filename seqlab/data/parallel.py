"""Two columns read side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import TypeVar

from seqlab.data.columns import Column, parse_column

T = TypeVar("T")


@dataclass(frozen=True)
class ParallelCorpus:
    """The two sides of a corpus; example i of one belongs to example i of the other."""

    src: Column
    tgt: Column

    @classmethod
    def from_specs(cls, src: str, tgt: str, *, read_once: bool = False) -> ParallelCorpus:
        """Read two path specs; raises ValueError for what is no corpus, such as a pipe unless it is `read_once`."""
        corpus = cls(parse_column(src), parse_column(tgt))
        if not read_once:
            for path in (corpus.src.path, corpus.tgt.path):
                if path.exists() and not (path.is_file() or path.is_dir()):  # a folder has a message of its own
                    raise ValueError(
                        f"{path}: is a pipe or a device, but a corpus is read several times: write it to a file first."
                    )
        return corpus

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield (source, target) in file order.

        Raises:
            ValueError: one side is longer than the other; names both counts.
        """
        sides = zip_longest(self.src.values(), self.tgt.values())
        for index, (src, tgt) in enumerate(sides):
            if src is None or tgt is None:
                shorter, longer = index, index + 1 + sum(1 for _ in sides)
                counts = (shorter, longer) if src is None else (longer, shorter)
                raise ValueError(
                    f"{self.src} has {counts[0]:,} lines but {self.tgt} has {counts[1]:,}: the two sides of a "
                    "parallel corpus must have the same number of lines."
                )
            yield src, tgt


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
