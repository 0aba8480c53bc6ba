"""Tradeoff benchmark: quality and speed of translation systems with different searches."""

import json
from pathlib import Path

import pytest
from reference.random_runs import write_run
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import machine, tradeoff
from benchmarks.__main__ import make_parser
from benchmarks.workers.stages import Stages
from seqlab import load
from seqlab.evaluation import evaluate
from seqlab.models import NgramConfig
from seqlab.runs.config import Config
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import SavedConfig
from seqlab.training import train


@pytest.mark.learning
def test_rows_match_the_scores_of_each_systems_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir, rescorer = write_run(tmp_path / "run"), write_run(tmp_path / "rescorer", seed=3)
    monkeypatch.setattr(tradeoff, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    src, references = ["abc def", "z", "fed", "a a a"], ["klm no", "x", "klm", "klm klm klm"]
    for name, lines in (("src", src), ("ref", references)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    options = ["--system", "greedy", str(run_dir), "beam_size=1"]
    options += ["--system", "long", str(run_dir), "beam_size=2", "min_length_ratio=1"]
    options += ["--system", "rescored", str(run_dir), f"rescore={rescorer}", "min_length_ratio=1"]
    text = [str(tmp_path / "ref")]
    data = LanguageModellingConfig(train=text, valid=text, tokenizer=SavedConfig(folder=str(run_dir / "tokenizer")))
    lm = train(Config(data=data, model=NgramConfig(order=2)), tmp_path / "lm")
    options += ["--system", "fluent", str(run_dir), f"lm={lm}", "lm_weight=0.5"]
    options += [
        "--pairs",
        str(tmp_path / "src"),
        str(tmp_path / "ref"),
        "--lines",
        "2",
        "--threads",
        "1",
        "--metric",
        "chrf",
    ]
    options += ["--stages", "--plot", str(tmp_path / "plot.svg")]
    report = tradeoff.run(make_parser().parse_args(["tradeoff", "--quick", *options]), TINY)
    translator = load(run_dir, processes=1)
    assert [row.system for row in report.rows] == ["greedy", "long", "rescored", "fluent"]
    rescored = load(run_dir, processes=1, rescore=rescorer)
    translations = [
        translator.translate(src, beam_size=1),
        translator.translate(src, beam_size=2, min_length_ratio=1.0),
        rescored.translate(src, min_length_ratio=1.0),
        load(run_dir, processes=1, lm=lm, lm_weight=0.5).translate(src),
    ]
    assert translations[2] != translator.translate(src, min_length_ratio=1.0)
    assert translations[3] != translator.translate(src)
    for row, hypotheses in zip(report.rows, translations, strict=True):
        scores = evaluate(hypotheses, [references], ["chrf", "repeated", "length_error"])
        assert {name: row.more[name] for name in scores} == {name: score.value for name, score in scores.items()}
        assert row.more["sentences_per_second_one_by_one"] > 0
        assert row.more["sentences_per_second_in_batches"] > 0
        speeds = [each.more["sentences_per_second_one_by_one"] for each in (row, report.rows[0])]
        assert row.more["speedup_over_first"] == speeds[0] / speeds[1]
        assert row.more["best_batch"] in tradeoff.BATCHES
        stages = {name for name in row.more if name.startswith("ms_")}
        extra_stages = {"rescored": {"ms_rescoring"}, "fluent": {"ms_language_model"}}.get(row.system, set())
        assert stages == {"ms_tokenizer", "ms_encoder", "ms_decoder", "ms_projection", "ms_search"} | extra_stages
        assert all(row.more[name] > 0 for name in stages)
    assert report.rows[2].more["parameters"] != report.rows[0].more["parameters"]
    assert json.dumps(report.to_json())
    assert "greedy" in report.to_markdown()
    assert (tmp_path / "plot.svg").stat().st_size > 1000


def test_stage_times_exclude_nested_stages() -> None:
    times = iter(range(100))
    stages = Stages(is_on_gpu=False)
    stages._now = lambda: next(times)  # each call of the clock advances it by one second

    class Outer:
        def call(self, inner: "Inner") -> str:
            return inner.call() + inner.call()

    class Inner:
        def call(self) -> str:
            return "a"

    outer, inner = Outer(), Inner()
    stages.watch(outer, "call", "search")
    stages.watch(inner, "call", "decoder")
    assert outer.call(inner) == "aa"
    assert inner.call() == "a"
    assert stages.seconds == {"search": 5 - 2, "decoder": 3}


def test_invalid_systems_are_refused(tmp_path: Path) -> None:
    for words, message in (
        (["name"], "takes a name, a run folder"),
        (["name", "nowhere"], "the folder nowhere does not exist"),
        (["name", str(tmp_path), "beam_size"], "'beam_size' must be a field"),
        (["name", str(tmp_path), "beam_size=2", "beam_size=3"], "'beam_size=3' must be a field"),
        (["name", str(tmp_path), "beam=2"], "beam_size"),
        (["name", str(tmp_path), "rescore=nowhere"], "the folder nowhere does not exist"),
        (["name", str(tmp_path), "lm_weight=1"], "need a language model, lm=RUN"),
        (["name", str(tmp_path), f"lm={tmp_path}", "lm_weight=much"], "could not convert string to float: 'much'"),
    ):
        with pytest.raises(SystemExit, match=message):
            tradeoff.read_system(words)
