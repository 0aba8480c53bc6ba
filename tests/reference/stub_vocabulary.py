"""The sizes and ids of a tokenizer that models read."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class StubVocabulary:
    """A `TokenSide` without a tokenizer."""

    vocab_size: int
    pad_id: ClassVar[int] = 0
    bos_id: ClassVar[int] = 1
    eos_id: ClassVar[int] = 2
    unk_id: ClassVar[int] = 3
    mask_id: ClassVar[int] = 4
    blank_id: ClassVar[int] = 5
    tag_ids: ClassVar[range] = range(0)
    has_words: ClassVar[bool] = False

    @property
    def num_labels(self) -> int:
        """Number of labels."""
        return self.vocab_size - 4
