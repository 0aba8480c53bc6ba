"""Objectives of non-autoregressive models: tokens given as input, and terms of the loss."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reference.tiny_translators import ALL, BOS, EOS, TGT, VOCAB, batch_of

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models import TransformerCmlmConfig, TransformerNat, TransformerNatConfig
from seqlab.models.outputs import Glance, PositionOutput
from seqlab.objectives import Cmlm, CmlmConfig, ParallelCrossEntropy, ParallelCrossEntropyConfig, StepContext

SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_heads": 4, "dropout": 0.0}
SIZES |= {"num_encoder_layers": 1, "num_decoder_layers": 2}
NAT, CMLM = TransformerNatConfig(**SIZES), TransformerCmlmConfig(**SIZES)


class RecordingModel(TransformerNat):
    """A model that records its input tokens (`seen`), and those of the first of two passes (`first`)."""

    seen: torch.Tensor | None = None
    first: torch.Tensor | None = None

    def forward(
        self, batch: Seq2SeqBatch, shown: torch.Tensor | None = None, glance: Glance | None = None
    ) -> PositionOutput:
        """Record `shown`."""
        self.first = shown
        if glance is None:
            self.seen = shown
            return super().forward(batch, shown)

        def record_and_glance(output: object) -> torch.Tensor:
            assert glance is not None
            self.seen = glance(output)  # type: ignore[arg-type]
            return self.seen

        return super().forward(batch, shown, glance=record_and_glance)


def build(config: TransformerNatConfig | TransformerCmlmConfig) -> RecordingModel:
    torch.manual_seed(0)
    return RecordingModel(config, VOCAB, VOCAB, mask_id=BOS, eos_id=EOS)


def context(seed: int = 0) -> StepContext:
    return StepContext(step=0, generator=torch.Generator().manual_seed(seed))


def reference_loss(
    model: RecordingModel, batch: Seq2SeqBatch, smoothing: float, weight: float
) -> tuple[torch.Tensor, int]:
    """Compute the loss from all logits with torch's cross entropy."""
    shown = model.seen
    output, targets = model(batch, shown=shown), model.position_targets(batch)
    if shown is not None:
        targets = targets.masked_fill(shown != IGNORE, IGNORE)
    logits = model.projection(output.positions.hidden)
    total = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum", label_smoothing=smoothing)
    return total + weight * output.length_nll.sum(), int((targets != IGNORE).sum())


@pytest.mark.parametrize(
    ("config", "objective"),
    [
        (NAT, ParallelCrossEntropy(ParallelCrossEntropyConfig(label_smoothing=0.2, length_weight=0.5))),
        (NAT, ParallelCrossEntropy(ParallelCrossEntropyConfig(glancing=0.7, label_smoothing=0.2, length_weight=0.5))),
        (CMLM, Cmlm(CmlmConfig(label_smoothing=0.2, length_weight=0.5))),
    ],
    ids=["cross entropy", "glancing", "cmlm"],
)
def test_losses_cover_masked_positions_and_lengths(
    config: TransformerNatConfig, objective: ParallelCrossEntropy | Cmlm
) -> None:
    model, batch = build(config), batch_of(ALL)
    found = objective(model, batch, context())
    expected, count = reference_loss(model, batch, 0.2, 0.5)
    torch.testing.assert_close(found.total, expected)
    assert float(found.count) == count == sum(map(len, TGT)) - float(found.logs["shown"])


def test_numbers_and_positions_of_masked_tokens_are_uniform() -> None:
    model, batch, objective = build(CMLM), batch_of(ALL), Cmlm(CmlmConfig())
    draws = 4000
    numbers = [torch.zeros(len(tgt) + 1) for tgt in TGT]
    masked = [torch.zeros(len(tgt)) for tgt in TGT]

    class Recorded(Exception):
        """Stops the objective after it has drawn positions."""

    def forward(batch: object, shown: torch.Tensor) -> None:
        for row, tgt in enumerate(TGT):
            row_input = shown[row, : len(tgt)]
            assert row_input[row_input != IGNORE].tolist() == [
                t for t, s in zip(tgt, row_input.tolist(), strict=True) if s != IGNORE
            ]
            numbers[row][int((row_input == IGNORE).sum())] += 1
            masked[row] += row_input == IGNORE
        raise Recorded

    model.forward = forward  # type: ignore[assignment, method-assign]
    for seed in range(draws):
        with pytest.raises(Recorded):
            objective(model, batch, context(seed))
    for tgt, number, counts in zip(TGT, numbers, masked, strict=True):
        assert number[0] == 0
        expected = draws / len(tgt)
        assert ((number[1:] - expected).abs() < 5 * expected**0.5 + 1).all()
        expected_count = draws * (len(tgt) + 1) / 2 / len(tgt)
        assert ((counts - expected_count).abs() < 5 * (draws / 4) ** 0.5).all()


