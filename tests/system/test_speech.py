"""Synthetic speech is learnt through the real command line, and recognised in voices that training has not heard."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from seqlab.corpora import number_speech
from seqlab.models import GruRecogniserConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config, write_config

from .conftest import seqlab

NEEDS_ESPEAK = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: apt-get install espeak-ng"
)


def on(folder: Path, name: str, lists: dict[str, Path], **training: int) -> Config:
    """Return a recipe on other lists, without what it would generate."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "there").write_text("", encoding="utf-8")
    config = RECIPES[name](folder)
    data = dataclasses.replace(
        config.data, train=[str(lists["train"])], valid=str(lists["valid"]), test=[str(lists["test"])]
    )
    changed = dataclasses.replace(config.training, device="cpu", threads=1, **training)
    shutil.rmtree(folder)
    return dataclasses.replace(config, data=data, training=changed)


@NEEDS_ESPEAK
def test_numbers_spoken_by_espeak(tmp_path: Path) -> None:
    """A minute: a small part of the corpus, for as many steps as learn most of it."""
    lists = number_speech.write(tmp_path / "speech", num_phrases=number_speech.SMALL_NUM_PHRASES)
    config = on(tmp_path / "recipe", "number_speech", lists, max_steps=250, save_every=125, valid_every=125)
    config = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_seconds=20, augment_nonspeech=0.0, augment_time_masks=0),
        model=GruRecogniserConfig(hidden_size=256, num_layers=2, channels=(16, 32), dropout=0.2, upsampling=1),
    )
    write_config(config, tmp_path / "config.yaml")
    seqlab("train", tmp_path / "config.yaml", "--run_dir", tmp_path / "run")
    test = lists["test"]
    seqlab("transcribe", tmp_path / "run", "--input", f"{test}#audio", "--output", tmp_path / "found.txt")
    done = seqlab("evaluate", tmp_path / "found.txt", "--ref", f"{test}#text", "--metrics", "cer")
    error = float(done.stdout.decode().partition(" = ")[2].split()[0])
    print(f"seed {config.seed}, CER {error}")
    assert error < 60
