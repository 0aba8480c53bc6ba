"""Out-of-fold losses: the loss of each training row by models that were trained on other rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import DivisibleBatch
from seqlab.diagnosis.workbench import Workbench, select_rows

NUM_FOLDS = 3
NUM_STEPS = 200


@dataclass(frozen=True)
class FoldLosses:
    """Mean loss of each row, in nats per unit of the objective."""

    indices: NDArray[np.int64]
    """(N,): index of each row, by which the task locates it."""
    losses: NDArray[np.float64]
    """(N,)."""

    def highest(self, count: int) -> list[tuple[int, float]]:
        """Return the indices and losses of the rows with the highest losses."""
        order = np.argsort(-self.losses, kind="stable")[:count]
        return [(int(self.indices[row]), float(self.losses[row])) for row in order]


def out_of_fold_losses(
    bench: Workbench,
    num_folds: int = NUM_FOLDS,
    num_steps: int = NUM_STEPS,
    on_fold: Callable[[int], None] = lambda fold: None,
) -> FoldLosses:
    """Train from the start on all folds but one, compute the losses of its rows, and do so for each fold.

    Args:
        bench: the run; of a large training split, it has blocks of rows.
        num_folds: number of folds.
        num_steps: number of steps of each training.
        on_fold: receives the number of each fold, from 1, before its training.

    Raises:
        ValueError: there are too few folds, steps or rows.
        LeftOut: the model is estimated by counting, or the rows cannot be divided.
        NonFiniteUpdate: a training diverges.
    """
    bench.refuse_count_based()
    rows = _single_rows(bench.train_rows)
    for name, value, minimum in (("folds", num_folds, 2), ("steps", num_steps, 1)):
        if value < minimum:
            raise ValueError(f"`{name}` must be at least {minimum}, but is {value} instead.")
    if len(rows) < 2 * num_folds:
        raise ValueError(f"{len(rows)} training rows are too few for {num_folds} folds.")
    folds = np.random.default_rng(bench.config.seed).permutation(len(rows)) % num_folds
    losses = np.zeros(len(rows))
    for fold in range(num_folds):
        on_fold(fold + 1)
        learner = bench.learner()
        learner.train(select_rows(bench.train_rows, folds != fold), num_steps)
        numbers = np.flatnonzero(folds == fold)
        row_losses = learner.losses([rows[number] for number in numbers.tolist()])
        losses[numbers] = row_losses.totals / np.maximum(1.0, row_losses.counts)
    return FoldLosses(np.array([int(row.indices[0]) for row in rows], np.int64), losses)


def _single_rows(batches: Sequence[DivisibleBatch]) -> list[DivisibleBatch]:
    """Divide batches into batches of one row."""
    return [batch.select(torch.tensor([row])) for batch in batches for row in range(len(batch.indices))]
