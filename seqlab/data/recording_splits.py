"""Training, validation and test splits of recordings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from seqlab.base.reading_notes import READ_AS_MEANT, ReadingNotes
from seqlab.data.column_reading import missing_classes
from seqlab.data.folders import MAX_NAMED
from seqlab.data.folds import assign_folds, describe_shared_groups, hold_out
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recordings import RecordingExample, Recordings
from seqlab.data.recordings_config import RecordingsConfig

logger = logging.getLogger(__name__)
Indices = NDArray[np.int64]
MAX_COMMANDS, MIN_COMMAND_REPEATS = 50, 2
"""Texts are commands if fewer than `MAX_COMMANDS` of them are distinct, and their mean number of occurrences is above
`MIN_COMMAND_REPEATS`. Commands may be in several splits."""
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "spk_id", "spk")
"""Columns of a list of recordings that name the speaker; the first one that is present counts."""
MAX_NAMED_REASONS = 3
"""Maximum number of reasons in a message of one line."""


@dataclass(frozen=True)
class RecordingSplits:
    """Indices of the recordings of each split, in ascending order."""

    train: Indices
    valid: Indices
    test: Indices
    faults: dict[int, str]
    """Reason for leaving out a recording, by its index."""
    regrouped: dict[int, str] = field(default_factory=dict)
    """Note on each recording that version 1 of the reading put into another split, by its index."""

    def reading_notes(self, recordings: Recordings) -> ReadingNotes:
        """Count the recordings that an earlier version of the reading put into another split."""
        notes = ReadingNotes()
        for index, text in self.regrouped.items():
            notes.add(text, recordings.examples[index].location, since=READ_AS_MEANT)
        return notes


def split_recordings(
    config: RecordingsConfig,
    recordings: Recordings,
    texts: Sequence[str | None],
    *,
    by_text: bool,
    test_texts: Iterable[str] = (),
) -> RecordingSplits:
    """Split recordings into training, validation and test splits.

    Args:
        config: data section, which determines the splits.
        recordings: all recordings of the manifests.
        texts: normalized transcript or label of each recording; None if the manifest has none.
        by_text: whether recordings with equal texts are held out together, for transcripts that are not commands;
            otherwise the splits are stratified by label.
        test_texts: transcripts of `data.test`.

    Raises:
        ValueError: a recording cannot be used and `on_fault` is `refuse`; a split is empty; a fold does not exist.
    """
    missing = _texts_of_missing_values(config, recordings)
    fault_of_row = {
        i: missing.get(i) or _find_fault(config, recordings, i, texts[i], by_text) for i in range(len(recordings))
    }
    faults = {i: fault for i, fault in fault_of_row.items() if fault}
    if faults and config.on_fault == "refuse":
        _refuse(faults, recordings)
    usable = np.array([i for i in range(len(recordings)) if i not in faults], np.int64)
    fields = np.array([example.field for example in recordings.examples], dtype=object)
    listed, extra = usable[fields[usable] == "train"], usable[fields[usable] == "extra_train"]
    examples = [recordings.examples[i] for i in listed]
    groups = _text_groups([texts[i] or "" for i in listed]) if by_text else None
    is_test = _in_test_fold(config, examples, [texts[i] for i in listed], groups)
    test, remaining = listed[is_test], listed[~is_test]
    if not len(remaining):
        raise ValueError(f"{', '.join(config.train)}: leaves no recording for training: {_describe_faults(faults)}.")
    if config.valid is not None:
        valid, train, regrouped = usable[fields[usable] == "valid"], remaining, dict[int, str]()
    else:
        groups = None if groups is None else groups[~is_test]
        valid, train, regrouped = _hold_out_validation(config, recordings, texts, remaining, groups)
    is_long = {int(i) for i in (*train, *extra) if recordings.seconds(i) > config.max_seconds}
    faults |= dict.fromkeys(is_long, f"longer than `data.max_seconds` ({config.max_seconds:g})")
    train, extra = (np.array([i for i in part if i not in is_long], np.int64) for part in (train, extra))
    if by_text:  # extra speech must not leak texts of the held-out splits
        held_out = {*test_texts, *(texts[i] for part in (valid, test) for i in part)}
        held_out -= {"", *(texts[i] for i in train)}
        extra = np.array([i for i in extra if texts[i] not in held_out], np.int64)
    if config.folds == "grouped":  # nor speakers
        is_held_out = _has_group_of(config, recordings, extra, np.concatenate([valid, test]))
        regrouped |= dict.fromkeys(extra[is_held_out].tolist(), "additional recordings of held-out groups are left out")
        extra = extra[~is_held_out]
    train = np.sort(np.concatenate([train, extra]))
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise ValueError(f"{', '.join(config.train)}: leaves no recording for {name}: {_describe_faults(faults)}.")
    regrouped |= dict.fromkeys(missing, "texts such as `NaN` stand for a missing one")
    return RecordingSplits(train, valid, test, faults, regrouped)


def _hold_out_validation(
    config: RecordingsConfig,
    recordings: Recordings,
    texts: Sequence[str | None],
    remaining: Indices,
    text_groups: NDArray[np.int64] | None,
) -> tuple[Indices, Indices, dict[int, str]]:
    """Divide recordings into validation and training; also return those that earlier versions put into the other split.

    Groups of equal texts stay together, or without them the splits are stratified by label; `folds: grouped` keeps the
    groups of its column together instead.
    """
    labels = None if text_groups is not None else np.unique([texts[i] or "" for i in remaining], return_inverse=True)[1]
    is_valid = hold_out(len(remaining), config.valid_fraction, config.fold_seed, groups=text_groups, classes=labels)
    regrouped: dict[int, str] = {}
    if config.folds == "grouped":
        before, is_valid = is_valid, _hold_out_groups(config, [recordings.examples[i] for i in remaining])
        regrouped = dict.fromkeys(remaining[is_valid != before].tolist(), "recordings are in the split of their group")
    return remaining[is_valid], remaining[~is_valid], regrouped


def _refuse(faults: Mapping[int, str], recordings: Recordings) -> NoReturn:
    """Raise ValueError with the first recordings that cannot be used."""
    lines = [f"{recordings.examples[i].location}: {fault}" for i, fault in list(faults.items())[:MAX_NAMED]]
    lines += [f"... and {len(faults) - MAX_NAMED} more"] if len(faults) > MAX_NAMED else []
    raise ValueError("\n".join([f"{len(faults)} recordings cannot be used (`data.on_fault: refuse`):", *lines]))


def _text_groups(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Return a group number for each recording (n,), equal for equal texts; None if the texts are commands.

    Each recording with an empty text is a separate group.
    """
    nonempty = [text for text in texts if text]
    num_distinct = len(set(nonempty))
    if num_distinct < MAX_COMMANDS and len(nonempty) > MIN_COMMAND_REPEATS * num_distinct:
        return None
    groups = [text or f"\0{index}" for index, text in enumerate(texts)]
    return np.asarray(np.unique(np.array(groups, dtype=str), return_inverse=True)[1])


