"""Sampler of translation pairs: ranks, epochs, resuming, weights and validation order."""

from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise, takewhile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.data.prefetch import Prefetch
from seqlab.data.prepare import PreparedData, prepare
from seqlab.data.sampler import Position, Seq2SeqSampler, TrainingStep, ordered_batches
from seqlab.tasks.translation.config import TranslationConfig

Pairs = list[tuple[str, str]]
word = st.text("abc", min_size=1, max_size=12)
pairs_strategy = st.lists(st.tuples(word, word), min_size=1, max_size=40)
with_files = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40
)


class Setup:
    """Factory of samplers over prepared corpora."""

    def __init__(self, tokenizer: Any, write_config: Callable[..., TranslationConfig], folder: Any) -> None:
        self.tokenizer, self.write_config, self.folder = tokenizer, write_config, folder

    def __call__(
        self, *corpora: Pairs, seed: int = 7, **changes: Any
    ) -> tuple[Seq2SeqSampler, PreparedData, TranslationConfig]:
        values = {"valid": [("v", "w")], "batch_tokens": 60, "micro_batch_tokens": 30, "chunk_pairs": 12} | changes
        config = self.write_config(*corpora, **values)
        data = prepare(config, (self.tokenizer, self.tokenizer), self.folder / "cache")
        return self.sampler(data, config, seed), data, config

    def sampler(
        self, data: PreparedData, config: TranslationConfig, seed: int = 7, rank: int = 0, world_size: int = 1
    ) -> Seq2SeqSampler:
        """Return the sampler of a rank."""
        return Seq2SeqSampler(
            data.train, config, seed, self.tokenizer, self.tokenizer, rank=rank, world_size=world_size
        )


@pytest.fixture
def setup(tokenizer: Any, write_config: Callable[..., TranslationConfig], tmp_path: Any) -> Setup:
    return Setup(tokenizer, write_config, tmp_path)


def epoch_steps(sampler: Seq2SeqSampler, epoch: int = 0) -> list[TrainingStep]:
    after = None if epoch == 0 else Position(epoch - 1, 10**9, 0)
    return list(takewhile(lambda step: step.position.epoch == epoch, sampler.steps(after)))


def batch_rows(batch: Seq2SeqBatch) -> list[tuple[int, list[int], list[int]]]:
    """Return (index, source, target) of each row without padding and special ids, after checking these."""
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    rows = []
    for index, src, length, tgt_in, tgt_out in zip(
        batch.indices.tolist(), batch.src, batch.src_lengths, batch.tgt_in, batch.tgt_out, strict=True
    ):
        kept = tgt_out[tgt_out != IGNORE]
        assert src[length - 1] == 2
        assert kept[-1] == 2
        assert tgt_in[0] == 1
        assert tgt_in[1 : len(kept)].equal(kept[:-1])
        rows.append((index, src[: length - 1].tolist(), kept[:-1].tolist()))
    return rows


def step_rows(steps: list[TrainingStep]) -> list[tuple[int, list[int], list[int]]]:
    return [row for step in steps for batch in step.micro_steps for row in batch_rows(batch)]


def are_equal(first: TrainingStep, second: TrainingStep) -> bool:
    return (
        first.position == second.position
        and [batch_rows(batch) for batch in first.micro_steps] == [batch_rows(batch) for batch in second.micro_steps]
        and all(a.src.equal(b.src) for a, b in zip(first.micro_steps, second.micro_steps, strict=True))
    )


