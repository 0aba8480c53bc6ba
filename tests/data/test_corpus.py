"""Corpora of parallel files: order, unequal lengths and pipes."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.blocks import in_batches
from seqlab.data.corpus import Corpus


def make_corpus(folder: Path, src_lines: int, tgt_lines: int) -> Corpus:
    (folder / "a.src").write_text("".join(f"s{i}\n" for i in range(src_lines)))
    (folder / "a.tgt").write_text("".join(f"t{i}\n" for i in range(tgt_lines)))
    return Corpus.from_specs(str(folder / "a.src"), str(folder / "a.tgt"))


def test_pairs_are_in_file_order(tmp_path: Path) -> None:
    assert list(make_corpus(tmp_path, 3, 3).rows()) == [("s0", "t0"), ("s1", "t1"), ("s2", "t2")]


def test_a_pipe_is_accepted_only_for_reading_once(tmp_path: Path) -> None:
    make_corpus(tmp_path, 1, 1)
    os.mkfifo(tmp_path / "pipe")
    specs = (str(tmp_path / "pipe"), str(tmp_path / "a.tgt"))
    for src, tgt in (specs, specs[::-1]):
        with pytest.raises(ValueError, match=r"pipe: is a pipe or a device, but a corpus is read several times"):
            Corpus.from_specs(src, tgt)
    single_read = Corpus.from_specs(*specs, read_once=True)
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("s0\n",))
    writer.start()
    assert list(single_read.rows()) == [("s0", "t0")]
    writer.join()


@pytest.mark.parametrize(("src", "tgt"), [(3, 4), (4, 3), (0, 1), (1234, 5), (5, 1234)])
def test_errors_for_unequal_sides_name_both_files_and_counts(tmp_path: Path, src: int, tgt: int) -> None:
    with pytest.raises(ValueError, match=rf"a\.src has {src:,} lines but .*a\.tgt has {tgt:,}:"):
        list(make_corpus(tmp_path, src, tgt).rows())


@given(items=st.lists(st.integers()), size=st.integers(1, 5))
def test_batches_contain_all_items_in_order(items: list[int], size: int) -> None:
    batches = list(in_batches(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
