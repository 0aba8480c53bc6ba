"""State of a run: model, optimizer, progress and metrics; written to checkpoints and restored from them."""

import math
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.base.json_text import replace_non_finite
from seqlab.base.malloc import release_heap
from seqlab.base.parsing import validate_type
from seqlab.data.step import Position
from seqlab.objectives import Objective, StepContext, TextSide
from seqlab.optim import HasEvaluationWeights
from seqlab.optim.averaging import MovingAverage, RunningMean, is_stalled, mean_of_weights
from seqlab.runs.checkpoint import (
    AVERAGED,
    STATE,
    STATE_TENSORS,
    WEIGHTS,
    checkpoint_name,
    checkpoint_steps,
    delete_checkpoint,
    read_state,
    read_tensors,
    read_weights,
    write_checkpoint,
)
from seqlab.runs.codecs import CodecsMixin
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights, named_buffers, named_weights
from seqlab.runs.migrate import current_objective_weight_name
from seqlab.training.accumulator import Accumulator
from seqlab.training.data_parallel import gather_shards, shard_like
from seqlab.training.device_context import DeviceContext
from seqlab.training.locked_folder import LockedRunFolder
from seqlab.training.metrics_logger import MetricsLogger
from seqlab.training.running_statistics import has_batch_norm, micro_steps, recomputed_buffers
from seqlab.training.task import Task
from seqlab.training.training_metrics import TrainingMetrics


@dataclass
class Progress:
    """Counters and validation history of a run; stored in checkpoints as `progress`."""

    step: int = 0
    """Number of updates."""
    position: Position | None = None
    """Position in the data after the last step."""
    best: list[tuple[float, float, int]] = field(default_factory=list)
    """(score, nll, step) of the best validations, best first: by score, then by lower nll."""
    validations_since_best: int = 0
    valid_nlls: list[float] = field(default_factory=list)
    """NLL of all validations."""
    counted_before_end: int | None = None
    """`validations_since_best` before the last validation, if that was one at the end of training, between two regular
    ones; else None."""
    average_from: int | None = None
    """First step of the average of weights, if a stalled validation loss started one."""
    minutes: float = 0.0
    """Training time, including the time before interruptions."""
    minutes_of_last: dict[str, float] = field(default_factory=dict)
    """Event (`log`, `save`, `valid`) -> time of the last one (see `seqlab.training.intervals`)."""
    validation_minutes: float = 0.0
    """Duration of the last validation."""
    timed_saves: list[int] = field(default_factory=list)
    """Steps of regular checkpoints triggered by time instead of by the number of steps."""

    def add_validation(self, score: float, nll: float, keep: int) -> bool:
        """Record a validation at the current step; return whether it is the best one. Ties keep the earlier one.

        Equal scores are ranked by loss, since early scores are often equal (a BLEU of 0). A score that is infinite or
        NaN is never the best one, and does not count for `training.patience`: it cannot be compared.
        """
        self.valid_nlls.append(nll)
        if not math.isfinite(score):
            return False
        comparable = [entry for entry in self.best if math.isfinite(entry[0])]  # older versions also kept others
        loss = math.inf if math.isnan(nll) else nll
        ranked = sorted([*comparable, (score, loss, self.step)], key=lambda entry: (-entry[0], entry[1], entry[2]))
        is_best = ranked[0][2] == self.step
        self.best = ranked[:keep]
        self.validations_since_best = 0 if is_best else self.validations_since_best + 1
        return is_best

    def leave_out_validation_at_end(self) -> None:
        """Forget the validation at the end of training for patience and schedules, because training goes on.

        An uninterrupted training has no validation there. If it is the best one, it stays so.
        """
        if self.counted_before_end is not None:
            self.validations_since_best = min(self.validations_since_best, self.counted_before_end)
            self.counted_before_end = None
            self.valid_nlls.pop()

    def expected_steps(self, training: TrainingConfig) -> int:
        """Return the expected total number of updates: less than `max_steps` if `max_minutes` ends training earlier.

        The estimate uses the pace so far, and is exact when the time is up.
        """
        if training.max_minutes is None or not self.minutes:
            return training.num_steps
        return min(training.num_steps, round(self.step * max(1.0, training.max_minutes / self.minutes)))

    def to_json(self) -> dict[str, Any]:
        """Return the fields, for a checkpoint."""
        return asdict(self)


