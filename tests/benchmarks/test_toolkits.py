"""Benchmarks of JoeyNMT and Sockeye: generated configs, missing environments and parsed logs."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records import TrainingJob, Unavailable
from benchmarks.scale import QUICK
from benchmarks.training import measure_toolkits
from benchmarks.workers.toolkits import Corpus, require_toolkit, summarize
from benchmarks.workers.train_joeynmt import config_of
from benchmarks.workers.train_sockeye import options

JOB = TrainingJob("nowhere", 256, "fp32", dropout=0.1, steps=20, threads=1, device="cpu")
LOG = "u/sec=1 s/sec=10.00 tok/sec=99\ns/sec=20.00 tok/sec=99\ns/sec=60.00 tok/sec=99\n"


def test_the_first_speed_of_a_log_is_ignored() -> None:
    # The harmonic mean of 20 and 60 sentences per second is 30; each sentence has 2 tokens.
    assert summarize(LOG, r"s/sec=([\d.]+)", 2.0)["tokens_per_second"] == pytest.approx(60.0)
    with pytest.raises(RuntimeError, match="fewer than two lines"):
        summarize(LOG, r"nothing=([\d.]+)")


def test_environments_without_the_toolkit_are_reported() -> None:
    with pytest.raises(Unavailable, match="cannot import no_such_toolkit"):
        require_toolkit(sys.executable, "no_such_toolkit")
    with pytest.raises(Unavailable, match="fp32"):
        require_toolkit(sys.executable, "json", "bf16")


def test_toolkits_without_an_environment_are_listed() -> None:
    prepared = {"plans": {"256": {"flops": [10.0], "tgt_tokens": [5]}}}
    rows = measure_toolkits({"joeynmt": None, "sockeye": None}, JOB, QUICK, prepared, {"peak_gflops": {"fp32": 1.0}})
    assert [(row.system, row.tokens_per_second) for row in rows] == [("JoeyNMT", None), ("Sockeye", None)]
    assert "--sockeye" in rows[1].note


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_both_configs_describe_the_same_model(norm: str, tmp_path: Path) -> None:
    sizes = replace(QUICK.model, norm=norm)
    corpus = Corpus(tmp_path, 12.0)
    model = config_of(corpus, sizes, JOB)["model"]
    arguments = options(corpus, sizes, JOB)
    assert model["encoder"]["ff_size"] == sizes.d_ff
    assert f"--transformer-feed-forward-num-hidden={sizes.d_ff}" in arguments
    assert model["decoder"]["layer_norm"] == norm
    assert ("--transformer-preprocess=n" in arguments) == (norm == "pre")
