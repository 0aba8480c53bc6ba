"""The mean loss of fixed rows for any module and function, without a run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import ValueBatch
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.objectives import Loss, StepContext


def fixed_loss(
    model: nn.Module, inputs: Tensor, targets: Tensor, function: Callable[[Tensor, Tensor], Tensor], **options: Any
) -> MeanLoss:
    """Return the mean of `function(outputs, targets)` over rows, in fp64: inputs (N, D), targets (N, ...) -> (N,)."""

    def objective(model: nn.Module, batch: ValueBatch, context: StepContext) -> Loss:
        losses = function(model(batch.src), batch.targets)
        return Loss(losses.sum(), torch.tensor(float(len(losses))))

    model.double()
    learner: Any = SimpleNamespace(
        model=model,
        objective=objective,
        config=SimpleNamespace(seed=1, model=SimpleNamespace(family="test")),
        bench=SimpleNamespace(context=StepContext(0), device_context=SimpleNamespace(device=torch.device("cpu"))),
        accumulator=SimpleNamespace(trained_row_masks=[]),
    )
    rows = torch.arange(len(inputs))
    return MeanLoss(learner, [ValueBatch(inputs, torch.ones_like(rows), targets, rows, len(rows))], **options)