def test_own_predictions_as_input_put_all_tokens_into_the_loss() -> None:
    model, batch = build(CMLM), batch_of(ALL)
    targets, differs = model.position_targets(batch), False
    for seed in range(20):
        found = Cmlm(CmlmConfig(own_words=1.0, label_smoothing=0.0, length_weight=0.0))(model, batch, context(seed))
        first, shown = model.first, model.seen
        assert first is not None
        assert shown is not None
        with torch.no_grad():
            filled = model(batch, shown=first).positions.most_probable()[0].where(first == IGNORE, first)
            log_probs = model(batch, shown=shown).positions.frames().log_probs
        is_hidden = shown == IGNORE
        assert torch.equal(shown[~is_hidden], filled[~is_hidden])
        assert is_hidden[targets == IGNORE].all()
        assert [bool(row[: len(tgt)].any()) for row, tgt in zip(is_hidden, TGT, strict=True)] == [True] * len(TGT)
        differs |= bool((shown != targets)[~is_hidden].any())
        nll = -log_probs.gather(2, targets.clamp_min(0)[..., None])[..., 0].masked_fill(targets == IGNORE, 0.0)
        torch.testing.assert_close(found.total.detach(), nll.sum())
        assert float(found.count) == sum(map(len, TGT))
    assert differs


def test_the_share_of_rows_with_own_predictions_as_input() -> None:
    """The loss of other rows excludes the tokens given as input, so the count identifies rows with own predictions."""
    row, draws = 2, 200
    model, batch = build(CMLM), batch_of([row])
    objective = Cmlm(CmlmConfig(own_words=0.25))
    with torch.no_grad():
        counts = [float(objective(model, batch, context(seed)).count) for seed in range(draws)]
    size = len(TGT[row])
    # All tokens are in the loss with own predictions, or if all are masked (probability 1 / `size`).
    expected = draws * (0.25 + 0.75 / size)
    assert abs(counts.count(size) - expected) < 4 * (expected * (1 - expected / draws)) ** 0.5


def test_each_row_has_own_predictions_or_target_tokens_as_input() -> None:
    """With own predictions as input all tokens are in the loss, otherwise only masked ones."""
    model, batch = build(CMLM), batch_of(ALL)
    targets, is_mixed = model.position_targets(batch), False
    is_target = targets != IGNORE
    for seed in range(40):
        found = Cmlm(CmlmConfig(own_words=0.5, label_smoothing=0.0, length_weight=0.0))(model, batch, context(seed))
        shown = model.seen
        assert shown is not None
        with torch.no_grad():
            log_probs = model(batch, shown=shown).positions.frames().log_probs
        nll = -log_probs.gather(2, targets.clamp_min(0)[..., None])[..., 0]
        possible = []
        for is_own in product((False, True), repeat=len(ALL)):
            in_loss = is_target & (torch.tensor(is_own)[:, None] | (shown == IGNORE))
            if int(in_loss.sum()) == int(found.count) and torch.isclose(found.total.detach(), nll[in_loss].sum()):
                possible.append(torch.tensor(is_own))
        assert any((shown == targets)[~is_own][(shown != IGNORE)[~is_own]].all() for is_own in possible)
        assert float(found.logs["shown"]) == (shown != IGNORE).sum()
        is_mixed |= bool(possible) and all(0 < int(is_own.sum()) < len(ALL) for is_own in possible)
    assert is_mixed


def test_glancing_reveals_its_share_of_wrong_positions() -> None:
    model, batch = build(NAT), batch_of(ALL)
    targets = model.position_targets(batch)
    wrong = (model(batch).positions.most_probable()[0] != targets) & (targets != IGNORE)
    ParallelCrossEntropy(ParallelCrossEntropyConfig(glancing=0.5, least_glancing=0.5))(model, batch, context())
    assert model.seen is not None
    is_shown = model.seen != IGNORE
    assert is_shown.sum(1).tolist() == (0.5 * wrong.sum(1)).round().int().tolist()
    assert torch.equal(model.seen[is_shown], targets[is_shown])
    assert wrong.any()
