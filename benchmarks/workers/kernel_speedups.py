"""Worker that times training steps of a recipe with each CPU kernel and with plain PyTorch instead."""

import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

from benchmarks.records import Json
from seqlab.base.world import join_world
from seqlab.nn.kernels import TRAINING_KERNELS, reference_kernels
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.locked_folder import lock_run_folder
from seqlab.training.loop import train_step, training_steps
from seqlab.training.train import set_up_run


def run(job: Json) -> Json:
    """Measure all kernels in turns, every second repetition in the opposite order."""

    def config(run_dir: Path) -> Config:
        found = RECIPES[job["recipe"]](run_dir)
        training = replace(found.training, precision=job["dtype"], threads=job["threads"], device="cpu")
        return replace(found, training=training)

    with (
        tempfile.TemporaryDirectory() as folder,
        join_world() as world,
        lock_run_folder(RunFolder(Path(folder) / "run"), world) as held,
    ):
        training_run = set_up_run(config, held, (), world)
        training_run.model.train()
        data = list(islice(training_steps(training_run), job["steps"]))

        def time_steps(kernel: str | None) -> float:
            started = time.perf_counter()
            with nullcontext() if kernel is None else reference_kernels(kernel):
                for step in data:
                    train_step(training_run, step)
            return time.perf_counter() - started

        order: list[str | None] = [None, *TRAINING_KERNELS]
        for kernel in order:
            time_steps(kernel)
        ratios: dict[str, list[float]] = {kernel: [] for kernel in TRAINING_KERNELS}
        for number in range(job["repetitions"]):
            found = {kernel: time_steps(kernel) for kernel in (order if number % 2 == 0 else reversed(order))}
            for kernel in TRAINING_KERNELS:
                ratios[kernel].append(found[kernel] / found[None])
    return {"ratios": ratios}
