"""Batches: padding, shifted targets, idle batches and moves to a device."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import (
    IGNORE,
    Seq2SeqBatch,
    collate,
    collate_frames,
    collate_prompts,
    collate_text,
    collate_values,
)

PAD, BOS, EOS = 0, 1, 2
rows = st.lists(st.integers(4, 70000), max_size=7)


@given(pairs=st.lists(st.tuples(rows, rows), min_size=1, max_size=9))
def test_targets_are_shifted_and_padded(pairs: list[tuple[list[int], list[int]]]) -> None:
    src_rows, tgt_rows = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    batch = collate(src_rows, tgt_rows, range(len(pairs)), pad_id=PAD, bos_id=BOS, eos_id=EOS)
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    src_width = 1 + max(len(row) for row in src_rows)
    tgt_width = 1 + max(len(row) for row in tgt_rows)
    for i, (src, tgt) in enumerate(pairs):
        assert batch.src[i].tolist() == src + [EOS] + [PAD] * (src_width - len(src) - 1)
        assert batch.tgt_in[i].tolist() == [BOS] + tgt + [PAD] * (tgt_width - len(tgt) - 1)
        assert batch.tgt_out[i].tolist() == tgt + [EOS] + [IGNORE] * (tgt_width - len(tgt) - 1)
    assert batch.src_lengths.tolist() == [len(src) + 1 for src in src_rows]
    assert batch.num_tgt_tokens == sum(len(tgt) + 1 for tgt in tgt_rows)
    assert len(batch) == len(pairs)


def test_arrays_tensors_and_lists_give_the_same_batch() -> None:
    lists = [[5, 6, 7], [8]]
    kinds = [lists, [np.array(row, np.uint16) for row in lists], [torch.tensor(row) for row in lists]]
    batches = [collate(kind, kind, [4, 9], pad_id=PAD, bos_id=BOS, eos_id=EOS) for kind in kinds]
    for batch in batches[1:]:
        assert batch.src.equal(batches[0].src)
        assert batch.tgt_out is not None
        assert batch.tgt_out.equal(torch.tensor([[5, 6, 7, EOS], [8, EOS, IGNORE, IGNORE]]))
        assert batch.indices.tolist() == [4, 9]


def test_a_batch_without_targets_moves_to_a_device() -> None:
    batch = collate([[5]], None, [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    assert batch.tgt_in is None
    assert batch.tgt_out is None
    assert batch.num_tgt_tokens == 0
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert isinstance(moved, Seq2SeqBatch)
    assert moved.src.device.type == "meta"


def test_invalid_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        collate([], [], [], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    with pytest.raises(ValueError, match="as many targets"):
        collate([[5]], [[5], [6]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)


@given(texts=st.lists(st.lists(st.integers(4, 70000), min_size=1, max_size=7), min_size=1, max_size=9))
def test_each_id_of_a_text_is_predicted_from_the_ids_before_it(texts: list[list[int]]) -> None:
    batch = collate_text(texts, range(3, 3 + len(texts)), pad_id=PAD, start_id=EOS)
    width = max(map(len, texts))
    for i, row in enumerate(texts):
        assert batch.tgt_in[i].tolist() == [EOS, *row[:-1]] + [PAD] * (width - len(row))
        assert batch.tgt_out[i].tolist() == row + [IGNORE] * (width - len(row))
    assert batch.indices.tolist() == list(range(3, 3 + len(texts)))
    assert batch.num_tgt_tokens == sum(map(len, texts))
    assert len(batch) == len(texts)
    assert batch.positions is None
    assert not batch.continues


def test_an_idle_batch_has_the_same_shape_and_no_targets() -> None:
    texts = collate_text([[5, 6, 7], [8]], [0, 3], pad_id=PAD, start_id=BOS)
    pairs = collate([[5, 6]], [[7]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    for batch in (texts, pairs):
        idle = batch.without_targets()
        assert type(idle) is type(batch)
        assert idle.num_tgt_tokens == 0
        assert idle.tgt_out is not None
        assert batch.tgt_out is not None
        assert idle.tgt_out.equal(torch.full_like(batch.tgt_out, IGNORE))
        assert idle.tgt_in is batch.tgt_in


def test_prompts_are_inputs_without_targets() -> None:
    kinds = [
        [[1, 5, 6], [1, 7, 8]],
        [np.array([1, 5, 6], np.uint16), np.array([1, 7, 8])],
        torch.tensor([[1, 5, 6], [1, 7, 8]]),
    ]
    for rows in kinds:
        batch = collate_prompts(rows)  # type: ignore[arg-type]
        assert batch.tgt_in.equal(torch.tensor([[1, 5, 6], [1, 7, 8]]))
        assert batch.tgt_out.equal(torch.full((2, 3), IGNORE))
        assert batch.num_tgt_tokens == 0
    for invalid, lengths in (([[1], [1, 2]], r"\[1, 2\]"), ([[], []], r"\[0\]"), ([], r"\[\]")):
        with pytest.raises(ValueError, match=rf"one length of at least 1, but have {lengths}"):
            collate_prompts(invalid)


def test_a_text_batch_moves_to_a_device() -> None:
    batch = collate_text([[5, 6]], [0], pad_id=PAD, start_id=BOS)
    packed = dataclasses.replace(batch, positions=torch.tensor([[0, 1]]), continues=True)
    assert batch.to("cpu") is batch
    assert batch.to("meta").positions is None
    moved = packed.to("meta")
    assert [moved.tgt_in.device.type, moved.tgt_out.device.type, moved.indices.device.type] == ["meta"] * 3
    assert moved.positions is not None
    assert moved.positions.device.type == "meta"
    assert (moved.num_tgt_tokens, moved.continues) == (2, True)
    with pytest.raises(ValueError, match="at least one row"):
        collate_text([], [], pad_id=PAD, start_id=BOS)


def draw_frames(lengths: list[int], size: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(lengths))
    return [rng.normal(size=(length, size)) for length in lengths]


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_frames_and_tokens_are_padded(lengths: list[int], data: st.DataObject) -> None:
    frames, targets = draw_frames(lengths), data.draw(st.lists(rows, min_size=len(lengths), max_size=len(lengths)))
    batch = collate_frames(frames, targets, range(7, 7 + len(lengths)), pad_id=PAD, bos_id=BOS, eos_id=EOS)
    expected_frames = np.zeros((len(lengths), max(lengths), 3), np.float32)
    for i, each in enumerate(frames):
        expected_frames[i, : len(each)] = each
    assert batch.frames.equal(torch.from_numpy(expected_frames))
    assert batch.frame_lengths.tolist() == lengths
    assert batch.indices.tolist() == list(range(7, 7 + len(lengths)))
    tokens = collate([[5]] * len(lengths), targets, range(len(lengths)), pad_id=PAD, bos_id=BOS, eos_id=EOS)
    for actual, expected in ((batch.tgt_in, tokens.tgt_in), (batch.tgt_out, tokens.tgt_out)):
        assert actual is not None
        assert expected is not None
        assert actual.equal(expected)
    assert len(batch) == len(lengths)
    assert batch.num_targets == batch.num_tgt_tokens == tokens.num_tgt_tokens
    idle = batch.without_targets()
    assert idle.num_targets == 0
    assert idle.tgt_out is not None
    assert (idle.tgt_out == IGNORE).all()


def test_vectors_become_single_frames() -> None:
    vectors = np.arange(6.0).reshape(3, 2)
    batch = collate_frames(list(vectors), None, range(3), pad_id=PAD, bos_id=BOS, eos_id=EOS)
    assert batch.frames[:, 0].tolist() == vectors.tolist()
    assert batch.frame_lengths.tolist() == [1, 1, 1]
    assert (batch.tgt_in, batch.tgt_out, batch.num_targets) == (None, None, 0)


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_labels_and_numbers_are_collated_with_ids_or_frames(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, len(lengths))
    labels[labels < 0] = IGNORE
    numbers = rng.normal(size=(len(lengths), 2))
    numbers[rng.random(numbers.shape) < 0.3] = np.nan
    ids = [list(range(5, 5 + length)) for length in lengths]
    id_batch = collate_values(ids, labels, range(len(ids)), pad_id=PAD)
    frame_batch = collate_values(draw_frames(lengths), numbers, range(len(ids)))
    assert id_batch.src.tolist() == [row + [PAD] * (max(lengths) - len(row)) for row in ids]
    frames = collate_frames(draw_frames(lengths), None, range(len(ids)), pad_id=PAD, bos_id=BOS, eos_id=EOS).frames
    assert frame_batch.src.equal(frames)
    assert id_batch.src_lengths.tolist() == frame_batch.src_lengths.tolist() == lengths
    assert id_batch.targets is not None
    assert id_batch.targets.tolist() == labels.tolist()
    assert frame_batch.targets is not None
    assert np.array_equal(frame_batch.targets.numpy(), numbers.astype(np.float32), equal_nan=True)
    assert (id_batch.num_targets, frame_batch.num_targets) == ((labels != IGNORE).sum(), (~np.isnan(numbers)).sum())
    for batch in (id_batch.without_targets(), frame_batch.without_targets()):
        assert batch.num_targets == 0
        assert batch.targets is not None
        assert bool((batch.targets == IGNORE).all() or batch.targets.isnan().all())


def test_frames_and_values_move_to_a_device() -> None:
    for batch in (
        collate_frames(draw_frames([2]), [[5]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS),
        collate_values(draw_frames([2]), [[0.5]], [0]),
        collate_values([[5, 6]], None, [0], pad_id=PAD),
    ):
        assert batch.to("cpu") is batch
        moved = batch.to("meta")
        for item in dataclasses.fields(batch):
            value = getattr(moved, item.name)
            assert not isinstance(value, torch.Tensor) or value.device.type == "meta"
        assert moved.num_targets == batch.num_targets


def test_invalid_frames_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        collate_frames([], None, [], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    with pytest.raises(ValueError, match="at least one example"):
        collate_values([], None, [], pad_id=PAD)
    with pytest.raises(ValueError, match="one size"):
        collate_values([np.zeros((2, 3)), np.zeros((2, 4))], None, [0, 1])
    with pytest.raises(ValueError, match="one size"):
        collate_values([np.zeros((2, 3, 4))], None, [0])
    with pytest.raises(ValueError, match="needs as many labels"):
        collate_values([[5], [6]], [1], [0, 1], pad_id=PAD)
    with pytest.raises(ValueError, match="as many targets"):
        collate_frames(draw_frames([1]), [[5], [6]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
