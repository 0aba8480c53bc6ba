"""Check of models that are decoded step by step."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, FrameBatch, TextBatch, collate_prompts
from seqlab.inference.scorer import Scorer
from seqlab.models.interfaces import Step
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB
from seqlab.search.protocols import Stepper, missing_methods
from seqlab.testing.assertions import explaining_errors, require, require_close, require_examples
from seqlab.testing.random_examples import Examples

STEP_TOLERANCE = 1e-4
"""Difference of a step's scores and those of a pass over the whole target, in nats."""
SELECTION_TOLERANCE = 1e-5
"""Difference of a step's scores after `state.select` and without it."""
SUM_TOLERANCE = 1e-3
"""Difference of the sum of all probabilities and 1."""
SELECTIONS: tuple[tuple[int, ...], ...] = ((0, 0, 1, 1, 2, 2, 3, 3), (1, 1, 3, 3), (3, 1, 0, 2, 1), (2,))
"""Rows to keep: repeated for a beam, dropped, mixed, and a single one."""
PROMPT_LENGTHS = (2, 3)
"""Numbers of ids of prompts, the start included."""


@torch.no_grad()
def check_stepper(model: Any, examples: Examples, *, tolerance: float = 0.0, has_attention: bool = False) -> None:
    """Check that a model can be decoded step by step: the `Stepper` protocol.

    1. Each step returns one score for each id, for each row, in fp32. The scores of a `Scorer` are log-probabilities in
       nats. Search may change them: the model must not use them again.
    2. With a `score` method, the scores of the steps are those of one pass over the whole target. A model whose mask
       shows the future, or whose positions or caches are wrong, fails here.
    3. Steps after a prompt of several ids are those of the ids one after another (`TextBatch`).
    4. A row has the same scores alone and in a batch.
    5. `state.select` repeats, drops and reorders rows, and `state.fork` returns an independent copy; also at the start.
    6. With `has_attention`, the attention of each step is a distribution over the source without padding.

    Args:
        model: the model, in evaluation mode, with random weights; large ones make wrong results visible.
        examples: examples of the model's data, such as `token_pairs()` or `texts()`.
        tolerance: largest difference of a row alone and in a batch; 0 for equal bits, which matrix products of
            `seqlab.nn` give. Other products need about 1e-5.
        has_attention: whether the steps return attention.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    require_examples(examples)
    missing = missing_methods(model, Stepper)
    require(not missing, f"{type(model).__name__} is no `Stepper`: it lacks {', '.join(missing)}.")
    require(
        not (isinstance(model, nn.Module) and model.training),
        "The model must be in evaluation mode: call `model.eval()`.",
    )
    with explaining_errors(f"Decoding with {type(model).__name__}"):
        _check_ids(model, examples)
        _check_scores(model, examples, tolerance)
        batch = examples.all()
        for steps in (0, 1):
            for selection in SELECTIONS:
                rows = [row for row in selection if row < examples.count]
                if rows:
                    _check_selection(model, batch, torch.tensor(rows), steps, max(tolerance, SELECTION_TOLERANCE))
            _check_fork(model, batch, steps)
        if isinstance(batch, TextBatch):
            _check_prompts(model, batch)
        if has_attention:
            _check_attention(model, batch)


def _check_ids(model: Any, examples: Examples) -> None:
    for name in ("vocab_size", "eos_id"):
        value, expected = getattr(model, name), getattr(examples.tgt, name)
        require(value == expected, f"`{name}` must be that of the target side, {expected}, but is {value} instead.")
    last_ids, _ = model.start(batch_without_history(examples.all()))
    shape, dtype = tuple(last_ids.shape), last_ids.dtype
    require(
        (shape, dtype) == ((examples.count,), torch.int64),
        f"`start` must return ids ({examples.count},) int64, but returned {shape} {dtype}.",
    )


def _check_scores(model: Any, examples: Examples, tolerance: float) -> None:
    """Compare the scores of the steps with one pass over the targets, and rows alone with rows in a batch."""
    everything = range(examples.count)
    together = score_steps(model, examples, everything)
    if isinstance(model, Scorer):
        scores, steps = (values.clamp(min=IMPOSSIBLE_LOG_PROB) for values in (model.score(examples.all()), together))
        require_close(steps, scores, max(tolerance, STEP_TOLERANCE), "the scores of the steps and of `score`")
    for row in everything:
        alone = score_steps(model, examples, [row])[0]
        require_close(alone, together[row, : len(alone)], tolerance, f"the scores of row {row} alone and in a batch")


def score_steps(model: Any, examples: Examples, rows: Sequence[int]) -> Tensor:
    """Return the log-probabilities (B, T) of the targets of some examples, one step after another; 0 at padding."""
    batch = examples.collate(rows)
    last_ids, state = model.start(batch_without_history(batch))
    scores = []
    for t in range(batch.tgt_out.size(1)):
        step = model.step(last_ids, state)
        _require_step_scores(model, step, batch.tgt_out[:, t] != IGNORE)
        last_ids, state = batch.tgt_out[:, t].clamp(min=0), step.state
        scores.append(step.scores.gather(1, last_ids[:, None]))
        step.scores.fill_(torch.nan)  # as search may
    return torch.cat(scores, dim=1).masked_fill(batch.tgt_out == IGNORE, 0.0)


def _require_step_scores(model: Any, step: Step, continues: Tensor) -> None:
    """Check shape, dtype and, for the rows (N,) bool that have not ended, the sum of the probabilities."""
    expected, actual = (len(continues), model.vocab_size), tuple(step.scores.shape)
    require(actual == expected, f"A step must return scores {expected}, but returned {actual}.")
    dtype = step.scores.dtype
    require(dtype in (torch.float32, torch.float64), f"The scores of a step must be fp32, but are {dtype}.")
    message = "Some scores of a step are NaN: it must not return a tensor again, since search may change them in place."
    require(not bool(step.scores.isnan().any()), message)
    if isinstance(model, Scorer):
        total = float(step.scores[continues].double().exp().sum(1).max())
        require(
            total <= 1 + SUM_TOLERANCE,
            f"The scores of a step must be log-probabilities in nats, but these sum to a probability of {total:.6g}.",
        )


def batch_without_history(batch: Any) -> Any:
    """Return the batch that decoding starts from: the sources, or for a text its first input id."""
    if isinstance(batch, TextBatch):
        return collate_prompts(list(batch.tgt_in[:, :1].numpy()))
    return replace(batch, tgt_in=None, tgt_out=None, num_tgt_tokens=0)


def _distinct_ids(model: Any, rows: int) -> Tensor:
    return model.vocab_size - 1 - torch.arange(rows)


def _start(model: Any, batch: Any, steps: int) -> tuple[Tensor, Any]:
    """Return ids that differ between rows, and the state after some steps; before the first, the ids of `start`."""
    last_ids, state = model.start(batch_without_history(batch))
    for _ in range(steps):
        state = model.step(last_ids, state).state
        last_ids = _distinct_ids(model, len(batch))
    return last_ids, state


def _check_selection(model: Any, batch: Any, selection: Tensor, steps: int, tolerance: float) -> None:
    """Check that rows continue unchanged after they were selected twice, in another order."""
    backwards = torch.arange(len(selection)).flip(0)
    ids, state = _start(model, batch, steps)
    plain = model.step(ids, state).state
    expected = model.step(_distinct_ids(model, len(batch)), plain).scores[selection][backwards]
    _, state = _start(model, batch, steps)
    selected = model.step(ids[selection], state.select(selection)).state
    next_ids = _distinct_ids(model, len(batch))[selection][backwards]
    actual = model.step(next_ids, selected.select(backwards)).scores
    what = f"the scores of the rows {selection.tolist()} after `state.select` and without it"
    require_close(actual, expected, tolerance, what)


def _check_fork(model: Any, batch: Any, steps: int) -> None:
    """Check that steps of a fork do not change the state that it was made of."""
    ids, state = _start(model, batch, steps)
    expected = model.step(ids, state).scores
    _, state = _start(model, batch, steps)
    forked = model.step(_distinct_ids(model, len(batch)).flip(0), state.fork()).state
    if len(batch) > 1:
        model.step(ids[:2], forked.select(torch.tensor([1, 0])))
    what = "the scores of a state before and after steps of a fork"
    require_close(model.step(ids, state).scores, expected, 0.0, what)


def _check_prompts(model: Any, batch: TextBatch) -> None:
    """Check that a prompt of several ids is read as these ids one after another."""
    for length in PROMPT_LENGTHS:
        rows = [row for row in range(len(batch)) if int((batch.tgt_out[row] != IGNORE).sum()) >= length]
        prompts = batch.tgt_in[rows, :length]
        last_ids, state = model.start(collate_prompts(list(prompts[:, :1].numpy())))
        for t in range(1, length):
            state = model.step(last_ids, state).state
            last_ids = prompts[:, t]
        expected = model.step(last_ids, state).scores
        actual = model.step(*model.start(collate_prompts(list(prompts.numpy())))).scores
        what = f"the scores after a prompt of {length} ids, and after the same ids one by one"
        require_close(actual, expected, STEP_TOLERANCE, what)


def _check_attention(model: Any, batch: Any) -> None:
    last_ids, state = model.start(batch_without_history(batch), need_attention=True)
    attention = model.step(last_ids, state).attention
    if attention is None:
        raise AssertionError("A step must return attention if `start` was called with `need_attention`.")
    sums = attention.sum(1)
    require_close(sums, torch.ones_like(sums), STEP_TOLERANCE, "the sums of the attention weights and 1")
    if isinstance(batch, FrameBatch):  # encoders may shorten frames
        return
    shape, expected = tuple(attention.shape), tuple(batch.src.shape)
    require(shape == expected, f"Attention must have the shape of the source, {expected}, but has {shape}.")
    padding = torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]
    require(not bool(attention[padding].any()), "Attention weights of padding must be 0.")
