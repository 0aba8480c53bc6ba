"""CTC loss and gradients against brute-force sums over all alignments; glancing."""

from typing import Any

import pytest
import torch
from reference.ctc_alignments import BLANK, EOS, VOCAB_SIZE, GivenFrames, all_alignments, collapse
from torch import Tensor

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models.outputs import FrameLogProbs
from seqlab.nn import reference_kernels
from seqlab.objectives import Ctc, CtcConfig, StepContext
from seqlab.objectives.glancing import glancing_share

LENGTHS = [5, 2, 4, 1]
TARGETS = [[2, 3, 3], [3], [2, 2], [2, 3]]
"""The last target has more tokens than frames."""
CONTEXT = StepContext(step=0, generator=torch.Generator().manual_seed(0))


class LogitsModel(GivenFrames):
    """A model with fixed logits that records the tokens revealed by glancing (`shown`); it is its own `FrameOutput`."""

    def __init__(self, logits: Tensor, lengths: list[int]) -> None:
        self.logits, self.lengths = logits, torch.tensor(lengths)
        self.shown: list[Tensor] = []

    def __call__(self, batch: Any, glance: Any = None) -> "LogitsModel":  # type: ignore[override]
        if glance is not None:
            self.shown.append(glance(self))
        return self

    def frames(self, batch: Any = None) -> FrameLogProbs:
        return FrameLogProbs(self.logits.log_softmax(2), self.lengths)

    @property
    def padding(self) -> Tensor:
        return self.frames().padding

    @property
    def is_shown(self) -> Tensor:
        return self.shown[-1] != IGNORE if self.shown else torch.zeros_like(self.padding)

    def selected_log_probs(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        log_probs = self.frames().log_probs
        return self._gathered(log_probs, ids), log_probs.mean(2)

    def selected_logits(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits.detach()
        return self._gathered(logits, ids), logits.amax(2)

    def _gathered(self, values: Tensor, ids: Tensor) -> Tensor:
        index = ids.clamp_min(0)[:, None].expand(-1, values.size(1), -1)
        return values.gather(2, index).masked_fill((ids == IGNORE)[:, None], -torch.inf)


def batch_of(rows: list[list[int]]) -> Seq2SeqBatch:
    tgt_out = torch.full((len(rows), 1 + max(map(len, rows))), IGNORE)
    for row, ids in enumerate(rows):
        tgt_out[row, : len(ids) + 1] = torch.tensor([*ids, EOS])
    nothing = torch.zeros(len(rows), 1, dtype=torch.int64)
    return Seq2SeqBatch(nothing, nothing[:, 0] + 1, nothing, tgt_out, nothing[:, 0], int((tgt_out != IGNORE).sum()))


def model_of(lengths: list[int] = LENGTHS, scale: float = 1.5) -> LogitsModel:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(len(lengths), max(lengths), VOCAB_SIZE, generator=generator, dtype=torch.float64) * scale
    return LogitsModel(logits.requires_grad_(), lengths)


def brute_force(model: LogitsModel, row: int, target: list[int]) -> Tensor:
    """Sum over all alignments, differentiably."""
    length = int(model.lengths[row])
    log_probs = model.frames().log_probs[row, :length]
    paths = [path for path in all_alignments(length, range(VOCAB_SIZE)) if collapse(path) == tuple(target)]
    return -torch.stack([log_probs[range(length), list(path)].sum() for path in paths]).logsumexp(0)


def test_loss_and_gradient_equal_the_sum_over_all_alignments() -> None:
    model = model_of()
    found = Ctc(CtcConfig())(model, batch_of(TARGETS), CONTEXT)
    expected = sum((brute_force(model, row, TARGETS[row]) for row in range(3)), torch.zeros(()))
    torch.testing.assert_close(found.total, expected, check_dtype=False)
    assert float(found.logs["nll"]) == pytest.approx(float(expected.detach()))
    assert (float(found.count), float(found.logs["too_long"])) == (4 + 2 + 3, 3)
    gradient, expected_gradient = (
        torch.autograd.grad(total, model.logits, retain_graph=True)[0] for total in (found.total, expected)
    )
    torch.testing.assert_close(gradient, expected_gradient)
    assert not gradient[3].any()
    assert not gradient[1, 2:].any()


def test_the_reference_kernel_equals_the_loss_and_has_second_derivatives() -> None:
    model = model_of()

    def hessian_vector(direction: Tensor) -> Tensor:
        total = Ctc(CtcConfig())(model, batch_of(TARGETS), CONTEXT).total
        gradient = torch.autograd.grad(total, model.logits, create_graph=True)[0]
        return torch.autograd.grad((gradient * direction).sum(), model.logits)[0]

    direction = torch.randn_like(model.logits)
    expected = Ctc(CtcConfig())(model, batch_of(TARGETS), CONTEXT).total
    with reference_kernels():
        found = Ctc(CtcConfig())(model, batch_of(TARGETS), CONTEXT).total
        hessian_product = hessian_vector(direction)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(each, model.logits, retain_graph=True)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)
    brute_force_total = sum((brute_force(model, row, TARGETS[row]) for row in range(3)), torch.zeros(()))
    gradient = torch.autograd.grad(brute_force_total, model.logits, create_graph=True)[0]
    torch.testing.assert_close(hessian_product, torch.autograd.grad((gradient * direction).sum(), model.logits)[0])
    with pytest.raises(RuntimeError, match="second derivative"):
        hessian_vector(direction)


@pytest.mark.parametrize("glancing", [0.0, 0.5])
def test_the_loss_of_an_empty_target_is_that_of_blanks_in_all_frames(glancing: float) -> None:
    model = model_of([3, 2])
    found = Ctc(CtcConfig(glancing=glancing))(model, batch_of([[], []]), CONTEXT)
    expected = sum((brute_force(model, row, []) for row in range(2)), torch.zeros(()))
    torch.testing.assert_close(found.total, expected, check_dtype=False)


def test_label_smoothing_adds_the_mean_nll_over_the_vocabulary() -> None:
    model = model_of()
    plain = Ctc(CtcConfig())(model, batch_of(TARGETS), CONTEXT)
    smooth = Ctc(CtcConfig(label_smoothing=0.1))(model, batch_of(TARGETS), CONTEXT)
    log_probs = model.frames().log_probs
    uniform = -sum(log_probs[row, : LENGTHS[row]].mean(1).sum() for row in range(3))
    torch.testing.assert_close(smooth.total, 0.9 * plain.total + 0.1 * uniform)


def test_glancing_reveals_frames_of_the_alignment_in_proportion_to_errors() -> None:
    rows = [[2, 3, 2, 3], [2, 3], [3], [2]]
    alignments = [
        [2, 3, 2, 3, 0, 0, 0, 0],
        [0, 0, 0, 0, 2, 3, 0, 0],
        [2, 2, 2, 2, 2, 2, 2, 2],
        [2, 2, 0, 0, 0, 0, 0, 0],
    ]
    logits = torch.zeros(4, 8, VOCAB_SIZE).scatter(2, torch.tensor(alignments)[..., None], 9.0)
    logits[3, 2:] = torch.nan
    model = LogitsModel(logits, [8, 8, 8, 2])
    objective = Ctc(CtcConfig(glancing=0.5))
    counts = []
    for seed in range(50):
        model.shown.clear()
        objective(model, batch_of(rows), StepContext(step=0, generator=torch.Generator().manual_seed(seed)))
        (shown,) = model.shown
        counts.append((shown != IGNORE).sum(1).tolist())
        assert set(shown[2].unique().tolist()) <= {IGNORE, BLANK, 3}
    assert counts == [[0, 0, 4, 0]] * 50  # all eight frames of the third target are wrong


def test_glancing_reveals_uniformly_drawn_frames_as_many_as_are_wrong() -> None:
    model = LogitsModel(torch.zeros(1, 6, VOCAB_SIZE).scatter(2, torch.tensor([[[0]] * 6]), 5.0), [6])
    chosen = torch.zeros(6)
    for seed in range(400):
        Ctc(CtcConfig(glancing=1.0, least_glancing=1.0))(
            model, batch_of([[2, 3]]), StepContext(step=9, generator=torch.Generator().manual_seed(seed))
        )
        shown = model.shown[-1]
        assert int((shown != IGNORE).sum()) == 2  # the most probable alignment has two tokens, and blanks elsewhere
        chosen += shown[0] != IGNORE
    assert float(chosen.min()) > 400 * 2 / 6 * 0.75


def test_glancing_decays_linearly() -> None:
    config = CtcConfig(glancing=0.5, least_glancing=0.3, decay_steps=100)
    assert [glancing_share(config, step) for step in (0, 50, 100, 900)] == pytest.approx([0.5, 0.4, 0.3, 0.3])
    with pytest.raises(ValueError, match="`least_glancing` must be at most `glancing`"):
        CtcConfig(glancing=0.2, least_glancing=0.3)
