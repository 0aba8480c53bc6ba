"""Validation with several references: the loss uses the first, metrics of decoded outputs use all."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import comparable_metrics, tiny_config, with_training, write_numbers

import seqlab
from seqlab.evaluation import Score, evaluate
from seqlab.runs.load import load_run
from seqlab.tasks.translation.task import TranslationTask
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, TokenizerConfig, WordsConfig
from seqlab.training import train
from seqlab.training.validation import Validation


def last_validation(run_dir: Path) -> dict[str, Any]:
    """Return the metrics of the last validation."""
    return comparable_metrics(run_dir, ["valid"])[-1]


def test_outputs_are_compared_with_all_references(corpus: Path, tmp_path: Path) -> None:
    """The second references equal the outputs of half of the lines, so these lines are exact matches."""
    src, tgt = write_numbers(tmp_path, range(200, 240), "valid")
    config = tiny_config(corpus, max_steps=8, data={"valid_src": src, "valid_tgt": tgt})
    single_reference = train(config, tmp_path / "single_reference")
    sources, targets = (Path(path).read_text("utf-8").splitlines() for path in (src, tgt))
    outputs = seqlab.load(single_reference, checkpoint="last", device="cpu", precision="fp32").translate(
        sources, beam_size=1
    )
    assert any(outputs)
    half = [line if index % 2 else "" for index, line in enumerate(outputs)]
    (tmp_path / "half").write_text("".join(f"{line}\n" for line in half), encoding="utf-8")
    references = {"valid_src": src, "valid_tgt": [tgt, str(tmp_path / "half")]}
    run_dir = train(tiny_config(corpus, max_steps=8, data=references, valid_metric="cer"), tmp_path / "two_references")
    found, before = last_validation(run_dir), last_validation(single_reference)
    assert found["nll_per_tgt_token"] == before["nll_per_tgt_token"]
    is_match = [
        hypothesis in (target, other or None) for hypothesis, target, other in zip(outputs, targets, half, strict=True)
    ]
    assert found["exact_match"] == pytest.approx(100 * sum(is_match) / len(is_match))
    assert found["exact_match"] > before["exact_match"]
    for lines, metrics, names in (
        ([targets], before, ["bleu", "chrf", "wer", "exact_match"]),
        ([targets, half], found, ["bleu", "chrf", "wer", "exact_match", "cer"]),
    ):
        expected = {name: score.value for name, score in evaluate(outputs, lines, names).items()}
        assert {name: metrics[name] for name in metrics if name in expected} == expected
        assert set(metrics) == {"kind", "step", "is_best", "nll_per_tgt_token", *expected}


@pytest.mark.parametrize(
    ("tokenizer", "alter"),
    [
        (SentencePieceBpeConfig(vocab_size=300), lambda line: unicodedata.normalize("NFD", line)),
        (CharactersConfig(normalization="nfd"), lambda line: unicodedata.normalize("NFD", line)),
        (WordsConfig(), lambda line: f" {line} ".replace(" ", "  ")),
    ],
    ids=["subwords", "characters", "words"],
)
def test_references_are_normalized_like_outputs(
    tmp_path: Path, tokenizer: TokenizerConfig, alter: Callable[[str], str]
) -> None:
    """References that differ from the outputs only in Unicode normal form or spaces are exact matches."""
    corpus, accents = tmp_path / "corpus", str.maketrans("eiunzvhsr", "éíüñžöĥšř")
    write_numbers(corpus, range(1, 130))
    src, tgt = write_numbers(corpus, range(200, 240), "valid")
    for path in (corpus / "train.de", Path(tgt)):
        path.write_text(path.read_text("utf-8").translate(accents), encoding="utf-8")
    data: dict[str, Any] = {"valid_src": src, "valid_tgt": tgt, "tokenizer": tokenizer, "subword_sampling": 0.0}
    single_reference = train(
        tiny_config(corpus, max_steps=100, save_every=100, valid_every=100, data=data), tmp_path / "single_reference"
    )
    sources = Path(src).read_text("utf-8").splitlines()
    outputs = seqlab.load(single_reference, checkpoint="last", device="cpu", precision="fp32").translate(
        sources, beam_size=1
    )
    outputs = [line or "nothing" for line in outputs]
    altered = [alter(line) for line in outputs]
    assert altered != outputs
    (tmp_path / "altered").write_text("".join(f"{line}\n" for line in altered), encoding="utf-8")
    data["valid_tgt"] = [tgt, str(tmp_path / "altered")]
    config = tiny_config(corpus, max_steps=100, save_every=100, valid_every=100, data=data)
    found = last_validation(train(config, tmp_path / "two_references"))
    unknown = sum("<unk>" in line or line == "nothing" for line in outputs)
    assert found["exact_match"] == pytest.approx(100 * (len(outputs) - unknown) / len(outputs))
    assert found["exact_match"] > 0


@pytest.mark.parametrize("metric", ["wer", "cer"])
def test_the_lowest_error_rate_is_best(
    metric: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [80.0, 40.0, 60.0, 40.0, 50.0]
    validate: Callable[..., Validation] = lambda self, run, weights: Validation(  # noqa: E731
        {metric: Score(metric, scores.pop(0), "", higher_is_better=False)}, 1.0
    )
    monkeypatch.setattr(TranslationTask, "validate", validate)
    config = tiny_config(corpus, max_steps=20, valid_every=2, patience=3)
    run_dir = train(with_training(config, valid_metric=metric), tmp_path / "run")
    validations = comparable_metrics(run_dir, ["valid"])
    assert [line[metric] for line in validations] == [80, 40, 60, 40, 50]
    assert [line["is_best"] for line in validations] == [True, True, False, False, False]
    assert load_run(run_dir).step == 4
