"""`seqlab calibration` with randomly initialized models: confidence and accuracy against `seqlab translate`."""

import json
import math
from pathlib import Path

import pytest
from reference.random_runs import write_run

from seqlab.inference.torch_engine import TorchEngine
from seqlab.models import ModelConfig, TransformerCmlmConfig, TransformerCtcConfig, TransformerNatConfig
from seqlab.runs import load_run
from seqlab.search.hypothesis import Hypothesis

SIZES = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
MODELS: dict[str, ModelConfig] = {
    "ctc": TransformerCtcConfig(**SIZES),
    "nat": TransformerNatConfig(**SIZES),
    "end_mark": TransformerNatConfig(**SIZES, length="end_mark"),
    "cmlm": TransformerCmlmConfig(**SIZES),
}
LONG_OUTPUTS = ("--min_length_ratio", "1")


@pytest.mark.parametrize("name", ["run_dir", "recurrent_run_dir"])
def test_confidence_and_accuracy_match_translate(
    seqlab, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(name)
    (tmp_path / "src").write_text("abc def\n\nz\nfed\n")
    translated = seqlab("translate", run, "--json", *LONG_OUTPUTS, stdin=(tmp_path / "src").read_bytes())
    hypotheses = [json.loads(line)["hypotheses"][0] for line in translated.out.splitlines()]
    targets = [hypotheses[0]["text"], "", "klm", "no"]
    (tmp_path / "tgt").write_text("".join(f"{line}\n" for line in targets))
    options = ("calibration", run, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", *LONG_OUTPUTS)
    table = seqlab(*options)
    assert table.status == 0, table.err
    assert table.out.decode().count("expected calibration error") == 2
    report = json.loads(seqlab(*options, "--json").out)
    assert report["lines"]["count"] == 3  # the pair with an empty side is left out
    probs = [math.exp(hypotheses[i]["log_prob"]) for i in (0, 2, 3)]
    assert report["lines"]["confidence"] == pytest.approx(sum(probs) / 3, rel=1e-3)
    assert report["lines"]["accuracy"] >= 1 / 3
    num_tokens_without_eos = sum(hypotheses[i]["num_tokens"] - hypotheses[i]["finished"] for i in (0, 2, 3))
    assert report["tokens"]["count"] == num_tokens_without_eos
    assert sum(each["count"] for each in report["tokens"]["bins"]) == num_tokens_without_eos


def test_unknown_tokens_count_as_errors(seqlab, run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model outputs only `<unk>`, and the reference is unknown, too."""
    tokenizer = load_run(run_dir).tgt_tokenizer
    unk_hypothesis = Hypothesis([tokenizer.unk_id], -0.1, -0.1, True, [-0.1, 0.0])
    monkeypatch.setattr(
        TorchEngine, "decode", lambda engine, src_rows, *args, **options: [[unk_hypothesis] for _ in src_rows]
    )
    (tmp_path / "src").write_text("a\n")
    (tmp_path / "tgt").write_text("%\n")
    report = json.loads(
        seqlab("calibration", run_dir, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", "--json").out
    )
    assert (report["lines"]["accuracy"], report["tokens"]["accuracy"]) == (0, 0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("beam_size", ["1", "3"])
def test_non_autoregressive_models(seqlab, name: str, beam_size: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", model=MODELS[name])
    (tmp_path / "src").write_text("abc def\nz\nfed\n")
    search = ("--beam_size", beam_size)
    translated = seqlab("translate", run, "--json", *search, stdin=(tmp_path / "src").read_bytes())
    hypotheses = [json.loads(line)["hypotheses"][0] for line in translated.out.splitlines()]
    (tmp_path / "tgt").write_text("".join(f"{each['text'] or 'k'}\n" for each in hypotheses))
    result = seqlab("calibration", run, "--src", tmp_path / "src", "--tgt", tmp_path / "tgt", *search, "--json")
    report = json.loads(result.out)
    probs = [math.exp(each["log_prob"]) for each in hypotheses]
    assert report["lines"]["confidence"] == pytest.approx(sum(probs) / 3, rel=1e-3)
    num_tokens_without_eos = sum(each["num_tokens"] - each["finished"] for each in hypotheses)
    assert report["lines"]["accuracy"] == sum(bool(each["text"]) for each in hypotheses) / 3
    if num_tokens_without_eos:
        assert report["tokens"]["count"] == num_tokens_without_eos
        assert report["tokens"]["accuracy"] == 1.0
    else:
        assert "all predictions are empty" in result.err


def test_empty_input_is_refused(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    result = seqlab("calibration", run_dir, "--src", tmp_path / "empty", "--tgt", tmp_path / "empty")
    assert (result.status, "is empty: there are no pairs to measure" in result.err) == (2, True)
    result = seqlab("calibration", run_dir, "--src", "a", "--tgt", "b", "--beam_size", "0")
    assert (result.status, "beam_size" in result.err) == (2, True)
