"""Second derivatives of each model family and objective, compared with finite differences of gradients in fp64."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts.trained import Trained
from torch import Tensor

from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.workbench import open_run, sample_rows
from seqlab.nn import reference_kernels
from seqlab.objectives.loss import CollectingObjective
from seqlab.registry import Parts

STEP = 1e-6
"""Length of the step of a finite difference, below the distance to almost all kinks of ReLU and maxima."""


def keep_fp64(x: Tensor) -> Tensor:
    """Convert to fp32, except from fp64."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def in_fp64(batch: Any) -> Any:
    """Convert the numbers of a batch to fp64."""
    values = ((item.name, getattr(batch, item.name)) for item in fields(batch))
    return replace(batch, **{k: v.double() for k, v in values if isinstance(v, Tensor) and v.is_floating_point()})


@pytest.mark.rows(lambda row: not row.is_count_based and row.data["kind"] not in ("control", "similarity"))
def test_hessian_products_equal_finite_differences_of_gradients(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objectives that train on samples have no fixed loss: their models are tested with the default objective.

    Agents have no other objective, and the model of `similarity` has a layer without second derivatives.
    """
    monkeypatch.setattr(torch.Tensor, "float", keep_fp64)
    bench = open_run(trained.run, tmp_path)
    learner = bench.learner(weights=bench.weights)
    if isinstance(learner.objective, CollectingObjective):
        objective = Parts("objective")[bench.config.model.default_objective]()
        learner = bench.learner(replace(bench.config, objective=objective), bench.weights)
    learner.model.double()
    with reference_kernels():  # fast kernels compute in fp32
        loss = MeanLoss(learner, [in_fp64(batch) for batch in sample_rows(bench.train_rows, 4)], rows_per_pass=4)
        direction = torch.randn(loss.num_weights, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        direction /= direction.norm()
        found, gradients = loss.hessian_product(direction), []
        for sign in (1, -1):
            with loss.moved(sign * STEP * direction):
                gradients.append(loss.gradient()[0])
    expected = (gradients[0] - gradients[1]) / (2 * STEP)
    assert float((found - expected).norm()) <= 1e-5 * float(expected.norm()) + 1e-9
