"""Recordings in, labels out: what `seqlab.load` gives for a labeller of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.audio.codec import RecordingCodec
from seqlab.data.batch import collate_values
from seqlab.data.targets import ClassTarget
from seqlab.inference.engine import length_batches
from seqlab.inference.recordings import BATCH_SECONDS, TOO_SHORT, Waveform, read_waveforms, recording_name
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.recording_labels.config import RECORDING_LABELLER


@dataclass(frozen=True)
class LabelledRecording:
    """The label of a recording."""

    label: str
    """The likeliest; empty where the recording cannot be read."""
    probs: dict[str, float]
    """The probability of each label; none where the recording cannot be read."""
    fault: str = ""
    """Why there is no label; empty where there is one."""


class RecordingsLabeller:
    """Models with the same labels, which decide by the mean of their probabilities."""

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Prepare models; raises ValueError where their labels or sampling rates differ."""
        self.target: ClassTarget = runs[0].codecs[1]
        self.sample_rate: int = runs[0].codecs[0].sample_rate
        for run in runs[1:]:
            if run.codecs[1].values != self.target.values or run.codecs[0].sample_rate != self.sample_rate:
                raise ValueError(
                    f"{runs[0].folder.path} and {run.folder.path} have different labels or sampling rates, so that "
                    "they cannot decide together."
                )
        self.runs, self.device = list(runs), device
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        return f"RecordingsLabeller({self.runs}, {', '.join(self.target.values[:5])})"

    def label(self, recordings: Sequence[Any]) -> list[str]:
        """Label recordings: paths, bytes, or waveforms with their rates, `(samples, rate)`.

        Raises:
            ValueError: a recording cannot be read; `label_detailed` has its `fault` instead.
        """
        found = self.label_detailed(recordings)
        for each in found:
            if each.fault:
                raise ValueError(each.fault)
        return [each.label for each in found]

    def label_detailed(
        self, recordings: Sequence[Any], *, batch_seconds: float = BATCH_SECONDS
    ) -> list[LabelledRecording]:
        """Label recordings, as `label`; what is wrong with one is its `fault`.

        `batch_seconds`: seconds of sound, padding counted, computed together: speed and memory, never the answer.
        """
        read = read_waveforms(recordings, self.sample_rate)
        found = iter(self.label_waveforms([each for each in read if not isinstance(each, str)], batch_seconds))
        labelled = [LabelledRecording("", {}, each) if isinstance(each, str) else next(found) for each in read]
        return [
            replace(each, fault=f"{recording_name(recording, place)}: {TOO_SHORT}.")
            if each.fault == TOO_SHORT
            else each
            for place, (recording, each) in enumerate(zip(recordings, labelled, strict=True))
        ]

    def label_waveforms(
        self, waveforms: Sequence[Waveform], batch_seconds: float = BATCH_SECONDS
    ) -> list[LabelledRecording]:
        """Label waveforms (n,) at the rate of the runs."""
        probs = np.zeros((len(waveforms), self.target.size))
        is_long_enough = np.ones(len(waveforms), bool)
        for run in self.runs:
            codec: RecordingCodec = run.codecs[0]
            counts = np.array([codec.num_frames(len(each)) for each in waveforms])
            is_long_enough &= counts > 0
            heard = np.flatnonzero(counts)
            for places in length_batches(counts[heard].tolist(), codec.frames_in(batch_seconds)):
                rows = heard[places]
                probs[rows] += self._probs(run, [waveforms[i] for i in rows]) / len(self.runs)
        return [
            self._labelled(row) if is_long else LabelledRecording("", {}, TOO_SHORT)
            for row, is_long in zip(probs, is_long_enough, strict=True)
        ]

    @torch.inference_mode()
    def _probs(self, run: LoadedRun, waveforms: Sequence[Waveform]) -> NDArray[np.float64]:
        frames = [run.codecs[0].frames(each).numpy() for each in waveforms]
        batch = collate_values(frames, None, range(len(frames))).to(self.device)
        probs: NDArray[np.float64] = run.model(batch).double().softmax(1).cpu().numpy()
        return probs

    def _labelled(self, probs: NDArray[np.float64]) -> LabelledRecording:
        by_name = dict(zip(self.target.values, probs.tolist(), strict=True))
        return LabelledRecording(self.target.values[int(probs.argmax())], by_name)


def load_recording_labeller(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> RecordingsLabeller:
    """Load a run that labels recordings; several runs or checkpoints become an ensemble.

    Args:
        run: a run folder, or several with the same labels.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto`: bf16 where the device computes in it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no such run, is damaged or has another format version; labels differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    members = [load_run(path, step, product=RECORDING_LABELLER) for path in runs for step in checkpoints]
    return RecordingsLabeller(members, chosen, choose_dtype(precision, chosen))
