"""Label recordings with trained runs: the class that `seqlab.load` returns for labelers of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.audio.codec import RecordingCodec
from seqlab.audio.quality import LABEL_BACKGROUND_DB, has_sound
from seqlab.base.reading_notes import FIRST_READING_VERSION
from seqlab.data.batch import collate_values
from seqlab.data.targets import ClassTarget
from seqlab.inference.engine import length_batches
from seqlab.inference.recording_waveforms import (
    BATCH_SECONDS,
    TOO_SHORT,
    Waveform,
    read_waveforms,
    recording_name,
    silence_fault,
)
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.recording_labels.config import RECORDING_LABELER, RecordingLabelsConfig


@dataclass(frozen=True)
class LabeledRecording:
    """The label of a recording."""

    label: str
    """The most probable label; empty if the recording cannot be read."""
    probs: dict[str, float]
    """Probability of each label; empty if the recording cannot be read."""
    fault: str = ""
    """Reason why there is no label; empty if there is one."""
    warning: str = ""
    """Reason why the label may be wrong; empty if none is known."""


class RecordingsLabeler:
    """A labeler of recordings, or an ensemble with the same labels, which averages probabilities."""

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Move the models to a device; raises ValueError if their labels, sampling rates or channels differ."""
        self.target: ClassTarget = runs[0].codecs[1]
        self.sample_rate: int = runs[0].codecs[0].sample_rate
        self.channel = _channel(runs[0])
        for run in runs[1:]:
            is_same = run.codecs[1].values == self.target.values and run.codecs[0].sample_rate == self.sample_rate
            if not is_same or _channel(run) != self.channel:
                raise ValueError(
                    f"{runs[0].folder.path} and {run.folder.path} have different labels, sampling rates or channels: "
                    "they cannot form an ensemble."
                )
        self.runs, self.device = list(runs), device
        self.reading = min(run.reading for run in runs)
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        return f"RecordingsLabeler({self.runs}, {', '.join(self.target.values[:5])})"

    def label(self, recordings: Sequence[Any]) -> list[str]:
        """Return the label of each recording: a path, bytes, or a waveform with its sampling rate, `(samples, rate)`.

        Raises:
            ValueError: a recording cannot be read. `label_detailed` returns its `fault` instead.
        """
        results = self.label_detailed(recordings)
        for result in results:
            if result.fault:
                raise ValueError(result.fault)
        return [result.label for result in results]

    def label_detailed(
        self, recordings: Sequence[Any], *, batch_seconds: float = BATCH_SECONDS
    ) -> list[LabeledRecording]:
        """Label recordings; return labels and probabilities, or a `fault` for an unreadable recording.

        Args:
            recordings: as in `label`.
            batch_seconds: seconds of audio per batch, including padding; affects speed and memory, not the labels.
        """
        warnings: dict[int, str] = {}
        most = max(run.codecs[0].max_background_db(LABEL_BACKGROUND_DB) for run in self.runs)
        waveforms = read_waveforms(recordings, self.sample_rate, self.reading, warnings, self.channel, most)
        results = iter(
            self.label_waveforms([waveform for waveform in waveforms if not isinstance(waveform, str)], batch_seconds)
        )
        labeled = [
            LabeledRecording("", {}, waveform) if isinstance(waveform, str) else next(results) for waveform in waveforms
        ]
        return [
            replace(result, fault=f"{recording_name(recording, index)}: {result.fault}.")
            if result.fault and not isinstance(waveform, str)
            else replace(result, warning=warnings.get(index, ""))
            for index, (recording, waveform, result) in enumerate(zip(recordings, waveforms, labeled, strict=True))
        ]

    def label_waveforms(
        self, waveforms: Sequence[Waveform], batch_seconds: float = BATCH_SECONDS
    ) -> list[LabeledRecording]:
        """Label waveforms (n,) at the sampling rate of the runs."""
        probs = np.zeros((len(waveforms), self.target.size))
        labels_silence = self.reading == FIRST_READING_VERSION
        faults = ["" if labels_silence or has_sound(waveform) else silence_fault(waveform) for waveform in waveforms]
        for run in self.runs:
            codec: RecordingCodec = run.codecs[0]
            counts = np.array([codec.num_frames(len(waveform)) for waveform in waveforms])
            faults = [fault if count else TOO_SHORT for fault, count in zip(faults, counts, strict=True)]
            long_enough = np.flatnonzero(counts)
            for positions in length_batches(counts[long_enough].tolist(), codec.frames_in(batch_seconds)):
                rows = long_enough[positions]
                probs[rows] += self._probs(run, [waveforms[i] for i in rows]) / len(self.runs)
        return [
            LabeledRecording("", {}, fault) if fault else self._most_probable(row)
            for row, fault in zip(probs, faults, strict=True)
        ]

    @torch.inference_mode()
    def _probs(self, run: LoadedRun, waveforms: Sequence[Waveform]) -> NDArray[np.float64]:
        """Compute the label probabilities (N, L) of a batch under one run."""
        frames = [run.codecs[0].frames(waveform).numpy() for waveform in waveforms]
        batch = collate_values(frames, None, range(len(frames))).to(self.device)
        probs: NDArray[np.float64] = run.model(batch).double().softmax(1).cpu().numpy()
        return probs

    def _most_probable(self, probs: NDArray[np.float64]) -> LabeledRecording:
        """Choose the most probable label, given probabilities (L,)."""
        by_name = dict(zip(self.target.values, probs.tolist(), strict=True))
        return LabeledRecording(self.target.values[int(probs.argmax())], by_name)


def _channel(run: LoadedRun) -> str:
    """Return the channel that a run reads unless a recording names one."""
    assert isinstance(run.config.data, RecordingLabelsConfig)
    return run.config.data.channel


def load_recording_labeler(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> RecordingsLabeler:
    """Load a labeler of recordings; several runs or checkpoints form an ensemble.

    Args:
        run: a run folder, or several with the same labels.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available, else the CPU.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto` (bf16 if the device supports it).

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the run is not a labeler of recordings, is damaged or has another format version; labels differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen_device = choose_device(device)
    members = [load_run(path, step, model_noun=RECORDING_LABELER) for path in runs for step in checkpoints]
    return RecordingsLabeler(members, chosen_device, choose_dtype(precision, chosen_device))
