"""Division of recordings into training, validation and test parts, and the report of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.folds import assign_folds, hold_out
from seqlab.data.manifests import MAX_NAMED, ManifestEntry
from seqlab.data.recordings import RecordingExample, Recordings
from seqlab.data.recordings_config import RecordingsConfig

logger = logging.getLogger(__name__)
Indices = NDArray[np.int64]
MAX_COMMANDS, MIN_COMMAND_REPEATS = 50, 2
"""Below so many texts that are repeated more often, in the mean, all texts are in all parts: they are commands."""
MAX_NAMED_REASONS = 3
"""Of `MAX_NAMED`, in a message that is one line."""
MIN_CLIPPED_SHARE = 0.001
"""Of the samples, from which on a recording counts as clipped."""


@dataclass(frozen=True)
class RecordingSplits:
    """Indices of recordings, ascending."""

    train: Indices
    valid: Indices
    test: Indices
    faults: dict[int, str]
    """What is wrong with recordings that are left out."""


def split_recordings(
    config: RecordingsConfig,
    recordings: Recordings,
    texts: Sequence[str | None],
    *,
    by_text: bool,
    test_texts: Iterable[str] = (),
) -> RecordingSplits:
    """Divide recordings.

    Args:
        config: what is held out, and how.
        recordings: all that are listed.
        texts: the text or label of each, as it is learnt; None where the list has none.
        by_text: whether equal texts are held out together, as transcripts are unless they are commands; labels are
            stratified instead.
        test_texts: those of `data.test`.

    Raises:
        ValueError: `on_fault: refuse` and a recording cannot be used; too few are left; a fold does not exist.
    """
    faults = {
        i: fault for i in range(len(recordings)) if (fault := _find_fault(config, recordings, i, texts[i], by_text))
    }
    if faults and config.on_fault == "refuse":
        listed = [f"{recordings.examples[i].location}: {fault}" for i, fault in list(faults.items())[:MAX_NAMED]]
        listed += [f"... and {len(faults) - MAX_NAMED} more"] if len(faults) > MAX_NAMED else []
        raise ValueError("\n".join([f"{len(faults)} recordings cannot be used (`data.on_fault: refuse`):", *listed]))
    usable = np.array([i for i in range(len(recordings)) if i not in faults], np.int64)
    fields = np.array([each.field for each in recordings.examples], dtype=object)
    own, extra = usable[fields[usable] == "train"], usable[fields[usable] == "extra_train"]
    values = [recordings.examples[i] for i in own]
    groups = _text_groups([texts[i] or "" for i in own]) if by_text else None
    is_test = _in_test_fold(config, values, [texts[i] for i in own], groups)
    test, rest = own[is_test], own[~is_test]
    if not len(rest):
        raise ValueError(f"{', '.join(config.train)}: leaves no recording for training: {_describe_faults(faults)}.")
    if config.valid is not None:
        valid, train = usable[fields[usable] == "valid"], rest
    else:
        labels = None if by_text else np.unique([texts[i] or "" for i in rest], return_inverse=True)[1]
        keys = {"groups": None if groups is None else groups[~is_test], "classes": labels}
        is_valid = hold_out(len(rest), config.valid_fraction, config.fold_seed, **keys)
        valid, train = rest[is_valid], rest[~is_valid]
    is_long = {int(i) for i in (*train, *extra) if recordings.seconds(i) > config.max_seconds}
    faults |= dict.fromkeys(is_long, f"longer than `data.max_seconds` ({config.max_seconds:g})")
    train = np.array([i for i in train if i not in is_long], np.int64)
    extra = np.array([i for i in extra if i not in is_long], np.int64)
    if by_text:  # speech of a text that is only held out would leak it
        held_out = {*test_texts, *(texts[i] for part in (valid, test) for i in part)}
        held_out -= {"", *(texts[i] for i in train)}
        extra = np.array([i for i in extra if texts[i] not in held_out], np.int64)
    train = np.sort(np.concatenate([train, extra]))
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise ValueError(f"{', '.join(config.train)}: leaves no recording for {name}: {_describe_faults(faults)}.")
    return RecordingSplits(train, valid, test, faults)


def _text_groups(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Number the text of each recording (n,), to hold equal texts out together; None where they are commands.

    Empty texts tell nothing of each other: each has a number of its own.
    """
    spoken = [text for text in texts if text]
    distinct = len(set(spoken))
    if distinct < MAX_COMMANDS and len(spoken) > MIN_COMMAND_REPEATS * distinct:
        return None
    groups = [text or f"\0{place}" for place, text in enumerate(texts)]
    return np.asarray(np.unique(np.array(groups, dtype=str), return_inverse=True)[1])


