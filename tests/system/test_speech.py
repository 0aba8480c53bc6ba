"""Training on synthetic speech on the command line: error rate on unseen voices, empty transcripts of non-speech.

The augmentation draws the non-speech sounds, with another seed than in training. Plucked strings do not occur in
training.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seqlab.audio.nonspeech import NONSPEECH_KINDS, draw_nonspeech
from seqlab.commands import INCOMPLETE
from seqlab.corpora import number_speech
from seqlab.models import RecognizerConfig, RecurrentEncoderConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config, write_config

from .conftest import run_command, run_in_process

pytestmark = pytest.mark.learning

NEEDS_ESPEAK = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: apt-get install espeak-ng"
)


def recipe_on_lists(folder: Path, name: str, lists: dict[str, Path], **training: int) -> Config:
    """Return the config of a recipe with other lists of recordings, without generating the data of the recipe."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "placeholder").write_text("", encoding="utf-8")  # the recipe keeps existing data
    config = RECIPES[name](folder)
    data = dataclasses.replace(
        config.data, train=[str(lists["train"])], valid=str(lists["valid"]), test=[str(lists["test"])]
    )
    training_config = dataclasses.replace(config.training, device="cpu", threads=1, **training)
    shutil.rmtree(folder)
    return dataclasses.replace(config, data=data, training=training_config)


SAMPLE_RATE = 8000
NUM_SOUNDS = 20
MIN_EMPTY = {"silence": 20, "noise": 15, "music": 12, "strings": 8}
"""Minimum number of empty transcripts of 20 sounds; this model has 20, 20, 19 and 10.

With `data.level: kept`, a model trained only on speech had 20, 9, 5 and 0. This one had 40 of 40 strings at -30 dB and
27 at -12 dB: it recognized them by their low level. It also left 23 of 30 phrases empty that were 20 dB quieter than
those of the training. With features of equal level, these counts are 22, 22 and 0."""


def plucked_strings(rng: np.random.Generator) -> np.ndarray:
    """Draw two seconds of a melody (Karplus & Strong 1983): float32 (n,)."""
    notes: list[np.ndarray] = []
    while sum(map(len, notes)) < 2 * SAMPLE_RATE:
        string = rng.normal(size=int(SAMPLE_RATE / (220 * 2 ** (rng.integers(25) / 12))))
        note = []
        for position in range(int(SAMPLE_RATE * rng.uniform(0.1, 0.4))):
            note.append(string[position % len(string)])
            string[position % len(string)] = (string[position % len(string)] + string[(position + 1) % len(string)]) / 2
        notes.append(np.array(note) * 0.1)
    return np.concatenate(notes)[: 2 * SAMPLE_RATE].astype(np.float32)


@NEEDS_ESPEAK
def test_trained_recognizer_reads_unseen_voices_and_leaves_nonspeech_empty(tmp_path: Path) -> None:
    """Train a recognizer on a small corpus for about a minute; check its character error rate on unseen voices."""
    lists = number_speech.write(tmp_path / "speech", num_phrases=number_speech.SMALL_NUM_PHRASES)
    config = recipe_on_lists(
        tmp_path / "recipe", "number_speech", lists, max_steps=250, save_every=125, valid_every=125
    )
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_seconds=20, augment_nonspeech=0.25, augment_time_masks=0),
        model=RecognizerConfig(
            encoder=RecurrentEncoderConfig(family="gru", num_layers=2, dropout=0.2, output_dropout=0.2),
            frame_size=256,
            channels=(16, 32),
            upsampling=1,
        ),
    )
    write_config(config, tmp_path / "config.yaml")
    run_command("train", tmp_path / "config.yaml", "--run_dir", tmp_path / "run")
    test = lists["test"]
    run_command("transcribe", tmp_path / "run", "--input", f"{test}#audio", "--output", tmp_path / "hypotheses.txt")
    done = run_command("evaluate", tmp_path / "hypotheses.txt", "--ref", f"{test}#text", "--metrics", "cer")
    error = float(done.stdout.decode().partition(" = ")[2].split()[0])
    print(f"seed {config.seed}, CER {error}")
    assert error < 60
    empty = {kind: count_empty(tmp_path / kind, tmp_path / "run", kind) for kind in (*NONSPEECH_KINDS, "strings")}
    print(empty)
    assert all(empty[kind] >= minimum for kind, minimum in MIN_EMPTY.items()), empty


def count_empty(folder: Path, run_dir: Path, kind: str) -> int:
    """Transcribe sounds without speech; return the number of empty transcripts."""
    rng = np.random.default_rng(5)
    folder.mkdir()
    paths = [folder / f"{number}.wav" for number in range(NUM_SOUNDS)]
    for path in paths:
        sound = plucked_strings(rng) if kind == "strings" else draw_nonspeech(2 * SAMPLE_RATE, SAMPLE_RATE, rng, kind)
        soundfile.write(path, sound, SAMPLE_RATE)
    status, done = run_in_process("transcribe", run_dir, *paths)
    assert status in (0, INCOMPLETE), done.stderr.decode()  # warnings of clipped or very quiet sounds
    lines = done.stdout.decode().split("\n")[:-1]
    assert len(lines) == NUM_SOUNDS
    return lines.count("")
