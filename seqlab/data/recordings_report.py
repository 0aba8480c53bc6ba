"""Report of the recordings of a run before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.folders import MAX_NAMED
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recording_splits import Indices, RecordingSplits, speaker_of
from seqlab.data.recordings import Recordings

MIN_CLIPPED_SHARE = 0.001
"""Share of samples at full scale above which a recording counts as clipped."""


@dataclass(frozen=True)
class RecordingsReport:
    """Report of the recordings of a run before training."""

    hours: dict[str, float]
    """Total duration of each split."""
    counts: dict[str, int]
    """Number of recordings of each split."""
    rates: dict[int, int]
    """Sample rate of files -> number of recordings."""
    channels: dict[int, int]
    """Number of channels of files -> number of recordings."""
    seconds: tuple[float, float, float]
    """Minimum, median and maximum duration of training recordings."""
    characters_per_second: float
    """Mean characters per second of the training transcripts; 0 for labels."""
    clipped: tuple[str, ...]
    """Locations of clipped recordings."""
    narrow: int
    """Number of recordings with a lower sample rate than `data.sample_rate`."""
    sample_rate: int
    shared_texts: int
    """Number of texts in both a held-out split and the training split; 0 for labels."""
    shared_speakers: tuple[str, ...]
    """Speakers in both a held-out split and the training split."""
    faults: dict[str, str]
    """Reason for leaving out a recording, by its location."""
    outliers: tuple[str, ...] = field(default=())
    """Descriptions of recordings with an unusual ratio of text length to duration."""
    shared_recordings: tuple[str, ...] = field(default=())
    """Locations of held-out recordings with the same samples (in `data.test`: the same file) as training recordings."""
    repeated: tuple[str, ...] = field(default=())
    """Locations of training recordings with the same samples as an earlier training recording."""
    contradictory: tuple[str, ...] = field(default=())
    """Locations of those of `repeated` whose text is another one."""
    empty_texts: tuple[str, ...] = field(default=())
    """Locations of transcripts that are empty after normalization."""
    labels: dict[str, int] = field(default_factory=dict)
    """Label -> number of training recordings, the most frequent first; empty for transcripts."""
    new_labels: tuple[str, ...] = field(default=())
    """Labels of the held-out splits that are not in the training split."""
    held_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Locations of the recordings of `data.train` that were held out for validation or in the test fold, by split."""

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
        """Create the report of splits; `test` are the entries of `data.test`, with normalized texts."""
        parts: dict[str, Indices] = {"train": splits.train, "valid": splits.valid, "test": splits.test}
        seconds = np.array([recordings.seconds(i) for i in splits.train])
        lengths = np.array([len(texts[i] or "") for i in splits.train])
        held_out = np.concatenate([splits.valid, splits.test])
        known = [recordings.examples[i] for part in parts.values() for i in part]
        speakers = [{speaker_of(recordings.examples[i].columns) for i in part} for part in (splits.train, held_out)]
        speakers[1] |= {speaker_of(entry.columns) for entry in test}
        trained: dict[str, int] = {}
        for i in splits.train.tolist():
            trained.setdefault(recordings.examples[i].digest, i)
        repeated = {i: first for i in splits.train if (first := trained[recordings.examples[i].digest]) != i}
        files = {recordings.examples[i].audio for i in splits.train}
        labels = Counter(texts[i] or "" for i in splits.train)
        both: set[str | None] = set()
        if by_text:
            both = {texts[i] for i in splits.train} & {*(texts[i] for i in held_out), *(entry.text for entry in test)}
        return cls(
            {name: sum(recordings.seconds(i) for i in part) / 3600 for name, part in parts.items() if len(part)},
            {name: len(part) for name, part in parts.items() if len(part)},
            dict(Counter(example.source_rate for example in known).most_common()),
            dict(Counter(example.channels for example in known).most_common()),
            (float(seconds.min()), float(np.median(seconds)), float(seconds.max())),
            float(lengths.sum() / seconds.sum()) if by_text else 0.0,
            tuple(example.location for example in known if example.clipped > MIN_CLIPPED_SHARE),
            sum(example.source_rate < recordings.sample_rate for example in known),
            recordings.sample_rate,
            len(both - {""}),
            tuple(sorted((speakers[0] & speakers[1]) - {""})),
            {recordings.examples[i].location: fault for i, fault in splits.faults.items()},
            tuple(_outliers(recordings, splits.train, seconds, lengths)) if by_text else (),
            (
                *(recordings.examples[i].location for i in held_out if recordings.examples[i].digest in trained),
                # test recordings are not decoded: only equal paths are found, no copies
                *(entry.location for entry in test if entry.audio in files and entry.start == 0 and entry.end is None),
            ),
            tuple(recordings.examples[i].location for i in repeated),
            tuple(recordings.examples[i].location for i in repeated if texts[i] != texts[repeated[i]]),
            tuple(recordings.examples[i].location for i in (*splits.train, *held_out) if by_text and not texts[i]),
            {} if by_text else dict(labels.most_common()),
            () if by_text else tuple(sorted({texts[i] or "" for i in held_out} - set(labels))),
            {
                name: tuple(recordings.examples[i].location for i in part if recordings.examples[i].field == "train")
                for name, part in (("valid", splits.valid), ("test", splits.test))
            },
        )

    def lines(self) -> list[str]:
        """Render the report as lines of text."""
        parts = (
            f"{name} {self.counts[name]:,} recordings, {60 * hours:.1f} minutes" for name, hours in self.hours.items()
        )
        lines = ["; ".join(parts)]
        rates = ", ".join(f"{count:,} at {rate:,} Hz" for rate, count in self.rates.items())
        channels = ", ".join(f"{count:,} with {number}" for number, count in self.channels.items())
        lines.append(f"{rates}; channels: {channels}")
        low, median, high = self.seconds
        speed = f"; {self.characters_per_second:.1f} characters per second" if self.characters_per_second else ""
        lines.append(f"training: {low:.2f} to {high:.2f} s, median {median:.2f} s{speed}")
        if self.narrow:
            lower = ", ".join(f"{rate:,}" for rate in sorted(self.rates) if rate < self.sample_rate)
            lines.append(
                f"{self.narrow:,} recordings have a lower sample rate ({lower} Hz) than `data.sample_rate` "
                f"({self.sample_rate:,} Hz): their upper bands are empty"
            )
        if self.clipped:
            lines.append(f"{len(self.clipped):,} recordings are clipped: {_first_names(self.clipped)}")
        if self.labels:
            counts = [f"{label} {count:,}" for label, count in self.labels.items()]
            lines.append(f"{len(counts):,} labels: {_first_names(counts)}")
        if self.new_labels:
            names = _first_names(self.new_labels)
            lines.append(f"labels of held-out splits that are not in the training split: {names}")
        for locations, finding in (
            (self.empty_texts, "transcripts are empty"),
            (self.repeated, "training recordings repeat an earlier one"),
            (self.contradictory, "training recordings repeat an earlier one with another text"),
            (self.shared_recordings, "held-out recordings are also in the training split"),
        ):
            if locations:
                lines.append(f"{len(locations):,} {finding}: {_first_names(locations)}")
        if self.shared_texts:
            lines.append(f"{self.shared_texts:,} texts of the held-out splits are also in the training split")
        if self.shared_speakers:
            count, names = len(self.shared_speakers), _first_names(self.shared_speakers)
            lines.append(
                f"{count:,} speakers of the held-out splits are also in the training split: {names}; "
                "for scores of new speakers, set `data.folds: grouped` and `data.fold_column` to their column"
            )
        lines += [f"{outlier}: is its text correct?" for outlier in self.outliers]
        named = list(self.faults.items())
        lines += [f"left out: {location}: {fault}" for location, fault in named[:MAX_NAMED]]
        if len(named) > MAX_NAMED:
            lines.append(f"left out: {len(named) - MAX_NAMED:,} more (all are in run.json)")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Convert the report to JSON values for run.json."""
        corpora = [{"split": "train", "kept": self.counts["train"], "split_off": self.counts.get("valid", 0)}]
        values = {name: value for name, value in vars(self).items() if name not in ("rates", "channels")}
        return {
            "corpora": corpora,
            "rates": list(self.rates.items()),
            "channels": list(self.channels.items()),
            **values,
        }


def _outliers(
    recordings: Recordings, part: Indices, seconds: NDArray[np.float64], lengths: NDArray[np.int64]
) -> list[str]:
    """Describe recordings with more than four times, or less than a quarter of, the median characters per second."""
    rates = np.maximum(lengths, 1) / np.maximum(seconds, 0.1)
    median = np.median(rates)
    is_far = (lengths > 0) & ((rates > 4 * median) | (rates < median / 4)) & (abs(lengths - median * seconds) > 10)
    worst = np.flatnonzero(is_far)[np.argsort(-abs(np.log(rates[is_far] / median)), kind="stable")][:MAX_NAMED]
    return [
        f"{recordings.examples[part[i]].location}: {rates[i]:.1f} characters per second, the median is {median:.1f}"
        for i in worst
    ]


def _first_names(names: Sequence[str]) -> str:
    """Join at most `MAX_NAMED` names, with "..." if there are more."""
    return ", ".join(names[:MAX_NAMED]) + (", ..." if len(names) > MAX_NAMED else "")
