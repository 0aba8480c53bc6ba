"""Scheduled sampling against its definition: decoder inputs are replaced by the model's predictions."""

import math
from dataclasses import replace

import pytest
import torch
from reference.tiny_translators import ALL, RECURRENT, TRANSFORMERS, VOCAB, Translator, batch_of, build

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.nn.input_mixing import InputMixing, embed_predictions
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, ScheduledSampling, ScheduledSamplingConfig, StepContext
from seqlab.objectives.scheduled_sampling import reference_share

ALL_PREDICTED = {"decay": "linear", "decay_steps": 1, "label_smoothing": 0.0}
"""From step 1 on, all decoder inputs but bos are predictions."""
STEP_1 = StepContext(step=1)
VARIANTS = {name: (TRANSFORMERS | RECURRENT)[name] for name in ("pre", "lstm", "lstm, without input feeding", "gru")}


def nll_of(model: Translator, batch: Seq2SeqBatch) -> float:
    return -float(model.score(batch).sum())


@pytest.mark.parametrize("name", VARIANTS)
def test_step_0_equals_cross_entropy(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    context = StepContext(step=0, generator=torch.Generator().manual_seed(0))
    found = ScheduledSampling(ScheduledSamplingConfig(**{**ALL_PREDICTED, "label_smoothing": 0.1}))(
        model, batch, context
    )
    expected = CrossEntropy(CrossEntropyConfig(label_smoothing=0.1))(model, batch, context)
    torch.testing.assert_close(found.total, expected.total, rtol=1e-5, atol=1e-4)
    assert float(found.logs["predicted_inputs"]) == 0
    assert float(found.count) == float(expected.count)


@pytest.mark.parametrize("name", ["lstm", "lstm, without input feeding", "gru"])
def test_recurrent_decoders_read_their_last_prediction(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    last_ids, state = model.start(batch)
    expected = 0.0
    with torch.inference_mode():
        for t in range(batch.tgt_out.size(1)):
            step = model.step(last_ids, state)
            last_ids, state = step.scores.argmax(1), step.state
            is_target = batch.tgt_out[:, t] != IGNORE
            expected -= float(step.scores.gather(1, batch.tgt_out[:, t : t + 1].clamp_min(0))[is_target].sum())
    found = ScheduledSampling(ScheduledSamplingConfig(**ALL_PREDICTED))(model, batch, STEP_1)
    assert float(found.logs["nll"]) == pytest.approx(expected, rel=1e-4)
    predicted = (batch.tgt_out != IGNORE)[:, 1:].sum()
    assert float(found.logs["predicted_inputs"]) == float(predicted)


def test_transformers_read_predictions_of_a_first_pass() -> None:
    model, batch = build(VARIANTS["pre"]), batch_of(ALL)
    with torch.no_grad():
        predictions = model(batch).logits().argmax(-1)
    tgt_in = torch.cat((batch.tgt_in[:, :1], predictions[:, :-1]), dim=1)
    found = ScheduledSampling(ScheduledSamplingConfig(**ALL_PREDICTED))(model, batch, STEP_1)
    with torch.no_grad():
        assert float(found.logs["nll"]) == pytest.approx(nll_of(model, replace(batch, tgt_in=tgt_in)), rel=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_empty_targets_have_no_predicted_inputs(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    empty_targets = replace(
        batch, tgt_in=batch.tgt_in[:, :1], tgt_out=torch.full_like(batch.tgt_out[:, :1], model.eos_id)
    )
    found = ScheduledSampling(ScheduledSamplingConfig(**ALL_PREDICTED))(model, empty_targets, STEP_1)
    assert float(found.logs["nll"]) == pytest.approx(nll_of(model, empty_targets), rel=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("mixture", ["argmax", "sampled", "soft"])
def test_every_mixture_trains_all_weights(name: str, mixture: str) -> None:
    model, batch = build(VARIANTS[name]).train(), batch_of(ALL)
    context = StepContext(step=1, generator=torch.Generator().manual_seed(0))
    config = ScheduledSamplingConfig(**{**ALL_PREDICTED, "least_reference": 0.5, "mixture": mixture})  # type: ignore[arg-type]
    loss = ScheduledSampling(config)(model, batch, context)
    assert 0 < float(loss.logs["predicted_inputs"]) < float(loss.count)
    for gradient in torch.autograd.grad(loss.total, list(model.parameters())):
        assert bool(gradient.isfinite().all())
        assert bool(gradient.any())


@pytest.mark.parametrize("name", ["pre", "lstm, without input feeding"])
def test_without_predicted_inputs_there_is_one_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*inputs: object) -> None:
        raise AssertionError("nothing is to be predicted")

    monkeypatch.setattr(InputMixing, "predictions", refuse)
    model, config = build(VARIANTS[name]).train(), ScheduledSamplingConfig(**ALL_PREDICTED)
    context = StepContext(step=0, generator=torch.Generator().manual_seed(0))
    ScheduledSampling(config)(model, batch_of(ALL), context)
    with pytest.raises(AssertionError, match="nothing is to be predicted"):
        ScheduledSampling(config)(model, batch_of(ALL), STEP_1)


def test_vocabulary_probabilities_are_not_saved_for_the_backward_pass() -> None:
    """The backward pass of the soft mixture recomputes them in blocks."""
    model, batch = build(VARIANTS["pre"]).train(), batch_of(ALL)
    config = ScheduledSamplingConfig(**{**ALL_PREDICTED, "mixture": "soft"})  # type: ignore[arg-type]
    sizes: list[int] = []

    def record_size(saved: torch.Tensor) -> torch.Tensor:
        if saved.dim() == 2 and saved.size(1) == VOCAB:
            sizes.append(len(saved))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(record_size, lambda saved: saved):
        ScheduledSampling(config)(model, batch, STEP_1)
    assert batch.tgt_in is not None
    assert batch.tgt_in[:, 1:].numel() not in sizes


def mixing_of(mixture: str, temperature: float = 1.0) -> InputMixing:
    generator = torch.Generator().manual_seed(0)
    return InputMixing(torch.ones(1, 1, dtype=torch.bool), mixture, temperature, generator)  # type: ignore[arg-type]


def test_tokens_are_sampled_by_their_probabilities() -> None:
    logits, weight = torch.tensor([1.0, 0.0, -1.0, 2.0]), torch.eye(4)
    count = 20_000
    ids = mixing_of("sampled", temperature=2.0).predictions(logits.expand(count, -1))
    drawn = embed_predictions(ids, weight).mean(0)
    expected = torch.softmax(logits / 2, dim=0)
    error = (expected * (1 - expected) / count).sqrt()
    assert bool(((drawn - expected).abs() < 5 * error).all())
    torch.testing.assert_close(mixing_of("soft", temperature=2.0).predictions(logits[None])[0], expected)
    assert mixing_of("argmax").predictions(logits[None]).tolist() == [3]


def test_the_first_input_is_always_the_reference() -> None:
    mixing = InputMixing.draw(torch.zeros(50, 40), 0.25, "argmax", 1.0, torch.Generator().manual_seed(0))
    assert bool(mixing.is_reference[:, 0].all())
    share = mixing.is_reference[:, 1:].float().mean()
    assert abs(float(share) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / (50 * 39))


@pytest.mark.parametrize(
    ("decay", "step", "share"),
    [
        ("linear", 0, 1.0),
        ("linear", 25, 0.75),
        ("linear", 1000, 0.1),
        ("exponential", 100, math.exp(-1)),
        ("inverse_sigmoid", 100 * math.log(100), 0.5),
        ("inverse_sigmoid", 0, 100 / 101),
        ("inverse_sigmoid", 10**9, 0.1),
    ],
)
def test_reference_shares_equal_the_formulas(decay: str, step: int, share: float) -> None:
    config = ScheduledSamplingConfig(decay=decay, decay_steps=100, least_reference=0.1)  # type: ignore[arg-type]
    assert reference_share(config, step) == pytest.approx(share)


def test_a_temperature_without_effect_is_refused() -> None:
    for mixture in ("sampled", "soft"):
        ScheduledSamplingConfig(mixture=mixture, temperature=0.5)
    with pytest.raises(ValueError, match=r"`temperature` \(0\.5\) has no effect with `mixture: argmax`"):
        ScheduledSamplingConfig(temperature=0.5)
