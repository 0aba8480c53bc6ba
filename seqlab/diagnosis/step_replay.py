"""Replay of a failed step: find where its first infinite or NaN value arose, from the dump that training wrote."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.base.world import World
from seqlab.data.batch import Batch, DivisibleBatch
from seqlab.diagnosis.non_finite import NonFinite, NonFiniteSearch
from seqlab.objectives import ModelFactory, StepContext, TextSide
from seqlab.runs.checkpoint import checkpoint_steps, read_state
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights, read_config
from seqlab.runs.migrate import current_objective_weight_name, current_weight_name
from seqlab.training.accumulator import Accumulator, Carry
from seqlab.training.device_context import DeviceContext
from seqlab.training.failure import DUMP_FORMAT, FORMAT, Failure, read_failure

MAX_ROWS = 5
"""Maximum number of rows to find."""


@dataclass(frozen=True)
class Replay:
    """Result of a replay."""

    step: int
    reason: str
    """Reason that training reported."""
    bad_weights: tuple[str, ...]
    """Weights of the dump that were not finite already."""
    first: NonFinite | None
    """The first non-finite value; None if the step was finite when repeated."""
    rows: tuple[str, ...] | None
    """Locations of rows that give a non-finite value alone, at most `MAX_ROWS`; None if rows cannot be repeated."""
    dtype: str
    """Precision of the training: `bfloat16` or `float32`."""
    is_finite_in_fp32: bool | None
    """Whether the step is finite in fp32; None if the training was in fp32."""

    def lines(self) -> list[str]:
        """Render for people."""
        lines = [f"step {self.step}: {self.reason}"]
        if self.bad_weights:
            shown = ", ".join(self.bad_weights[:MAX_ROWS])
            lines.append(f"the weights before this step were not finite ({shown}): an earlier update made them so")
        if self.first is None:
            lines.append(
                "repeated on this CPU, the step is finite: the kernels of another device, another version of torch, "
                "several updates in a step, or data that the objective collects may differ"
            )
            return lines
        lines.append(f"the first value that is infinite or NaN arose {self.first.text}")
        if self.rows:
            lines += [f"row: {row}" for row in self.rows]
            if len(self.rows) == MAX_ROWS:
                lines.append(f"only the first {MAX_ROWS} rows that give such a value are searched")
        elif self.rows is not None:
            lines.append("rows: no single row gives such a value, only several together")
        if self.is_finite_in_fp32 is not None:
            lines.append(f"in fp32 instead of bf16: {'finite' if self.is_finite_in_fp32 else 'not finite, either'}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Render for JSON."""
        first = None if self.first is None else vars(self.first) | {"text": self.first.text}
        names = ("step", "reason", "bad_weights", "rows", "dtype", "is_finite_in_fp32")
        return {name: getattr(self, name) for name in names} | {"first": first}


def replay(folder: str | Path) -> Replay:
    """Repeat the failed step of a dump (`RUN/failures/step_N`) on the CPU, and find its first non-finite value.

    Nothing is written.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is not a dump, or one of an older version; a file is damaged; a plugin is missing.
    """
    folder = Path(folder)
    state = _read_dump_state(folder)
    run = RunFolder(folder.absolute().parents[1])
    config = read_config(run)
    failure = read_failure(folder)
    repeated = _RepeatedStep(config, load_codecs_for(run, config.data), folder, failure, state)
    location = repeated.find_first()
    first, rows, is_finite_in_fp32 = None, None, None
    if location is not None:
        first, micro_step = location
        indices = repeated.bad_rows(micro_step)
        rows = None if indices is None else tuple(_locate(config, repeated.codecs, run, index) for index in indices)
        if state["dtype"] == "bfloat16":
            is_finite_in_fp32 = repeated.in_fp32().find_first() is None
    bad = [name for name, value in failure.weights.items() if not bool(torch.isfinite(value).all())]
    return Replay(repeated.step + 1, state["reason"], tuple(bad), first, rows, state["dtype"], is_finite_in_fp32)


