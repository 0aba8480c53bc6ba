"""Steps of a text in which each id is different, so that it shows its position."""

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
every_mode = pytest.mark.parametrize("mode", MODES)
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


def text_of(corpora: list[list[int]]) -> EncodedCorpus:
    lengths = np.array([length for corpus in corpora for length in corpus], np.int64)
    borders = np.cumsum([0, *map(len, corpora)]).tolist()
    spans = [Span((f"corpus{number}",), *border) for number, border in enumerate(pairwise(borders))]
    values = np.arange(FIRST_ID, FIRST_ID + lengths.sum(), dtype=np.uint16)
    return EncodedCorpus([RaggedArray.from_flat(values, lengths)], [], np.arange(1, len(lengths) + 1)[:, None], spans)


def config_of(mode: str, **settings: Any) -> LanguageModellingConfig:
    return LanguageModellingConfig(
        **{"train": ["text"], "block_length": 8, "batch_tokens": 40, **MODES[mode], **settings}
    )


def sampler_of(
    text: EncodedCorpus, config: LanguageModellingConfig, seed: int = 7, rank: int = 0, world_size: int = 1
) -> TextSampler:
    return TextSampler(text, config, seed, Tokenizer(), rank=rank, world_size=world_size)  # type: ignore[arg-type]


def epoch_of(sampler: TextSampler, epoch: int = 0) -> list[TrainingStep]:
    steps = (step for step in sampler.steps() if step.position.epoch >= epoch)
    return list(takewhile(lambda step: step.position.epoch == epoch, steps))


def pieces_of(batch: TextBatch, text: EncodedCorpus, config: LanguageModellingConfig) -> Iterator[list[int]]:
    """Return the target positions of each segment of a batch, after checking its inputs and padding."""
    start, starts = (BOS, text.tgt.offsets[:-1].tolist()) if config.documents == "lines" else (EOS, [0])
    for row, (tgt_in, tgt_out, index) in enumerate(
        zip(batch.tgt_in.tolist(), batch.tgt_out.tolist(), batch.indices.tolist(), strict=True)
    ):
        length = len(tgt_out) - tgt_out.count(IGNORE)
        assert tgt_out[length:] == [IGNORE] * (len(tgt_out) - length)
        assert tgt_in[length:] == [PAD] * (len(tgt_out) - length)
        places = [id_ - FIRST_ID for id_ in tgt_out[:length]]
        assert index == places[0]
        for before, place in zip(tgt_in, places, strict=False):
            assert before == (start if place in starts else place - 1 + FIRST_ID)
        begins = [0]
        if batch.positions is not None:
            positions = batch.positions[row].tolist()
            begins = [i for i in range(length) if positions[i] == 0]
            assert all(after in (0, before + 1) for before, after in pairwise(positions[:length]))
        for first, last in pairwise([*begins, length]):
            assert places[first:last] == list(range(places[first], places[first] + last - first))
            yield places[first:last]


def pieces_of_steps(steps: list[TrainingStep], text: EncodedCorpus, config: LanguageModellingConfig) -> list[list[int]]:
    batches = [batch for step in steps for batch in step.micro_steps if batch.num_tgt_tokens]
    return [piece for batch in batches for piece in pieces_of(batch, text, config)]


def same(first: TrainingStep, second: TrainingStep) -> bool:
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
    text, config = text_of(corpora), config_of(mode, **sizes)
    steps = epoch_of(sampler_of(text, config, seed), epoch)
    pieces = pieces_of_steps(steps, text, config)
    assert sorted(place for piece in pieces for place in piece) == list(range(text.num_tokens))
    assert max(map(len, pieces)) <= config.block_length
    if mode == "blocks":
        assert sum(len(piece) < config.block_length for piece in pieces) <= 2  # the first and the last
        return
    offsets = text.tgt.offsets.tolist()
    parts = [
        list(range(start, min(start + config.block_length, stop)))
        for first, stop in pairwise(offsets)
        for start in range(first, stop, config.block_length)
    ]
    assert sorted(pieces) == parts, "lines are whole, or cut where they are too long"


