"""Labels of lines or words: checks of their number per line and their names, and their encoding as label numbers."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE
from seqlab.data.classes import describe_two_spellings, two_spellings
from seqlab.data.column import row_location
from seqlab.data.column_reading import MAYBE_MISSING, missing_classes
from seqlab.data.conll import first_gap_between_tokens
from seqlab.data.corpus import Corpus, RowBlock
from seqlab.data.row_encoder import EncodedBlock, EncodeTask, PairEncoder, RowStatus
from seqlab.text import FIRST_LABEL_ID, Tokenizer, label_names
from seqlab.text.scripts import visible_text

logger = logging.getLogger(__name__)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
LabelsOf = Literal["lines", "words"]
LABEL_SEPARATORS = (";", "|", ",", "#")
"""Characters that separate several labels in a cell, in some files."""
MAX_NAMED_GROUPS = 5
"""Maximum number of groups of similar labels that a warning names."""


def label_numbers(ids: Sequence[int] | NDArray[Any], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Convert vocabulary ids to label numbers; a label unseen in training becomes IGNORE."""
    ids = np.asarray(ids, np.int64)
    return np.where(ids == tokenizer.unk_id, IGNORE, ids - FIRST_LABEL_ID)


@dataclass(frozen=True)
class LabelEncoder(PairEncoder):
    """Encode blocks of lines and labels after checking the number of labels of each line."""

    labels_of: LabelsOf = "lines"

    def __call__(self, task: EncodeTask) -> EncodedBlock:
        """Encode a block; the raw text that is kept is normalized by the tokenizer.

        Raises:
            ValueError: a line has a wrong number of labels, or a training line has a label that is not in the
                vocabulary; the message has the files and the line.
        """
        raw_src, tgt = task.block.lines()
        src_tokenizer, tgt_tokenizer = self.tokenizers
        src = [src_tokenizer.normalize(line) for line in raw_src]
        for row in np.flatnonzero(task.statuses <= RowStatus.VALID).tolist():
            location = row_location(task.columns, task.lines[row].tolist())
            check_labels(src[row], tgt[row].split(), self.labels_of, location)
            for label in tgt_tokenizer.unknown_items(tgt[row]):
                if self.labels_of == "lines" and (fault := label_fault([label], label_names(tgt_tokenizer))):
                    raise ValueError(f"{location}: {fault[1]}")
                if task.statuses[row] == RowStatus.TRAIN:
                    raise ValueError(
                        f"{location}: has the label {label!r}, which is not in the vocabulary of labels of the other "
                        "run. Set `init_parts: matching`, remove `init_from`, or use only labels of that run."
                    )
        encoded = super().__call__(replace(task, block=RowBlock([src, tgt])))
        self.note_spaces(encoded, task, raw_src)
        return encoded


def check_labels(line: str, labels: Sequence[str], labels_of: LabelsOf, location: str) -> None:
    """Raise ValueError if a line has a wrong number of labels; `location` is for the message."""
    if labels_of == "lines" and len(labels) > 1:
        raise ValueError(
            f"{location}: has {len(labels)} labels ({' '.join(labels)}), but with `data.labels_of: lines` each line "
            "has one, without spaces: write for example `_` for a space, or set `data.labels_of: words`."
        )
    if labels_of == "words" and labels and line and len(labels) != len(line.split(" ")):
        raise ValueError(
            f"{location}: has {len(line.split(' '))} words but {len(labels)} labels: each word needs one label; words "
            "and labels are separated by spaces."
        )


def refuse_tokens_as_lines(corpus: Corpus, rows: Iterable[Sequence[str]]) -> None:
    """Raise ValueError if the first rows of a corpus are words with labels, with empty rows between sentences."""
    gap = first_gap_between_tokens(rows)
    if gap is not None:
        [location] = corpus.locations(gap, 1)
        raise ValueError(
            f"{location}: is empty, after lines of one word and one label. If it ends a sentence, rename the file to "
            ".conll and name its columns (`train.conll#0`, `train.conll#1`; `paste` joins two files). If not, set "
            "`data.labels_of: lines`."
        )