def _read_dump_state(folder: Path) -> dict[str, Any]:
    """Read state.json of a dump; raise an error for another folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not (folder / "state.json").is_file():
        steps = checkpoint_steps(folder / "failures")
        hint = f": name one of its dumps, such as {folder / 'failures'}/step_{steps[0]:08d}" if steps else ""
        raise ValueError(f"{folder} is not the dump of a failed step (RUN/failures/step_N){hint}.")
    state = read_state(folder)
    if "reason" not in state:
        raise ValueError(f"{folder} is a checkpoint, not the dump of a failed step (RUN/failures/step_N).")
    if state.get(FORMAT) != DUMP_FORMAT:
        raise ValueError(
            f"{folder} was written by another version of seqlab: repeat the command that trained the run, which fails "
            "at the same step and writes the dump anew."
        )
    return state


@dataclass(frozen=True)
class _MicroStep:
    """A micro-step of one rank."""

    rank: int
    index: int
    """Number of the micro-step among those of its rank."""
    batch: Batch
    carry: Carry | None
    """Hidden state before it: the rows of its batch."""


class _RepeatedStep:
    """The step of a dump: its model, objective and micro-steps."""

    def __init__(
        self, config: Config, codecs: tuple[Any, Any], folder: Path, failure: Failure, state: dict[str, Any]
    ) -> None:
        self.config, self.codecs, self.failure, self._folder, self._state = config, codecs, failure, folder, state
        self.step = int(folder.name.partition("_")[2]) - 1
        self.dtype = getattr(torch, state["dtype"])
        model_config = config.model.resolve(config.data)
        torch.manual_seed(config.seed)
        self.model = model_config.build(*codecs).train()
        family = config.model.family
        weights = {current_weight_name(family, name): value for name, value in failure.weights.items()}
        copy_weights(self.model, weights, folder)
        self.objective = config.objective.build_for(self.model, ModelFactory(model_config, *codecs))
        if isinstance(self.objective, nn.Module):
            saved = {current_objective_weight_name(family, k): v for k, v in failure.objective.items()}
            copy_weights(self.objective, saved, folder)
        src, tgt = codecs
        self._count = 0.0  # units of the micro-steps so far
        self._context = StepContext(self.step, seed=config.seed, sides=(TextSide(src), TextSide(tgt)))

    def in_fp32(self) -> "_RepeatedStep":
        """Return the same step in fp32."""
        return _RepeatedStep(self.config, self.codecs, self._folder, self.failure, {**self._state, "dtype": "float32"})

    def micro_steps(self) -> Iterator[_MicroStep]:
        """Yield the micro-steps of all ranks."""
        world_size = self._state["world_size"]
        batches, carry = self.failure.micro_steps, self.failure.carry
        per_rank, first_row = len(batches) // world_size, 0
        for number, batch in enumerate(batches):
            rows = slice(first_row, first_row + len(batch.indices))
            own = {name: value[rows] for name, value in carry.items()} if carry and batch.continues else None
            if batch.num_targets:
                first_row += len(batch.indices)
            yield _MicroStep(number // per_rank, number % per_rank, batch, own)

    def find_first(self) -> tuple[NonFinite, _MicroStep | None] | None:
        """Return the first non-finite value of the step and its micro-step; None if all values are finite.

        The gradient norm may be infinite although each gradient is finite: then there is no micro-step.
        """
        self.model.zero_grad()
        self._count = 0.0
        for micro_step in self.micro_steps():
            first = self._search(micro_step)
            if first is not None:
                return first, micro_step
        gradients = [p.grad / max(1.0, self._count) for p in self.model.parameters() if p.grad is not None]
        if gradients and not bool(torch.isfinite(nn.utils.get_total_norm(gradients))):
            largest = max(float(gradient.abs().max()) for gradient in gradients)
            return NonFinite("norm", "", "", largest), None
        return None

    def bad_rows(self, micro_step: _MicroStep | None) -> list[int] | None:
        """Return the indices of rows that give a non-finite value alone, by bisection; None if rows cannot be split."""
        if micro_step is None or select_rows(micro_step.batch, torch.tensor([0])) is None:
            return None
        indices: list[int] = []
        pending = [torch.arange(len(micro_step.batch.indices))]
        while pending and len(indices) < MAX_ROWS:
            rows = pending.pop(0)
            batch = select_rows(micro_step.batch, rows)
            assert batch is not None, "one row could be selected"
            carry = micro_step.carry and {name: value[rows] for name, value in micro_step.carry.items()}
            if self._search(replace(micro_step, batch=batch, carry=carry)) is None:
                continue
            if len(rows) == 1:
                indices += batch.indices.tolist()
            else:
                pending[:0] = rows.tensor_split(2)
        return indices

    def _accumulator(self, rank: int) -> Accumulator:
        """Return an accumulator with the random numbers of a rank, without its collective operations."""
        device_context = DeviceContext(torch.device("cpu"), self.dtype, World(rank=rank))
        return Accumulator(self.model, self.objective, device_context, self.config.seed)

    def _search(self, micro_step: _MicroStep) -> NonFinite | None:
        """Run a micro-step forward and backward, and return its first non-finite value."""
        accumulator, search = self._accumulator(micro_step.rank), NonFiniteSearch()
        [collected] = accumulator.collect([micro_step.batch], self._context)
        context = replace(self._context, carry=micro_step.carry, collected=collected)
        with search.watch(self.model, self.objective):
            sums, _ = accumulator.forward(micro_step.batch, micro_step.index, context)
            total = torch.stack([value for name, value in sums.items() if name.partition(" ")[0] == "total"]).sum()
            total.backward()
        self._count += float(sums["count"])
        return search.result(total)


def select_rows(batch: Batch, rows: Tensor) -> Batch | None:
    """Return a batch with some rows (n,) of another; None if its class cannot select rows, as one of a plugin."""
    return batch.select(rows) if isinstance(batch, DivisibleBatch) else None


def _locate(config: Config, codecs: tuple[Any, Any], run: RunFolder, index: int) -> str:
    """Return the location of a row; its number if the prepared data are not there any more."""
    try:
        if not run.cache.is_dir():
            return f"number {index}"
        return config.data.task.locate(config.data.task.prepare(config, codecs, run.cache, None), index)
    except (OSError, ValueError):
        return f"number {index}"