@with_files
@given(pairs=pairs_strategy, world_size=st.integers(2, 4))
def test_ranks_split_the_same_steps(pairs: Pairs, world_size: int, setup: Setup) -> None:
    single, data, config = setup(pairs)
    ranks = [setup.sampler(data, config, rank=rank, world_size=world_size) for rank in range(world_size)]
    rank_steps = zip(*(epoch_steps(sampler) for sampler in ranks), strict=True)
    for full_step, rank_parts in zip(epoch_steps(single), rank_steps, strict=True):
        assert {part.position for part in rank_parts} == {full_step.position}
        assert len({len(part.micro_steps) for part in rank_parts}) == 1
        batches = [batch for part in rank_parts for batch in part.micro_steps]
        nonempty = [batch for batch in batches if batch.num_tgt_tokens]
        assert [row for batch in nonempty for row in batch_rows(batch)] == step_rows([full_step])
        for part in rank_parts:
            assert part.num_src_tokens == full_step.num_src_tokens
            assert part.num_tgt_tokens == full_step.num_tgt_tokens == sum(batch.num_tgt_tokens for batch in batches)
            assert part.padded_src_tokens == sum(batch.src.numel() for batch in nonempty) <= full_step.padded_src_tokens
        for idle in (batch for batch in batches if not batch.num_tgt_tokens):
            assert idle.tgt_out is not None
            assert (idle.tgt_out == IGNORE).all()


@with_files
@given(pairs=pairs_strategy, seed=st.integers(0, 9), epoch=st.integers(0, 2))
def test_an_epoch_has_every_pair_of_the_corpus_once(pairs: Pairs, seed: int, epoch: int, setup: Setup) -> None:
    sampler, _, config = setup(pairs, seed=seed)
    steps = epoch_steps(sampler, epoch)
    rows = sorted(step_rows(steps))
    assert [index for index, _, _ in rows] == list(range(len(pairs)))
    for (src, tgt), (_, src_ids, tgt_ids) in zip(pairs, rows, strict=True):
        assert setup.tokenizer.decode([src_ids, tgt_ids]) == [src, tgt]
    for step in steps:
        assert step.num_tgt_tokens == sum(int((b.tgt_out != IGNORE).sum()) for b in step.micro_steps)  # type: ignore[operator, union-attr]
        assert step.num_src_tokens == sum(int((b.src != 0).sum()) for b in step.micro_steps)
        assert step.padded_src_tokens == sum(b.src.size(0) * b.src.size(1) for b in step.micro_steps)
        for batch in step.micro_steps:
            assert batch.tgt_in is not None
            padded = max(batch.src.numel(), batch.tgt_in.numel())
            assert padded <= config.micro_batch_tokens or len(batch) == 1


@with_files
@given(
    pairs=pairs_strategy,
    sampling=st.sampled_from([0.0, 0.3]),
    weight=st.sampled_from([1.0, 1.5]),
    stop=st.integers(0, 20),
    depth=st.integers(0, 3),
)
def test_steps_are_the_same_after_resuming_at_any_position(
    pairs: Pairs, sampling: float, weight: float, stop: int, depth: int, setup: Setup
) -> None:
    sampler, data, config = setup(pairs, subword_sampling=sampling, train_weights=[weight])
    uninterrupted = list(islice(sampler.steps(), stop + 10))
    with Prefetch(setup.sampler(data, config).steps(), depth) as prefetched:
        consumed = list(islice(prefetched, stop))
        position = consumed[-1].position if consumed else None
    resumed = list(islice(setup.sampler(data, config).steps(position), 10))
    for expected, found in zip(uninterrupted, consumed + resumed, strict=True):
        assert are_equal(expected, found)


def test_positions_count_steps_chunks_and_epochs(setup: Setup) -> None:
    sampler, _, _ = setup([("ab", "abc")] * 50)
    positions = [step.position for step in islice(sampler.steps(), 100)]
    assert positions == sorted(positions)
    assert len(set(positions)) == 100
    assert positions[0] == Position(0, 0, 0)
    for before, after in pairwise(positions):
        following = [
            Position(before.epoch, before.chunk, before.step + 1),
            Position(before.epoch, before.chunk + 1, 0),
            Position(before.epoch + 1, 0, 0),
        ]
        assert after in following


def test_epochs_and_seeds_differ(setup: Setup) -> None:
    pairs = [("ab" * (i % 5), "c" * (i % 7 + 1)) for i in range(1, 60) if i % 5]
    orders = [
        [row[0] for row in step_rows(epoch_steps(setup(pairs, seed=seed)[0], epoch))]
        for seed, epoch in [(1, 0), (1, 1), (2, 0)]
    ]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])


