"""Segmenter: the base class of tokenization algorithms, and a cache of the ids of words."""

from array import array
from collections.abc import Callable, Sequence
from typing import ClassVar

MAX_CACHED_WORD_CHARS = 64
"""Maximum length of a cached word: in text without spaces, a line is one long word, which seldom occurs again."""
MAX_CACHED_WORDS = 1 << 17
"""Maximum number of words in the cache (about 40 MB). A full cache is cleared; frequent words are soon cached again."""


class Segmenter:
    """Base class of segmenters, which map normalized lines to ids and back.

    Ids 0 to 3 are special. `encode` returns ids of at least 4, and `unk_id` if `has_unknown`.
    """

    vocab_size: int
    """Number of ids, including the four special ids."""
    num_tags: int = 0
    """Number of tag ids, which are the highest ids."""
    has_words: bool = False
    """Whether each id is a word, so that the words of a line are separated by spaces only."""
    has_unknown: ClassVar[bool] = False
    """Whether `encode` can return `unk_id`."""
    can_sample: ClassVar[bool] = False
    """Whether `sample` draws from several segmentations of a line."""

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        """Return the ids of each line as bytes, as `pack_ids` does."""
        raise NotImplementedError

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Return the text of each row of ids, without pad, bos and eos.

        `unknown`: for each row, the items with the ids `vocab_size`, `vocab_size + 1` and so on.
        """
        raise NotImplementedError

    def token(self, index: int) -> str:
        """Return the text of an id that is not special, for reports."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Serialize the segmenter for the config's `restore`."""
        raise NotImplementedError

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Sample a segmentation of each line, see `Tokenizer.sample`; only if `can_sample`."""
        raise NotImplementedError

    def items(self, line: str) -> list[str]:
        """Split a line into vocabulary items; only if `has_unknown`."""
        raise NotImplementedError

    def unknown_items(self, line: str) -> list[str]:
        """Return the items of a line that `encode` maps to `unk_id`, in order."""
        return []

    def unknown_tags(self, line: str) -> list[str]:
        """Return the tags of a line that the vocabulary lacks, in order."""
        return []


def pack_ids(ids: Sequence[int]) -> bytes:
    """Pack ids into 4 bytes each, readable as a numpy array of uint32; packed rows are fast to concatenate."""
    return array("I", ids).tobytes()


def unpack_ids(row: bytes) -> list[int]:
    """Return the ids from the bytes that `pack_ids` returned."""
    return memoryview(row).cast("I").tolist()


class WordCache(dict[str, bytes]):
    """Cache from words to packed ids, which are computed by `segment` at the first lookup.

    A lookup is several times as fast as a segmentation. The cache requires that no token crosses a space, so that the
    ids of a line are those of its words. Threads can share it; at worst, two threads segment the same word.
    """

    def __init__(self, segment: Callable[[str], Sequence[int]]) -> None:
        self._segment = segment

    def __missing__(self, word: str) -> bytes:
        if len(self) >= MAX_CACHED_WORDS:
            self.clear()
        ids = pack_ids(self._segment(word))
        if len(word) <= MAX_CACHED_WORD_CHARS:
            self[word] = ids
        return ids

    def encode(self, line: str) -> bytes:
        """Return the packed ids of a line, split at each single space; an empty line has none."""
        return b"".join(map(self.__getitem__, line.split(" "))) if line else b""