def _describe_faults(faults: dict[int, str]) -> str:
    """Name the first faults of those that there are."""
    if not faults:
        return "give more recordings"
    return "; ".join([f"{len(faults)} cannot be used", *dict.fromkeys(faults.values())][: 1 + MAX_NAMED_REASONS])


def _find_fault(config: RecordingsConfig, recordings: Recordings, index: int, text: str | None, by_text: bool) -> str:
    """Tell why a recording cannot be used; empty where it can."""
    example = recordings.examples[index]
    if example.fault:
        return example.fault
    if text is None:
        return f"{example.audio}: the list has no {config.text_column!r} for it"
    if recordings.seconds(index) < config.min_seconds:
        return f"{example.audio}: lasts {recordings.seconds(index):.3f} s, below `data.min_seconds`"
    if example.is_silent and (text or not by_text):
        return f"{example.audio}: is silent, but its {config.text_column!r} is {text!r}"
    return ""


def _in_test_fold(
    config: RecordingsConfig,
    examples: Sequence[RecordingExample],
    texts: Sequence[str | None],
    text_groups: NDArray[np.int64] | None,
) -> NDArray[np.bool_]:
    """Tell which recordings (n,) are in the fold that is held out, with all others of its text where texts group."""
    if config.test_fold is None:
        return np.zeros(len(examples), bool)
    fold = config.test_fold - 1
    values = np.array([] if config.fold_column is None else [_column(each, config.fold_column) for each in examples])
    if config.folds == "given":
        names = sorted(set(values.tolist()), key=_numeric_order)
        if len(names) != config.num_folds:
            raise ValueError(
                f"The column {config.fold_column!r} names {len(names)} folds, but `data.num_folds` (with `--folds N`: "
                f"N) is {config.num_folds}: set it to {len(names)}."
            )
        return np.asarray(values == names[fold])
    groups = np.unique(values, return_inverse=True)[1] if config.folds == "grouped" else None
    groups = text_groups if config.folds == "plain" else groups
    classes = np.unique(np.array(texts, dtype=str), return_inverse=True)[1] if config.folds == "stratified" else None
    return assign_folds(len(examples), config.num_folds, config.fold_seed, classes=classes, groups=groups) == fold


def _column(example: RecordingExample, name: str) -> str:
    if not example.columns.get(name):
        known = ", ".join(example.columns) or "no other"
        raise ValueError(f"{example.location}: has no value in the column {name!r} (it has {known}).")
    return example.columns[name]


