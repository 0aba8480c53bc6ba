"""Segmenter: normalised lines to ids and back."""

from collections.abc import Sequence
from typing import ClassVar


class Segmenter:
    """The base of segmenters. Ids 0 to 3 are special; `encode` returns ids from 4 on, and `unk_id` if `has_unknown`."""

    vocab_size: int
    """Number of ids, the four special ones counted."""
    num_tags: int = 0
    """Ids of tags, which are the last ones."""
    has_words: bool = False
    """Whether each id is a word, with spaces alone between words."""
    has_unknown: ClassVar[bool] = False
    """Whether `encode` may give `unk_id`."""
    can_sample: ClassVar[bool] = False
    """Whether `sample` draws among several segmentations of a line."""

    def encode(self, lines: Sequence[str]) -> list[bytes]:
        """Give the ids of each line, packed by `seqlab.text.words.packed`."""
        raise NotImplementedError

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Give the text of each row, which has no pad, bos or eos.

        `unknown`: for each row the items that the ids from `vocab_size` on stand for, where there is unknown text.
        """
        raise NotImplementedError

    def token(self, index: int) -> str:
        """Name an id that is no special one."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Write everything from which the config restores the segmenter."""
        raise NotImplementedError

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Draw a segmentation of each line, as `Tokenizer.sample` says; only where `can_sample`."""
        raise NotImplementedError

    def items(self, line: str) -> list[str]:
        """Cut a line into what a vocabulary is looked up by; only where `has_unknown`."""
        raise NotImplementedError

    def unknown_items(self, line: str) -> list[str]:
        """List the items of a line that `encode` gives `unk_id` for, in order."""
        return []

    def unknown_tags(self, line: str) -> list[str]:
        """List the tags of a line that have no id of their own, in order."""
        return []
