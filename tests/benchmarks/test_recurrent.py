"""Training and decoding benchmarks with tiny LSTMs and workers in this process."""

import sys
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import decoding, machine, training
from benchmarks.__main__ import main, make_parser
from benchmarks.report import Report
from benchmarks.scale import MODELS, Scale, recurrent_sizes, with_model
from benchmarks.workers.toolkits import Corpus
from benchmarks.workers.train_joeynmt import config_of, model_of
from seqlab.text import load_tokenizer

LSTMS = MODELS[1:]
FAKE_JOEYNMT = """
import json, sys
if __name__ == "__main__":
    assert sys.argv[1:] == ["translate", "config.yaml"]
    config = json.load(open("config.yaml"))
    lines = sys.stdin.read().splitlines()
    assert [len(line.split()) for line in lines] == sorted((len(line.split()) for line in lines), reverse=True)
    print("joeynmt.prediction - Generation took 0.5000[sec].", file=sys.stderr)
    for line in lines:
        print("<unk>" if config["testing"]["beam_size"] == 1 else line)
"""
"""Program that outputs each line unchanged, or `<unk>` with a beam size of 1."""


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (training, decoding, machine):
        monkeypatch.setattr(module, "run_worker", call_worker)


def run(task: str, model: str, tmp_path: Path, *options: str) -> Report:
    common = [task, "--model", model, "--quick", "--threads", "1", "--work_dir", str(tmp_path)]
    arguments = make_parser().parse_args([*common, *options])
    scale: Scale = with_model(TINY, model)
    return {"training": training, "decoding": decoding}[task].run(arguments, scale)


@pytest.mark.learning
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("model", LSTMS)
def test_all_systems_have_the_same_losses(model: str, tmp_path: Path) -> None:
    report = run("training", model, tmp_path, "--dtypes", "fp32")
    assert not report.failed_checks
    assert any("torch.nn.LSTM: 10 losses" in check for check in report.checks)
    assert {row.system for row in report.rows} == {each.name for each in training.SYSTEMS["lstm"]} | {"JoeyNMT"}
    for row in report.rows:
        assert (row.tokens_per_second is None) == (row.system == "JoeyNMT")
        assert row.tokens_per_second is None or (row.ratio and row.share_of_peak)
    assert report.more["sizes"]["input_feeding"] == (model == "lstm")


@pytest.mark.learning
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("model", LSTMS)
def test_all_systems_output_the_same_translations(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "QUICK_LINES", 8)
    monkeypatch.setattr(decoding, "QUICK_BEAM_SIZES", (1, 5))
    options = ("--lines", "3", "--run_steps", "40", "--repetitions", "1")
    dtypes = ("fp32", "bf16") if model == "lstm" else ("fp32",)  # one model is enough for bf16
    report = run("decoding", model, tmp_path, *options, "--systems", "seqlab", "torch.nn.LSTM", "--dtypes", *dtypes)
    failed_in_fp32 = [check for check in report.failed_checks if "fp32" in check.partition(":")[0]]
    assert not failed_in_fp32
    measured = [row for row in report.rows if row.tokens_per_second and row.dtype == "fp32"]
    for search in ("greedy", "beam 5"):
        rows = [row for row in measured if (row.more["search"], row.more["batch"]) == (search, "1")]
        assert {row.system for row in rows} == {"seqlab", "torch.nn.LSTM"}
        assert len({row.more["output_tokens"] for row in rows}) == 1


@pytest.mark.learning
@pytest.mark.usefixtures("in_process")
def test_joeynmt_reads_and_outputs_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "joeynmt.py").write_text(FAKE_JOEYNMT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = ("--lines", "3", "--run_steps", "1", "--systems", "JoeyNMT", "--joeynmt", sys.executable)
    report = run("decoding", "lstm", tmp_path, *options)
    assert [(row.system, row.more["batch"]) for row in report.rows] == [
        ("JoeyNMT", "1"),
        ("JoeyNMT", "best: 16 sentences"),
    ]
    folder = tmp_path / "decoding-number_words-lstm"
    tokenizer = load_tokenizer(folder / "tokenizer")
    assert len((folder / "joeynmt" / "vocabulary.txt").read_text().splitlines()) == tokenizer.vocab_size - 4
    lines = ["one", "two hundred and five", "three"]
    job = decoding.DecodingJob(
        *(str(folder), "", sys.executable, "fp32", 5, [2], lines), 0, workers=1, threads=1, device="cpu", started=0.0
    )
    found = call_worker("decode_joeynmt", vars(job), 1)
    assert found["hypotheses"] == lines
    assert found["tgt_tokens"] == [len(row) + 1 for row in tokenizer.encode(lines)]
    assert found["seconds"] == [0.5]
    found = call_worker("decode_joeynmt", {**vars(job), "beam_size": 1}, 1)
    assert found["hypotheses"] == tokenizer.decode([[tokenizer.unk_id]] * 3)


def test_joeynmt_config_describes_the_same_model() -> None:
    sizes = recurrent_sizes(with_model(TINY, "lstm_unfed").model)
    model = model_of(sizes, 0.1)
    assert 2 * model["encoder"]["hidden_size"] == model["decoder"]["hidden_size"] == sizes.hidden_size
    assert not model["decoder"]["input_feeding"]
    job = training.TrainingJob("nowhere", 256, "fp32", dropout=0.1, steps=20, threads=1, device="cpu")
    assert config_of(Corpus(Path("nowhere"), 12.0), sizes, job)["model"] == model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["training", "--model", "lstm", "--norm", "pre"], "`--norm`: `--model lstm` has no layer norms"),
        (["training", "--model", "lstm", "--sockeye", "python"], "`--sockeye`: Sockeye has no lstm"),
        (["training", "--model", "lstm", "--systems", "transformers"], "must be among .*'torch.nn.LSTM'"),
        (["decoding", "--joeynmt", "python"], "`--joeynmt` is for `--model lstm`"),
    ],
)
def test_options_that_lstms_do_not_support_are_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        main([*options, "--quick", "--work_dir", str(tmp_path)])
