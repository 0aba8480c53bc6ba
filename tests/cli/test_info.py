"""`seqlab info`: summaries of runs, and errors for other folders."""

import json
from pathlib import Path

import pytest
from reference.tiny_runs import tiny_text_config

from seqlab.models import NgramConfig
from seqlab.optim import OptimConfig
from seqlab.runs.folder import RunFolder
from seqlab.training import train

CORPORA = [
    {"split": "train", "kept": 900, "split_off": 50},
    {"split": "train", "kept": 1100, "split_off": 0},
    {"split": "valid", "kept": 10, "split_off": 0},
]


def test_json_summary_has_the_best_validation_and_the_changed_fields(seqlab, run_dir: Path) -> None:
    summary = json.loads(seqlab("info", run_dir, "--json").out)
    assert summary["best"] == {"step": 10, "scores": {"nll_per_tgt_token": 2.25, "bleu": 1.5}}
    assert (summary["step"], summary["minutes"], summary["checkpoints"]) == (20, 5.0, [10, 20])
    assert (summary["family"], summary["parameters"], summary["max_steps"]) == ("transformer", 1234, 10_000)
    assert summary["changed_fields"] == {
        "data.train_src": ["a.en"],
        "data.train_tgt": ["a.de"],
        "data.train_weights": [1.0],
        "data.tokenizer.kind": "characters",
        "model.d_model": 16,
        "model.d_ff": 32,
        "model.num_heads": 2,
        "model.num_encoder_layers": 1,
        "model.num_decoder_layers": 1,
        "model.max_length": 32,
    }


def test_text_summary_has_the_same_values(seqlab, run_dir: Path) -> None:
    text = seqlab("info", run_dir).out.decode()
    for excerpt in (
        "transformer, 1,234 parameters",
        "20 of 10,000 steps, 5.0 minutes",
        "step 10: nll_per_tgt_token 2.250, bleu 1.500",
        "model.d_model: 16",
    ):
        assert excerpt in text


def test_data_sizes_add_up_by_split(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes((run_dir / "config.yaml").read_bytes())
    RunFolder(tmp_path).write_description({"data": {"corpora": CORPORA}})
    summary = json.loads(seqlab("info", tmp_path, "--json").out)
    assert (summary["kind"], summary["kept"]) == ("translation", {"train": 2000, "valid": 60})
    assert (summary["best"], summary["checkpoints"], summary["step"]) == (None, [], 0)
    assert "none yet" in seqlab("info", tmp_path).out.decode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format_version": 999}', "has run format version 999"),
        ("{", "is damaged"),
        (None, "is not a run folder"),
    ],
)
def test_folders_that_are_not_runs_are_refused(seqlab, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    result = seqlab("info", tmp_path)
    assert (result.status, result.out) == (2, b"")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_summary_of_an_ngram_model_has_lines_and_no_steps(seqlab, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one two\nthree four\nfive\nsix\n" * 5)
    config = tiny_text_config([str(tmp_path / "text.txt")], model=NgramConfig(order=2), optim=OptimConfig())
    ngram = train(config, tmp_path / "ngram")
    text = seqlab("info", ngram).out.decode()
    assert "model        ngram_lm\n" in text
    assert "lines        15 train, 1 valid" in text
    assert " steps, " not in text
    summary = json.loads(seqlab("info", ngram, "--json").out)
    assert (summary["max_steps"], summary["kind"]) == (None, "language_modelling")
