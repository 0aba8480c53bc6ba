"""Training metrics: means over the units of several steps and micro-steps."""

from dataclasses import replace

import pytest
import torch
from reference.tiny_models import make_batch, make_model
from torch import nn

from seqlab.base.parsing import validate_type
from seqlab.data.batch import Seq2SeqBatch
from seqlab.data.step import Position, TrainingStep
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, Loss, StepContext
from seqlab.optim import Parameters, SgdConfig
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.training_metrics import TrainingMetrics
from seqlab.training.update import update

DEVICE_CONTEXT = DeviceContext(torch.device("cpu"), torch.float32)
SGD = SgdConfig(lr=0.05)


class LogInSomeSteps:
    """Cross entropy that logs `rare`, its number of tokens, only for batches with few rows."""

    def __call__(self, model: nn.Module, batch: Seq2SeqBatch, context: StepContext) -> Loss:
        loss = CrossEntropy(CrossEntropyConfig())(model, batch, context)
        return replace(loss, logs=loss.logs | ({"rare": loss.count} if len(batch.indices) < 3 else {}))


def test_a_log_is_divided_by_the_units_of_the_micro_steps_that_have_it() -> None:
    accumulator = Accumulator(make_model(), LogInSomeSteps(), DEVICE_CONTEXT, 1)
    small, large = make_batch([(3, 4), (2, 2)], seed=0), make_batch([(3, 9), (2, 2), (5, 6)], seed=1)
    metrics, optimizer = TrainingMetrics(), SGD.build(Parameters(accumulator.parameters))
    total = 0.0
    for batches in ([large], [small, large], [large]):
        done = update(accumulator, optimizer, batches, StepContext(0), 0.05, 0.5)
        metrics.add(TrainingStep(Position(0, 0, 0), 0.0, batches), done, 0.05)
        total += done.total
    values = metrics.per_unit()
    assert values["rare"] == 1.0
    assert metrics.log_counts == {"nll": 68.0, "rare": 8.0}
    assert values["loss"] == pytest.approx(total / 68)


def test_metrics_of_a_checkpoint_of_an_older_version_keep_their_one_count() -> None:
    stored = {"total": 6.0, "count": 4.0, "logs": {"nll": 5.0}, "steps": 2, "grad_norm": 1.0}
    metrics = validate_type(stored, TrainingMetrics)
    assert (metrics.log_counts, metrics.per_unit()["nll"]) == ({"nll": 4.0}, 1.25)


def test_steps_without_targets_do_not_change_the_mean_loss() -> None:
    accumulator = Accumulator(make_model(), CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
    batch = make_batch([(3, 4), (2, 2)], seed=0)
    metrics, optimizer = TrainingMetrics(), SGD.build(Parameters(accumulator.parameters))
    losses = []
    for each in (batch, batch.without_targets()):
        metrics.add(
            TrainingStep(Position(0, 0, 0), 0.0, [each]),
            update(accumulator, optimizer, [each], StepContext(0), 0.0, None),
            0.0,
        )
        losses.append(metrics.per_unit()["loss"])
    assert losses[0] == losses[1]
