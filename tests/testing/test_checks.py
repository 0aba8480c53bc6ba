"""The public checks accept correct parts and refuse each of several wrong ones, naming what is wrong."""

import runpy
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.recurrent_models import recurrent_lm
from reference.temporary_parts import temporary_parts
from reference.tiny_translators import TRANSFORMERS
from torch import Tensor

from seqlab import registry
from seqlab.data.batch import IGNORE
from seqlab.models import (
    CarryingLm,
    EncoderPredictorConfig,
    LabelerConfig,
    MlpEncoderConfig,
    RecognizerConfig,
    RecordingLabelerConfig,
    RecurrentConfig,
    RecurrentEncoderConfig,
    RecurrentTranslator,
    Step,
    TransformerLmConfig,
)
from seqlab.objectives import (
    AbsoluteErrorConfig,
    CrossEntropyConfig,
    CtcConfig,
    HuberConfig,
    RDropConfig,
    ScheduledSamplingConfig,
    SigmoidConfig,
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

GRU = RecurrentConfig(family="gru", hidden_size=16)
WITHOUT_DROPOUT = replace(GRU, **{item.name: 0.0 for item in fields(GRU) if item.name.endswith("dropout")})
FRAMES: dict[str, Any] = {
    "encoder": RecurrentEncoderConfig(family="gru", hidden_size=16),
    "frame_size": 16,
    "channels": (4,),
}
CORRECT: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "text": (
        recurrent_lm("gru"),
        texts(),
        {},
    ),
    "labels of words": (
        LabelerConfig(encoder=RecurrentEncoderConfig(family="gru", hidden_size=16), embedding_size=8, spelling_size=8),
        labeled_lines(),
        {},
    ),
    "recordings": (RecognizerConfig(**FRAMES), recordings(), {"tolerance": 1e-4}),
    "labeled recordings": (
        RecordingLabelerConfig(**FRAMES),
        labeled_recordings(),
        {"objective": SoftmaxConfig(), "tolerance": 1e-4},
    ),
    "vectors": (EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(8,))), vectors(), {}),
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
        (CtcConfig(), RecognizerConfig(**FRAMES), recordings(), False),
        (SquaredErrorConfig(), EncoderPredictorConfig(encoder=MlpEncoderConfig()), vectors(), False),
        (AbsoluteErrorConfig(), EncoderPredictorConfig(encoder=MlpEncoderConfig()), vectors(), False),
        (HuberConfig(), EncoderPredictorConfig(encoder=MlpEncoderConfig()), vectors(), False),
        (
            SoftmaxConfig(label_smoothing=0.1),
            EncoderPredictorConfig(encoder=MlpEncoderConfig()),
            vectors(predicts="class"),
            False,
        ),
        (SigmoidConfig(), EncoderPredictorConfig(encoder=MlpEncoderConfig()), vectors(predicts="labels"), False),
        (
            CrossEntropyConfig(activation_penalty=2.0, slowness_penalty=1.0),
            recurrent_lm("gru"),
            texts(),
            False,
        ),
        (CrossEntropyConfig(guided_attention=1.0), GRU, token_pairs(), False),
    ],
)
def test_correct_objectives_pass(objective: Any, model: Any, examples: Any, is_random: bool) -> None:
    check_objective(objective, model, examples, is_random=is_random)


def test_the_objective_of_the_examples_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._parts, "objective", dict(registry._parts["objective"]))  # `focal` is also a plugin's
    file = Path(__file__).parents[2] / "examples" / "custom_objective.py"
    focal = runpy.run_path(str(file), run_name="example")["FocalConfig"]
    check_objective(focal(gamma=2.0), TRANSFORMERS["pre"], token_pairs())
    check_objective(focal(gamma=2.0), TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, max_length=64), texts())


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


class SeesTheFutureInTraining(RecurrentTranslator):
    """The hidden states of the pass for the loss contain those of later positions."""

    def forward(self, batch: Any, *arguments: Any, **options: Any) -> Any:
        output = super().forward(batch, *arguments, **options)
        return output._replace(hidden=output.hidden + output.hidden.flip(1)) if self.training else output


