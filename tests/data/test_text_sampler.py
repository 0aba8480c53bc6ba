"""Text sampler: epochs, streams, ranks, resuming and validation. Each id of the text identifies its position."""

from collections.abc import Iterator
from itertools import islice, pairwise, takewhile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.data.encoded import EncodedCorpus, Span
from seqlab.data.prefetch import Prefetch
from seqlab.data.ragged import RaggedArray
from seqlab.data.step import Position, TrainingStep
from seqlab.data.text_sampler import TextSampler, ordered_text_batches, start_id
from seqlab.tasks.language_modelling.config import LanguageModellingConfig

PAD, BOS, EOS = 0, 1, 2
FIRST_ID = 10
"""Id at position 0 of the text; the id at position i is FIRST_ID + i."""
MODES: dict[str, dict[str, Any]] = {
    "blocks": {"documents": "continuous"},
    "streams": {"documents": "continuous", "order": "contiguous"},
    "varied": {"documents": "continuous", "order": "contiguous", "vary_block_length": True},
    "lines": {"documents": "lines"},
    "packed": {"documents": "lines", "packing": True},
}
each_mode = pytest.mark.parametrize("mode", MODES)
corpora_strategy = st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=25), min_size=1, max_size=3)
"""Lengths of the lines of each corpus."""
sizes = st.fixed_dictionaries(
    {
        "block_length": st.integers(2, 9),
        "batch_tokens": st.integers(1, 60),
        "micro_batch_tokens": st.integers(1, 30),
        "chunk_lines": st.integers(1, 40),
    }
)


class Tokenizer:
    pad_id, bos_id, eos_id = PAD, BOS, EOS


def make_text(corpora: list[list[int]]) -> EncodedCorpus:
    lengths = np.array([length for corpus in corpora for length in corpus], np.int64)
    borders = np.cumsum([0, *map(len, corpora)]).tolist()
    spans = [Span((f"corpus{number}",), *border) for number, border in enumerate(pairwise(borders))]
    values = np.arange(FIRST_ID, FIRST_ID + lengths.sum(), dtype=np.uint16)
    return EncodedCorpus([RaggedArray.from_flat(values, lengths)], [], np.arange(1, len(lengths) + 1)[:, None], spans)


def make_config(mode: str, **settings: Any) -> LanguageModellingConfig:
    return LanguageModellingConfig(
        **{"train": ["text"], "block_length": 8, "batch_tokens": 40, **MODES[mode], **settings}
    )


def make_sampler(
    text: EncodedCorpus, config: LanguageModellingConfig, seed: int = 7, rank: int = 0, world_size: int = 1
) -> TextSampler:
    return TextSampler(text, config, seed, Tokenizer(), rank=rank, world_size=world_size)  # type: ignore[arg-type]


def epoch_steps(sampler: TextSampler, epoch: int = 0) -> list[TrainingStep]:
    steps = (step for step in sampler.steps() if step.position.epoch >= epoch)
    return list(takewhile(lambda step: step.position.epoch == epoch, steps))


def segments_in_batch(batch: TextBatch, text: EncodedCorpus, config: LanguageModellingConfig) -> Iterator[list[int]]:
    """Return the target positions of each segment of a batch, after checking its inputs and padding."""
    start, starts = (BOS, text.tgt.offsets[:-1].tolist()) if config.documents == "lines" else (EOS, [0])
    for row, (tgt_in, tgt_out, index) in enumerate(
        zip(batch.tgt_in.tolist(), batch.tgt_out.tolist(), batch.indices.tolist(), strict=True)
    ):
        length = len(tgt_out) - tgt_out.count(IGNORE)
        assert tgt_out[length:] == [IGNORE] * (len(tgt_out) - length)
        assert tgt_in[length:] == [PAD] * (len(tgt_out) - length)
        positions = [id_ - FIRST_ID for id_ in tgt_out[:length]]
        assert index == positions[0]
        for before, position in zip(tgt_in, positions, strict=False):
            assert before == (start if position in starts else position - 1 + FIRST_ID)
        segment_starts = [0]
        if batch.positions is not None:
            packed = batch.positions[row].tolist()
            segment_starts = [i for i in range(length) if packed[i] == 0]
            assert all(after in (0, before + 1) for before, after in pairwise(packed[:length]))
        for first, last in pairwise([*segment_starts, length]):
            assert positions[first:last] == list(range(positions[first], positions[first] + last - first))
            yield positions[first:last]


def segments_in_steps(
    steps: list[TrainingStep], text: EncodedCorpus, config: LanguageModellingConfig
) -> list[list[int]]:
    batches = [batch for step in steps for batch in step.micro_steps if batch.num_tgt_tokens]
    return [segment for batch in batches for segment in segments_in_batch(batch, text, config)]


def are_equal(first: TrainingStep, second: TrainingStep) -> bool:
    for name in ("position", "epoch", "lr_factor", "num_tgt_tokens", "padded_tgt_tokens"):
        if getattr(first, name) != getattr(second, name):
            return False
    if len(first.micro_steps) != len(second.micro_steps):
        return False
    for a, b in zip(first.micro_steps, second.micro_steps, strict=True):
        if a.continues != b.continues or not (a.tgt_in.equal(b.tgt_in) and a.tgt_out.equal(b.tgt_out)):
            return False
    return True