def test_corpora_are_mixed_by_their_weights(setup: Setup) -> None:
    first = [(f"a{'b' * (i % 9)}", "c") for i in range(40)]
    second = [(f"b{'a' * (i % 9)}", "c") for i in range(100)]
    sampler, _, _ = setup(first, second, train_weights=[2.0, 0.1])
    drawn: Counter[int] = Counter()
    for epoch in range(30):
        seen = Counter(index for index, _, _ in step_rows(epoch_steps(sampler, epoch)))
        assert all(seen[index] == 2 for index in range(40))
        drawn.update({index: count for index, count in seen.items() if index >= 40})
    assert abs(sum(drawn.values()) - 30 * 10) < 5 * np.sqrt(30 * 10)
    assert len(drawn) > 80  # different pairs in each epoch


def test_steps_have_about_the_requested_size(setup: Setup) -> None:
    sampler, _, _ = setup([("ab", "abc" * (i % 3 + 1)) for i in range(400)], chunk_pairs=200)
    steps = epoch_steps(sampler)
    tokens = [step.num_tgt_tokens for step in steps]
    assert sum(tokens) / len(tokens) == pytest.approx(60, rel=0.05)
    assert min(tokens) > 30
    assert [step.epoch for step in steps] == sorted(step.epoch for step in steps)
    assert 0 < steps[0].epoch < steps[-1].epoch == 1


def test_sampled_segmentations_have_the_same_text_and_differ_between_epochs(setup: Setup) -> None:
    pairs = [("abcabc" * (i % 3 + 1), f"cab{'a' * (i % 5)}") for i in range(40)]
    sampler, _, config = setup(pairs, subword_sampling=0.5, max_length=20)
    seen: list[dict[int, list[int]]] = []
    for epoch in range(2):
        rows = step_rows(epoch_steps(sampler, epoch))
        seen.append({index: src for index, src, _ in rows})
        for index, src_ids, tgt_ids in rows:
            assert tuple(setup.tokenizer.decode([src_ids, tgt_ids])) == pairs[index]
            assert max(len(src_ids), len(tgt_ids)) <= config.max_length
    assert sum(seen[0][index] != seen[1][index] for index in seen[0]) > len(seen[0]) / 2


def test_tokenizers_that_cannot_sample_are_refused(setup: Setup) -> None:
    setup.tokenizer.can_sample = False
    with pytest.raises(ValueError, match="`subword_sampling` must be 0"):
        setup([("a", "b")], subword_sampling=0.1)


def test_an_empty_epoch_is_refused(setup: Setup) -> None:
    with pytest.raises(ValueError, match="`train_weights` are so small"):
        setup([("a", "b")], train_weights=[0.1])


@with_files
@given(valid=st.lists(st.tuples(word, word), min_size=1, max_size=30), budget=st.integers(1, 60))
def test_validation_has_every_pair_once_in_a_fixed_order(valid: Pairs, budget: int, setup: Setup) -> None:
    _, data, _ = setup([("a", "b")], valid=valid)
    batches = list(ordered_batches(data.valid, budget, setup.tokenizer))
    rows = [row for batch in batches for row in batch_rows(batch)]
    assert sorted(index for index, _, _ in rows) == list(range(len(valid)))
    for index, src_ids, tgt_ids in rows:
        assert tuple(setup.tokenizer.decode([src_ids, tgt_ids])) == valid[index]
    widths = [max(len(src_ids), len(tgt_ids)) for _, src_ids, tgt_ids in rows]
    assert widths == sorted(widths)
    for batch in batches:
        assert batch.tgt_in is not None
        assert max(batch.src.numel(), batch.tgt_in.numel()) <= budget or len(batch) == 1
    repeated = ordered_batches(data.valid, budget, setup.tokenizer)
    assert all(torch.equal(a.src, b.src) for a, b in zip(batches, repeated, strict=True))
