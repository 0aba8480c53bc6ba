"""Protocol of tokenizers, with functions for label vocabularies and for words that a vocabulary lacks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from seqlab.text.transcripts import TranscriptForm

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
"""Text of the special ids in reports; the index of each is its id in all kinds of tokenizers."""

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(len(SPECIAL_TOKENS))


FIRST_LABEL_ID = len(SPECIAL_TOKENS)
"""Id of label 0: labeling models number the labels from 0, without the special ids."""


class FlatIds(NamedTuple):
    """The concatenated ids of lines, as arrays: Python integers would need much more memory."""

    ids: NDArray[np.uint32]  # (tokens of all lines,)
    lengths: NDArray[np.int64]  # (lines,)


class Tokenizer(Protocol):
    """A tokenizer: lines to ids and back, with `decode(encode(x)) == normalize(x)` if nothing is unknown.

    A line is any string without `"\\n"`. The special ids are 0 to 3, in the order of the attributes below. No text is
    encoded as the first three, not even a literal `"</s>"`, and only `characters` and `words` use `unk_id`.
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
        """The blank of CTC: `pad_id`, as no text contains it."""
        ...

    @property
    def mask_id(self) -> int:
        """The id of a masked token: `bos_id`, as masked sequences do not start with bos."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids, including the four special ids."""
        ...

    @property
    def num_labels(self) -> int:
        """Number of ids without the special ids: the number of labels in a vocabulary of labels."""
        ...

    @property
    def can_sample(self) -> bool:
        """Whether `sample` draws from several segmentations of a line."""
        ...

    @property
    def has_unknown(self) -> bool:
        """Whether `encode` can return `unk_id`."""
        ...

    @property
    def has_words(self) -> bool:
        """Whether each id is a word, so that the words of a line are separated by spaces only."""
        ...

    @property
    def has_single_spaces(self) -> bool:
        """Whether runs of white space are read as one space; see `with_single_spaces`."""
        ...

    @property
    def tag_ids(self) -> range:
        """The ids of tags, which are the highest ids; the first represents all unknown tags. Most kinds have none."""
        ...

    def normalize(self, line: str) -> str:
        """Return the line that `decode` restores from the ids of `encode`."""
        ...

    def with_single_spaces(self) -> "Tokenizer":
        """Return a tokenizer with the same ids that reads lines with `seqlab.text.normalization.single_spaces`."""
        ...

    def with_transcripts(self, form: TranscriptForm | None) -> "Tokenizer":
        """Return a tokenizer with the same ids that normalizes lines as transcripts; None reads them as they are."""
        ...

    def items(self, line: str) -> list[str]:
        """Split a line into vocabulary items, words or characters; only for kinds with `has_unknown`."""
        ...

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Normalize and encode each line, without bos and eos; an empty line has no ids."""
        ...

    def encode_flat(self, lines: Sequence[str]) -> FlatIds:
        """Encode lines into concatenated arrays of ids."""
        ...

    def sample(self, lines: Sequence[str], *, seed: int, strength: float) -> list[list[int]]:
        """Sample a segmentation of each line: a pure function of (lines, seed, strength), in any thread or process.

        The segmentation of a line depends on the lines before it: sample the same lines to get the same ids. `strength`
        is at least 0 (the same as `encode`) and below 1. `seed` is any integer, taken modulo 2^64.

        - `sentencepiece_bpe`: BPE-dropout (Provilkov et al., 2020), which skips each merge with probability `strength`;
          0.1 is usual and makes the rows about 40% longer.
        - `sentencepiece_unigram`: subword regularization (Kudo, 2018), which samples a segmentation in proportion to
          its probability to the power of `1 - strength`; 0.8 is usual (Kudo's alpha of 0.2).

        Raises:
            ValueError: `strength` is outside of its range, or is above 0 although `can_sample` is False.
        """
        ...

    def unknown_items(self, line: str) -> list[str]:
        """Return the items that `encode` maps to `unk_id`, in order; empty for kinds without `has_unknown`."""
        ...

    def unknown_tags(self, line: str) -> list[str]:
        """Return the tags of a line that the vocabulary lacks, in order: all are encoded as the first of `tag_ids`."""
        ...

    def decode(self, rows: Sequence[Sequence[int]], unknown: Sequence[Sequence[str]] | None = None) -> list[str]:
        """Return the text of each row, without pad, bos and eos; raise ValueError for an id that does not exist.

        `unknown`: for each row, the items with the ids `vocab_size`, `vocab_size + 1` and so on (see `find_unknown`).
        The kinds `characters` and `words` decode `unk_id` as `"<unk>"`. The other kinds can encode any text, and omit
        `unk_id`.
        """
        ...

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each id for reports: space as `▁`, a byte as `<0xE2>`, unprintable text as `\\u200d`."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer into a folder for `load_tokenizer`; the folder can be moved afterwards."""
        ...


def banned_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that a model must never predict: pad, bos and tags."""
    return [tokenizer.pad_id, tokenizer.bos_id, *tokenizer.tag_ids]


def num_labels(tokenizer: Tokenizer) -> int:
    """Return the number of labels in a vocabulary of labels."""
    return tokenizer.vocab_size - FIRST_LABEL_ID


def label_names(tokenizer: Tokenizer) -> list[str]:
    """Return the labels by their number, from 0; the most frequent label comes first."""
    return tokenizer.decode([[index] for index in range(FIRST_LABEL_ID, tokenizer.vocab_size)])


def find_unknown(tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[str]]:
    """Return the distinct unknown items of each line, for models that copy from the source.

    The n-th (from 0) distinct unknown item of a source has the id `vocab_size + n` in the row of that source and in the
    row of its target (See et al. 2017, P17-1099). An unknown item that only the target has is encoded as `unk_id`.
    """
    return [list(dict.fromkeys(tokenizer.unknown_items(line))) for line in lines]


def encode_unknown(tokenizer: Tokenizer, lines: Sequence[str], unknown: Sequence[Sequence[str]]) -> list[list[int]]:
    """Encode lines with the ids of the unknown items of their sources, from `find_unknown`."""
    rows = tokenizer.encode(lines)
    for row, line, items in zip(rows, lines, unknown, strict=True):
        if not items or tokenizer.unk_id not in row:
            continue
        ids = {item: tokenizer.vocab_size + n for n, item in enumerate(items)}
        unknown_items = iter(tokenizer.unknown_items(line))
        row[:] = [ids.get(next(unknown_items), index) if index == tokenizer.unk_id else index for index in row]
    return rows
