"""Words and their ids: text repeats its words, and looking one up is several times as fast as segmenting it."""

from array import array
from collections.abc import Callable, Sequence

LONGEST_WORD = 64
"""Characters of a word that is remembered: in text without spaces a whole line is one, which never comes again."""
MAX_WORDS = 1 << 17
"""Words remembered at most, some 40 MB. Before another one comes all are forgotten: the frequent ones return soon."""


def packed(ids: Sequence[int]) -> bytes:
    """Put ids into 4 bytes each, which `unpacked` reads and numpy maps as uint32: rows of them are joined quickly."""
    return array("I", ids).tobytes()


def unpacked(row: bytes) -> list[int]:
    return memoryview(row).cast("I").tolist()


class WordMemory(dict[str, bytes]):
    """The packed ids of each word, found by `segment` when it is first asked for.

    It is right for a model of which no piece crosses a space: a line's ids are those of its words. Threads may share
    one; at worst, two of them segment the same word.
    """

    def __init__(self, segment: Callable[[str], Sequence[int]]) -> None:
        self._segment = segment

    def __missing__(self, word: str) -> bytes:
        if len(self) >= MAX_WORDS:
            self.clear()
        ids = packed(self._segment(word))
        if len(word) <= LONGEST_WORD:
            self[word] = ids
        return ids

    def encode(self, line: str) -> bytes:
        """Return the packed ids of a line, cut at each single space; an empty line has none."""
        return b"".join(map(self.__getitem__, line.split(" "))) if line else b""