def similar_labels(names: Iterable[str]) -> list[list[str]]:
    """Group labels that differ only in case, width, Unicode form, quotation marks, spaces or invisible characters.

    Numbers are similar if they are equal: `1` and `1.0`.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        visible = " ".join(visible_text(name).casefold().split())
        key = visible.strip("\"'") or visible
        groups.setdefault(str(float(key)) if _NUMBER.fullmatch(key) else key, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def joined_labels(names: Iterable[str]) -> tuple[str, str] | None:
    """Return a label that joins several labels, such as `a;b`, and its separator; None if there is none.

    Each of its parts is also a label, or a part of another label.
    """
    for separator in LABEL_SEPARATORS:
        parts = {name: [part.strip() for part in name.split(separator)] for name in names}
        counts = Counter(part for own_parts in parts.values() for part in set(own_parts))
        for name, own_parts in parts.items():
            if len(own_parts) > 1 and all(part and counts[part] > 1 for part in own_parts):
                return name, separator
    return None


def refuse_joined_labels(cells: Sequence[str], location: str) -> None:
    """Raise ValueError if cells with several labels separate them otherwise than by spaces."""
    joined = joined_labels(cells) or next(((cell, "[") for cell in cells if cell.startswith("[")), None)
    if joined:
        how = "is a list in brackets" if joined[1] == "[" else f"has labels separated by {joined[1]!r}"
        raise ValueError(f"{location}: the cell {joined[0]!r} {how}: separate several labels by spaces.")


def label_fault(names: Sequence[str], known: Sequence[str] = ()) -> tuple[str, str] | None:
    """Return a label that stands for a missing value, or equals another one, and the message; None if there is none.

    Labels that are `known`, such as those of a trained vocabulary, are meant.
    """
    if (pair := two_spellings(names, known)) is not None:
        return pair[1], describe_two_spellings(*pair)
    missing = [name for name in missing_classes([*known, *names]) if name not in known]
    return next(((name, describe_missing_label(name)) for name in missing), None)


def refuse_label_names(names: Sequence[str], corpora: Iterable[Corpus]) -> None:
    """Raise ValueError, with the file and line, for a label of lines of the corpora that has a `label_fault`."""
    if (fault := label_fault(names)) is None:
        return
    for corpus in corpora:
        for index, row in enumerate(corpus.rows()):
            if fault[0] in row[-1].split():
                raise ValueError(f"{corpus.locations(index, 1)[0]}: {fault[1]}")


def describe_missing_label(label: str) -> str:
    """Return the message about a label that stands for a missing value."""
    return (
        f"the label is missing (it is {label!r}): correct it, or leave it empty, which leaves the line out; if it is "
        "meant as a label, give it another name."
    )


def note_doubtful_labels(names: Iterable[str]) -> None:
    """Log the labels that may stand for a missing value, such as `none` or `unknown`."""
    for name in names:
        if name.lower() in MAYBE_MISSING and any(map(str.isalpha, name)):
            logger.info("the label %r may stand for a missing value, but is a label like any other", name)


def warn_of_labels(names: Sequence[str]) -> None:
    """Warn of labels that are probably spellings of the same label, and of several labels in one."""
    if joined := joined_labels(names):
        text = "the label %r looks like several labels, separated by %r, but is one: to predict several, see "
        logger.warning(text + "`data.kind: prediction` with `data.predicts: labels`", *joined)
    for group in similar_labels(names)[:MAX_NAMED_GROUPS]:
        logger.warning(
            "the labels %s differ only in case, spaces, quotation marks, zeros or invisible characters: they are "
            "different labels; if they mean the same, make them equal",
            " and ".join(map(ascii, group)),
        )
