"""Rows of the text corpora of a split: their texts as UTF-8 bytes in memory, and their locations."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from seqlab.data.blocks import RawBlock, in_batches
from seqlab.data.column import Column
from seqlab.data.columns import FileColumn
from seqlab.data.corpus import Corpus
from seqlab.data.ragged import RaggedArray
from seqlab.data.readers import open_binary
from seqlab.data.survey import LineHashes, hash_lines
from seqlab.diagnosis.text_quality import undecodable_lines

BLOCK_ROWS = 10_000
MIN_WORDS = 2.0
"""Mean number of words per line from which on a line consists of words, not of characters."""
SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class LenientColumn(FileColumn):
    """A text file in which bytes that are not UTF-8 become replacement characters."""

    @classmethod
    def of(cls, column: Column) -> Column:
        """Return a lenient copy of a plain text file that is not UTF-8, and any other column itself."""
        if not isinstance(column, FileColumn) or column.kind != "text" or not any(undecodable_lines(column.path)):
            return column
        return cls(column.path, limit=column.limit)

    def cells(self) -> Iterator[str]:
        """Yield the lines."""
        with open_binary(self.path) as stream:
            for raw in self.limit.read(stream, str(self.path)):
                yield raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")

    def blocks(self, size: int, *, split_records: bool = False) -> Iterator[RawBlock | list[str]]:
        """Yield the lines in blocks of `size`."""
        return in_batches(self.cells(), size)

    def undecodable(self) -> dict[int, str]:
        """Return the line numbers, from 1, of the lines that are not UTF-8, with a guess of each."""
        return dict(undecodable_lines(self.path))


class Texts(Sequence[str]):
    """Texts as one array of bytes."""

    def __init__(self, rows: RaggedArray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):  # type: ignore[no-untyped-def] # also of slices, as Sequence demands
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        return self.rows[index].tobytes().decode("utf-8")

    @classmethod
    def of(cls, blocks: Sequence[RaggedArray]) -> "Texts":
        """Join blocks."""
        values = np.concatenate([np.zeros(0, np.uint8), *(block.values for block in blocks)])
        lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(block.offsets) for block in blocks)])
        return cls(RaggedArray(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)))

    @cached_property
    def hashes(self) -> LineHashes:
        """Hash of each text without surrounding spaces; 0 for an empty one."""
        blocks = (self[start : start + BLOCK_ROWS] for start in range(0, len(self), BLOCK_ROWS))
        return np.concatenate([np.zeros(0, np.uint64), *map(hash_lines, blocks)])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of characters of each text."""
        return np.fromiter(map(len, self), np.int64, len(self))

    @cached_property
    def has_words(self) -> bool:
        """Whether the lines consist of words that spaces separate."""
        sample = self[:: max(1, len(self) // SAMPLE_ROWS)]
        return sum(len(text.split()) for text in sample) >= MIN_WORDS * len(sample)

    def token_ids(self) -> "TokenIds":
        """Return the ids of the words of each text, or of its characters if it has no words."""
        return TokenIds(self)


class TokenIds(Sequence[NDArray[np.int64]]):
    """Ids of the words or characters of texts, which are computed when they are needed."""

    def __init__(self, texts: Texts, rows: range | None = None) -> None:
        self.texts = texts
        self.rows = range(len(texts)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return TokenIds(self.texts, self.rows[index])
        text = self.texts[self.rows[index]]
        items = text.split() if self.texts.has_words else text
        return np.fromiter((zlib.crc32(item.encode()) for item in items), np.int64)


@dataclass(frozen=True)
class TextRows:
    """Rows of all corpora of a split."""

    split: str
    corpora: Sequence[Corpus]
    sizes: Sequence[int]
    """Number of rows of each corpus."""
    columns: Sequence[Texts]

    @classmethod
    def read(cls, split: str, corpora: Sequence[Corpus]) -> "TextRows":
        """Read corpora, with replacement characters for bytes that are not UTF-8 in plain text files.

        Raises:
            FileNotFoundError, ValueError: a corpus cannot be read, or its columns differ in length.
        """
        corpora = [replace(corpus, columns=tuple(map(LenientColumn.of, corpus.columns))) for corpus in corpora]
        sizes: list[int] = []
        blocks: list[list[RaggedArray]] = []
        for corpus in corpora:
            sizes.append(0)
            for block in corpus.blocks():
                sizes[-1] += len(block)
                blocks.append([RaggedArray.from_texts(lines) for lines in block.lines()])
        return cls(split, corpora, sizes, [Texts.of(column) for column in zip(*blocks, strict=True)])

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def src(self) -> Texts:
        """Texts of the first column."""
        return self.columns[0]

    @property
    def tgt(self) -> Texts:
        """Texts of the last column."""
        return self.columns[-1]

    @cached_property
    def hashes(self) -> LineHashes:
        """Hash of each row."""
        hashes = self.columns[0].hashes
        for column in self.columns[1:]:
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + column.hashes
        return hashes

    @cached_property
    def is_empty(self) -> NDArray[np.bool_]:
        """Mask of the rows with an empty column."""
        return np.logical_or.reduce([column.hashes == 0 for column in self.columns])

    def position(self, row: int) -> tuple[int, int]:
        """Return the number of the corpus of a row, and the index of the row in it."""
        starts = [0, *accumulate(self.sizes)]
        corpus = int(np.searchsorted(starts, row, "right")) - 1
        return corpus, row - starts[corpus]

    def locate(self, row: int) -> str:
        """Return the files and lines of a row."""
        corpus, index = self.position(row)
        return self.corpora[corpus].locations(index, 1)[0]

    def locate_from(self, rows: "TextRows", start: int, row: int) -> str:
        """Return the location of a row as seen from the row `start` of `rows`: only its line in the same files."""
        corpus, index = self.position(row)
        numbers = set(self.corpora[corpus].line_numbers(index, 1)[0].tolist())
        is_near = rows is self and self.position(start)[0] == corpus and len(numbers) == 1
        return f"line {numbers.pop()}" if is_near else self.locate(row)

    def show(self, row: int, size: int = 60) -> str:
        """Return the start of the texts of a row."""
        return " ||| ".join(text if len(text) <= size else text[: size - 1] + "…" for text in self.texts(row))

    def texts(self, row: int) -> list[str]:
        """Return the text of each column of a row."""
        return [column[row] for column in self.columns]