@dataclass
class TrainingRun(CodecsMixin):
    """A run in training: config, data, model, optimizer and progress."""

    config: Config
    locked_folder: LockedRunFolder
    device_context: DeviceContext
    codecs: tuple[Any, Any]
    task: Task
    data: Any
    """The result of `Task.prepare`."""
    model: Any
    """An `nn.Module`."""
    objective: Objective
    accumulator: Accumulator
    optimizer: torch.optim.Optimizer
    metrics_logger: MetricsLogger
    moving_average: MovingAverage | RunningMean | None = None
    progress: Progress = field(default_factory=Progress)
    metrics: TrainingMetrics = field(default_factory=TrainingMetrics)

    @property
    def folder(self) -> RunFolder:
        """The run folder under the user's path, for messages."""
        return self.locked_folder.folder

    @property
    def reading(self) -> int:
        """Version of the reading of files (`seqlab.base.reading_notes`)."""
        return self.locked_folder.root.reading

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, also after the run folder was moved."""
        return self.locked_folder.root.checkpoints

    def step_context(self, step: int) -> StepContext:
        """Return what the objective may use in the update after `step` updates."""
        src, tgt = self.codecs
        return StepContext(step, seed=self.config.seed, sides=(TextSide(src), TextSide(tgt)))

    def weights(self) -> dict[str, Tensor]:
        """Return the parameters by name, each once; this rank's shard of sharded ones."""
        return named_weights(self.model)

    def inference_weights(self) -> dict[str, Tensor]:
        """Return full weights, or their average if there is one, and buffers, for validation and decoding."""
        weights, buffers = self._averaged_weights(), self.buffers()
        return weights | (self._buffers_of_averaged(weights | buffers) if self._is_averaged() else buffers)

    def _is_averaged(self) -> bool:
        return self._evaluation_weights() is not None or self.config.optim.average_last > 0

    def _buffers_of_averaged(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers for averaged weights: running statistics of batch norms are recomputed."""
        if not has_batch_norm(self.model):
            return {name: weights[name] for name in named_buffers(self.model)}
        with torch.random.fork_rng(devices=[]):
            model = self.config.model.resolve(self.config.data).build(*self.codecs)
        steps = self.task.steps(self.data, self.config, self.codecs, self.device_context.world, None)
        buffers = recomputed_buffers(model, weights, micro_steps(steps), self.device_context)
        return self._copy_from_main(buffers)

    def _copy_from_main(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Overwrite this rank's tensors with those of the main rank; return them."""
        if tensors and not self.device_context.world.is_single_process:
            sent = self.device_context.world.broadcast({name: value.cpu() for name, value in tensors.items()})
            for name, value in tensors.items():
                value.copy_(sent[name])
        return tensors

    def buffers(self) -> dict[str, Tensor]:
        """Return the model's persistent buffers by name, after copying those of the main rank to all ranks.

        Each rank updates its buffers, such as running statistics, but a checkpoint stores only one set.
        """
        return self._copy_from_main(named_buffers(self.model))

    def _averaged_weights(self) -> dict[str, Tensor]:
        current = self._evaluation_weights() or self.weights()
        weights = {name: self._gather_to_cpu(value) for name, value in current.items()}
        if self._evaluation_weights() is None and self.config.optim.average_last:
            earlier = (self._read_weights(step) for step in self._averaged_steps())
            return mean_of_weights(chain(earlier, [weights]))
        return weights

    def _evaluation_weights(self) -> dict[str, Tensor] | None:
        """Return the evaluation weights: the moving average, or those of the optimizer; None if neither exists."""
        if self.moving_average is not None:
            return self.moving_average.weights
        if isinstance(self.optimizer, HasEvaluationWeights):
            parameters = self.model.named_parameters()
            return {name: self.optimizer.evaluation_weight(parameter).detach() for name, parameter in parameters}
        return None

    def start_average_if_stalled(self) -> None:
        """Start averaging the weights if the validation loss stalls and the config has `optim.average_trigger`."""
        trigger, progress = self.config.optim.average_trigger, self.progress
        if trigger and progress.average_from is None and is_stalled(progress.valid_nlls, trigger):
            progress.average_from = progress.step
            self.moving_average = RunningMean(self.weights(), progress.step)
            self.metrics_logger.write("event", step=progress.step, event="averaging begins")

    def _gather_to_cpu(self, value: Tensor) -> Tensor:
        """Return a full tensor; shards are moved to the CPU first, to save device memory."""
        return gather_shards(value).cpu() if self.device_context.is_sharded else value

    def gather_on_main(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gather sharded tensors on the main rank, which writes them; all ranks must call this. Others get none."""
        if not self.device_context.is_sharded:
            return tensors
        gathered = ((name, gather_shards(value)) for name, value in tensors.items())
        return {name: value.cpu() for name, value in gathered if self.device_context.world.is_main}

    def save(self, averaged: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint of the current step, then delete checkpoints that are not needed any more.

        The main rank writes, and the other ranks wait.
        """
        release_heap()
        buffers = self.buffers()
        tensors = {
            WEIGHTS: self.gather_on_main(self.weights() | buffers),
            STATE_TENSORS: self.gather_on_main(self._state_tensors()),
        }
        evaluation_weights = self._evaluation_weights()
        if evaluation_weights is not None and averaged is None:
            averaged = self.gather_on_main(self.inference_weights())
        if averaged is not None and (evaluation_weights is not None or self.config.optim.average_last):
            tensors[AVERAGED] = averaged
        self.device_context.world.call_on_main(lambda: self._write(tensors))

    def _write(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        values = {
            "progress": self.progress.to_json(),
            "best": self.progress.best,
            "figures": self.metrics.to_json(),
            "journal_size": self.metrics_logger.size(),
        }
        state = replace_non_finite(values, str)
        with self.locked_folder.writing():
            write_checkpoint(self.checkpoints, self.progress.step, tensors, state)
            self.prune()

    def restore(self, step: int) -> None:
        """Restore the state of a checkpoint; raise ValueError if it is damaged."""
        checkpoint = self.checkpoints / checkpoint_name(step)
        state = read_state(checkpoint)
        try:
            self.progress, journal_size = validate_type(state["progress"], Progress), state["journal_size"]
            self.metrics = validate_type(state["figures"], TrainingMetrics)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{checkpoint / STATE} is damaged: it is not a training state ({error!r}).") from error
        family = self.config.model.family
        weights = read_weights(checkpoint, family, WEIGHTS)
        copy_weights(self.model, shard_like(weights, self.weights()), checkpoint)
        self._restore_tensors(read_tensors(checkpoint, STATE_TENSORS), checkpoint)
        if self.progress.average_from is not None:
            self.moving_average = RunningMean(self.weights(), self.progress.average_from)
        if self.moving_average is not None:
            average = self.moving_average.weights
            averaged = read_weights(checkpoint, family, AVERAGED)
            for name, value in shard_like({name: averaged[name] for name in average}, average).items():
                average[name].copy_(value)
        self.metrics_logger.truncate(journal_size)

    def _state_tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        if isinstance(self.objective, nn.Module):
            own = named_weights(self.objective) | named_buffers(self.objective)
            tensors |= {f"objective.{name}": value for name, value in own.items()}
        return tensors | {f"carry.{name}": value for name, value in self.accumulator.gather_carry().items()}

    def _restore_tensors(self, tensors: dict[str, Tensor], checkpoint: Path) -> None:
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, key = rest.partition(".")
                optimizer_state.setdefault(int(index), {})[key] = value
        self.accumulator.restore_carry(_with_prefix(tensors, "carry."))
        groups = self.optimizer.state_dict()["param_groups"]
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        parts = {i: shard_like(state, dict.fromkeys(state, parameters[i])) for i, state in optimizer_state.items()}
        self.optimizer.load_state_dict({"state": parts, "param_groups": groups})
        if isinstance(self.objective, nn.Module):
            family, own = self.config.model.family, named_weights(self.objective)
            older = _with_prefix(tensors, "objective.")
            saved = {current_objective_weight_name(family, name): value for name, value in older.items()}
            copy_weights(self.objective, shard_like(saved, own), checkpoint)

    def _read_weights(self, step: int) -> dict[str, Tensor]:
        """Read the weights of a checkpoint, without buffers: an average of weights uses the current buffers."""
        device = torch.device("cpu") if self.device_context.is_sharded else self.device_context.device
        tensors = read_weights(self.checkpoints / checkpoint_name(step), self.config.model.family, WEIGHTS, device)
        return {name: tensors[name] for name in self.weights()}

    def _averaged_steps(self, including_current: bool = False) -> list[int]:
        """Return the steps of the regular checkpoints to average with the current weights.

        With `including_current`, return those to average with the weights of the next checkpoint.
        """
        count = self.config.optim.average_last - (0 if including_current else 1)
        steps = checkpoint_steps(self.checkpoints)
        save_every, timed = self.config.training.save_every, self.progress.timed_saves
        regular = [step for step in steps if step % save_every == 0 or step in timed]
        earlier = [step for step in regular if including_current or step < self.progress.step]
        return earlier[-count:] if count > 0 else []

    def prune(self) -> None:
        """Delete checkpoints that are not needed for resuming, averaging or as the best ones."""
        kept = {self.progress.step, *(step for *_, step in self.progress.best)}
        kept.update(self._averaged_steps(including_current=True))
        for step in checkpoint_steps(self.checkpoints):
            if step not in kept:
                delete_checkpoint(self.checkpoints / checkpoint_name(step))


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
