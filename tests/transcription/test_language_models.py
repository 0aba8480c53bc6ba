"""Shallow fusion of speech recognizers with character and word language models."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.shared import SharedFolder
from system.conftest import run_in_process

import seqlab
from seqlab.text.transcripts import normalize_transcript

from .conftest import RATE, synthesize

TEXTS = ["ab c", "ab ca", "b ca ab", "c c ab", "ca b"]


@pytest.fixture(scope="module")
def models(trained: Path, shared: SharedFolder) -> dict[str, Path]:
    """Train n-gram models of characters and of words on a text with a small vocabulary."""
    options: dict[str, list[Any]] = {
        "characters": ["--data.tokenizer.kind", "saved", "--data.tokenizer.folder", trained / "tgt_tokenizer"],
        "words": ["--data.tokenizer.kind", "words"],
        "other_vocabulary": ["--data.tokenizer.kind", "characters", "--data.tokenizer.min_count", "60"],
    }

    def build(folder: Path) -> None:
        lines = [normalize_transcript(text, "plain") for text in TEXTS * 40]
        (folder / "text.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        for name in options:
            arguments = ["--data.train", folder / "text.txt", "--model.family", "ngram_lm", *options[name]]
            status, done = run_in_process("train", *arguments, "--run_dir", folder / name)
            assert status == 0, done.stderr.decode()

    folder = shared.build("recognizer-lms", build)
    return {name: folder / name for name in options}


@pytest.mark.parametrize("name", ["characters", "words"])
def test_a_language_model_increases_the_number_of_known_words(
    trained: Path, models: dict[str, Path], name: str
) -> None:
    """A high weight increases the number of known words; a negligible weight changes nothing."""
    rng = np.random.default_rng(21)
    texts = ["ab c", "bb c", "ca b", "cc b", "aa ab"]
    recordings = [(synthesize(text, rng), RATE) for text in texts]
    transcripts = seqlab.load(trained, device="cpu", precision="fp32").transcribe(recordings)
    fused_model = seqlab.load(trained, device="cpu", precision="fp32", lm=models[name], lm_weight=8.0)
    fused_transcripts = fused_model.transcribe(recordings)
    known_words = {word for text in TEXTS for word in text.split()}
    assert sum(word in known_words for text in fused_transcripts for word in text.split()) > sum(
        word in known_words for text in transcripts for word in text.split()
    )
    negligible = seqlab.load(trained, device="cpu", precision="fp32", lm=models[name], lm_weight=1e-6)
    expected = seqlab.load(trained, device="cpu", precision="fp32").transcribe(recordings, beam_size=16)
    assert negligible.transcribe(recordings, beam_size=16) == expected


def test_the_batch_does_not_change_fused_transcripts(trained: Path, models: dict[str, Path]) -> None:
    rng = np.random.default_rng(22)
    recordings = [(synthesize(text, rng), RATE) for text in TEXTS * 2]
    run = seqlab.load(trained, device="cpu", precision="fp32", lm=models["words"], lm_weight=1.0)
    together = run.transcribe(recordings)
    assert [run.transcribe([each])[0] for each in recordings] == together


def test_invalid_language_models_and_ensembles_are_refused(trained: Path, models: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="has another vocabulary than the speech recognizer"):
        seqlab.load(trained, device="cpu", lm=models["other_vocabulary"])
    with pytest.raises(ValueError, match="needs a language model, `lm`"):
        seqlab.load(trained, device="cpu", lm_weight=0.3)
    with pytest.raises(ValueError, match="Speech recognizers cannot form an ensemble"):
        seqlab.load([trained, trained], device="cpu")


def test_best_path_decoding_refuses_a_language_model(trained: Path, models: dict[str, Path]) -> None:
    fused = seqlab.load(trained, device="cpu", lm=models["characters"])
    with pytest.raises(ValueError, match="`beam_size: 1` decodes the best path without `lm`"):
        fused.transcribe([(np.ones(RATE, np.float32) * 0.1, RATE)], beam_size=1)


@pytest.mark.parametrize("name", ["characters", "words"])
def test_texts_of_transcripts_are_normalized_as_by_the_recognizer(
    trained: Path, models: dict[str, Path], name: str, tmp_path: Path
) -> None:
    """A language model of raw transcripts equals one of normalized texts; so do perplexities and fused transcripts."""
    raw = [text.upper().replace(" ", "! ", 1) + "." for text in TEXTS * 40]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in raw), encoding="utf-8")
    options = ["--data.tokenizer.kind", "words"]
    if name == "characters":
        options = ["--data.tokenizer.kind", "saved", "--data.tokenizer.folder", str(trained / "tgt_tokenizer")]
    options += ["--data.train", f"{tmp_path / 'raw.jsonl'}#text", "--model.family", "ngram_lm"]
    status, done = run_in_process("train", *options, "--data.transcripts", "plain", "--run_dir", tmp_path / "run")
    assert status == 0, done.stderr.decode()
    found, expected = (seqlab.load(run, device="cpu") for run in (tmp_path / "run", models[name]))
    lines = ["Ab; C!", "CA-B.", "", "b ca ab"]
    plain = [normalize_transcript(line, "plain") for line in lines]
    assert [each.log_prob for each in found.score(lines)] == [each.log_prob for each in expected.score(plain)]
    assert found.perplexity(lines).likelihood.nll == expected.perplexity(plain).likelihood.nll
    recordings = [(synthesize(text, np.random.default_rng(21)), RATE) for text in ("bb c", "cc b")]
    fused = [seqlab.load(trained, device="cpu", lm=run, lm_weight=8.0) for run in (tmp_path / "run", models[name])]
    assert fused[0].transcribe(recordings) == fused[1].transcribe(recordings)
    (tmp_path / "raw.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (tmp_path / "plain.txt").write_text("".join(f"{line}\n" for line in plain), encoding="utf-8")
    outputs = [
        run_in_process("perplexity", run, tmp_path / text, "--per_line")[1].stdout
        for run, text in ((tmp_path / "run", "raw.txt"), (models[name], "plain.txt"))
    ]
    assert outputs[0] == outputs[1] != b""