@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, epoch=st.integers(0, 2), seed=st.integers(0, 9))
@pytest.mark.parametrize("mode", ["streams", "varied"])
def test_each_stream_continues_in_the_next_step(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], epoch: int, seed: int
) -> None:
    text, config = text_of(corpora), config_of(mode, **sizes)
    steps = epoch_of(sampler_of(text, config, seed), epoch)
    rows = [pieces_of_steps([step], text, config) for step in steps]
    for before, after in pairwise(rows):
        assert [piece[0] for piece in after] == [piece[-1] + 1 for piece in before]
        [length] = {len(piece) for piece in before}
        assert length >= 5 if mode == "varied" else length == config.block_length
    assert [[batch.continues for batch in step.micro_steps] for step in steps] == [
        [number > 0] * len(step.micro_steps) for number, step in enumerate(steps)
    ]
    for step, pieces in zip(steps, rows, strict=True):
        assert step.lr_factor == len(pieces[0]) / config.block_length
    places = sorted(place for pieces in rows for piece in pieces for place in piece)
    assert places == list(range(places[0], places[-1] + 1)), "each id once, and the streams border on each other"
    assert places[0] < config.block_length
    assert text.num_tokens - 1 - places[-1] < len(rows[0])
    most = max(1, config.batch_tokens // config.block_length)
    assert len(rows[0]) == max(1, min(most, text.num_tokens // config.block_length))


@every_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, world_size=st.integers(2, 3))
def test_ranks_split_the_same_steps(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], world_size: int
) -> None:
    text, config = text_of(corpora), config_of(mode, **sizes)
    ranks = [epoch_of(sampler_of(text, config, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for whole, parts in zip(epoch_of(sampler_of(text, config)), zip(*ranks, strict=True), strict=True):
        assert {(part.position, part.epoch) for part in parts} == {(whole.position, whole.epoch)}
        assert len({len(part.micro_steps) for part in parts}) == 1
        batches = [batch for part in parts for batch in part.micro_steps]
        working = [batch for batch in batches if batch.num_tgt_tokens]
        assert pieces_of_steps(list(parts), text, config) == pieces_of_steps([whole], text, config)
        for part in parts:
            assert part.num_tgt_tokens == whole.num_tgt_tokens == sum(batch.num_tgt_tokens for batch in batches)
            assert part.padded_tgt_tokens == sum(batch.tgt_in.numel() for batch in working)
        for idle in (batch for batch in batches if not batch.num_tgt_tokens):
            assert (idle.tgt_out == IGNORE).all()
            assert not idle.continues


@every_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes, stop=st.integers(0, 12), depth=st.integers(0, 3))
def test_steps_are_the_same_after_resuming_at_any_position(
    mode: str, corpora: list[list[int]], sizes: dict[str, int], stop: int, depth: int
) -> None:
    text, config = text_of(corpora), config_of(mode, **sizes)
    whole = list(islice(sampler_of(text, config).steps(), stop + 10))
    with Prefetch(sampler_of(text, config).steps(), depth) as ahead:
        consumed = list(islice(ahead, stop))
    resumed = list(islice(sampler_of(text, config).steps(consumed[-1].position if consumed else None), 10))
    for expected, found in zip(whole, consumed + resumed, strict=True):
        assert same(expected, found)


@every_mode
@settings(max_examples=50)
@given(corpora=corpora_strategy, sizes=sizes)
def test_rows_of_a_step(mode: str, corpora: list[list[int]], sizes: dict[str, int]) -> None:
    text, config = text_of(corpora), config_of(mode, **sizes)
    steps = epoch_of(sampler_of(text, config))
    for step in steps:
        assert step.num_tgt_tokens == sum(int((batch.tgt_out != IGNORE).sum()) for batch in step.micro_steps)
        assert step.num_tgt_tokens == sum(batch.num_tgt_tokens for batch in step.micro_steps)
        assert step.padded_tgt_tokens == sum(batch.tgt_in.numel() for batch in step.micro_steps)
        assert (step.num_src_tokens, step.padded_src_tokens) == (0, 0)
        for batch in step.micro_steps:
            assert batch.tgt_in.numel() <= config.micro_batch_tokens or len(batch) == 1
            assert (batch.positions is not None) == config.packing
    positions = [step.position for step in steps]
    assert positions == sorted(positions)
    for before, after in pairwise(positions):
        assert after in (Position(0, before.chunk, before.step + 1), Position(0, before.chunk + 1, 0))
    epochs = [step.epoch for step in steps]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == 1


@every_mode
@pytest.mark.parametrize(("block_length", "batch_tokens"), [(8, 60), (8, 64), (20, 50), (60, 64), (100, 64)])
def test_steps_have_about_the_requested_size(mode: str, block_length: int, batch_tokens: int) -> None:
    rng = np.random.default_rng(3)
    text = text_of([rng.integers(3, 9, 1000).tolist()])
    config = config_of(
        mode, block_length=block_length, batch_tokens=batch_tokens, micro_batch_tokens=32, chunk_lines=500
    )
    tokens = [step.num_tgt_tokens for step in epoch_of(sampler_of(text, config))]
    rows = max(1, batch_tokens // block_length)
    if mode == "streams":  # as many whole rows as fit, and the remainder at the end of the streams
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


@every_mode
def test_epochs_and_seeds_differ_and_are_reproducible(mode: str) -> None:
    text, config = text_of([[5, 9, 3, 7, 2] * 30]), config_of(mode)

    def pieces(seed: int, epoch: int) -> list[list[int]]:
        return pieces_of_steps(epoch_of(sampler_of(text, config, seed), epoch), text, config)

    assert pieces(1, 0) == pieces(1, 0)
    found = [pieces(1, 0), pieces(1, 1), pieces(2, 0)]
    assert all(one != other for one, other in [(found[0], found[1]), (found[0], found[2]), (found[1], found[2])])
    if mode == "blocks":  # the boundaries differ too
        assert len({min(piece[0] for piece in each if piece[0]) for each in found}) > 1


@every_mode
@pytest.mark.parametrize("lengths", [[1], [2], [3], [1, 1], [7], [9], [20]], ids=str)
def test_corpora_smaller_than_a_block_or_a_step(mode: str, lengths: list[int]) -> None:
    """Fewer ids than a block or a step, or a single line."""
    text = text_of([lengths])
    for batch_tokens, world_size in ((4, 1), (1000, 1), (1000, 3)):
        config = config_of(mode, batch_tokens=batch_tokens)
        ranks = [sampler_of(text, config, rank=rank, world_size=world_size) for rank in range(world_size)]
        seen: set[int] = set()
        for parts in islice(zip(*(sampler.steps() for sampler in ranks), strict=True), 200):
            places = [place for piece in pieces_of_steps(list(parts), text, config) for place in piece]
            assert len(places) == parts[0].num_tgt_tokens > 0
            seen.update(places)
        assert seen == set(range(sum(lengths)))


@settings(max_examples=50)
@given(corpora=corpora_strategy, block_length=st.integers(2, 9), budget=st.integers(1, 40))
@every_mode
def test_validation_has_every_id_once_in_a_fixed_order(
    mode: str, corpora: list[list[int]], block_length: int, budget: int
) -> None:
    text, config = text_of(corpora), config_of(mode, block_length=block_length)

    def batches() -> list[TextBatch]:
        return list(ordered_text_batches(text, config, budget, Tokenizer()))  # type: ignore[arg-type]

    pieces = [piece for batch in batches() for piece in pieces_of(batch, text, config)]
    assert sorted(place for piece in pieces for place in piece) == list(range(text.num_tokens))
    widths = [len(piece) for piece in pieces]
    assert widths == sorted(widths) if config.documents == "lines" else {*widths[:-1]} <= {block_length}
    for batch, again in zip(batches(), batches(), strict=True):
        assert batch.tgt_in.numel() <= budget or len(batch) == 1
        assert batch.tgt_in.equal(again.tgt_in)
        assert not batch.continues


def test_start_ids() -> None:
    for mode, expected in (("blocks", EOS), ("streams", EOS), ("varied", EOS), ("lines", BOS), ("packed", BOS)):
        assert start_id(config_of(mode), Tokenizer()) == expected  # type: ignore[arg-type]