def _first_names(names: Sequence[str]) -> str:
    """Name the first of many."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")


def _numeric_order(value: str) -> tuple[float, str]:
    """Order names that are numbers by their size."""
    return (float(value), value) if value.replace(".", "", 1).isdigit() else (float("inf"), value)


@dataclass(frozen=True)
class RecordingsReport:
    """What the recordings are, reported before the first step."""

    hours: dict[str, float]
    """Of each part."""
    counts: dict[str, int]
    rates: dict[int, int]
    """Recordings by the samples per second of their files."""
    channels: dict[int, int]
    seconds: tuple[float, float, float]
    """The shortest, the median and the longest training recording."""
    characters_per_second: float
    """Of transcripts; 0 for labels."""
    clipped: tuple[str, ...]
    """Where the lists name recordings that are clipped."""
    narrow: int
    """Recordings with a lower rate than training has."""
    sample_rate: int
    shared_texts: int
    """Texts of the held-out parts that are in the training part, too; 0 for labels."""
    shared_speakers: tuple[str, ...]
    """Speakers of the held-out parts that are in the training part, too."""
    faults: dict[str, str]
    """What is wrong with recordings that are left out, by their location."""
    outliers: tuple[str, ...] = field(default=())
    """Recordings whose text is far longer or shorter for their duration than most."""
    shared_recordings: tuple[str, ...] = field(default=())
    """Where the lists name held-out recordings whose samples, or of `data.test` whose file, are trained on, too."""
    repeated: tuple[str, ...] = field(default=())
    """Where the lists name training recordings that repeat an earlier one."""
    empty_texts: tuple[str, ...] = field(default=())
    """Where the lists have transcripts that are empty, as they are learnt."""
    labels: dict[str, int] = field(default_factory=dict)
    """Training recordings of each label, the most frequent first; empty for transcripts."""
    new_labels: tuple[str, ...] = field(default=())
    """Labels of the held-out parts that no training recording has."""

    @classmethod
    def from_splits(
        cls,
        recordings: Recordings,
        splits: RecordingSplits,
        texts: Sequence[str | None],
        *,
        by_text: bool,
        test: Sequence[ManifestEntry] = (),
    ) -> RecordingsReport:
        """Describe the parts; `test`: the recordings on the lists of `data.test`, their texts as they are learnt."""
        parts: dict[str, Indices] = {"train": splits.train, "valid": splits.valid, "test": splits.test}
        seconds = np.array([recordings.seconds(i) for i in splits.train])
        lengths = np.array([len(texts[i] or "") for i in splits.train])
        held_out = np.concatenate([splits.valid, splits.test])
        known = [recordings.examples[i] for part in parts.values() for i in part]
        speakers = [
            {recordings.examples[i].columns.get("speaker", "") for i in part} for part in (splits.train, held_out)
        ]
        speakers[1] |= {each.columns.get("speaker", "") for each in test}
        trained: dict[str, int] = {}
        for i in splits.train.tolist():
            trained.setdefault(recordings.examples[i].digest, i)
        files = {recordings.examples[i].audio for i in splits.train}
        labels = Counter(texts[i] or "" for i in splits.train)
        both: set[str | None] = set()
        if by_text:
            both = {texts[i] for i in splits.train} & {*(texts[i] for i in held_out), *(each.text for each in test)}
        return cls(
            {name: sum(recordings.seconds(i) for i in part) / 3600 for name, part in parts.items() if len(part)},
            {name: len(part) for name, part in parts.items() if len(part)},
            dict(Counter(each.source_rate for each in known).most_common()),
            dict(Counter(each.channels for each in known).most_common()),
            (float(seconds.min()), float(np.median(seconds)), float(seconds.max())),
            float(lengths.sum() / seconds.sum()) if by_text else 0.0,
            tuple(each.location for each in known if each.clipped > MIN_CLIPPED_SHARE),
            sum(each.source_rate < recordings.sample_rate for each in known),
            recordings.sample_rate,
            len(both - {""}),
            tuple(sorted((speakers[0] & speakers[1]) - {""})),
            {recordings.examples[i].location: fault for i, fault in splits.faults.items()},
            tuple(_outliers(recordings, splits.train, seconds, lengths)) if by_text else (),
            (
                *(recordings.examples[i].location for i in held_out if recordings.examples[i].digest in trained),
                # test recordings are not decoded: a file that is trained on is found, not a copy of it
                *(each.location for each in test if each.audio in files and each.start == 0 and each.end is None),
            ),
            tuple(recordings.examples[i].location for i in splits.train if trained[recordings.examples[i].digest] != i),
            tuple(recordings.examples[i].location for i in (*splits.train, *held_out) if by_text and not texts[i]),
            {} if by_text else dict(labels.most_common()),
            () if by_text else tuple(sorted({texts[i] or "" for i in held_out} - set(labels))),
        )

    def lines(self) -> list[str]:
        """Describe it for people."""
        parts = (
            f"{name} {self.counts[name]:,} recordings, {60 * hours:.1f} minutes" for name, hours in self.hours.items()
        )
        found = ["; ".join(parts)]
        rates = ", ".join(f"{count:,} at {rate:,} Hz" for rate, count in self.rates.items())
        channels = ", ".join(f"{count:,} with {number}" for number, count in self.channels.items())
        found.append(f"{rates}; channels: {channels}")
        low, median, high = self.seconds
        speed = f"; {self.characters_per_second:.1f} characters a second" if self.characters_per_second else ""
        found.append(f"training: {low:.2f} to {high:.2f} s, median {median:.2f} s{speed}")
        if self.narrow:
            lower = ", ".join(f"{rate:,}" for rate in sorted(self.rates) if rate < self.sample_rate)
            found.append(
                f"{self.narrow:,} recordings have a lower rate ({lower} Hz) than the {self.sample_rate:,} Hz of "
                "`data.sample_rate`: nothing is in their upper bands"
            )
        if self.clipped:
            found.append(f"{len(self.clipped):,} recordings are clipped: {_first_names(self.clipped)}")
        if self.labels:
            counts = [f"{label} {count:,}" for label, count in self.labels.items()]
            found.append(f"{len(counts):,} labels: {_first_names(counts)}")
        if self.new_labels:
            found.append(f"labels of the held-out parts that are not trained on: {_first_names(self.new_labels)}")
        for locations, what in (
            (self.empty_texts, "transcripts are empty"),
            (self.repeated, "training recordings repeat an earlier one"),
            (self.shared_recordings, "recordings that are held out are trained on, too"),
        ):
            if locations:
                found.append(f"{len(locations):,} {what}: {_first_names(locations)}")
        if self.shared_texts:
            found.append(f"{self.shared_texts:,} texts of the held-out parts are trained on, too")
        if self.shared_speakers:
            count, names = len(self.shared_speakers), _first_names(self.shared_speakers)
            found.append(f"{count:,} speakers of the held-out parts are trained on, too: {names}")
        found += [f"{outlier}: is the text the right one?" for outlier in self.outliers]
        named = list(self.faults.items())
        found += [f"left out: {where}: {fault}" for where, fault in named[:MAX_NAMED]]
        if len(named) > MAX_NAMED:
            found.append(f"left out: {len(named) - MAX_NAMED:,} more (all are in run.json)")
        return found

    def to_json(self) -> dict[str, Any]:
        """Describe it for run.json."""
        corpora = [{"split": "train", "kept": self.counts["train"], "split_off": self.counts.get("valid", 0)}]
        others = {name: value for name, value in vars(self).items() if name not in ("rates", "channels")}
        return {
            "corpora": corpora,
            "rates": list(self.rates.items()),
            "channels": list(self.channels.items()),
            **others,
        }


def _outliers(
    recordings: Recordings, part: Indices, seconds: NDArray[np.float64], lengths: NDArray[np.int64]
) -> list[str]:
    """Describe recordings with more than four times, or less than a quarter of, the median of characters a second."""
    rates = np.maximum(lengths, 1) / np.maximum(seconds, 0.1)
    median = np.median(rates)
    is_far = (lengths > 0) & ((rates > 4 * median) | (rates < median / 4)) & (abs(lengths - median * seconds) > 10)
    worst = np.flatnonzero(is_far)[np.argsort(-abs(np.log(rates[is_far] / median)), kind="stable")][:MAX_NAMED]
    return [
        f"{recordings.examples[part[i]].location}: {rates[i]:.1f} characters a second, the median is {median:.1f}"
        for i in worst
    ]
