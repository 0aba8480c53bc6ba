"""Speech recognition and recording classification on a GPU: training, and results against the CPU."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import seqlab
from seqlab.models import (
    LinearEncoderConfig,
    ModelConfig,
    RecognizerConfig,
    RecordingLabelerConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.objectives import CtcConfig, SoftmaxConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICE = "cuda"
SAMPLE_RATE = 8000
FREQUENCIES = {"a": 440.0, "b": 900.0}
"""Frequency of the tone of each letter, in Hz."""
TRANSFORMER: dict[str, Any] = {"d_model": 32, "d_ff": 64, "num_heads": 2, "num_layers": 1}
RECURRENT: dict[str, Any] = {"hidden_size": 32, "num_layers": 1, "dropout": 0.2, "output_dropout": 0.2}
SMALL: dict[str, Any] = {"channels": (8, 8)}
SMALL_RECURRENT = SMALL | {"frame_size": 32}
RECOGNIZERS: dict[str, ModelConfig] = {
    "lstm": RecognizerConfig(encoder=RecurrentEncoderConfig(family="lstm", **RECURRENT), **SMALL_RECURRENT),
    "gru": RecognizerConfig(encoder=RecurrentEncoderConfig(family="gru", **RECURRENT), **SMALL_RECURRENT),
    "transformer": RecognizerConfig(
        encoder=TransformerEncoderConfig(**TRANSFORMER, attention_window=8, positions="rotary"), **SMALL
    ),
}
LABELERS: dict[str, ModelConfig] = {
    "cnn": RecordingLabelerConfig(
        encoder=LinearEncoderConfig(activation="relu", input_dropout=0.1),
        channels=(8, 8),
        depth=2,
        frame_size=32,
        frame_dropout=0.1,
    ),
    "lstm": RecordingLabelerConfig(encoder=RecurrentEncoderConfig(family="lstm", **RECURRENT), **SMALL_RECURRENT),
    "gru": RecordingLabelerConfig(encoder=RecurrentEncoderConfig(family="gru", **RECURRENT), **SMALL_RECURRENT),
    "transformer": RecordingLabelerConfig(encoder=TransformerEncoderConfig(**TRANSFORMER), **SMALL),
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Write 64 recordings of one to three tones and their manifest; the label is the first tone."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(64):
        text = "".join(rng.choice(list(FREQUENCIES), size=rng.integers(1, 4)))
        time = np.arange(SAMPLE_RATE // 6) / SAMPLE_RATE
        tones = [0.3 * np.sin(2 * np.pi * FREQUENCIES[letter] * time) * np.hanning(len(time)) for letter in text]
        samples = np.concatenate([part for tone in tones for part in (tone, np.zeros(SAMPLE_RATE // 30))])
        soundfile.write(tmp_path / f"{number}.wav", samples + rng.normal(size=len(samples)) * 0.003, SAMPLE_RATE)
        rows.append({"audio": f"{number}.wav", "text": text, "label": text[0]})
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "all.jsonl"


def config_of(data: Any, model: ModelConfig, objective: Any, precision: Any) -> Config:
    return Config(
        data=data,
        model=model,
        objective=objective,
        optim=OptimConfig(optimizer=AdamConfig(lr=5e-3), schedule=ConstantScheduleConfig(warmup_steps=5)),
        training=TrainingConfig(
            device=DEVICE, precision=precision, max_steps=60, log_every=20, save_every=30, valid_every=30
        ),
    )


def training_losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [line["loss"] for line in map(json.loads, lines) if line["kind"] == "train"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", RECOGNIZERS)
def test_recognizers_train_and_transcripts_equal_the_cpu(
    name: str, precision: str, manifest: Path, tmp_path: Path
) -> None:
    data = TranscriptionConfig(
        train=[str(manifest)],
        sample_rate=SAMPLE_RATE,
        num_bands=24,
        batch_seconds=8,
        augment_speed=0.1,
        augment_time_masks=1,
    )
    run = train(config_of(data, RECOGNIZERS[name], CtcConfig(), precision), tmp_path / "run")
    assert training_losses(run)[-1] < training_losses(run)[0] / 2
    paths = [manifest.parent / f"{number}.wav" for number in range(32)]
    on_gpu = seqlab.load(run, device=DEVICE, precision="fp32").transcribe_detailed(paths, times=True, beam_size=4)
    on_cpu = seqlab.load(run, device="cpu", precision="fp32").transcribe_detailed(paths, times=True, beam_size=4)
    same = [one for one, other in zip(on_gpu, on_cpu, strict=True) if one.text == other.text]
    assert len(same) >= 31  # rounding may decide between equally probable texts
    assert all(0 <= word.start < word.end <= one.duration for one in on_gpu for word in one.words)


@pytest.mark.parametrize("name", LABELERS)
def test_recording_labelers_train_and_probabilities_equal_the_cpu(name: str, manifest: Path, tmp_path: Path) -> None:
    data = RecordingLabelsConfig(
        train=[str(manifest)], text_column="label", sample_rate=SAMPLE_RATE, num_bands=24, batch_seconds=8
    )
    run = train(config_of(data, LABELERS[name], SoftmaxConfig(), "auto"), tmp_path / "run")
    assert training_losses(run)[-1] < training_losses(run)[0]
    paths = [manifest.parent / f"{number}.wav" for number in range(32)]
    on_gpu, on_cpu = (
        seqlab.load(run, device=device, precision="fp32").label_detailed(paths) for device in (DEVICE, "cpu")
    )
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert one.probs == pytest.approx(other.probs, abs=2e-3)
