"""A small corpus with one tone per letter, and configs of short training runs."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from reference.shared import SharedFolder

from seqlab.models import ModelConfig, RecognizerConfig, RecurrentEncoderConfig
from seqlab.objectives import CtcConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.training import train

RATE = 8000
LETTER_HZ = {"a": 440.0, "b": 900.0, "c": 1800.0}
LETTER_SECONDS, SPACE_SECONDS = 0.12, 0.15
TRAINED_MODEL = RecognizerConfig(
    encoder=RecurrentEncoderConfig(family="gru", hidden_size=64, dropout=0.0),
    frame_size=64,
    channels=(4, 8),
    upsampling=1,
)
"""Model of the fixture `trained`."""


def synthesize(text: str, rng: np.random.Generator) -> np.ndarray:
    """Return a text as tones with background noise: float32 (n,)."""
    return synthesize_with_times(text, rng)[0]


def synthesize_with_times(text: str, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return the samples of a text, and the start and end of each word in seconds."""
    parts, size = [], 0
    times = []

    def add(*waves: np.ndarray) -> None:
        nonlocal size
        parts.extend(waves)
        size += sum(map(len, waves))

    add(np.zeros(int(rng.uniform(0.05, 0.2) * RATE)))
    for index, word in enumerate(text.split(" ")):
        if index:
            add(np.zeros(int(SPACE_SECONDS * RATE)))
        start = size
        for letter in word:
            time = np.arange(int(rng.uniform(0.8, 1.2) * LETTER_SECONDS * RATE)) / RATE
            add(0.3 * np.sin(2 * np.pi * LETTER_HZ[letter] * time) * np.hanning(len(time)), np.zeros(RATE // 50))
        times.append((start / RATE, (size - RATE // 50) / RATE))
    samples = np.concatenate([*parts, np.zeros(RATE // 10)])
    return (samples + rng.normal(size=len(samples)) * 10 ** rng.uniform(-4.5, -2)).astype(np.float32), times


def draw_text(rng: np.random.Generator) -> str:
    words = ("".join(rng.choice(list(LETTER_HZ), size=rng.integers(1, 4))) for _ in range(rng.integers(1, 4)))
    return " ".join(words)


def write_corpus(folder: Path, name: str, count: int, seed: int, **columns: Any) -> str:
    """Write recordings and a manifest with further `columns`; return the path of the manifest."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            text = draw_text(rng)
            audio = f"{name}_{number:03}.wav"
            soundfile.write(folder / audio, synthesize(text, rng), RATE)
            record = {"audio": audio, "text": text.upper() + ".", "speaker": f"s{number % 3}"}
            file.write(json.dumps(record | {key: value[number % len(value)] for key, value in columns.items()}) + "\n")
    return str(folder / f"{name}.jsonl")


def tiny_config(train_manifest: str, model: ModelConfig | None = None, **options: Any) -> Config:
    """Return the config of a run that takes a few seconds."""
    training = {"max_steps": 24, "log_every": 3, "save_every": 4, "valid_every": 8}
    training |= {name: options.pop(name) for name in list(options) if name in training or name == "parallel"}
    data: dict[str, Any] = {"sample_rate": RATE, "num_bands": 24, "batch_seconds": 8, "micro_batch_seconds": 4}
    return Config(
        data=TranscriptionConfig(train=[train_manifest], **(data | options)),
        model=model
        or RecognizerConfig(
            encoder=RecurrentEncoderConfig(family="gru", hidden_size=32, dropout=0.1, output_dropout=0.1),
            frame_size=32,
            channels=(4, 8),
            upsampling=1,
        ),
        objective=CtcConfig(),
        optim=OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=ConstantScheduleConfig(warmup_steps=5)),
        training=TrainingConfig(device="cpu", precision="fp32", threads=1, **training),
    )


@pytest.fixture(scope="session")
def corpus(shared: SharedFolder) -> str:
    """Write 40 recordings of one to three words."""
    return str(shared.build("tones", lambda folder: write_corpus(folder, "train", 40, 1)) / "train.jsonl")


@pytest.fixture(scope="session")
def trained(shared: SharedFolder) -> Path:
    """Train a speech recognizer of tones until its word error rate is low."""

    def build(folder: Path) -> None:
        manifests = {
            name: write_corpus(folder, name, count, seed) for name, count, seed in (("train", 150, 2), ("valid", 20, 3))
        }
        steps = {"max_steps": 200, "log_every": 100, "save_every": 200, "valid_every": 200}
        options = {"augment_nonspeech": 0.2, "batch_seconds": 6, "micro_batch_seconds": 6, **steps}
        config = tiny_config(manifests["train"], TRAINED_MODEL, valid=manifests["valid"], **options)
        optim = replace(config.optim, schedule=LinearScheduleConfig(warmup_steps=5))
        train(replace(config, optim=optim), folder / "run")

    return shared.build("recognizer", build) / "run"


@pytest.fixture(autouse=True)
def _restore_torch_threads() -> Iterator[None]:
    """Restore the number of torch threads, which training changes."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
