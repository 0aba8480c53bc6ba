"""Blockwise losses of the vocabulary projection against those of torch, with gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from seqlab.nn import blockwise_cross_entropy, reference_kernels, selected_log_probs
from seqlab.nn.blockwise_cross_entropy import IGNORE, BlockwiseCrossEntropy
from seqlab.nn.projection import ROWS_PER_LOSS_BLOCK, VocabularyProjection
from seqlab.nn.selected_log_probs import UNUSED_ID


@pytest.mark.parametrize("rows", [1, 20, ROWS_PER_LOSS_BLOCK + 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_and_gradients_equal_torch(rows: int, smoothing: float) -> None:
    torch.manual_seed(0)
    projection = VocabularyProjection(nn.Parameter(torch.randn(50, 12)))
    hidden, targets = torch.randn(rows, 12, requires_grad=True), torch.randint(0, 50, (rows,))
    total, nll = projection.cross_entropy(hidden, targets, smoothing)
    logits = F.linear(hidden, projection.weight)
    expected = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="sum"), rtol=1e-5, atol=1e-3)
    assert not nll.requires_grad
    inputs = (hidden, projection.weight)
    for grad, torch_grad in zip(
        torch.autograd.grad(3 * total, inputs), torch.autograd.grad(3 * expected, inputs), strict=True
    ):
        torch.testing.assert_close(grad, torch_grad, rtol=1e-4, atol=1e-4)


def test_bf16_is_close_to_fp32() -> None:
    torch.manual_seed(0)
    projection = VocabularyProjection(nn.Parameter(torch.randn(50, 12)))
    hidden, targets = torch.randn(200, 12), torch.randint(0, 50, (200,))
    exact, _ = projection.cross_entropy(hidden, targets, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        near, _ = projection.cross_entropy(hidden, targets, 0.1)
    torch.testing.assert_close(near, exact, rtol=1e-2, atol=0.0)


def test_bf16_is_precise_for_confident_rows() -> None:
    """Target probabilities from 0.99 to 0.999, which bf16 would round to 0.988, 0.992, 0.996 or 1."""
    torch.manual_seed(0)
    weight = F.normalize(torch.randn(50, 64))
    targets = torch.randint(0, 50, (200,))
    hidden = (weight[targets] * torch.linspace(11.5, 14, 200)[:, None]).requires_grad_()
    projection = VocabularyProjection(nn.Parameter(weight))
    exact, _ = projection.cross_entropy(hidden, targets)
    (exact_gradient,) = torch.autograd.grad(exact, hidden)
    with torch.autocast("cpu", torch.bfloat16):
        near, near_nll = projection.cross_entropy(hidden, targets)
    (near_gradient,) = torch.autograd.grad(near, hidden)
    assert F.softmax(hidden @ weight.T, dim=-1).gather(1, targets[:, None]).min() > 0.98
    torch.testing.assert_close(near, exact, rtol=0.02, atol=0.0)
    torch.testing.assert_close(near_nll, near.detach())
    relative = (near_gradient - exact_gradient).norm(dim=1) / exact_gradient.norm(dim=1)
    assert relative.max() < 0.1


@pytest.mark.parametrize("frames", [1, 3, ROWS_PER_LOSS_BLOCK // 2 + 5])
def test_selected_log_probabilities_and_gradients_equal_torch(frames: int) -> None:
    torch.manual_seed(0)
    projection = VocabularyProjection(nn.Parameter(torch.randn(50, 12)))
    hidden = torch.randn(3, frames, 12, requires_grad=True)
    ids = torch.tensor([[0, 7, 9, 12], [0, 49, UNUSED_ID, UNUSED_ID], [5, UNUSED_ID, 3, UNUSED_ID]])
    selected, means = projection.selected_log_probs(hidden, ids)
    log_probs = F.linear(hidden, projection.weight).log_softmax(2)
    expected = log_probs.gather(2, ids.clamp_min(0)[:, None].expand(-1, frames, -1))
    used = (ids != UNUSED_ID)[:, None].expand_as(expected)
    torch.testing.assert_close(selected[used], expected[used])
    assert (selected[~used] == -torch.inf).all()
    torch.testing.assert_close(means, log_probs.mean(2))
    output_grads = torch.randn_like(expected), torch.randn_like(means)
    found_sum = (selected.where(used, 0.0) * output_grads[0]).sum() + (means * output_grads[1]).sum()
    expected_sum = (expected.where(used, 0.0) * output_grads[0]).sum() + (log_probs.mean(2) * output_grads[1]).sum()
    inputs = (hidden, projection.weight)
    for grad, torch_grad in zip(
        torch.autograd.grad(found_sum, inputs), torch.autograd.grad(expected_sum, inputs), strict=True
    ):
        torch.testing.assert_close(grad, torch_grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [1, ROWS_PER_LOSS_BLOCK // 2 + 5])
def test_selected_logits_equal_torch(frames: int) -> None:
    torch.manual_seed(0)
    projection = VocabularyProjection(nn.Parameter(torch.randn(50, 12)))
    hidden = torch.randn(3, frames, 12, requires_grad=True)
    ids = torch.tensor([[0, 7, 9, 12], [0, 49, UNUSED_ID, UNUSED_ID], [5, UNUSED_ID, 3, UNUSED_ID]])
    selected, largest = projection.selected_logits(hidden, ids)
    logits = F.linear(hidden, projection.weight)
    used = (ids != UNUSED_ID)[:, None].expand_as(selected)
    torch.testing.assert_close(selected[used], logits.gather(2, ids.clamp_min(0)[:, None].expand_as(selected))[used])
    assert (selected[~used] == -torch.inf).all()
    torch.testing.assert_close(largest, logits.amax(2))
    assert not selected.requires_grad


def test_bf16_is_precise_for_confident_selected_ids() -> None:
    """Cross entropy of the most likely id in frames where its probability is from 0.99 to 0.999."""
    torch.manual_seed(0)
    weight = F.normalize(torch.randn(50, 64))
    targets = torch.randint(0, 50, (200,))
    hidden = (weight[targets] * torch.linspace(11.5, 14, 200)[:, None])[:, None].requires_grad_()  # (200, 1, 64)
    projection = VocabularyProjection(nn.Parameter(weight))
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            selected, _ = projection.selected_log_probs(hidden, targets[:, None])
        gradients.append(torch.autograd.grad(-selected.sum(), hidden)[0][:, 0])
    exact, near = gradients
    assert ((near - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.1


def test_loss_without_rows_is_zero() -> None:
    projection = VocabularyProjection(nn.Parameter(torch.randn(50, 12)))
    hidden = torch.zeros(0, 12, requires_grad=True)
    total, nll = projection.cross_entropy(hidden, torch.zeros(0, dtype=torch.int64), 0.1)
    assert (float(total.detach()), float(nll)) == (0.0, 0.0)
    total.backward()
    assert projection.weight.grad is not None
    assert not projection.weight.grad.any()


def test_rows_without_a_target_are_ignored() -> None:
    """On a CPU, these rows are removed. On a GPU, they are masked. Loss and gradients are the same."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(9, 6, requires_grad=True), nn.Parameter(torch.randn(11, 6))
    targets = torch.tensor([3, IGNORE, 0, 10, IGNORE, IGNORE, 5, 5, IGNORE])
    removed = VocabularyProjection(weight).cross_entropy(hidden, targets, 0.1)
    masked = BlockwiseCrossEntropy.apply(hidden, weight, targets, 0.1, torch.float32, True, True)
    torch_total = nn.functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum", label_smoothing=0.1)
    expected_grads = torch.autograd.grad(torch_total, (hidden, weight))
    for total, nll in (removed, masked):
        torch.testing.assert_close(total, torch_total)
        torch.testing.assert_close(nll, removed[1])
        for grad, expected_grad in zip(torch.autograd.grad(total, (hidden, weight)), expected_grads, strict=True):
            torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["cross_entropy", "selected_log_probs"])
