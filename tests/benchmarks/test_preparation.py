"""Preparation benchmark with a tiny corpus: equal token counts, memory of all processes, recombined pairs."""

import gzip
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import machine, preparation
from benchmarks.__main__ import make_parser
from benchmarks.workers.memory import SECONDS_BETWEEN_SAMPLES, TreeMemory
from benchmarks.workers.preparation_corpus import write_recombined


def current_memory_mb() -> tuple[float, float]:
    """Return the memory of this process, and of its descendants, which other tests may have started."""
    with TreeMemory() as memory:
        pass
    assert memory.tree_mb is not None
    assert memory.main_mb is not None
    return memory.main_mb, memory.tree_mb - memory.main_mb


@pytest.mark.learning
def test_all_settings_count_the_same_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["preparation", "--quick", "--pairs", "300", "--threads", "2", "--work_dir", str(tmp_path)]
    _, others_before = current_memory_mb()
    report = preparation.run(make_parser().parse_args(options), TINY)
    assert not report.failed_checks
    assert len(report.checks) == 2
    assert {(row.system, row.setting) for row in report.rows} == {
        *(
            ("seqlab", f"{kind}, plain, {count}")
            for kind in preparation.LIBRARIES
            for count in ("1 process", "2 processes")
        ),
        *(("seqlab", f"{kind}, gzip, 2 processes") for kind in preparation.LIBRARIES),
        ("tokenizers", "bpe, plain, threads"),
        ("sentencepiece", "sentencepiece_bpe, plain, threads"),
    }
    assert all(row.more["lines_per_second"] > 0 for row in report.rows)
    assert report.rows[0].ratio == 1
    for row in report.rows:
        assert row.peak_memory_mb is not None
        others = row.peak_memory_mb - row.more["main_process_mb"] - others_before
        assert (others > 5) == row.setting.endswith("2 processes"), row.setting


def test_memory_includes_all_descendant_processes(tmp_path: Path) -> None:
    """Grandchildren count; finished processes and memory of files do not."""
    program = "x = bytearray(b'x') * 50_000_000; print(); input()"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    main_before, others_before = current_memory_mb()
    with TreeMemory() as memory:
        process = subprocess.Popen([sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(3 * SECONDS_BETWEEN_SAMPLES)
        process.communicate(b"\n")
    assert memory.tree_mb - memory.main_mb > others_before + 50  # type: ignore[operator]
    assert memory.main_mb < main_before + 50  # type: ignore[operator]
    assert current_memory_mb()[1] < others_before + 5


def test_recombined_pairs_join_halves_of_real_pairs(tmp_path: Path) -> None:
    pairs = [("a b c d", "e f g h"), ("i j", "k l")]
    write_recombined(tmp_path, pairs, 50)
    src, tgt = ((tmp_path / f"train.{side}").read_text().splitlines() for side in ("src", "tgt"))
    assert set(zip(src, tgt, strict=True)) <= {
        *(("a b c d", "e f g h"), ("i j", "k l")),
        *(("a b j", "e f l"), ("i c d", "k g h")),
    }
    assert len(src) == 50
    assert gzip.decompress((tmp_path / "train.src.gz").read_bytes()) == (tmp_path / "train.src").read_bytes()
