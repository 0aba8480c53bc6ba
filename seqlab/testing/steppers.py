"""Check of models that are decoded step by step."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE, TextBatch, collate_prompts
from seqlab.models.interfaces import Scorer, Stepper, missing_methods
from seqlab.testing.examples import Examples

STEP_TOLERANCE = 1e-4
"""Difference of a step's scores and those of a pass over the whole target, in nats."""
SELECTIONS: tuple[tuple[int, ...], ...] = ((0, 0, 1, 1, 2, 2, 3, 3), (1, 1, 3, 3), (3, 1, 0, 2, 1), (2,))
"""Rows to keep: repeated for a beam, dropped, mixed, and a single one."""


@torch.inference_mode()
def check_stepper(model: Any, examples: Examples, *, tolerance: float = 0.0, has_attention: bool = False) -> None:
    """Check that a model can be decoded step by step: the `Stepper` protocol.

    1. Each step returns one score for each id, for each row.
    2. With a `score` method, the scores of the steps are those of one pass over the whole target. A model whose mask
       shows the future, or whose positions or caches are wrong, fails here.
    3. A row has the same scores alone and in a batch.
    4. `state.select` repeats, drops and reorders rows; `state.fork` returns an independent copy.
    5. With `has_attention`, the attention of each step is a distribution over the source without padding.

    Args:
        model: the model, in evaluation mode, with random weights; large ones make wrong results visible.
        examples: examples of the model's data, such as `token_pairs()` or `texts()`.
        tolerance: largest difference of a row alone and in a batch; 0 for equal bits, which matrix products of
            `seqlab.nn` give. Other products need about 1e-5.
        has_attention: whether the steps return attention.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    missing = missing_methods(model, Stepper)
    assert not missing, f"{type(model).__name__} is no `Stepper`: it lacks {', '.join(missing)}."
    everything = range(examples.count)
    batch, together = examples.all(), score_steps(model, examples, everything)
    if isinstance(model, Scorer):
        scores = model.score(batch)
        assert_close(together, scores, STEP_TOLERANCE, "the scores of the steps and of `score`")
    for row in everything:
        alone = score_steps(model, examples, [row])[0]
        assert_close(alone, together[row, : len(alone)], tolerance, f"the scores of row {row} alone and in a batch")
    for selection in SELECTIONS:
        _check_selection(model, batch, torch.tensor(selection))
    _check_fork(model, batch)
    if has_attention:
        _check_attention(model, batch)


def score_steps(model: Any, examples: Examples, rows: Sequence[int]) -> Tensor:
    """Return the log-probabilities (B, T) of the targets of some examples, one step after another; 0 for none."""
    batch = examples.collate(rows)
    last_ids, state = model.start(batch_without_history(batch))
    scores = []
    for t in range(batch.tgt_out.size(1)):
        step = model.step(last_ids, state)
        shape = (len(last_ids), model.vocab_size)
        assert step.scores.shape == shape, (
            f"A step must return scores {shape}, but returned {tuple(step.scores.shape)}."
        )
        last_ids, state = batch.tgt_out[:, t].clamp(min=0), step.state
        scores.append(step.scores.gather(1, last_ids[:, None]))
    return torch.cat(scores, dim=1).masked_fill(batch.tgt_out == IGNORE, 0.0)


def batch_without_history(batch: Any) -> Any:
    """Return the batch that decoding starts from: the sources, or for a text its first input id."""
    if isinstance(batch, TextBatch):
        return collate_prompts(list(batch.tgt_in[:, :1].numpy()))
    return replace(batch, tgt_in=None, tgt_out=None, num_tgt_tokens=0)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Raise AssertionError if two tensors differ by more than a tolerance, or in any bit if it is 0."""
    assert actual.shape == expected.shape, f"Shapes differ: {what} are {tuple(actual.shape)}, {tuple(expected.shape)}."
    if tolerance == 0 and torch.equal(actual, expected):
        return
    difference = float((actual - expected).masked_fill(actual == expected, 0.0).abs().max())  # equal infinities: 0
    assert difference <= tolerance > 0, (
        f"They must be equal{f' within {tolerance:g}' if tolerance else ' bit for bit'}, but differ by up to "
        f"{difference:.3g}: {what}."
    )


def _after_one_step(model: Any, batch: Any) -> Any:
    last_ids, state = model.start(batch_without_history(batch))
    return model.step(last_ids, state).state


def _distinct_ids(model: Any, rows: int) -> Tensor:
    return model.vocab_size - 1 - torch.arange(rows)


def _check_selection(model: Any, batch: Any, selection: Tensor) -> None:
    """Check that rows continue unchanged after they were selected twice, in another order."""
    rows = len(batch)
    selection = selection[selection < rows]
    ids, backwards = _distinct_ids(model, rows), torch.arange(len(selection)).flip(0)
    plain = model.step(ids, _after_one_step(model, batch)).state
    expected = model.step(ids, plain).scores[selection][backwards]
    selected = model.step(ids[selection], _after_one_step(model, batch).select(selection)).state
    actual = model.step(ids[selection][backwards], selected.select(backwards)).scores
    what = f"the scores of the rows {selection.tolist()} after `state.select` and without it"
    assert_close(actual, expected, 1e-5, what)


def _check_fork(model: Any, batch: Any) -> None:
    """Check that steps of a fork do not change the state that it was made of."""
    ids = _distinct_ids(model, len(batch))
    expected = model.step(ids, _after_one_step(model, batch)).scores
    state = _after_one_step(model, batch)
    forked = model.step(ids.flip(0), state.fork()).state
    if len(batch) > 1:
        model.step(ids[:2], forked.select(torch.tensor([1, 0])))
    assert_close(model.step(ids, state).scores, expected, 0.0, "the scores of a state before and after steps of a fork")


def _check_attention(model: Any, batch: Any) -> None:
    last_ids, state = model.start(batch_without_history(batch), need_attention=True)
    attention = model.step(last_ids, state).attention
    assert attention is not None, "A step must return attention if `start` was called with `need_attention`."
    assert attention.shape == batch.src.shape, (
        f"Attention must have the shape of the source, {tuple(batch.src.shape)}, but has {tuple(attention.shape)}."
    )
    assert_close(attention.sum(1), torch.ones(len(batch)), 1e-4, "the sums of the attention weights and 1")
    padding = torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]
    assert not bool(attention[padding].any()), "Attention weights of padding must be 0."
