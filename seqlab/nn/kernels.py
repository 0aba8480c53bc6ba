"""Operations that the layers call: each in plain PyTorch, replaced by faster ones on a CPU (`nn.cpu`) and on a GPU.

Under `reference_kernels()` the plain form runs on every device. It is what the others are tested against; it can be
differentiated twice, compiled by `torch.compile` and transformed by `torch.func`.

Shapes: B batch, T queries, S keys, H heads, E = head_dim, D = H * E, K hypotheses of a sentence, R rows, V vocabulary.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn import masks
from seqlab.nn.blockwise_cross_entropy import IGNORE, BlockwiseCrossEntropy
from seqlab.nn.cpu import attention as cpu_attention
from seqlab.nn.cpu import elementwise
from seqlab.nn.cpu import linear as cpu_linear
from seqlab.nn.cpu.repeated_linear import RepeatedLinear
from seqlab.nn.selected_log_probs import UNUSED, SelectedLogProbs, fill_unused

ENVIRONMENT_VARIABLE = "SEQLAB_REFERENCE_KERNELS"
"""The environment variable that begins a process with the reference kernels: `1` for all, or names of some."""
TRAINING_KERNELS = ("linear", "repeated_linear", "attention", "recurrent", "cross_entropy", "dropout")
KERNELS = (*TRAINING_KERNELS, "cuda_graph")
"""What can be switched off: kernels, and the graphs that repeat a step of decoding on a GPU (`nn.static_cache`)."""


def _checked(names: tuple[str, ...]) -> frozenset[str]:
    for name in names:
        if name not in KERNELS:
            raise ValueError(f"There is no kernel `{name}`: there are {', '.join(KERNELS)}.")
    return frozenset(names or KERNELS)


def _from_environment() -> frozenset[str]:
    value = os.environ.get(ENVIRONMENT_VARIABLE, "0").strip()
    if value == "0" or not value:
        return frozenset()
    try:
        return _checked(() if value == "1" else tuple(name.strip() for name in value.split(",")))
    except ValueError as error:
        raise ValueError(
            f"The environment variable {ENVIRONMENT_VARIABLE} must be 0, 1 or names separated by commas, but is "
            f"{value!r}. {error}"
        ) from None


_reference = Counter(_from_environment())
"""How many contexts that have not ended ask for the plain form of a kernel."""


@contextmanager
def reference_kernels(*names: str) -> Iterator[None]:
    """Compute with plain PyTorch on every device within this context; with `names`, only these `KERNELS`.

    It holds for the whole process, all threads; contexts may overlap. A forward pass and its backward pass belong into
    the same context. Raises ValueError for a name that is no kernel's.
    """
    checked = _checked(names)
    _reference.update(checked)
    try:
        yield
    finally:
        _reference.subtract(checked)


def is_reference(name: str) -> bool:
    """Whether a kernel is to be computed by plain PyTorch."""
    return _reference[name] > 0


def runs_on_cpu(name: str, x: Tensor) -> bool:
    """Whether a kernel's form for the CPU computes on x."""
    return x.is_cpu and not is_reference(name)


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Return the dtype in which a product with `weight` runs: the weight's own, or autocast's for fp32 weights."""
    device = weight.device.type
    if weight.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b: x (..., K), weight (N, K), bias (N,) -> (..., N) in `compute_dtype(weight)`.

    On a CPU without a gradient, a row's result does not depend on the other rows.
    """
    if runs_on_cpu("linear", x):
        return cpu_linear.linear(x, weight, bias, compute_dtype(weight))
    return F.linear(x.to(compute_dtype(weight)), weight, bias)


