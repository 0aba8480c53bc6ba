import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate, collate_text, idle, prompts

PAD, BOS, EOS = 0, 1, 2
rows = st.lists(st.integers(4, 70000), max_size=7)


@given(pairs=st.lists(st.tuples(rows, rows), min_size=1, max_size=9))
def test_a_batch_holds_the_rows_shifted_and_padded(pairs: list[tuple[list[int], list[int]]]) -> None:
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


def test_a_batch_without_targets_and_moved_to_a_device() -> None:
    batch = collate([[5]], None, [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    assert batch.tgt_in is None
    assert batch.tgt_out is None
    assert batch.num_tgt_tokens == 0
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert isinstance(moved, Seq2SeqBatch)
    assert moved.src.device.type == "meta"


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        collate([], [], [], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    with pytest.raises(ValueError, match="as many targets"):
        collate([[5]], [[5], [6]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)


@given(texts=st.lists(st.lists(st.integers(4, 70000), min_size=1, max_size=7), min_size=1, max_size=9))
def test_a_text_is_predicted_from_the_ids_before(texts: list[list[int]]) -> None:
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


def test_an_idle_batch_has_the_shape_and_predicts_nothing() -> None:
    texts = collate_text([[5, 6, 7], [8]], [0, 3], pad_id=PAD, start_id=BOS)
    pairs = collate([[5, 6]], [[7]], [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    for batch in (texts, pairs):
        nothing = idle(batch)
        assert type(nothing) is type(batch)
        assert nothing.num_tgt_tokens == 0
        assert nothing.tgt_out is not None
        assert batch.tgt_out is not None
        assert nothing.tgt_out.equal(torch.full_like(batch.tgt_out, IGNORE))
        assert nothing.tgt_in is batch.tgt_in


def test_prompts_are_read_whole_and_predict_nothing() -> None:
    kinds = [
        [[1, 5, 6], [1, 7, 8]],
        [np.array([1, 5, 6], np.uint16), np.array([1, 7, 8])],
        torch.tensor([[1, 5, 6], [1, 7, 8]]),
    ]
    for rows in kinds:
        batch = prompts(rows)  # type: ignore[arg-type]
        assert batch.tgt_in.equal(torch.tensor([[1, 5, 6], [1, 7, 8]]))
        assert batch.tgt_out.equal(torch.full((2, 3), IGNORE))
        assert batch.num_tgt_tokens == 0
    for impossible, lengths in (([[1], [1, 2]], r"\[1, 2\]"), ([[], []], r"\[0\]"), ([], r"\[\]")):
        with pytest.raises(ValueError, match=rf"one length of at least 1, but have {lengths}"):
            prompts(impossible)


def test_a_text_moved_to_a_device() -> None:
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
