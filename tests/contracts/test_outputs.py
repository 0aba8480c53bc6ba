"""Contracts of trained models, for each row of the table: validation, loading, batches and gradients."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from contracts.answers import answer
from contracts.trained import FINAL_STATE, Trained
from reference.tiny_runs import comparable_metrics
from safetensors.torch import load_file

from seqlab.base.world import World
from seqlab.objectives import ModelFactory, StepContext, TextSide
from seqlab.reports.curves import read_curves
from seqlab.runs.load import load_run, named_buffers, named_weights


@pytest.mark.rows(lambda row: row.model["family"] != "transformer_mlm")  # it has no inference command
def test_a_loaded_run_gives_the_metrics_of_validation_and_the_same_answers_alone(trained: Trained) -> None:
    """One example at a time, outputs and scores equal those of a batch: bitwise, or within the row's tolerance."""
    answers, best_step = answer(trained), load_run(trained.run).step
    [validation] = [line for line in comparable_metrics(trained.run, ["valid"]) if line["step"] == best_step]
    assert answers.metrics
    for name, value in answers.metrics.items():
        assert value == pytest.approx(validation[name], rel=1e-5, abs=1e-6), name
    assert len(answers.together) == len(answers.alone) > 0
    together, alone = (list(values_within(outputs)) for outputs in (answers.together, answers.alone))
    assert len(together) == len(alone)
    for value, other in zip(together, alone, strict=True):
        if isinstance(value, float) and trained.row.invariance:
            assert value == pytest.approx(other, rel=trained.row.invariance, abs=trained.row.invariance)
        else:
            assert value == other or (value != value and other != other)


def test_the_curves_have_the_validation_metric(trained: Trained) -> None:
    expected = {f"validation {trained.config().training.valid_metric}"}
    assert read_curves(trained.run).keys() >= expected | (set() if trained.row.is_count_based else {"training loss"})


def values_within(value: Any) -> Iterator[Any]:
    """Yield the numbers and strings within dataclasses, mappings and sequences."""
    if is_dataclass(value):
        value = [getattr(value, item.name) for item in fields(value)]
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list | tuple):
        for item in value:
            yield from values_within(item)
    else:
        yield value


def test_the_last_checkpoint_is_the_model_in_memory(trained: Trained) -> None:
    """Parameters (averages, if there are any) and buffers at the end of training, bit for bit."""
    in_memory, model = load_file(trained.folder / FINAL_STATE), load_run(trained.run, "last").model
    loaded = named_weights(model) | named_buffers(model)
    assert loaded.keys() == in_memory.keys()
    assert all(torch.equal(loaded[name], value) for name, value in in_memory.items())


@pytest.mark.rows(lambda row: not row.is_count_based)
def test_all_parameters_are_trained_and_none_without_targets(trained: Trained) -> None:
    """The loss has a gradient for each parameter, and none without targets."""
    run = load_run(trained.run)
    task, config = run.config.data.task, run.config
    data = task.prepare(config, run.codecs, run.folder.cache, None)
    step = next(task.steps(data, config, run.codecs, World(), None))
    model = run.model.train()
    src, tgt = run.codecs
    objective = config.objective.build_for(model, ModelFactory(config.model.resolve(config.data), src, tgt))
    context = StepContext(0, sides=(TextSide(src), TextSide(tgt)))
    for has_targets in (True, False):
        model.zero_grad()
        for batch in step.micro_steps:
            torch.manual_seed(0)
            loss = objective(model, batch if has_targets else batch.without_targets(), context)
            torch.stack([term.total for term in loss.terms]).sum().backward()
            assert math.isfinite(loss.total.item())
            assert (float(loss.count) > 0) == has_targets
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        reached = {name for name, grad in gradients.items() if grad is not None and bool((grad != 0).any())}
        if has_targets:
            assert reached == set(gradients)
            assert all(bool(grad.isfinite().all()) for grad in gradients.values() if grad is not None)
        else:
            assert reached == set()
