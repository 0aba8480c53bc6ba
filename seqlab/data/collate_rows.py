"""Rows of encoded text -> a batch, with the special ids of a tokenizer."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqlab.data.batch import Seq2SeqBatch, collate
from seqlab.text import Tokenizer


class EncodedRows(Protocol):
    """Ids of many lines, without special ids: a list of them, or `Rows`."""

    def __getitem__(self, row: Any, /) -> ArrayLike:
        """Give the ids of a row."""
        ...


def collate_rows(
    src: EncodedRows,
    tgt: EncodedRows | None,
    rows: Sequence[int] | NDArray[np.int64],
    tokenizer: Tokenizer,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
) -> Seq2SeqBatch:
    """Put some rows of both sides, or of the source alone, into a batch.

    Args:
        src: what `rows` are numbers of.
        tgt: the same of the target.
        rows: which are taken.
        tokenizer: the target's, names the special ids.
        indices: what the batch calls them; `rows` unless given.
    """
    return collate(
        [src[row] for row in rows],
        None if tgt is None else [tgt[row] for row in rows],
        rows if indices is None else indices,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
    )
