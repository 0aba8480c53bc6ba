"""What the rest of the package knows of a tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
"""How the special ids are printed; the position is the id, the same in every kind."""

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(len(SPECIAL_TOKENS))


class FlatIds(NamedTuple):
    """The ids of lines end to end: as many numbers as a large text has tokens are no Python objects."""

    ids: NDArray[np.uint32]  # (tokens of all lines,)
    lengths: NDArray[np.int64]  # (lines,)


class Tokenizer(Protocol):
    """Lines to ids and back, with `decode(encode(x)) == normalize(x)` wherever nothing is unknown.

    A line is any string without `"\\n"`. The special ids are 0 to 3 in the order of the attributes below. No text
    produces the first three, not even a literal `"</s>"`, and only the kinds `characters` and `words` produce `unk_id`.
    """

    @property
    def pad_id(self) -> int: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def unk_id(self) -> int: ...
    @property
    def blank_id(self) -> int:
        """What a frame of CTC says that stands for no symbol: `pad_id`, as no text holds it."""
        ...

    @property
    def mask_id(self) -> int:
        """What stands for a hidden token: `bos_id`, as no row begins with it where tokens are hidden."""
        ...

    @property
    def vocab_size(self) -> int:
        """The number of ids, the four special ones counted."""
        ...

    @property
    def num_labels(self) -> int:
        """The number of ids but the special ones: of a vocabulary of labels, how many these are."""
        ...

    @property
    def can_sample(self) -> bool:
        """Whether `sample` draws among several segmentations of the same line."""
        ...

    @property
    def has_unknown(self) -> bool:
        """Whether `encode` may give `unk_id`."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether each id is a word, and spaces are all that is between words."""
        ...

    @property
    def tag_ids(self) -> range:
        """The ids of tags, behind those of all symbols, the first of all unknown tags; most kinds have none."""
        ...

    def normalize(self, line: str) -> str:
        """Return the line as it is after `encode` and `decode`."""
        ...

    def items(self, line: str) -> list[str]:
        """Cut a line into what a vocabulary is looked up by, words or characters; other kinds have no such items."""
        ...

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Normalise and segment each line; no bos and no eos is added, an empty line gives no ids."""
        ...

    def encode_flat(self, lines: Sequence[str]) -> FlatIds:
        """Return the ids of `encode` as arrays."""
        ...

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Draw a segmentation of each line: a pure function of (lines, seed, strength), in any thread or process.

        A line's segmentation depends on the lines before it: sample the same chunk to get the same ids. `strength`
        runs from 0 (the same as `encode`) to below 1; `seed` is any integer, taken modulo 2^64.

        - `sentencepiece_bpe`: BPE dropout (Provilkov et al., 2020), which leaves out each merge with probability
          `strength`; 0.1 is usual and makes the rows about 40% longer.
        - `sentencepiece_unigram`: subword regularisation (Kudo, 2018), which draws a segmentation in proportion to its
          probability to the power of `1 - strength`; 0.8 is usual (Kudo's alpha of 0.2).

        Raises ValueError for another strength, and for a strength above 0 where `can_sample` is False.
        """
        ...

    def unknown_items(self, line: str) -> list[str]:
        """Return what `encode` gives `unk_id` for, in order; the kinds that know every text return nothing."""
        ...

    def unknown_tags(self, line: str) -> list[str]:
        """Return the tags of a line that the vocabulary lacks, in order: they are read as one that stands for all."""
        ...

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Return each row's text without pad, bos and eos; raise ValueError for an id that does not exist.

        `unknown`: for each row the items that the ids from `vocab_size` on stand for (see `seqlab.text.unknown`).
        `unk_id` gives `"<unk>"` in the kinds `characters` and `words`. The others know every text and leave it out.
        """
        ...

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Name each id for a report: spaces as `▁`, bytes as `<0xE2>`, what cannot be printed as `\\u200d`."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write everything that `load_tokenizer` needs into the folder, which may be moved afterwards."""
        ...


def banned_ids(tokenizer: Tokenizer) -> list[int]:
    """Give the ids that no output holds: padding, the beginning and tags."""
    return [tokenizer.pad_id, tokenizer.bos_id, *tokenizer.tag_ids]