def _describe_faults(faults: dict[int, str]) -> str:
    """Describe the first faults for a message; without faults, return advice."""
    if not faults:
        return "add recordings"
    reasons = dict.fromkeys(fault.removesuffix(".") for fault in faults.values())
    return "; ".join([f"{len(faults)} cannot be used", *reasons][: 1 + MAX_NAMED_REASONS])


def _texts_of_missing_values(config: RecordingsConfig, recordings: Recordings) -> dict[int, str]:
    """Return the reason for leaving out each recording whose text stands for a missing one (`NaN`), as in a table.

    The names of folders are texts as they are, and an empty text is that of a recording without speech.
    """
    texts = {
        i: example.text.strip()
        for i, example in enumerate(recordings.examples)
        if example.text and example.text.strip() and example.text != Path(example.location).parent.name
    }
    markers = {*missing_classes(sorted(set(texts.values())))}
    return {
        i: f"{recordings.examples[i].audio}: its {config.text_column!r} is {text!r}, which stands for a missing value"
        for i, text in texts.items()
        if text in markers
    }


def _find_fault(config: RecordingsConfig, recordings: Recordings, index: int, text: str | None, by_text: bool) -> str:
    """Return the reason why a recording cannot be used, or "" if it can."""
    example = recordings.examples[index]
    if example.fault:
        return example.fault
    if text is None:
        known = ", ".join(example.columns) or "none"
        advice = "" if config.text_column in example.columns else ": name that of the texts by `--data.text_column`"
        return (
            f"{example.audio}: its {config.text_column!r} is missing in the list (its other columns: {known}{advice})"
        )
    if recordings.seconds(index) < config.min_seconds:
        return f"{example.audio}: has {recordings.seconds(index):.3f} s, below `data.min_seconds`"
    if example.is_silent and (text or not by_text):
        return f"{example.audio}: is silent, but its {config.text_column!r} is {text!r}"
    return ""