@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, epoch=st.integers(0, 2), seed=st.integers(0, 9))
@pytest.mark.parametrize("mode", ["blocks", "lines", "packed"])
def test_an_epoch_has_every_id_as_a_target_once(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], epoch: int, seed: int
) -> None:
    text, config = make_text(corpora), make_config(mode, **sizes)
    steps = epoch_steps(make_sampler(text, config, seed), epoch)
    segments = segments_in_steps(steps, text, config)
    assert sorted(position for segment in segments for position in segment) == list(range(text.num_tokens))
    assert max(map(len, segments)) <= config.block_length
    if mode == "blocks":
        assert sum(len(segment) < config.block_length for segment in segments) <= 2  # the first and the last
        return
    offsets = text.tgt.offsets.tolist()
    parts = [
        list(range(start, min(start + config.block_length, stop)))
        for first, stop in pairwise(offsets)
        for start in range(first, stop, config.block_length)
    ]
    assert sorted(segments) == parts, "only lines longer than a block are split"


@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, epoch=st.integers(0, 2), seed=st.integers(0, 9))
@pytest.mark.parametrize("mode", ["streams", "varied"])
def test_each_stream_continues_in_the_next_step(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], epoch: int, seed: int
) -> None:
    text, config = make_text(corpora), make_config(mode, **sizes)
    steps = epoch_steps(make_sampler(text, config, seed), epoch)
    rows = [segments_in_steps([step], text, config) for step in steps]
    for before, after in pairwise(rows):
        assert [segment[0] for segment in after] == [segment[-1] + 1 for segment in before]
        [length] = {len(segment) for segment in before}
        assert length >= 5 if mode == "varied" else length == config.block_length
    assert [[batch.continues for batch in step.micro_steps] for step in steps] == [
        [number > 0] * len(step.micro_steps) for number, step in enumerate(steps)
    ]
    for step, segments in zip(steps, rows, strict=True):
        assert step.lr_factor == len(segments[0]) / config.block_length
    positions = sorted(position for segments in rows for segment in segments for position in segment)
    assert positions == list(range(positions[0], positions[-1] + 1)), "each id once, and adjacent streams"
    assert positions[0] < config.block_length
    assert text.num_tokens - 1 - positions[-1] < len(rows[0])
    max_rows = max(1, config.batch_tokens // config.block_length)
    assert len(rows[0]) == max(1, min(max_rows, text.num_tokens // config.block_length))


@each_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, world_size=st.integers(2, 3))
def test_ranks_split_the_same_steps(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], world_size: int
) -> None:
    text, config = make_text(corpora), make_config(mode, **sizes)
    ranks = [epoch_steps(make_sampler(text, config, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for full_step, rank_parts in zip(epoch_steps(make_sampler(text, config)), zip(*ranks, strict=True), strict=True):
        assert {(part.position, part.epoch) for part in rank_parts} == {(full_step.position, full_step.epoch)}
        assert len({len(part.micro_steps) for part in rank_parts}) == 1
        batches = [batch for part in rank_parts for batch in part.micro_steps]
        nonempty = [batch for batch in batches if batch.num_tgt_tokens]
        assert segments_in_steps(list(rank_parts), text, config) == segments_in_steps([full_step], text, config)
        for part in rank_parts:
            assert part.num_tgt_tokens == full_step.num_tgt_tokens == sum(batch.num_tgt_tokens for batch in batches)
            assert part.padded_tgt_tokens == sum(batch.tgt_in.numel() for batch in nonempty)
        for idle in (batch for batch in batches if not batch.num_tgt_tokens):
            assert (idle.tgt_out == IGNORE).all()
            assert not idle.continues


@each_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, stop=st.integers(0, 12), depth=st.integers(0, 3))
def test_steps_are_the_same_after_resuming_at_any_position(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], stop: int, depth: int
) -> None:
    text, config = make_text(corpora), make_config(mode, **sizes)
    uninterrupted = list(islice(make_sampler(text, config).steps(), stop + 10))
    with Prefetch(make_sampler(text, config).steps(), depth) as prefetched:
        consumed = list(islice(prefetched, stop))
    resumed = list(islice(make_sampler(text, config).steps(consumed[-1].position if consumed else None), 10))
    for expected, found in zip(uninterrupted, consumed + resumed, strict=True):
        assert are_equal(expected, found)


@each_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes)
def test_steps_count_tokens_and_respect_the_budget(mode: str, corpora: list[list[int]], sizes: dict[str, int]) -> None:
    text, config = make_text(corpora), make_config(mode, **sizes)
    steps = epoch_steps(make_sampler(text, config))
    for step in steps:
        assert step.num_tgt_tokens == sum(int((batch.tgt_out != IGNORE).sum()) for batch in step.micro_steps)
        assert step.num_tgt_tokens == sum(batch.num_tgt_tokens for batch in step.micro_steps)
        assert step.padded_tgt_tokens == sum(batch.tgt_in.numel() for batch in step.micro_steps)
        assert (step.num_src_tokens, step.padded_src_tokens) == (0, 0)
        for batch in step.micro_steps:
            assert batch.tgt_in.numel() <= config.micro_batch_tokens or len(batch) == 1
            assert (batch.positions is not None) == config.packing
    step_positions = [step.position for step in steps]
    assert step_positions == sorted(step_positions)
    for before, after in pairwise(step_positions):
        assert after in (Position(0, before.chunk, before.step + 1), Position(0, before.chunk + 1, 0))
    epochs = [step.epoch for step in steps]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 1


@each_mode
@pytest.mark.parametrize(("block_length", "batch_tokens"), [(8, 60), (8, 64), (20, 50), (60, 64), (100, 64)])
def test_steps_have_about_the_requested_size(mode: str, block_length: int, batch_tokens: int) -> None:
    rng = np.random.default_rng(3)
    text = make_text([rng.integers(3, 9, 1000).tolist()])
    config = make_config(
        mode, block_length=block_length, batch_tokens=batch_tokens, micro_batch_tokens=32, chunk_lines=500
    )
    tokens = [step.num_tgt_tokens for step in epoch_steps(make_sampler(text, config))]
    rows = max(1, batch_tokens // block_length)
    if mode == "streams":  # as many complete rows as fit; the last step has the remainder of the streams
        assert {*tokens[:-1]} == {rows * block_length}
        return
    if mode == "varied":
        assert {count % rows for count in tokens} == {0}
        assert len({*tokens}) > 1
        return
    if mode in ("blocks", "packed") and block_length > batch_tokens:
        batch_tokens = block_length  # a step has at least one row
    assert sum(tokens) / len(tokens) == pytest.approx(batch_tokens, rel=0.05)
    assert max(tokens) < 2.2 * batch_tokens


@each_mode
def test_epochs_and_seeds_differ_and_are_reproducible(mode: str) -> None:
    text, config = make_text([[5, 9, 3, 7, 2] * 30]), make_config(mode)

    def segments(seed: int, epoch: int) -> list[list[int]]:
        return segments_in_steps(epoch_steps(make_sampler(text, config, seed), epoch), text, config)

    assert segments(1, 0) == segments(1, 0)
    found = [segments(1, 0), segments(1, 1), segments(2, 0)]
    assert all(one != other for one, other in [(found[0], found[1]), (found[0], found[2]), (found[1], found[2])])
    if mode == "blocks":  # the boundaries differ too
        assert len({min(segment[0] for segment in each if segment[0]) for each in found}) > 1


@each_mode
@pytest.mark.parametrize("lengths", [[1], [2], [3], [1, 1], [7], [9], [20]], ids=str)
def test_corpora_smaller_than_a_block_or_a_step_are_sampled_completely(mode: str, lengths: list[int]) -> None:
    """Fewer ids than a block or a step, or a single line."""
    text = make_text([lengths])
    for batch_tokens, world_size in ((4, 1), (1000, 1), (1000, 3)):
        config = make_config(mode, batch_tokens=batch_tokens)
        ranks = [make_sampler(text, config, rank=rank, world_size=world_size) for rank in range(world_size)]
        seen: set[int] = set()
        for parts in islice(zip(*(sampler.steps() for sampler in ranks), strict=True), 60):
            positions = [position for segment in segments_in_steps(list(parts), text, config) for position in segment]
            assert len(positions) == parts[0].num_tgt_tokens > 0
            seen.update(positions)
        assert seen == set(range(sum(lengths)))


@settings(max_examples=50)
@given(corpora=corpora_strategy, block_length=st.integers(2, 9), budget=st.integers(1, 40))
@each_mode
def test_validation_has_every_id_once_in_a_fixed_order(
    mode: str, corpora: list[list[int]], block_length: int, budget: int
) -> None:
    text, config = make_text(corpora), make_config(mode, block_length=block_length)

    def batches() -> list[TextBatch]:
        return list(ordered_text_batches(text, config, budget, Tokenizer()))  # type: ignore[arg-type]

    segments = [segment for batch in batches() for segment in segments_in_batch(batch, text, config)]
    assert sorted(position for segment in segments for position in segment) == list(range(text.num_tokens))
    widths = [len(segment) for segment in segments]
    assert widths == sorted(widths) if config.documents == "lines" else {*widths[:-1]} <= {block_length}
    for batch, repeated in zip(batches(), batches(), strict=True):
        assert batch.tgt_in.numel() <= budget or len(batch) == 1
        assert batch.tgt_in.equal(repeated.tgt_in)
        assert not batch.continues


def test_the_start_id_is_eos_for_continuous_text_and_bos_for_lines() -> None:
    for mode, expected in (("blocks", EOS), ("streams", EOS), ("varied", EOS), ("lines", BOS), ("packed", BOS)):
        assert start_id(make_config(mode), Tokenizer()) == expected  # type: ignore[arg-type]
