"""Shallow fusion of a translator with a language model."""

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.random_runs import write_run
from reference.tiny_language_models import FAMILIES, TinyRuns, random_model, write_language_model

import seqlab
from seqlab.cli.main import main
from seqlab.data.batch import collate_text
from seqlab.inference.lines import replace_control_characters
from seqlab.models import (
    ModelConfig,
    NgramConfig,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.search.config import SearchConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.language_model import LanguageModel, load_language_model
from seqlab.tasks.translation.run import Run
from seqlab.text import SavedConfig, Tokenizer
from seqlab.text.trained import load_tokenizer
from seqlab.training import train

LINES = ["the dog sees a cat.", "a man rides.", "", "the red horse eats quickly on the street."]
SEARCH = {"beam_size": 3, "num_hypotheses": 2, "max_length": 9}
SMALL: dict[str, Any] = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def lm_dir(tmp_path_factory: pytest.TempPathFactory, run_folder: Path) -> Path:
    """Train an n-gram model with the translator's tokenizer."""
    return train_ngram(tmp_path_factory.mktemp("lm"), run_folder / "tokenizer", LINES * 5)


def train_ngram(folder: Path, tokenizer: Path, lines: list[str]) -> Path:
    (folder / "text.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    data = LanguageModellingConfig(
        train=[str(folder / "text.txt")],
        valid=[str(folder / "text.txt")],
        tokenizer=SavedConfig(folder=str(tokenizer)),
    )
    config = Config(
        data=data, model=NgramConfig(order=3), training=TrainingConfig(device="cpu", precision="fp32", threads=1)
    )
    return train(config, folder / "lm")


def fused_log_prob(
    run: Run, lm: LanguageModel, src_ids: list[int], ids: list[int], finished: bool, weight: float
) -> float:
    """Add the log-probabilities of ids under both models, each by teacher forcing in one pass."""
    eos = [run.tgt_tokenizer.eos_id]
    length = len(ids) + finished
    [pair] = run.engine.score([src_ids], [ids])
    batch = collate_text([[*ids, *eos]], [0], pad_id=run.tgt_tokenizer.pad_id, start_id=lm.start_id)
    with torch.inference_mode():
        lm_log_probs = lm.members[0].model.score(batch)[0, :length]
    return sum(pair.token_log_probs[:length]) + weight * float(lm_log_probs.sum())


def test_models_that_copy_unknown_words_are_not_combined_with_others(tmp_path: Path) -> None:
    copying = TransformerConfig(**SMALL, copying=True)
    runs = [write_run(tmp_path / name, model=copying) for name in ("vocabulary", "unknown")]
    folder = RunFolder(runs[1])
    text = folder.read_config_text()
    assert "copy_unknown: false" in text
    folder.replace_config(text.replace("copy_unknown: false", "copy_unknown: true"), folder.read_description())
    for pair in (runs, runs[::-1]):
        with pytest.raises(ValueError, match=r"must all be trained with `data\.copy_unknown`, or none of them"):
            seqlab.load(pair)
    lm_dir = train_ngram(tmp_path, runs[1] / "tokenizer", ["abc def", "klm"])
    with pytest.raises(ValueError, match="copies words that are not in the vocabulary"):
        seqlab.load(runs[1], lm=lm_dir)
    seqlab.load(runs[0], lm=lm_dir)


def test_ctc_models_are_fused_with_an_ngram_model(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", model=TransformerCtcConfig(**SMALL))
    lm_dir = train_ngram(tmp_path, run_dir / "tokenizer", ["abc def", "fed cba klm", "äöü"])
    fused = seqlab.load(run_dir, precision="fp32", lm=lm_dir, lm_weight=2.0, length_reward=1.5)
    lm = load_language_model(lm_dir)
    lines = ["a b c", "", "hij ab", "k"]
    options: dict[str, Any] = {
        "beam_size": 4,
        "num_hypotheses": 2,
    }  # with num_hypotheses > 1, scores sum over all CTC paths
    found = fused.translate_detailed(lines, **options)
    assert [fused.translate_detailed([line], **options)[0].text for line in lines] == [each.text for each in found]
    hypotheses = fused.engine.decode(fused.src_tokenizer.encode(lines), SearchConfig(beam_size=4, num_hypotheses=2))
    for src_ids, best in zip(fused.src_tokenizer.encode(lines), hypotheses, strict=True):
        for each in best if src_ids else ():
            expected = fused_log_prob(fused, lm, src_ids, each.ids, each.finished, 2.0) + 1.5 * len(each.ids)
            assert each.log_prob == pytest.approx(expected, rel=1e-4, abs=1e-4)
    without_lm = seqlab.load(run_dir, precision="fp32")
    assert without_lm.translate(lines, beam_size=4) != [each.text for each in found]


@pytest.mark.parametrize("config", [TransformerCmlmConfig(**SMALL), TransformerNatConfig(**SMALL)])
def test_non_autoregressive_models_are_fused_with_an_ngram_model(tmp_path: Path, config: ModelConfig) -> None:
    run_dir = write_run(tmp_path / "run", model=config)
    lm_dir = train_ngram(tmp_path, run_dir / "tokenizer", ["abc def", "fed cba klm", "äöü"])
    fused = seqlab.load(run_dir, precision="fp32", lm=lm_dir, lm_weight=2.0, length_reward=1.5)
    lm, lines = load_language_model(lm_dir), ["a b c", "", "hij ab", "k"]
    options: dict[str, Any] = {"beam_size": 4, "iterations": 3}
    found = fused.translate(lines, **options)
    assert [fused.translate([line], **options)[0] for line in lines] == found
    assert seqlab.load(run_dir, precision="fp32").translate(lines, **options) != found
    search = SearchConfig(beam_size=4, num_hypotheses=4, iterations=1)
    rows = fused.src_tokenizer.encode(lines)
    for src_ids, best in zip(rows, fused.engine.decode(rows, search), strict=True):
        for each in best if src_ids else ():
            expected = fused_log_prob(fused, lm, src_ids, each.ids, each.finished, 2.0) + 1.5 * len(each.ids)
            assert each.log_prob == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("length", "family", "message"),
    [
        ("end_mark", "ngram_lm", "run ends its output at the first eos"),
        ("classifier", "gru_lm", r"`model.family: language_model`\) would have to read .* use an n-gram model"),
    ],
)
def test_unsupported_fusions_are_refused(tmp_path: Path, length: Any, family: str, message: str) -> None:
    run_dir = write_run(tmp_path / "run", model=TransformerNatConfig(**SMALL, length=length))
    tokenizer = load_tokenizer(run_dir / "tokenizer")
    model = random_model(FAMILIES[family], tokenizer, seed=4)
    if family == "ngram_lm":
        model.fit(tokenizer.encode(["abc"]), "lines")
    lm_dir = write_language_model(tmp_path / "lm", FAMILIES[family], model, tokenizer)
    with pytest.raises(ValueError, match=message):
        seqlab.load(run_dir, lm=lm_dir)


@pytest.mark.parametrize("weight", [None, 3.0])
def test_hypothesis_scores_are_the_weighted_sum_of_both_models(
    run_folder: Path, lm_dir: Path, weight: float | None
) -> None:
    run = seqlab.load(run_folder, precision="fp32", lm=lm_dir, lm_weight=weight)
    lm, rows = load_language_model(lm_dir), run.src_tokenizer.encode(LINES)
    for src_ids, best in zip(rows, run.engine.decode(rows, SearchConfig(**SEARCH)), strict=True):
        for hypothesis in best if src_ids else []:
            expected = fused_log_prob(run, lm, src_ids, hypothesis.ids, hypothesis.finished, weight or 0.1)
            assert hypothesis.log_prob == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("documents", ["lines", "continuous"])
@pytest.mark.parametrize("family", FAMILIES)
def test_each_language_model_family_reads_its_start_id(
    tmp_path: Path, run_folder: Path, tokenizer: Tokenizer, family: str, documents: str
) -> None:
    """With a very high weight the output is that of the language model."""
    model = random_model(FAMILIES[family], tokenizer, seed=4)
    if family == "ngram_lm":
        model.fit(tokenizer.encode(LINES), documents)
    lm_dir = write_language_model(tmp_path / "lm", FAMILIES[family], model, tokenizer, documents=documents)
    generated = load_language_model(lm_dir).generate([""], beam_size=1, max_length=9)[0][0]
    fused = seqlab.load(run_folder, precision="fp32", lm=lm_dir, lm_weight=1e4)
    text, _ = replace_control_characters(generated.text)
    assert fused.translate(LINES, beam_size=1, max_length=9) == [text, text, "", text]


def test_results_do_not_depend_on_batches_or_processes(run_folder: Path, lm_dir: Path) -> None:
    run = seqlab.load(run_folder, precision="fp32", lm=lm_dir)
    expected = run.translate_detailed(LINES, **SEARCH)
    assert run.translate_detailed(LINES, batch_tokens=1, **SEARCH) == expected
    two_processes = seqlab.load(run_folder, precision="fp32", lm=lm_dir, processes=2)
    assert two_processes.translate_detailed(LINES, **SEARCH) == expected


def test_outputs_longer_than_the_lm_context_do_not_depend_on_batches(
    tmp_path: Path, run_folder: Path, tokenizer: Tokenizer
) -> None:
    settings = replace(FAMILIES["transformer_lm"], max_length=8)
    model = random_model(settings, tokenizer, seed=4)
    lm_dir = write_language_model(tmp_path / "lm", settings, model, tokenizer, block_length=8)
    run = seqlab.load(run_folder, precision="fp32", lm=lm_dir, lm_weight=0.3)
    lines = [" ".join(line.split()[::step]) for line in LINES if line for step in (1, -2)]
    options = {"beam_size": 2, "num_hypotheses": 2, "max_length": 24, "max_length_offset": 30}
    expected = run.translate_detailed(lines, **options)
    assert any(each.num_tokens > 16 for found in expected for each in found.hypotheses)
    assert run.translate_detailed(lines, batch_tokens=1, **options) == expected
    for start in range(0, len(lines), 3):
        assert run.translate_detailed(lines[start : start + 3], **options) == expected[start : start + 3]


def test_scores_of_sentence_pairs_do_not_include_the_lm(run_folder: Path, lm_dir: Path) -> None:
    fused, without_lm = (seqlab.load(run_folder, precision="fp32", lm=lm) for lm in (lm_dir, None))
    assert fused.score(LINES, LINES[::-1]) == without_lm.score(LINES, LINES[::-1])


def test_translate_command_with_a_language_model(
    run_folder: Path, lm_dir: Path, monkeypatch: Any, capfdbinary: Any
) -> None:
    options = [str(each) for name, value in SEARCH.items() if name != "num_hypotheses" for each in (f"--{name}", value)]
    options += ["--precision", "fp32", "--lm", str(lm_dir), "--lm_weight", "9"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in LINES).encode())))
    assert main(["translate", str(run_folder), *options]) == 0
    expected = seqlab.load(run_folder, precision="fp32", lm=lm_dir, lm_weight=9).translate(
        LINES, beam_size=3, max_length=9
    )
    assert capfdbinary.readouterr().out.decode().split("\n")[:-1] == expected
    assert expected != seqlab.load(run_folder, precision="fp32").translate(LINES, beam_size=3, max_length=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm_weight": 0.5}, "`lm_weight` needs a language model"),
        ({"lm": "LM", "lm_weight": 0.0}, "`lm_weight` must be finite and above 0, but is 0.0"),
        ({"lm": "LM", "engine": "ctranslate2"}, "`lm` needs the engine `torch`"),
        ({"lm": "TRANSLATOR"}, "translates: use `seqlab translate` or `seqlab score`"),
        ({"lm": "OTHER"}, r"have different vocabularies: train the language model with the translator's tokenizer"),
    ],
)
def test_invalid_options_are_refused(
    run_folder: Path, lm_dir: Path, tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], message: str
) -> None:
    other = TinyRuns(tmp_path_factory.getbasetemp() / "language_models")("ngram_lm")
    folders = {"LM": lm_dir, "TRANSLATOR": run_folder, "OTHER": other}
    with pytest.raises(ValueError, match=message):
        seqlab.load(run_folder, **{name: folders.get(value, value) for name, value in options.items()})
