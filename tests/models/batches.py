"""Checks of models: larger batches than those of `seqlab.testing`, bf16, and another implementation."""

from typing import Any

import torch
from torch import Tensor

from seqlab.nn.precision import prepare_inference
from seqlab.search.protocols import Stepper
from seqlab.testing import Examples, row_outputs
from seqlab.testing.assertions import require_close
from seqlab.testing.models import Outputs, build
from seqlab.testing.steppers import score_steps

REPETITIONS = 9
"""Number of times that each example is in the batch."""


@torch.inference_mode()
def check_batches(
    config: Any,
    examples: Examples,
    dtype: torch.dtype = torch.bfloat16,
    tolerance: float = 0.0,
    outputs: Outputs = row_outputs,
) -> None:
    """Check that each row, and the steps of a `Stepper`, have the same results alone and in a large batch."""
    model = build(config, examples)
    prepare_inference(model, torch.device("cpu"), dtype)
    rows = list(range(examples.count)) * REPETITIONS
    alone = [outputs(model, examples.collate([row]))[0] for row in range(examples.count)]
    for row, output in zip(rows, outputs(model, examples.collate(rows)), strict=True):
        require_close(output, alone[row], tolerance, f"the outputs of row {row} in {dtype}")
    if isinstance(model, Stepper) and tolerance == 0:
        alone = [score_steps(model, examples, [row])[0] for row in range(examples.count)]
        for row, scores in zip(rows, score_steps(model, examples, rows), strict=True):
            require_close(scores[: len(alone[row])], alone[row], 0.0, f"the steps of row {row} in {dtype}")


def assert_same_hidden_states(found: Tensor, expected: Tensor, is_token: Tensor, weight: Tensor) -> None:
    """Compare hidden states (B, T, D) of tokens, and the gradients that a weight receives from them."""
    torch.testing.assert_close(found[is_token], expected[is_token], rtol=1e-4, atol=1e-4)
    output_grad = torch.randn_like(found[is_token])
    grad, expected_grad = (
        torch.autograd.grad((hidden[is_token] * output_grad).sum(), weight)[0] for hidden in (found, expected)
    )
    torch.testing.assert_close(grad, expected_grad, rtol=1e-3, atol=1e-3)
