"""Operations of the layers, dispatched to fast kernels for the CPU (`nn.cpu`) and the GPU or to plain PyTorch.

`reference_kernels()` selects plain PyTorch on every device. The fast kernels are tested against it. Unlike them, it
supports second derivatives, `torch.compile` and `torch.func`.

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
from seqlab.nn.cpu import attention_kernels, elementwise
from seqlab.nn.cpu import linear as cpu_linear
from seqlab.nn.cpu.repeated_linear import RepeatedLinear
from seqlab.nn.selected_log_probs import UNUSED_ID, SelectedLogProbs, fill_unused

ENVIRONMENT_VARIABLE = "SEQLAB_REFERENCE_KERNELS"
"""Environment variable that selects reference kernels for the process: `1` for all, or names separated by commas."""
TRAINING_KERNELS = ("linear", "repeated_linear", "attention", "recurrent", "cross_entropy", "dropout")
KERNELS = (*TRAINING_KERNELS, "cuda_graph")
"""Names that `reference_kernels` accepts: kernels, and CUDA graphs of decoding steps (`nn.static_cache`)."""


def _check_names(names: tuple[str, ...]) -> frozenset[str]:
    for name in names:
        if name not in KERNELS:
            raise ValueError(f"There is no kernel `{name}`: choose one of {', '.join(KERNELS)}.")
    return frozenset(names or KERNELS)


def _read_environment() -> frozenset[str]:
    value = os.environ.get(ENVIRONMENT_VARIABLE, "0").strip()
    if value == "0" or not value:
        return frozenset()
    try:
        return _check_names(() if value == "1" else tuple(name.strip() for name in value.split(",")))
    except ValueError as error:
        raise ValueError(
            f"The environment variable {ENVIRONMENT_VARIABLE} must be 0, 1 or names separated by commas, but is "
            f"{value!r}. {error}"
        ) from None


_num_reference = Counter(_read_environment())
"""Number of active `reference_kernels()` contexts for each kernel, plus one if the environment selects it."""


@contextmanager
def reference_kernels(*names: str) -> Iterator[None]:
    """Compute with plain PyTorch on every device within this context; `names` limits this to some of `KERNELS`.

    The context applies to all threads of the process; contexts may overlap. Run a forward pass and its backward pass in
    the same context.

    Raises:
        ValueError: a name is not in `KERNELS`.
    """
    checked = _check_names(names)
    _num_reference.update(checked)
    try:
        yield
    finally:
        _num_reference.subtract(checked)


def is_reference(name: str) -> bool:
    """Whether the kernel `name` is computed by plain PyTorch."""
    return _num_reference[name] > 0


def runs_on_cpu(name: str, x: Tensor) -> bool:
    """Whether x is on a CPU and the kernel `name` uses its fast CPU implementation."""
    return x.is_cpu and not is_reference(name)


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Return the dtype of a product with `weight`: autocast's for an fp32 weight, otherwise the weight's dtype."""
    device = weight.device.type
    if weight.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return weight.dtype


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b: x (..., K), weight (N, K), bias (N,) -> (..., N) in `compute_dtype(weight)`.

    On a CPU, with gradients disabled, a row's result does not depend on the other rows.
    """
    if runs_on_cpu("linear", x):
        return cpu_linear.linear(x, weight, bias, compute_dtype(weight))
    return F.linear(x.to(compute_dtype(weight)), weight, bias)


def repeated_linear(weight: Tensor, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Return a function x (R, K) -> `linear(x, weight, bias)` for the many calls of a loop, as in a recurrent layer."""
    if runs_on_cpu("repeated_linear", weight) and torch.is_grad_enabled():
        cpu_linear.unpack(weight)
        return RepeatedLinear(weight, bias, compute_dtype(weight))
    return partial(linear, weight=weight, bias=bias)


def padded_batch_size(x: Tensor) -> int:
    """Return the batch size that `recurrent_layer.recurrent` needs for the rows of x (B, ...).

    On a CPU it is rounded up, so that a row's result does not depend on the other rows.
    """
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

    `bias` is added to the scores and broadcasts to (B, H, T, S); it must be None if `is_causal` is True. Returns the
    merged heads (B, T, D) in the dtype of `value` and, with `need_weights`, the weights before dropout (B, H, T, S).
    """
    assert not (is_causal and bias is not None), "`is_causal` and `bias` exclude each other"
    if bias is not None and not bias.is_floating_point():
        raise TypeError(
            f"`bias` is added to the scores, but is of {bias.dtype}: convert a mask with `seqlab.nn.masks.additive`."
        )
    if runs_on_cpu("attention", query):
        merged, weights = attention_kernels.attention(query, key, value, bias, is_causal, dropout_p, need_weights)
        return merged, weights
    if need_weights or is_reference("attention"):
        return _reference_attention(query, key, value, bias, is_causal, dropout_p)
    bias = None if bias is None else bias.to(value.dtype)
    heads = F.scaled_dot_product_attention(
        query.to(value.dtype), key.to(value.dtype), value, bias, dropout_p, is_causal
    )
    return heads.transpose(1, 2).flatten(2), None


def _reference_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, is_causal: bool, dropout_p: float
) -> tuple[Tensor, Tensor]:
    """Compute attention in plain PyTorch, in fp32."""
    with torch.autocast(query.device.type, enabled=False):
        if is_causal:
            bias = masks.additive(masks.causal(query.size(2), query.device))
        scores = query.float() @ key.float().transpose(2, 3) * query.size(3) ** -0.5
        weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        heads = F.dropout(weights, dropout_p) @ value.float()  # `dropout_p` is 0 in evaluation
    return heads.transpose(1, 2).flatten(2).to(value.dtype), weights


def step_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, need_weights: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Compute attention from K hypotheses (B, H, K, E), all at one position, to caches (B, H, S, E).

    Returns the merged heads (B, K, D) and, with `need_weights`, the weights (B, H, K, S); see `attention`.
    """
    if runs_on_cpu("attention", query):
        return attention_kernels.step_attention(query, key, value, bias)
    return attention(query, key, value, bias, need_weights=need_weights)