def test_losses_compute_no_gradient_under_no_grad(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block is projected once, and there are no other products."""
    calls = []
    for module in (blockwise_cross_entropy, selected_log_probs):
        monkeypatch.setattr(module, "product", lambda a, b: calls.append(1) or a @ b.t())
    projection, hidden = VocabularyProjection(nn.Parameter(torch.randn(50, 12))), torch.randn(2, 10, 12)
    arguments = (hidden.flatten(0, 1), torch.arange(20)) if method == "cross_entropy" else (hidden, torch.eye(2).long())
    with torch.no_grad():
        getattr(projection, method)(*arguments)
    assert calls == [1]


def test_reference_losses_under_torch_func() -> None:
    torch.manual_seed(0)
    projection, hidden, targets = (
        VocabularyProjection(nn.Parameter(torch.randn(50, 12))),
        torch.randn(20, 12),
        torch.arange(20),
    )
    losses = (
        lambda h: projection.cross_entropy(h, targets, 0.1)[0],
        lambda h: projection.target_log_probs(h, targets)[0].sum(),
        lambda h: projection.selected_log_probs(h[None], torch.tensor([[3, 7]]))[0].sum(),
        lambda h: projection.r_drop_loss(torch.stack((h, 2 * h)), targets, 0.1, 1.0)[0],
    )
    for loss in losses:
        with reference_kernels():
            found = torch.func.grad(loss)(hidden)
        leaf = hidden.clone().requires_grad_()
        torch.testing.assert_close(found, torch.autograd.grad(loss(leaf), leaf)[0], rtol=1e-4, atol=1e-5)
