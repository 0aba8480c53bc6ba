"""Translators of all families: cached steps against one pass, attention, independence of rows."""

import pytest
import torch
from reference.tiny_translators import ALL, COPYING, RECURRENT, TGT, TRANSFORMERS, Translator, batch_of, build
from torch import Tensor

from seqlab.data.batch import IGNORE

VARIANTS = TRANSFORMERS | RECURRENT | COPYING
every_variant = pytest.mark.parametrize("name", VARIANTS)


def score_stepwise(model: Translator, rows: list[int]) -> tuple[Tensor, list[Tensor | None]]:
    """Score the targets step by step with a cache, and return the attention of each step."""
    batch = batch_of(rows)
    last_ids, state = model.start(batch_of(rows, with_target=False), need_attention=True)
    token_scores, attention = [], []
    for t in range(batch.tgt_out.size(1)):
        step = model.step(last_ids, state)
        last_ids, state = batch.tgt_out[:, t].clamp(min=0), step.state
        token_scores.append(step.scores.gather(1, last_ids[:, None]))
        attention.append(step.attention)
    return torch.cat(token_scores, dim=1).masked_fill(batch.tgt_out == IGNORE, 0.0), attention


@every_variant
def test_cached_steps_equal_the_teacher_forced_pass(name: str) -> None:
    model, batch = build(VARIANTS[name]), batch_of(ALL)
    with torch.inference_mode():
        scores = model.score(batch)
        output = model(batch)
        expected = output.logits().log_softmax(-1).gather(2, batch.tgt_out.clamp(min=0)[..., None])[..., 0]
        if output.pointer is not None:
            all_positions = torch.ones_like(batch.tgt_out, dtype=torch.bool)
            mixed = output.pointer.select(all_positions).mix(expected.flatten(), batch.tgt_out.flatten())
            expected = mixed.view_as(expected)
        found, _ = score_stepwise(model, ALL)
    torch.testing.assert_close(scores, expected.masked_fill(batch.tgt_out == IGNORE, 0.0))
    torch.testing.assert_close(found, scores, rtol=0, atol=1e-4)


@every_variant
@torch.inference_mode()
def test_results_are_bitwise_independent_of_the_batch(name: str) -> None:
    model = build(VARIANTS[name])
    batched = model.score(batch_of(ALL))
    steps, _ = score_stepwise(model, ALL)
    for i in ALL:
        length = len(TGT[i]) + 1
        assert torch.equal(model.score(batch_of([i]))[0], batched[i, :length])
        assert torch.equal(score_stepwise(model, [i])[0][0], steps[i, :length])


@every_variant
@torch.inference_mode()
def test_attention_is_a_distribution_without_padding(name: str) -> None:
    batch = batch_of(ALL)
    _, steps = score_stepwise(build(VARIANTS[name]), ALL)
    for attention in steps:
        assert attention is not None
        assert attention.shape == batch.src.shape
        torch.testing.assert_close(attention.sum(1), torch.ones(len(ALL)))
        assert bool((attention[torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]] == 0).all())


SELECTIONS = {
    "spread to a beam": [0, 0, 1, 1, 2, 2, 3, 3],
    "reorder within": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    "drop sentences": [1, 1, 3, 3],
    "uneven": [0, 2, 2, 2, 3],
    "shuffled": [3, 1, 0, 2, 1],
    "one": [2],
}


@every_variant
@pytest.mark.parametrize("selection", SELECTIONS)
@torch.inference_mode()
def test_selected_rows_continue_unchanged(name: str, selection: str) -> None:
    """Rows with the same ids have the same scores in any order, even after a second selection."""
    model = build(VARIANTS[name])
    rows = torch.tensor(SELECTIONS[selection])
    first_ids = torch.tensor([5, 6, 7, 8])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    state = model.step(last_ids, state).state
    plain = state.fork()
    state = model.step(first_ids[rows], state.select(rows)).state
    reversed_order = torch.arange(len(rows)).flip(0)
    found = model.step(first_ids[rows][reversed_order], state.select(reversed_order))
    plain = model.step(first_ids, plain).state
    expected = model.step(first_ids, plain).scores[rows][reversed_order]
    torch.testing.assert_close(found.scores, expected, rtol=1e-5, atol=1e-5)


@every_variant
@torch.inference_mode()
def test_forks_are_independent(name: str) -> None:
    model = build(VARIANTS[name])
    last_ids, state = model.start(batch_of(ALL, with_target=False))
    state = model.step(last_ids, state).state
    fork = state.fork()
    expected = model.step(last_ids + 3, state.fork()).scores
    fork_state = model.step(last_ids + 5, fork).state.select(torch.tensor([3, 1]))
    model.step(torch.tensor([9, 9]), fork_state)
    assert torch.equal(model.step(last_ids + 3, state).scores, expected)