def prepare_keys(x: Tensor, head_dim: int) -> Tensor:
    """Prepare keys or values (..., S, E) for many queries: (..., S', E).

    On a CPU, with gradients disabled, they are converted to fp32 and padded, so that results do not depend on the
    padding of the batch. Mask the added positions with `pad_bias`. Otherwise the input is returned unchanged.
    """
    if not runs_on_cpu("attention", x) or torch.is_grad_enabled():
        return x
    return attention_kernels.pad_positions(attention_kernels.contiguous_fp32(x), head_dim)


def pad_bias(bias: Tensor, size: int) -> Tensor:
    """Extend a bias (..., S) to `size` keys with -inf, to mask the positions that `prepare_keys` has added."""
    missing = size - bias.size(-1)
    return F.pad(bias, (0, missing), value=float("-inf")) if missing else bias


def cache_dtype(entries: Tensor) -> torch.dtype:
    """Return the dtype of cached keys and values: fp32 on a CPU, where attention is computed in fp32."""
    return torch.float32 if entries.is_cpu else entries.dtype


def batched_product(a: Tensor, b: Tensor, is_step: bool = False) -> Tensor:
    """Multiply a (B, T, K) by b (B, K, S): (B, T, S).

    On a CPU, with gradients disabled, a row's result does not depend on the other rows. `is_step`: whether T is the
    same in all batches, as the number of hypotheses in a decoding step is.
    """
    if not runs_on_cpu("attention", a) or torch.is_grad_enabled():
        return torch.bmm(a, b)
    return attention_kernels.batched_product(a, b, is_step)


def cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sum the cross entropy of hidden (R, D), projected by weight (V, D), with targets (R,); in nats.

    Rows with target -100 are ignored. Returns the loss with label smoothing, uniform over the vocabulary, and the
    detached nll without it.
    """
    if not is_reference("cross_entropy"):
        dtype = compute_dtype(weight)
        may_ignore = not hidden.is_cpu
        if torch.is_grad_enabled():
            cpu_linear.unpack(weight)
        if hidden.is_cpu:  # on a GPU, counting the remaining rows would wait for the device
            is_real = targets != IGNORE
            hidden, targets = hidden[is_real], targets[is_real]
        with torch.autocast(hidden.device.type, enabled=False):  # `BlockwiseCrossEntropy` sets every dtype
            options = label_smoothing, dtype, may_ignore, torch.is_grad_enabled()
            total, nll = BlockwiseCrossEntropy.apply(hidden, weight, targets, *options)
        return total, nll
    logits = linear(hidden, weight).float()
    nll = F.cross_entropy(logits.detach(), targets, reduction="sum")
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing), nll


def selected_log_probs(hidden: Tensor, weight: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the log-probabilities of a few ids (B, k) of each sentence, in all of its frames.

    hidden (B, F, D), weight (V, D) -> the log-probabilities (B, F, k), -inf where an id is `UNUSED_ID`, and the mean
    log-probability over the vocabulary (B, F), both in fp32.
    """
    if not is_reference("cross_entropy"):
        dtype = compute_dtype(weight)
        with torch.autocast(hidden.device.type, enabled=False):  # `SelectedLogProbs` sets every dtype
            selected, means = SelectedLogProbs.apply(hidden, weight, ids, dtype, torch.is_grad_enabled())
        return selected, means
    log_probs = torch.log_softmax(linear(hidden, weight).float(), dim=-1)
    columns = fill_unused(ids)[:, None].expand(-1, hidden.size(1), -1)
    selected = log_probs.gather(2, columns).masked_fill((ids == UNUSED_ID)[:, None], float("-inf"))
    return selected, log_probs.mean(2)


def dropout(x: Tensor, p: float) -> Tensor:
    """Apply dropout: zero elements of x with probability p and scale the others by 1 / (1 - p).

    On a CPU, p is rounded to a multiple of 1/256.
    """
    return elementwise.dropout(x, p) if runs_on_cpu("dropout", x) else F.dropout(x, p)


def sigmoid(x: Tensor) -> Tensor:
    """Compute 1 / (1 + exp(-x)).

    On a CPU, with gradients disabled, the rounding of an element does not depend on its position in the tensor.
    """
    return elementwise.sigmoid(x) if _needs_batch_invariance(x) else torch.sigmoid(x)


def silu(x: Tensor) -> Tensor:
    """Compute x sigmoid(x), with the rounding of `sigmoid`."""
    return elementwise.silu(x) if _needs_batch_invariance(x) else F.silu(x)


def log_add(a: Tensor, b: Tensor) -> Tensor:
    """Compute log(exp(a) + exp(b)), with the rounding of `sigmoid`."""
    return elementwise.log_add(a, b) if _needs_batch_invariance(a) else torch.logaddexp(a, b)


def _needs_batch_invariance(x: Tensor) -> bool:
    """Whether the rounding of elements must not depend on their position in the tensor."""
    return x.dtype == torch.float32 and runs_on_cpu("linear", x) and not torch.is_grad_enabled()
