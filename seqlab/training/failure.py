"""Dump of a step with a non-finite loss or gradient: its batches, and the weights that gave it, for a replay."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.data.batch import Batch
from seqlab.data.step import TrainingStep
from seqlab.registry import Parts, import_target
from seqlab.runs.checkpoint import CHECKSUMS, WEIGHTS, read_state, read_tensors, write_checkpoint
from seqlab.runs.load import named_buffers, named_weights
from seqlab.runs.migrate import migrate_tag
from seqlab.training.accumulator import Carry
from seqlab.training.state import TrainingRun
from seqlab.training.update import NonFiniteUpdate, StartedUpdate

BATCHES, CARRY, OBJECTIVE = "batches", "carry", "objective"
FORMAT, DUMP_FORMAT = "dump_format", 1
"""Key of state.json, and version of the dump. Older dumps have none, and lack the objective, ranks and precision."""


class FailedStep(ArithmeticError):
    """A step had a non-finite loss or gradient, so training stopped."""


class Failure(NamedTuple):
    """The inputs of a failed step, to replay it; dropout depends on seed, step and rank."""

    weights: dict[str, Tensor]
    micro_steps: list[Batch]
    carry: Carry
    """The hidden state before the step, for `Accumulator.restore_carry`; empty if there is none."""
    objective: dict[str, Tensor]
    """Weights and buffers of the objective; empty if it has none."""


@dataclass
class StartedStep:
    """A step with a started update."""

    number: int
    """Number of updates before this step."""
    data: TrainingStep[Batch]
    carry: Carry | None
    """The hidden state before the step."""
    lr: float
    update: StartedUpdate | None = None


@contextmanager
def dump_if_non_finite(run: TrainingRun, started: StartedStep) -> Iterator[None]:
    """Convert a NonFiniteUpdate into a FailedStep, after writing the batches and the weights before the step."""
    try:
        yield
    except NonFiniteUpdate as error:
        step = started.number + 1  # counted from 1, as in metrics.jsonl
        micro_steps = list(
            chain(*run.device_context.world.gather(started.data.micro_steps))
        )  # in the order of the ranks
        run.accumulator.carry = started.carry
        tensors: dict[str, dict[str, Tensor]] = {
            WEIGHTS: run.gather_on_main(run.weights() | run.buffers()),
            BATCHES: _tensors_of(micro_steps),
            CARRY: run.accumulator.gather_carry(),
        }
        if isinstance(run.objective, nn.Module):
            own = named_weights(run.objective) | named_buffers(run.objective)
            tensors[OBJECTIVE] = run.gather_on_main(own)
        state = {
            **{FORMAT: DUMP_FORMAT, "reason": str(error), "data_kind": run.config.data.kind},
            "world_size": run.device_context.world.world_size,
            "dtype": str(run.device_context.dtype).removeprefix("torch."),
        }
        written = run.device_context.world.call_on_main(lambda: _write(run, step, tensors, state))
        rows = [index for batch in micro_steps if batch.num_targets for index in batch.indices.tolist()]
        shown = "; ".join(run.task.locate(run.data, index) for index in rows[:3])
        raise FailedStep(
            f"Step {step} has a non-finite loss or gradient ({error}). Its {len(rows)} {run.task.unit} "
            f"(the first: {shown}) and the weights that gave it are in {written}: "
            "`seqlab replay` shows where the value arose. A lower `optim.optimizer.lr`, a "
            "longer `optim.schedule.warmup_steps` or `training.precision: fp32` may help; a custom model or objective "
            "may have a fault."
        ) from error


def _write(run: TrainingRun, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Path:
    with run.locked_folder.writing():
        written = write_checkpoint(run.locked_folder.root.failures, step, tensors, state)
    return run.folder.failures / written.name


def _tensors_of(micro_steps: list[Batch]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, batch in enumerate(micro_steps):
        for item in fields(batch):  # type: ignore[arg-type]
            value = getattr(batch, item.name)
            if value is not None:
                tensors[f"{number}.{item.name}"] = torch.as_tensor(value)
    return tensors


def read_failure(folder: str | Path) -> Failure:
    """Read the dump of a failed step."""
    folder = Path(folder)
    tensors = read_tensors(folder, BATCHES)
    micro_steps: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, item = name.partition(".")
        micro_steps.setdefault(int(number), {})[item] = value
    state = read_state(folder)
    task = import_target(Parts("task")[migrate_tag("data.kind", state.get("data_kind", "parallel"))].task_name)
    batches = []
    for _, values in sorted(micro_steps.items()):
        numbers = {name: value.item() for name, value in values.items() if value.dim() == 0}
        batches.append(task.batch_type(**values | numbers))
    has_objective = OBJECTIVE in state.get(CHECKSUMS, {})
    objective = read_tensors(folder, OBJECTIVE) if has_objective else {}
    return Failure(read_tensors(folder, WEIGHTS), batches, read_tensors(folder, CARRY), objective)
