"""The training loop: steps of data in, updates, validations and checkpoints out."""

import logging
import time
from dataclasses import dataclass, field

from seqlab.data.prefetch import Prefetch
from seqlab.data.sampler import Sampler, TrainingStep
from seqlab.objectives import StepContext
from seqlab.optim.schedules import learning_rate
from seqlab.training.failure import failed_update
from seqlab.training.progress_bar import ProgressBar
from seqlab.training.signals import Interrupted, StopRequest
from seqlab.training.state import TrainingRun
from seqlab.training.step import NonFiniteGradient, Update, update
from seqlab.training.validation import validate

logger = logging.getLogger(__name__)


def fit(run: TrainingRun) -> None:
    """Train until a limit of the config is reached, continuing where `run.progress` stands.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; a checkpoint of the last step was written.
        FailedStep: the gradient was not finite; what replays the step was written.
    """
    if _is_finished(run):
        return
    config, progress = run.config, run.progress
    sampler = Sampler(run.data.train, config.data, config.seed, run.src_tokenizer, run.tgt_tokenizer)
    run.model.train()
    minutes_before, started = progress.minutes, time.monotonic()
    figures = _Figures()
    steps = sampler.steps(after=progress.position)
    with (
        StopRequest() as request,
        Prefetch(steps, config.data.prefetch_steps) as prefetched,
        ProgressBar(config.training, progress) as bar,
    ):
        for data in prefetched:
            figures.add(data, _train_step(run, data))
            progress.step, progress.position = progress.step + 1, data.position
            progress.minutes = minutes_before + (time.monotonic() - started) / 60
            if progress.step % config.training.log_every == 0:
                values = figures.take(run, sampler.steps_per_epoch)
                run.journal.write("train", **values)
                bar.show_training(values)
            bar.advance(progress)
            if _validation_is_due(run) or _is_finished(run):
                _validate_and_save(run, bar)
                progress.minutes = minutes_before + (time.monotonic() - started) / 60
                if _is_finished(run):
                    return
            elif progress.step % config.training.save_every == 0 or request.signal_number is not None:
                run.save()
            if request.signal_number is not None:
                raise Interrupted(request.signal_number, progress.step)


def _train_step(run: TrainingRun, data: TrainingStep) -> Update:
    config, step = run.config, run.progress.step
    peak = config.optim.optimizer.lr
    lr = learning_rate(config.optim.schedule, peak, step, config.training.max_steps)
    with failed_update(run, data):
        done = update(
            run.model,
            run.objective,
            run.optimizer,
            data.micro_steps,
            StepContext(step),
            run.machine,
            lr,
            config.optim.max_grad_norm,
        )
    if run.moving_average is not None:
        run.moving_average.update(run.weights(), step)
    return done


def _validation_is_due(run: TrainingRun) -> bool:
    return run.progress.step % run.config.training.valid_every == 0


def _is_finished(run: TrainingRun) -> bool:
    training, progress = run.config.training, run.progress
    if progress.step >= training.max_steps:
        return True
    if training.max_minutes is not None and progress.minutes >= training.max_minutes:
        return True
    return training.patience is not None and progress.validations_since_best >= training.patience


def _validate_and_save(run: TrainingRun, bar: ProgressBar) -> None:
    training, progress = run.config.training, run.progress
    weights = run.inference_weights()
    found = validate(run, weights)
    is_best = progress.add_validation(found.score(training.valid_metric), training.keep_best)
    figures = {"nll_per_tgt_token": found.nll, **found.scores}
    run.journal.write("valid", step=progress.step, minutes=progress.minutes, is_best=is_best, **figures)
    run.save(weights)
    bar.show_validation(figures, is_best)


@dataclass
class _Figures:
    """Sums since the last log line."""

    total: float = 0.0
    count: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)
    src_tokens: int = 0
    tgt_tokens: int = 0
    padded_src_tokens: int = 0
    padded_tgt_tokens: int = 0
    grad_norm: float = 0.0
    steps: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, data: TrainingStep, done: Update) -> None:
        self.total += done.total
        self.count += done.count
        for name, value in done.logs.items():
            self.logs[name] = self.logs.get(name, 0.0) + value
        self.src_tokens += data.num_src_tokens
        self.tgt_tokens += data.num_tgt_tokens
        self.padded_src_tokens += data.padded_src_tokens
        self.padded_tgt_tokens += data.padded_tgt_tokens
        self.grad_norm += done.grad_norm
        self.steps += 1

    def take(self, run: TrainingRun, steps_per_epoch: float) -> dict[str, float]:
        """Turn the sums into figures per unit and start anew."""
        progress, optim = run.progress, run.config.optim
        max_steps = run.config.training.max_steps
        figures = {
            "step": progress.step,
            "epoch": progress.step / steps_per_epoch,
            "minutes": progress.minutes,
            "loss": self.total / self.count,
            **{name: value / self.count for name, value in self.logs.items()},
            "lr": learning_rate(optim.schedule, optim.optimizer.lr, progress.step - 1, max_steps),
            "grad_norm": self.grad_norm / self.steps,
            "tgt_tokens_per_second": self.tgt_tokens / (time.monotonic() - self.started),
            "src_padding": 1 - self.src_tokens / self.padded_src_tokens,
            "tgt_padding": 1 - self.tgt_tokens / self.padded_tgt_tokens,
        }
        self.__init__()  # type: ignore[misc]
        return figures


__all__ = ["NonFiniteGradient", "fit"]
