"""All that a run is at one moment, and its way into a checkpoint and back."""

from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.base.malloc import release_heap
from seqlab.base.parsing import validate_type
from seqlab.data.step import Position
from seqlab.objectives import Objective
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
    write_checkpoint,
)
from seqlab.runs.codecs import CodecsMixin
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights, named_buffers, named_weights
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.locked_folder import LockedRunFolder
from seqlab.training.metrics_logger import MetricsLogger
from seqlab.training.parallel import divided, whole
from seqlab.training.running_statistics import has_batch_norm, measured_buffers, micro_steps
from seqlab.training.task import Task
from seqlab.training.training_metrics import TrainingMetrics


@dataclass
class Progress:
    """The numbers of a run that change with time."""

    step: int = 0
    """Updates done."""
    position: Position | None = None
    """The last step of data that was consumed."""
    best: list[tuple[float, float, int]] = field(default_factory=list)
    """(score, nll, step) of the best validations, best first: the higher score, of equal ones the lower nll."""
    validations_since_best: int = 0
    valid_nlls: list[float] = field(default_factory=list)
    """Of all validations."""
    average_from: int | None = None
    """The step from which on the weights are averaged, where a stall has begun it."""
    minutes: float = 0.0
    """Time spent in training, over all parts of an interrupted run."""
    minutes_of_last: dict[str, float] = field(default_factory=dict)
    """When metrics were logged last, a checkpoint saved, and a validation done (see `seqlab.training.intervals`)."""
    validation_minutes: float = 0.0
    """Time that the last validation took."""
    timed_saves: list[int] = field(default_factory=list)
    """Steps of the regular checkpoints that are due by time, between those that are due by steps."""

    def add_validation(self, score: float, nll: float, keep: int) -> bool:
        """Remember a validation at the current step; tell whether it is a new best. Of equals, the earlier stays.

        Early scores are often equal (a BLEU of 0), so that the loss decides between them.
        """
        self.valid_nlls.append(nll)
        ranked = sorted([*self.best, (score, nll, self.step)], key=lambda entry: (-entry[0], entry[1], entry[2]))
        is_best = ranked[0][2] == self.step
        self.best = ranked[:keep]
        self.validations_since_best = 0 if is_best else self.validations_since_best + 1
        return is_best

    def expected_steps(self, training: TrainingConfig) -> int:
        """Tell how many updates there will be in all: fewer than `max_steps` where `max_minutes` ends them sooner.

        That is judged by the pace so far, which is exact once the time is up.
        """
        if training.max_minutes is None or not self.minutes:
            return training.num_steps
        return min(training.num_steps, round(self.step * max(1.0, training.max_minutes / self.minutes)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class TrainingRun(CodecsMixin):
    """Everything that training works on."""

    config: Config
    locked_folder: LockedRunFolder
    device_context: DeviceContext
    codecs: tuple[Any, Any]
    task: Task
    data: Any
    """What the task has prepared."""
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
        """The run folder by its path, for messages."""
        return self.locked_folder.folder

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, wherever the run folder was moved."""
        return self.locked_folder.root.checkpoints

    def weights(self) -> dict[str, Tensor]:
        """Name everything that is trained once; of divided parameters, this rank's part."""
        return named_weights(self.model)

    def inference_weights(self) -> dict[str, Tensor]:
        """Return what is validated and decoded with, whole: the weights, or their average if one is kept; buffers."""
        weights, buffers = self._averaged_weights(), self.buffers()
        return weights | (self._measured(weights | buffers) if self._is_averaged() else buffers)

    def _is_averaged(self) -> bool:
        return self._offered_weights() is not None or self.config.optim.average_last > 0

    def _measured(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers that belong to averaged weights: running statistics are measured anew."""
        if not has_batch_norm(self.model):
            return {name: weights[name] for name in named_buffers(self.model)}
        with torch.random.fork_rng(devices=[]):
            model = self.config.model.resolve(self.config.data).build(*self.codecs)
        steps = self.task.steps(self.data, self.config, self.codecs, self.device_context.world, None)
        found = measured_buffers(model, weights, micro_steps(steps), self.device_context)
        return self._of_main(found)

    def _of_main(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take over tensors of the main rank, in place."""
        if own and not self.device_context.world.is_single_process:
            sent = self.device_context.world.broadcast({name: value.cpu() for name, value in own.items()})
            for name, value in own.items():
                value.copy_(sent[name])
        return own

    def buffers(self) -> dict[str, Tensor]:
        """Name the model's persistent buffers, after all ranks have taken over those of the main rank.

        Each rank updates its own, running statistics for example, but there is one checkpoint to continue from.
        """
        return self._of_main(named_buffers(self.model))

    def _averaged_weights(self) -> dict[str, Tensor]:
        kept = self._offered_weights() or self.weights()
        weights = {name: self._assembled(value) for name, value in kept.items()}
        if self._offered_weights() is None and self.config.optim.average_last:
            earlier = (self._read_weights(step) for step in self._averaged_steps())
            return mean_of_weights(chain(earlier, [weights]))
        return weights

    def _offered_weights(self) -> dict[str, Tensor] | None:
        """Name the weights that are evaluated with where these are no sum of checkpoints, nor those that move."""
        if self.moving_average is not None:
            return self.moving_average.weights
        if isinstance(self.optimizer, HasEvaluationWeights):
            found = self.model.named_parameters()
            return {name: self.optimizer.evaluation_weight(parameter).detach() for name, parameter in found}
        return None

    def begin_average_if_stalled(self) -> None:
        """Average the weights from here on where the config asks for it once the validation loss stalls."""
        trigger, progress = self.config.optim.average_trigger, self.progress
        if trigger and progress.average_from is None and is_stalled(progress.valid_nlls, trigger):
            progress.average_from = progress.step
            self.moving_average = RunningMean(self.weights(), progress.step)
            self.metrics_logger.write("event", step=progress.step, event="averaging begins")

    def _assembled(self, value: Tensor) -> Tensor:
        """Give a tensor whole; one that was divided on the CPU, as the device may not have room for all of them."""
        return whole(value).cpu() if self.device_context.is_sharded else value

    def gathered(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give tensors whole to the main rank, which writes them; the others get nothing, but must ask too."""
        if not self.device_context.is_sharded:
            return tensors
        found = ((name, whole(value)) for name, value in tensors.items())
        return {name: value.cpu() for name, value in found if self.device_context.world.is_main}

    def save(self, averaged: dict[str, Tensor] | None = None) -> None:
        """Write a checkpoint of this moment, then delete those that nothing needs any more.

        The main rank does, and the others wait.
        """
        release_heap()
        buffers = self.buffers()
        tensors = {
            WEIGHTS: self.gathered(self.weights() | buffers),
            STATE_TENSORS: self.gathered(self._state_tensors()),
        }
        offered = self._offered_weights()
        if offered is not None and averaged is None:
            averaged = self.gathered(self.inference_weights())
        if averaged is not None and (offered is not None or self.config.optim.average_last):
            tensors[AVERAGED] = averaged
        self.device_context.world.call_on_main(lambda: self._write(tensors))

    def _write(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        state = {
            "progress": self.progress.to_json(),
            "best": self.progress.best,
            "figures": self.metrics.to_json(),
            "journal_size": self.metrics_logger.size(),
        }
        with self.locked_folder.writing():
            write_checkpoint(self.checkpoints, self.progress.step, tensors, state)
            self.prune()

    def restore(self, step: int) -> None:
        """Take over the state of a checkpoint; raises ValueError where it is damaged."""
        checkpoint = self.checkpoints / checkpoint_name(step)
        state = read_state(checkpoint)
        try:
            self.progress, journal_size = validate_type(state["progress"], Progress), state["journal_size"]
            self.metrics = validate_type(state["figures"], TrainingMetrics)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{checkpoint / STATE} is not a state of training ({error!r}).") from error
        copy_weights(self.model, divided(read_tensors(checkpoint, WEIGHTS), self.weights()), checkpoint)
        self._restore_tensors(read_tensors(checkpoint, STATE_TENSORS))
        if self.progress.average_from is not None:
            self.moving_average = RunningMean(self.weights(), self.progress.average_from)
        if self.moving_average is not None:
            average = self.moving_average.weights
            found = read_tensors(checkpoint, AVERAGED)
            for name, value in divided({name: found[name] for name in average}, average).items():
                average[name].copy_(value)
        self.metrics_logger.truncate(journal_size)

    def _state_tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        if isinstance(self.objective, nn.Module):
            tensors |= {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        return tensors | {f"carry.{name}": value for name, value in self.accumulator.gather_carry().items()}

    def _restore_tensors(self, tensors: dict[str, Tensor]) -> None:
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, key = rest.partition(".")
                optimizer_state.setdefault(int(index), {})[key] = value
        self.accumulator.restore_carry(_below(tensors, "carry."))
        groups = self.optimizer.state_dict()["param_groups"]
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        parts = {i: divided(state, dict.fromkeys(state, parameters[i])) for i, state in optimizer_state.items()}
        self.optimizer.load_state_dict({"state": parts, "param_groups": groups})
        if isinstance(self.objective, nn.Module):
            own = _below(tensors, "objective.")
            self.objective.load_state_dict(divided(own, self.objective.state_dict()))

    def _read_weights(self, step: int) -> dict[str, Tensor]:
        """Read the weights of a checkpoint, without buffers: those of the moment go with an average of weights."""
        device = torch.device("cpu") if self.device_context.is_sharded else self.device_context.device
        found = read_tensors(self.checkpoints / checkpoint_name(step), WEIGHTS, device)
        return {name: found[name] for name in self.weights()}

    def _averaged_steps(self, including_current: bool = False) -> list[int]:
        """List the regular checkpoints that go into an average with the current weights, or with the next ones."""
        count = self.config.optim.average_last - (0 if including_current else 1)
        steps = checkpoint_steps(self.checkpoints)
        save_every, timed = self.config.training.save_every, self.progress.timed_saves
        regular = [step for step in steps if step % save_every == 0 or step in timed]
        earlier = [step for step in regular if including_current or step < self.progress.step]
        return earlier[-count:] if count > 0 else []

    def prune(self) -> None:
        """Delete the checkpoints that nothing needs any more."""
        kept = {self.progress.step, *(step for *_, step in self.progress.best)}
        kept.update(self._averaged_steps(including_current=True))
        for step in checkpoint_steps(self.checkpoints):
            if step not in kept:
                delete_checkpoint(self.checkpoints / checkpoint_name(step))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
