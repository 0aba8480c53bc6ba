"""Small corpora of every kind of data, each with a training and a validation part, for the rows of the table."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from comparison.corpora import write_corpora as write_text_corpora
from transcription.conftest import RATE, write_corpus

CITY_PRICES = {"Aachen": 0, "Berlin": 200, "Köln": 50}


def write_corpora(folder: Path) -> None:
    """Write all corpora; validation parts are named `test_*` or `valid*`."""
    write_text_corpora(folder)
    for seed, (name, count) in enumerate((("train", 120), ("valid", 30))):
        rng = np.random.default_rng(seed)
        _write_table(folder / f"{name}.csv", count, rng)
        _write_series(folder / f"{name}_series.csv", count, rng)
        _write_images(folder / f"{name}.npz", count // 2, rng)
        write_corpus(folder / "words", name, count // 5, seed)
        _write_slides(folder / "slides", name, count // 4, rng)


def _write_table(path: Path, count: int, rng: np.random.Generator) -> None:
    """Write rows with the inputs `size`, `age`, `city`, and the targets `price`, `class`, `labels`."""
    rows = []
    for _ in range(count):
        size, age, city = rng.normal(100, 30), int(rng.integers(0, 50)), str(rng.choice(list(CITY_PRICES)))
        price = 3 * size - 2 * age + CITY_PRICES[city]
        labels = " ".join(name for name, is_true in (("large", size > 100), ("old", age > 25)) if is_true)
        rows.append([f"{size:.3f}", age, city, f"{price:.3f}", "dear" if price > 350 else "cheap", labels])
    _write_csv(path, ["size", "age", "city", "price", "class", "labels"], rows)


def _write_series(path: Path, count: int, rng: np.random.Generator) -> None:
    """Write a sine with noise, and its slope, as a series of numbers."""
    steps = np.arange(count) / 5
    values = np.sin(steps) + rng.normal(0, 0.05, count)
    _write_csv(path, ["value", "slope"], [[f"{v:.4f}", f"{np.cos(t):.4f}"] for v, t in zip(values, steps, strict=True)])


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _write_images(path: Path, count: int, rng: np.random.Generator) -> None:
    """Write images of noise; those of class 1 have a bright square."""
    pixels, classes = rng.normal(0, 1, (count, 6, 6)), rng.integers(0, 2, count)
    pixels[:, 2:4, 2:4] += 4 * classes[:, None, None]
    np.savez(path, x=pixels, y=classes)


def _write_slides(folder: Path, name: str, count: int, rng: np.random.Generator) -> None:
    """Write tones that rise or fall, and a list with their labels."""
    folder.mkdir(exist_ok=True)
    rows = []
    for number in range(count):
        time = np.arange(int(rng.uniform(0.3, 0.7) * RATE)) / RATE
        direction = 1 if number % 2 else -1
        phase = 2 * np.pi * (rng.uniform(1200, 1500) * time + direction * 750 * time**2)
        samples = 0.3 * np.sin(phase) + rng.normal(size=len(time)) * 0.01
        soundfile.write(folder / f"{name}_{number}.wav", samples, RATE)
        rows.append({"audio": f"{name}_{number}.wav", "text": "up" if direction > 0 else "down"})
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
