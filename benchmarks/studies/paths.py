"""Study of straight paths between trained weights: from small to large batches, and between two seeds.

The runs are those of the study of sharpness, which are trained if they do not exist.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from benchmarks.studies.loss_surface import (
    Condition,
    SurfaceTask,
    interval,
    open_learner,
    train_to_goal,
)
from benchmarks.studies.study import Study, table
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import two_samples
from seqlab.diagnosis.slices import Path, interpolate
from seqlab.runs.load import load_run, named_buffers, named_weights

POINTS = 21

End = tuple[Condition, int]
"""Condition and seed of a run."""


def run(task: SurfaceTask, folder: FilePath, quick: bool) -> Study:
    """Compute the paths of all seeds."""
    runs, rows, panels = folder.parent / f"sharpness_{task.name}", [], {}
    kinds: dict[str, list[tuple[End, End]]] = {
        "small to large batch": [((task.small, seed), (task.large, seed)) for seed in task.seeds],
        "seed to seed": [((task.small, a), (task.small, b)) for a, b in pairwise(task.seeds)],
    }
    for kind, ends in kinds.items():
        paths = [path_between(task, runs, start, end, 3 if quick else POINTS) for start, end in ends]
        train, valid = ([path[split] for path in paths] for split in ("train", "valid"))
        cells = [
            interval([path.relative_distance for path in train]),
            interval([path.barrier for path in train]),
            interval([path.barrier for path in valid]),
        ]
        rows.append([kind, len(paths), *cells])
        panels[f"{task.name}, {kind}"] = {"training rows": _mean(train), "validation rows": _mean(valid)}
    header = ["distance / norm of the weights", "barrier, training rows", "barrier, validation rows"]
    curves = {"title": "Loss on the straight line between two runs", "x": "position", "y": "loss", "log": ["y"]}
    return Study([table(["path", "number", *header], rows)], curves | {"panels": panels})


def path_between(task: SurfaceTask, runs: FilePath, start: End, end: End, points: int) -> dict[str, Path]:
    """Compute the losses of training and validation rows between two runs."""
    first, second = (train_to_goal(task, runs, *each)[0] for each in (start, end))
    other = load_run(second, checkpoint="last").model
    weights = named_weights(other) | named_buffers(other)
    with open_learner(first) as learner:
        samples = {"train": learner.bench.train_rows, "valid": learner.bench.valid_rows}
        losses = {split: MeanLoss(learner, two_samples(rows, task.rows)[0]) for split, rows in samples.items()}
        return {split: interpolate(learner, weights, loss, points) for split, loss in losses.items()}


def _mean(paths: Sequence[Path]) -> dict[str, Any]:
    means = np.mean([path.losses for path in paths], axis=0)
    return {"x": [round(x, 3) for x in paths[0].positions], "y": [round(float(y), 4) for y in means]}
