"""Two columns read side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from seqlab.data.blocks import RawLines
from seqlab.data.column import Column
from seqlab.data.columns import parse_column

BLOCK_PAIRS = 10_000
"""A process works on so many at a time."""


@dataclass(frozen=True)
class PairBlock:
    """Consecutive pairs of a corpus, perhaps not decoded yet."""

    src: RawLines | list[str]
    tgt: RawLines | list[str]

    def __len__(self) -> int:
        return len(self.src)

    def lines(self) -> tuple[list[str], list[str]]:
        """Return both sides; raises ValueError where one is not UTF-8."""
        return _decoded(self.src), _decoded(self.tgt)

    def corpus_size(self, pairs: int) -> int | None:
        """Estimate the size of the corpus, of which this block ends the first `pairs`; None for tables."""
        share = self.src.share if isinstance(self.src, RawLines) else 0.0
        return max(pairs, round(pairs / share)) if share else None


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
            for side in corpus.sides:
                if side.is_stream:
                    raise ValueError(
                        f"{side.source}: is a pipe or a device, but a corpus is read several times: write it to a file "
                        "first."
                    )
        return corpus

    @property
    def sides(self) -> tuple[Column, Column]:
        return self.src, self.tgt

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield (source, target) in file order, each as soon as it is there.

        Raises:
            ValueError: one side is longer than the other; names both counts.
        """
        sides = zip_longest(self.src.values(), self.tgt.values())
        for index, (src, tgt) in enumerate(sides):
            if src is None or tgt is None:
                longer = index + 1 + sum(1 for _ in sides)
                raise self._unequal(*((index, longer) if src is None else (longer, index)))
            yield src, tgt

    def blocks(self) -> Iterator[PairBlock]:
        """Yield the pairs in file order, `BLOCK_PAIRS` at a time (the last may be fewer); errors as in `pairs`."""
        start = 0
        nothing: list[str] = []
        sides = zip_longest(self.src.blocks(BLOCK_PAIRS), self.tgt.blocks(BLOCK_PAIRS), fillvalue=nothing)
        for src, tgt in sides:
            if len(src) != len(tgt):
                PairBlock(src, tgt).lines()  # what is no text is named first: it may be why the lines do not match
                rest = [(len(src), len(tgt)), *((len(src), len(tgt)) for src, tgt in sides)]
                raise self._unequal(*(start + sum(counts) for counts in zip(*rest, strict=True)))
            yield PairBlock(src, tgt)
            start += len(src)

    def _unequal(self, src_count: int, tgt_count: int) -> ValueError:
        return ValueError(
            f"{self.src} has {src_count:,} lines but {self.tgt} has {tgt_count:,}: the two sides of a "
            "parallel corpus must have the same number of lines."
        )


def _decoded(lines: RawLines | list[str]) -> list[str]:
    return lines.decode() if isinstance(lines, RawLines) else lines