def _in_test_fold(
    config: RecordingsConfig,
    examples: Sequence[RecordingExample | ManifestEntry],
    texts: Sequence[str | None],
    text_groups: NDArray[np.int64] | None,
) -> NDArray[np.bool_]:
    """Return a mask (n,) of the recordings in the test fold; plain folds keep groups of equal texts together."""
    if config.test_fold is None:
        return np.zeros(len(examples), bool)
    fold = config.test_fold - 1
    values = np.array(
        [] if config.fold_column is None else [_column_value(example, config.fold_column) for example in examples]
    )
    if config.folds == "given":
        names = sorted(set(values.tolist()), key=_numeric_sort_key)
        if len(names) != config.num_folds:
            raise ValueError(
                f"The column {config.fold_column!r} names {len(names)} folds, but `data.num_folds` (or `--folds`) is "
                f"{config.num_folds}: set it to {len(names)}."
            )
        return np.asarray(values == names[fold])
    groups = np.unique(values, return_inverse=True)[1] if config.folds == "grouped" else None
    groups = text_groups if config.folds == "plain" else groups
    classes = np.unique(np.array(texts, dtype=str), return_inverse=True)[1] if config.folds == "stratified" else None
    return assign_folds(len(examples), config.num_folds, config.fold_seed, classes=classes, groups=groups) == fold


def check_recording_folds(configs: Sequence[RecordingsConfig]) -> list[str]:
    """Check the folds of recordings by their lists, without decoding, given the config of each fold.

    Returns warnings of speakers that are in several folds.

    Raises:
        ValueError: the lists cannot be read, a fold has no recording, or the column of folds has other values.
    """
    lists = (configs[0].manifest(spec).entries() for spec in configs[0].train)
    entries = [replace(entry, content=None) for entries in lists for entry in entries if entry.audio]
    folds, texts = np.zeros(len(entries), np.int64), [entry.text or "" for entry in entries]
    for number, config in enumerate(configs):
        is_test = _in_test_fold(config, entries, texts, None)
        if not is_test.any():
            raise ValueError(f"{', '.join(config.train)}: fold {number + 1} of {len(configs)} has no recording.")
        folds[is_test] = number
    column = next((name for name in SPEAKER_COLUMNS if any(name in entry.columns for entry in entries)), "")
    return describe_shared_groups([speaker_of(entry.columns) for entry in entries], folds, "speakers", column)


def _hold_out_groups(config: RecordingsConfig, examples: Sequence[RecordingExample]) -> NDArray[np.bool_]:
    """Return a mask (n,) of the validation recordings, with all recordings of a group in one split."""
    groups = np.array([_column_value(example, str(config.fold_column)) for example in examples])
    if len(set(groups.tolist())) < 2:
        raise ValueError(
            f"All recordings for training and validation have {str(groups[0])!r} in the column {config.fold_column!r} "
            "(`data.folds: grouped`): name validation recordings by `data.valid`."
        )
    return hold_out(len(groups), config.valid_fraction, config.fold_seed, groups=groups)


def _has_group_of(
    config: RecordingsConfig, recordings: Recordings, extra: Indices, held_out: Indices
) -> NDArray[np.bool_]:
    """Return a mask (n,) of the additional recordings whose group is one of the held-out recordings."""
    extra_groups, groups = (
        [recordings.examples[i].columns.get(str(config.fold_column), "") for i in part] for part in (extra, held_out)
    )
    return np.array([group != "" and group in groups for group in extra_groups], bool)


def _column_value(example: RecordingExample | ManifestEntry, name: str) -> str:
    """Return the value of a recording in a column of its manifest; raise ValueError if it is empty or missing."""
    if not example.columns.get(name):
        known = ", ".join(example.columns) or "none"
        raise ValueError(f"{example.location}: has no value in the column {name!r} (its columns: {known}).")
    return example.columns[name]


def speaker_of(columns: Mapping[str, str]) -> str:
    """Return the speaker of a recording, or "" if its list has no column for it."""
    return next((columns[name] for name in SPEAKER_COLUMNS if name in columns), "")


def _numeric_sort_key(value: str) -> tuple[float, str]:
    """Return a sort key that puts numbers first, ordered by their value."""
    return (float(value), value) if value.replace(".", "", 1).isdigit() else (float("inf"), value)
