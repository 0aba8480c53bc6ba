"""The training of a row: trained once per session, with a copy of the run folder at three checkpoints."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from contracts.corpora import write_corpora
from contracts.outside import outside_parts
from contracts.row import Row
from reference.shared import SharedFolder
from safetensors.torch import save_file
from torch import Tensor

from seqlab.runs.config import Config
from seqlab.training import train
from seqlab.training.state import TrainingRun

FINAL_STATE = "model_in_memory.safetensors"
"""Weights for inference at the end of training, and buffers, written beside the run."""


@dataclass(frozen=True)
class Trained:
    """A row with the folder of its training."""

    row: Row
    corpora: Path
    folder: Path

    @property
    def run(self) -> Path:
        """The finished run."""
        return self.folder / "run"

    def copy_at(self, step: int, destination: Path) -> Path:
        """Copy the run folder as it was after the checkpoint of a step."""
        return Path(shutil.copytree(self.folder / f"at_{step}", destination))

    def config(self, **changes: Any) -> Config:
        """Return the config of the training."""
        return self.row.config(self.corpora, **changes)

    def exact_config(self, **changes: Any) -> Config:
        """Return the config of a shorter training whose losses do not depend on random numbers."""
        return self.row.exact_config(self.corpora, **changes)


def train_once(row: Row, shared: SharedFolder) -> Trained:
    """Return the training of a row; the first caller of the session trains."""
    corpora = shared.build("corpora", write_corpora)
    name = row.name.replace(", ", "-").replace(" ", "_")

    def build(folder: Path) -> None:
        with outside_parts(row.plugin), copying_checkpoints(row, folder):
            train(row.config(corpora), folder / "run")

    return Trained(row, corpora, shared.build(f"row-{name}", build))


@contextmanager
def copying_checkpoints(row: Row, folder: Path) -> Iterator[None]:
    """Copy `folder/run` after each checkpoint to resume from, and write the weights in memory at the end."""
    save = TrainingRun.save

    def save_and_copy(run: TrainingRun, averaged: dict[str, Tensor] | None = None) -> None:
        save(run, averaged)
        step, world = run.progress.step, run.device_context.world
        if step in row.checkpoints:
            world.call_on_main(lambda: shutil.copytree(folder / "run", folder / f"at_{step}"))
        if (step == run.config.training.num_steps or row.is_count_based) and world.world_size == 1:
            save_file(averaged or run.inference_weights(), folder / FINAL_STATE)

    with patch.object(TrainingRun, "save", save_and_copy):
        yield
