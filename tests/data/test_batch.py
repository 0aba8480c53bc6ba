import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate

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
