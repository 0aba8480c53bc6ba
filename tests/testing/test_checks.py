"""The public checks accept correct parts and refuse each of several wrong ones, naming what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Any

import pytest
import torch
from reference.tiny_translators import TRANSFORMERS
from torch import Tensor

from seqlab.models import (
    GruConfig,
    GruLabellerConfig,
    GruLmConfig,
    GruRecogniserConfig,
    GruRecordingLabellerConfig,
    MlpConfig,
    RecurrentTranslator,
    Step,
)
from seqlab.objectives import (
    CrossEntropyConfig,
    CtcConfig,
    Loss,
    RDropConfig,
    ScheduledSamplingConfig,
    SoftmaxConfig,
    SquaredErrorConfig,
)
from seqlab.testing import (
    check_model,
    check_objective,
    check_stepper,
    labeled_lines,
    labeled_recordings,
    recordings,
    texts,
    token_pairs,
    vectors,
)

GRU = GruConfig(hidden_size=16)
FRAMES: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "channels": (4,)}
CORRECT: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "text": (GruLmConfig(hidden_size=16), texts(), {}),
    "labels of words": (
        GruLabellerConfig(hidden_size=16, embedding_size=8, spelling_size=8),
        labeled_lines(),
        {},
    ),
    "recordings": (GruRecogniserConfig(**FRAMES), recordings(), {"tolerance": 1e-4}),
    "labeled recordings": (
        GruRecordingLabellerConfig(**FRAMES),
        labeled_recordings(),
        {"objective": SoftmaxConfig(), "tolerance": 1e-4},
    ),
    "vectors": (MlpConfig(hidden_sizes=(8,)), vectors(), {}),
}


@pytest.mark.parametrize("name", CORRECT)
def test_correct_models_pass(name: str) -> None:
    config, examples, options = CORRECT[name]
    check_model(config, examples, **options)


@pytest.mark.parametrize(
    ("objective", "model", "examples", "is_random"),
    [
        (CrossEntropyConfig(label_smoothing=0.1), TRANSFORMERS["pre"], token_pairs(), False),
        (RDropConfig(label_smoothing=0.0), TRANSFORMERS["post"], token_pairs(), False),
        (ScheduledSamplingConfig(), GRU, token_pairs(), True),
        (CtcConfig(), GruRecogniserConfig(**FRAMES), recordings(), False),
        (SquaredErrorConfig(), MlpConfig(), vectors(), False),
    ],
)
def test_correct_objectives_pass(objective: Any, model: Any, examples: Any, is_random: bool) -> None:
    check_objective(objective, model, examples, is_random=is_random)


class ShuffledSelection(RecurrentTranslator):
    """`select` returns the first rows instead of the given ones."""

    def step(self, last_ids: Tensor, state: Any) -> Any:
        step = super().step(last_ids, state)
        select = step.state.select
        object.__setattr__(step.state, "select", lambda rows: select(torch.arange(len(rows)) % (int(rows.max()) + 1)))
        return step


class StepsOfAnotherPosition(RecurrentTranslator):
    """A step reads another token than the teacher-forced pass."""

    def step(self, last_ids: Tensor, state: Any) -> Any:
        return super().step((last_ids + 1) % self.vocab_size, state)


class DependsOnTheBatch(RecurrentTranslator):
    """Scores are centered over the batch."""

    def score(self, batch: Any) -> Tensor:
        scores = super().score(batch)
        return scores - scores.mean(0)


class UnsavedWeight(RecurrentTranslator):
    """A weight is no parameter or buffer, so that it is not saved."""

    def score(self, batch: Any) -> Tensor:
        if not hasattr(self, "shift"):
            self.shift = torch.rand(())
        return super().score(batch) + self.shift


class UnusedParameter(RecurrentTranslator):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.unused = torch.nn.Parameter(torch.zeros(3))


@plain_dataclass(frozen=True)
class Wrong:
    """A config whose model is of a wrong class."""

    kind: type[RecurrentTranslator]
    default_objective: str = "cross_entropy"

    def build(self, src: Any, tgt: Any) -> RecurrentTranslator:
        return self.kind(GRU, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ShuffledSelection, "after `state.select` and without it"),
        (StepsOfAnotherPosition, "the scores of the steps and of `score`"),
        (DependsOnTheBatch, "alone and in a batch"),
        (UnsavedWeight, "another one with its `state_dict`"),
        (UnusedParameter, "The loss has no gradient for unused"),
    ],
)
def test_wrong_models_are_refused(kind: type[RecurrentTranslator], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(Wrong(kind), token_pairs())


class Sum:
    """A state that steps change in place: the sum of the ids so far."""

    def __init__(self, total: Tensor) -> None:
        self.total = total

    def select(self, rows: Tensor) -> "Sum":
        return Sum(self.total[rows])

    def fork(self) -> "Sum":
        return Sum(self.total.clone())


class SharedSum(Sum):
    def select(self, rows: Tensor) -> "SharedSum":
        return SharedSum(self.total[rows])

    def fork(self) -> "SharedSum":
        return self


class SumModel:
    """The score of an id is its distance to the sum of the ids so far."""

    vocab_size, eos_id = 40, 2

    def __init__(self, state: type[Sum]) -> None:
        self.state = state

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, Sum]:
        return torch.ones(len(batch), dtype=torch.int64), self.state(torch.zeros(len(batch)))

    def step(self, last_ids: Tensor, state: Sum) -> Step:
        state.total += last_ids
        return Step(-(state.total[:, None] - torch.arange(self.vocab_size)).abs(), state, None)


def test_forks_that_share_their_state_are_refused() -> None:
    check_stepper(SumModel(Sum), token_pairs())
    with pytest.raises(AssertionError, match="before and after steps of a fork"):
        check_stepper(SumModel(SharedSum), token_pairs())


def test_models_without_steps_are_refused() -> None:
    with pytest.raises(AssertionError, match="Linear is no `Stepper`: it lacks vocab_size, eos_id, start, step"):
        check_stepper(torch.nn.Linear(2, 2), token_pairs())


Change = Callable[[Loss], Loss]


@plain_dataclass(frozen=True)
class Changed:
    """Config of cross entropy whose loss is changed."""

    change: Change

    def build(self) -> Callable[..., Loss]:
        correct = CrossEntropyConfig(label_smoothing=0.0).build()
        return lambda *arguments: self.change(correct(*arguments))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda loss: Loss(loss.total / loss.count.clamp_min(1), loss.count), "total of a batch must be the sum"),
        (lambda loss: Loss(loss.total, loss.count.clamp(max=1)), "count of a batch must be the sum"),
        (lambda loss: Loss(loss.total, loss.count, {"mean": (loss.total / 3).detach().sqrt()}), "the log `mean`"),
        (lambda loss: Loss(loss.total, loss.count, {"nll": loss.total}), "Logs must be detached, but nll"),
        (lambda loss: Loss(loss.total + 1, loss.count), "Without targets, `total` and `count` must be 0"),
        (lambda loss: Loss(loss.total[None], loss.count), "must be a tensor without dimensions"),
        (lambda loss: Loss(loss.total.detach(), loss.count), "must be differentiable"),
        (lambda loss: Loss(loss.total * torch.inf, loss.count), "must be finite"),
        (lambda loss: Loss(loss.total, loss.count * 0), "but is 0"),
    ],
)
def test_wrong_objectives_are_refused(change: Change, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_objective(Changed(change), GRU, token_pairs())


def test_losses_that_draw_from_another_generator_are_refused() -> None:
    generator = torch.Generator().manual_seed(1)
    noisy = Changed(lambda loss: Loss(loss.total * (1 + torch.rand((), generator=generator)), loss.count))
    with pytest.raises(AssertionError, match=r"draw from `StepContext\.generator`"):
        check_objective(noisy, GRU, token_pairs())
