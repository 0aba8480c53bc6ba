"""Labels: which each line must have, and how they become the numbers that a model predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE
from seqlab.data.column import row_location
from seqlab.data.corpus import RowBlock
from seqlab.data.row_encoder import EncodedBlock, EncodeTask, PairEncoder, RowStatus
from seqlab.text import FIRST_LABEL_ID, Tokenizer

LabelsOf = Literal["lines", "words"]


def label_numbers(ids: Sequence[int] | NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Turn ids of the vocabulary into the numbers of labels; one that training never saw is IGNORE."""
    ids = np.asarray(ids, np.int64)
    return np.where(ids == tokenizer.unk_id, IGNORE, ids - FIRST_LABEL_ID)


@dataclass(frozen=True)
class LabelEncoder(PairEncoder):
    """Encode blocks of lines and labels, once it is sure that every line has the labels that it must have."""

    labels_of: LabelsOf = "lines"

    def __call__(self, task: EncodeTask) -> EncodedBlock:
        """Encode a block, whose text is kept as the tokenizer normalises it.

        Raises:
            ValueError: a line has more or fewer labels than it must have, or one to train on has a label that the
                vocabulary lacks; names the files and the line.
        """
        src, tgt = task.block.lines()
        src_tokenizer, tgt_tokenizer = self.tokenizers
        src = [src_tokenizer.normalize(line) for line in src]
        for place in np.flatnonzero(task.statuses <= RowStatus.VALID).tolist():
            where = row_location(task.columns, task.lines[place].tolist())
            check_labels(src[place], tgt[place].split(), self.labels_of, where)
            if task.statuses[place] == RowStatus.TRAIN:
                for label in tgt_tokenizer.unknown_items(tgt[place]):
                    raise ValueError(
                        f"{where}: has the label {label!r}, which the vocabulary of labels does not have: it was "
                        "learnt from other text. Learn the labels anew with `init_parts: matching`, leave "
                        "`init_from` out, or take labels that its run has."
                    )
        return super().__call__(replace(task, block=RowBlock([src, tgt])))


def check_labels(line: str, labels: Sequence[str], labels_of: LabelsOf, where: str) -> None:
    """Raise ValueError, saying where, unless a line has as many labels as it must have."""
    if labels_of == "lines" and len(labels) > 1:
        raise ValueError(
            f"{where}: has {len(labels)} labels ({' '.join(labels)}), but with `data.labels_of: lines` each line has "
            "one, without spaces in it: write for example `_` for a space, or set `data.labels_of: words`."
        )
    if labels_of == "words" and labels and line and len(labels) != len(line.split(" ")):
        raise ValueError(
            f"{where}: has {len(line.split(' '))} words but {len(labels)} labels: each word needs one, and words and "
            "labels are divided by spaces."
        )