def repeated_linear(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Return what computes `linear(x, weight, bias)` for many x (R, K), where each depends on the result before it."""
    if runs_on_cpu("repeated_linear", weight) and torch.is_grad_enabled():
        cpu_linear.unpack(weight)
        return RepeatedLinear(weight, bias, compute_dtype(weight))
    return partial(linear, weight=weight, bias=bias)


def padded_batch_size(x: Tensor) -> int:
    """Return how many rows `recurrent_layer.recurrent` reads for those of x: on a CPU more, so that none depends on
    another."""
    return cpu_linear.padded_rows(len(x)) if runs_on_cpu("recurrent", x) else len(x)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention from query (B, H, T, E) to key and value (B, H, S, E).

    `bias` is added to the scores and broadcasts to (B, H, T, S); it is None where `is_causal` is True. Returns the
    merged heads (B, T, D) in the dtype of `value` and, where asked for, the weights before dropout (B, H, T, S).
    """
    assert not (is_causal and bias is not None), "a bias says by itself what may be attended to"
    if bias is not None and not bias.is_floating_point():
        raise TypeError(f"`bias` is added to the scores, but is of {bias.dtype}: see `seqlab.nn.masks.additive`.")
    if runs_on_cpu("attention", query):
        merged, weights = cpu_attention.attention(query, key, value, bias, is_causal, dropout_p, need_weights)
        return merged, weights
    if need_weights or is_reference("attention"):
        return _attention(query, key, value, bias, is_causal, dropout_p)
    bias = None if bias is None else bias.to(value.dtype)
    heads = F.scaled_dot_product_attention(
        query.to(value.dtype), key.to(value.dtype), value, bias, dropout_p, is_causal
    )
    return heads.transpose(1, 2).flatten(2), None


def _attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, is_causal: bool, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """Attend by definition, in fp32."""
    with torch.autocast(query.device.type, enabled=False):
        if is_causal:
            bias = masks.additive(masks.causal(query.size(2), query.device))
        scores = query.float() @ key.float().transpose(2, 3) * query.size(3) ** -0.5
        weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        heads = F.dropout(weights, dropout_p) @ value.float()  # in evaluation `dropout_p` is 0
    return heads.transpose(1, 2).flatten(2).to(value.dtype), weights


def step_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, need_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Attend from K hypotheses (B, H, K, E), all at one position, to caches (B, H, S, E), as `attention` does.

    Returns heads (B, K, D) and, where asked for, weights (B, H, K, S).
    """
    if runs_on_cpu("attention", query):
        return cpu_attention.step_attention(query, key, value, bias)
    return attention(query, key, value, bias, need_weights=need_weights)


def prepare_keys(x: Tensor, head_dim: int) -> Tensor:
    """Prepare keys or values (..., S, E) that many queries attend to: (..., S', E).

    On a CPU without a gradient they become fp32, and positions are appended so that no answer depends on a batch's
    padding: mask these by `pad_bias`. RemoteTraceback they stay as they are.
    """
    if not runs_on_cpu("attention", x) or torch.is_grad_enabled():
        return x
    return cpu_attention.pad_positions(cpu_attention.contiguous_fp32(x), head_dim)


def pad_bias(bias: Tensor, size: int) -> Tensor:
    """Append -inf to a bias (..., S) for the keys up to `size` that `prepare_keys` has appended."""
    missing = size - bias.size(-1)
    return F.pad(bias, (0, missing), value=float("-inf")) if missing else bias


def cache_dtype(entries: Tensor) -> torch.dtype:
    """Return the dtype that keys and values are kept in while decoding: fp32 on a CPU, which attends in it."""
    return torch.float32 if entries.is_cpu else entries.dtype


def batched_product(a: Tensor, b: Tensor, is_step: bool = False) -> Tensor:
    """Multiply a (B, T, K) by b (B, K, S): (B, T, S); on a CPU without a gradient, other rows change nothing.

    `is_step`: whether T is the same for all batches, as for the hypotheses of a step of decoding.
    """
    if not runs_on_cpu("attention", a) or torch.is_grad_enabled():
        return torch.bmm(a, b)
    return cpu_attention.batched_product(a, b, is_step)


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sum the cross entropy of hidden (R, D) projected by weight (V, D) with targets (R,), -100 for none, in nats.

    Returns the loss with label smoothing, uniform over the vocabulary, and the detached nll without it.
    """
    if not is_reference("cross_entropy"):
        dtype = compute_dtype(weight)
        may_ignore = not hidden.is_cpu
        if torch.is_grad_enabled():
            cpu_linear.unpack(weight)
        if hidden.is_cpu:  # for a GPU the host would have to wait until it is known how many rows are left
            is_real = targets != IGNORE
            hidden, targets = hidden[is_real], targets[is_real]
        with torch.autocast(hidden.device.type, enabled=False):  # every dtype is explicit there
            options = label_smoothing, dtype, may_ignore, torch.is_grad_enabled()
            total, nll = BlockwiseCrossEntropy.apply(hidden, weight, targets, *options)
        return total, nll
    logits = linear(hidden, weight).float()
    nll = F.cross_entropy(logits.detach(), targets, reduction="sum")
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing), nll


def selected_log_probs(hidden: Tensor, weight: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Compute log-probabilities of the ids (B, k) of each sentence in its frames, hidden (B, F, D): weight (V, D).

    Returns them (B, F, k), -inf where an id is `UNUSED`, and the means over all ids (B, F), in fp32.
    """
    if not is_reference("cross_entropy"):
        dtype = compute_dtype(weight)
        with torch.autocast(hidden.device.type, enabled=False):  # every dtype is explicit there
            selected, means = SelectedLogProbs.apply(hidden, weight, ids, dtype, torch.is_grad_enabled())
        return selected, means
    log_probs = torch.log_softmax(linear(hidden, weight).float(), dim=-1)
    columns = fill_unused(ids)[:, None].expand(-1, hidden.size(1), -1)
    selected = log_probs.gather(2, columns).masked_fill((ids == UNUSED)[:, None], float("-inf"))
    return selected, log_probs.mean(2)


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero elements of x with probability p and scale the rest so that the expectation stays.

    On a CPU p is rounded to a multiple of 1/256.
    """
    return elementwise.dropout(x, p) if runs_on_cpu("dropout", x) else F.dropout(x, p)


def sigmoid(x: Tensor) -> Tensor:
    """Compute 1 / (1 + exp(-x)); on a CPU without a gradient, no element depends on its position in a batch."""
    return elementwise.sigmoid(x) if _must_not_vary(x) else torch.sigmoid(x)


def silu(x: Tensor) -> Tensor:
    """Compute x sigmoid(x), as `sigmoid` does."""
    return elementwise.silu(x) if _must_not_vary(x) else F.silu(x)


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """Compute log(exp(a) + exp(b)), as `sigmoid` does."""
    return elementwise.log_add(a, b) if _must_not_vary(a) else torch.logaddexp(a, b)


def _must_not_vary(x: Tensor) -> bool:
    return x.dtype == torch.float32 and runs_on_cpu("linear", x) and not torch.is_grad_enabled()
