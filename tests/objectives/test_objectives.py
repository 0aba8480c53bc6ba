"""Cross entropy and R-Drop against torch.nn.functional: sums, counts and gradients in fp32."""

import pytest
import torch
import torch.nn.functional as F
from reference.tiny_models import make_batch, make_model
from torch import Tensor

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models import Transformer
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, RDrop, RDropConfig, StepContext

CONTEXT = StepContext(step=0)
NUM_TARGETS = 7 + 2 + 4 + 0 + 4  # including eos


@pytest.fixture
def model() -> Transformer:
    return make_model()


@pytest.fixture
def batch() -> Seq2SeqBatch:
    """Build a batch with padding on both sides, an empty source and an empty target."""
    return make_batch([(3, 7), (5, 2), (0, 4), (6, 0)])


def gradients(model: Transformer, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    scale = max(float(value.abs().max()) for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * scale, msg=name)


def torch_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    return F.cross_entropy(
        logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction="sum", label_smoothing=label_smoothing
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_equals_torch(model: Transformer, batch: Seq2SeqBatch, label_smoothing: float) -> None:
    assert batch.tgt_out is not None
    loss = CrossEntropy(CrossEntropyConfig(label_smoothing=label_smoothing))(model, batch, CONTEXT)
    found = gradients(model, loss.total)
    logits = model(batch).logits()
    expected = torch_cross_entropy(logits, batch.tgt_out, label_smoothing)
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        loss.logs["nll"], torch_cross_entropy(logits, batch.tgt_out, 0.0).detach(), rtol=1e-5, atol=0
    )
    assert (float(loss.count), loss.logs.keys()) == (NUM_TARGETS, {"nll"})
    assert not loss.logs["nll"].requires_grad
    assert_close(found, gradients(model, expected))


@pytest.mark.parametrize(("label_smoothing", "consistency"), [(0.0, 1.0), (0.1, 5.0)])
def test_r_drop_equals_its_definition(batch: Seq2SeqBatch, label_smoothing: float, consistency: float) -> None:
    """Liang et al. 2021, equations 2 to 4: both cross entropies plus alpha times the mean of both divergences."""
    assert batch.tgt_out is not None
    model = make_model(dropout=0.3)
    objective = RDrop(RDropConfig(label_smoothing=label_smoothing, consistency=consistency))
    state = torch.get_rng_state()
    loss = objective(model, batch, CONTEXT)
    found = gradients(model, loss.total)
    torch.set_rng_state(state)  # the same dropout masks, two per row
    doubled = Seq2SeqBatch(
        *(torch.cat([x, x]) for x in (batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out, batch.indices)),
        num_tgt_tokens=2 * batch.num_tgt_tokens,
    )
    first, second = model(doubled).logits().chunk(2)
    predicted = batch.tgt_out != IGNORE
    p, q = first[predicted].log_softmax(-1), second[predicted].log_softmax(-1)
    divergence = F.kl_div(q, p, reduction="sum", log_target=True) + F.kl_div(p, q, reduction="sum", log_target=True)
    losses = [torch_cross_entropy(logits, batch.tgt_out, label_smoothing) for logits in (first, second)]
    expected = losses[0] + losses[1] + consistency / 2 * divergence
    assert float(divergence.detach()) > 0.1
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss.logs["divergence"], divergence.detach(), rtol=1e-4, atol=0)
    nll = torch_cross_entropy(first, batch.tgt_out, 0.0) + torch_cross_entropy(second, batch.tgt_out, 0.0)
    torch.testing.assert_close(loss.logs["nll"], nll.detach(), rtol=1e-5, atol=0)
    assert float(loss.count) == 2 * NUM_TARGETS
    assert_close(found, gradients(model, expected))
