"""The LSTM over a whole sequence by oneDNN's fused kernel.

Shapes: T time, B batch (a size of `padded_rows`), I input size, H hidden size. Time comes first.
"""

import torch
from torch import Tensor

from seqlab.nn.cpu.gru import Weights

_HAS_FUSED_BF16 = torch.backends.mkldnn.is_available() and torch.cpu.get_capabilities().get("avx512_bf16", False)

WIDE = 1024
"""In bf16 with a gradient, steps that defer the gradient of their weights train an LSTM at least so wide faster than
the fused kernel, whose gradients no longer fit into the cache: 1.3 times at 1152; at 640 the kernel does, 1.1 times."""


def has_fused_lstm(dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `lstm` is the fastest way. In bf16 without the kernel, `torch.lstm` would round the cell at each step."""
    if dtype == torch.bfloat16:
        return _HAS_FUSED_BF16 and not (torch.is_grad_enabled() and hidden_size >= WIDE)
    return True


def lstm(x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Run an LSTM: x (T, B, I), hidden and cell (B, H) in fp32 at least -> (T, B, H) in the dtype of x, last cell.

    In bf16 the kernel behind `torch.lstm` is called by its own name: so called, it keeps the cell in fp32.
    """
    no_bias = torch.zeros_like(weights.bias)
    if x.dtype == torch.bfloat16:
        outputs, _, last_cell, _ = torch.ops.aten.mkldnn_rnn_layer(
            x,
            *(weights.w_in, weights.w_hidden, weights.bias, no_bias),
            hx_=hidden[None].to(x.dtype),
            cx_=cell[None],
            reverse=False,
            batch_sizes=[],
            mode=2,  # LSTM
            hidden_size=hidden.size(1),
            num_layers=1,
            has_biases=True,
            bidirectional=False,
            batch_first=False,
            train=torch.is_grad_enabled(),
        )
    else:
        state = hidden[None].to(x.dtype), cell[None].to(x.dtype)
        parameters = (weights.w_in, weights.w_hidden, weights.bias, no_bias)
        trains = torch.is_grad_enabled()
        outputs, _, last_cell = torch.lstm(x, state, parameters, True, 1, 0.0, trains, False, False)
    return outputs, last_cell[0].to(cell.dtype)
