"""Checks of the layouts of text that models and objectives declare: packed rows, and rows that continue."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.objectives import Loss
from seqlab.testing.assertions import require

TOLERANCE = 1e-4
"""Relative difference of the loss of a text in two layouts."""
MEANING = {
    "packed": "the lines of a packed row must not depend on each other (`TextBatch.positions`)",
    "contiguous": "a batch that continues the one before must start with its state (`carry`)",
}
"""Layout -> what a part must do that declares it."""


def pack(batch: TextBatch) -> TextBatch:
    """Pack all rows of a batch into one: (B, T) -> (1, number of targets)."""
    is_target = batch.tgt_out != IGNORE
    positions = torch.arange(batch.tgt_out.size(1)).expand_as(batch.tgt_out)
    tgt_in, tgt_out, positions = (tensor[is_target][None] for tensor in (batch.tgt_in, batch.tgt_out, positions))
    return TextBatch(tgt_in, tgt_out, batch.indices[:1], batch.num_tgt_tokens, positions)


def cut(batch: TextBatch) -> tuple[TextBatch, TextBatch, TextBatch]:
    """Cut the two longest rows of a batch to one length; return them whole, and as two batches that continue."""
    lengths, rows = (batch.tgt_out != IGNORE).sum(1).sort(descending=True)
    size, rows = int(lengths[1]), rows[:2]
    start = size // 2

    def part(columns: slice, continues: bool = False) -> TextBatch:
        tgt_in, tgt_out = batch.tgt_in[rows, columns], batch.tgt_out[rows, columns]
        return TextBatch(tgt_in, tgt_out, batch.indices[rows], tgt_out.numel(), continues=continues)

    return part(slice(0, size)), part(slice(0, start)), part(slice(start, size), continues=True)


def check_model_layouts(config: Any, model: nn.Module, batch: Any) -> None:
    """Check that the forward pass of a model fits the `abilities` of its config; only texts are checked.

    Raises:
        AssertionError: a line of a packed row depends on another one, or a batch does not continue the one before.
    """
    if not isinstance(batch, TextBatch):
        return
    if "packed" in config.abilities:
        _require_equal(_log_probs(model, pack(batch))[0], _log_probs(model, batch)[0], "packed", config)
    if "contiguous" in config.abilities:
        whole, first, second = cut(batch)
        expected = _log_probs(model, whole)[0].unflatten(0, whole.tgt_out.shape)
        start, carry = _log_probs(model, first)
        _require_carry(carry, "the model must return its state as `DecoderOutput.carry`", config)
        parts = [start, _log_probs(model, second, carry)[0]]
        actual = torch.cat([part.unflatten(0, (2, -1)) for part in parts], dim=1)
        _require_equal(actual, expected, "contiguous", config)


def check_objective_layouts(config: Any, model_config: Any, loss_of: Callable[..., Loss], batch: Any) -> None:
    """Check that the losses of an objective fit its `text_layouts`, as far as the model supports them.

    Args:
        config: config of the objective.
        model_config: config of the model.
        loss_of: returns the loss of a batch, and of one that continues with a state: (batch) or (batch, carry).
        batch: rows of text; other batches are not checked.

    Raises:
        AssertionError: the loss of a packed row is not the sum of its lines, or the state is not carried.
    """
    if not isinstance(batch, TextBatch):
        return
    layouts = config.text_layouts & model_config.abilities
    if "packed" in layouts:
        _require_equal(_sums(loss_of(pack(batch))), _sums(loss_of(batch)), "packed", config)
    if "contiguous" in layouts:
        whole, first, second = cut(batch)
        start = loss_of(first)
        _require_carry(start.carry, "`Loss.carry` must be the state of the model", config)
        parts = _sums(start) + _sums(loss_of(second, start.carry))
        _require_equal(parts, _sums(loss_of(whole)), "contiguous", config)


def _log_probs(model: Any, batch: TextBatch, carry: Any = None) -> tuple[Tensor, Any]:
    """Return the log-probabilities of all targets, row after row, and the state after the batch."""
    with torch.no_grad():
        output = model.eval()(batch) if carry is None else model.eval()(batch, carry)
        return output.target_log_probs(batch.tgt_out), output.carry


def _sums(loss: Loss) -> Tensor:
    return torch.stack([loss.total.detach(), loss.count])


def _require_carry(carry: Any, what: str, config: Any) -> None:
    require(bool(carry), f"{type(config).__name__} declares `contiguous`, so {what}.")


def _require_equal(actual: Tensor, expected: Tensor, layout: str, config: Any) -> None:
    scale = max(float(expected.abs().max()), 1e-6)
    difference = float((actual - expected).abs().max())
    declared = f"{type(config).__name__} declares `{layout}`"
    message = f"{declared}, but values differ by {difference:.3g}: {MEANING[layout]}."
    require(difference <= TOLERANCE * scale, message)