class SeesTheFutureOfTheLoss(RecurrentTranslator):
    """The same in evaluation mode, while `score` and `step` are right."""

    def forward(self, batch: Any, *arguments: Any, **options: Any) -> Any:
        output = super().forward(batch, *arguments, **options)
        return output._replace(hidden=output.hidden + output.hidden.flip(1))

    def score(self, batch: Any) -> Tensor:
        log_probs = super().forward(batch).target_log_probs(batch.tgt_out)
        return torch.zeros(batch.tgt_out.shape).masked_scatter(batch.tgt_out != IGNORE, log_probs)


class ChangesItsBatch(RecurrentTranslator):
    def score(self, batch: Any) -> Tensor:
        batch.tgt_in[:, 0] = 7
        return super().score(batch)


class ScoresAreNoLogProbabilities(RecurrentTranslator):
    def score(self, batch: Any) -> Tensor:
        return super().score(batch) / 2

    def step(self, last_ids: Tensor, state: Any) -> Any:
        step = super().step(last_ids, state)
        return step._replace(scores=step.scores / 2)


class KeepsItsScores(RecurrentTranslator):
    """Equal inputs get the same tensor of scores again, which search may have changed."""

    def step(self, last_ids: Tensor, state: Any) -> Any:
        step = super().step(last_ids, state)
        kept = self.__dict__.setdefault("kept", {})
        return step._replace(scores=kept.setdefault(step.scores.sum().item(), step.scores))


class ScoresInHalfPrecision(RecurrentTranslator):
    def step(self, last_ids: Tensor, state: Any) -> Any:
        step = super().step(last_ids, state)
        return step._replace(scores=step.scores.half())


class AnotherEos(RecurrentTranslator):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.eos_id = 9


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
        return self.kind(WITHOUT_DROPOUT, src.vocab_size, tgt.vocab_size, tgt.bos_id, tgt.eos_id, tgt.unk_id)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ShuffledSelection, "after `state.select` and without it"),
        (StepsOfAnotherPosition, "the scores of the steps and of `score`"),
        (DependsOnTheBatch, "alone and in a batch"),
        (UnsavedWeight, "another one with its `state_dict`"),
        (UnusedParameter, "The loss has no gradient for unused"),
        (SeesTheFutureInTraining, "the pass for the loss, in training mode, and of `score`"),
        (SeesTheFutureOfTheLoss, "the pass for the loss, in evaluation mode, and of `score`"),
        (ChangesItsBatch, "The model changes `tgt_in` of its batch in place"),
        (KeepsItsScores, "may change them in place"),
        (ScoresInHalfPrecision, "must be fp32, but are torch.float16"),
        (AnotherEos, "`eos_id` must be that of the target side, 2, but is 9"),
    ],
)
def test_wrong_models_are_refused(kind: type[RecurrentTranslator], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(Wrong(kind), token_pairs())


class IgnoresPrompts(CarryingLm):
    """Only the last id of a prompt is read."""

    def start(self, batch: Any, need_attention: bool = False) -> Any:
        return super().start(replace(batch, tgt_in=batch.tgt_in[:, -1:]), need_attention)


def test_scores_that_are_no_log_probabilities_are_refused() -> None:
    torch.manual_seed(0)
    model = Wrong(ScoresAreNoLogProbabilities).build(token_pairs().src, token_pairs().tgt).eval()
    with pytest.raises(AssertionError, match="must be log-probabilities in nats, but these sum to a probability of"):
        check_stepper(model, token_pairs())


def test_prompts_that_are_not_read_are_refused() -> None:
    config = recurrent_lm("gru")
    torch.manual_seed(0)
    model = config.build(texts().src, texts().tgt).eval()
    model.__class__ = IgnoresPrompts
    with pytest.raises(AssertionError, match="after a prompt of 2 ids, and after the same ids one by one"):
        check_stepper(model, texts())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GRU, token_pairs), "`examples` must be `Examples`, such as `token_pairs\\(\\)`, but is of type function"),
        (
            (RecurrentConfig, token_pairs()),
            "`config` must be a config with a method `build`, but is the class RecurrentConfig",
        ),
        (
            (
                recurrent_lm("gru", hidden_size=512),
                token_pairs(),
            ),
            "Decoding with CarryingLm raised .*Do the examples fit",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[Any, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(*arguments)


def test_the_model_of_the_example_passes() -> None:
    with temporary_parts():
        from examples.custom_model import NeuralNgramConfig
    check_model(NeuralNgramConfig(d_model=16), texts())


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
