"""Training of speech recognizers: fine-tuning, and unusable examples."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from reference.tiny_runs import comparable_metrics
from system.conftest import run_in_process

import seqlab
from seqlab.data.survey import no_progress
from seqlab.evaluation import evaluate
from seqlab.models import RecognizerConfig, RecurrentEncoderConfig
from seqlab.objectives import CtcConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.tasks.recording_labels.task import from_labeled_recordings
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.tasks.transcription.prepared_transcripts import read_transcripts
from seqlab.tasks.transcription.task import TranscriptionTask, TranscriptValidation, from_recordings
from seqlab.text import WordsConfig
from seqlab.training import train

from .conftest import RATE, TRAINED_MODEL, tiny_config, write_corpus


def test_init_from_copies_the_encoder(corpus: str, trained: Path, tmp_path: Path) -> None:
    config = replace(
        tiny_config(corpus, TRAINED_MODEL, max_steps=1, save_every=1, valid_every=1),
        init_from=str(trained),
        init_parts="matching",
    )
    frozen = replace(config, optim=replace(config.optim, optimizer=replace(config.optim.optimizer, lr=1e-12)))
    run = train(frozen, tmp_path / "run")
    before, after = (seqlab.load(path, device="cpu", precision="fp32").model.state_dict() for path in (trained, run))
    for name in before:
        if name.startswith("encoder."):
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-6)


def test_encoders_are_copied_between_recognizers_and_labelers(corpus: str, trained: Path, tmp_path: Path) -> None:
    """Zero-config takes over the type and sizes of the encoder; only its weights are copied."""
    options = [("init_parts", "matching"), ("training.max_steps", "1"), ("optim.optimizer.lr", "1e-12")]
    options += [("training.device", "cpu"), ("training.threads", "1"), ("data.train", corpus)]
    labels = [("data.kind", "recording_labels"), ("data.text_column", "speaker"), ("init_from", str(trained))]
    config = from_labeled_recordings([*options, *labels])
    old = read_config(RunFolder(trained))
    assert (config.model.family, config.model.encoder.family) == ("recording_labeler", "gru")
    assert (config.model.encoder, config.model.channels) == (old.model.encoder, old.model.channels)
    assert config.data.num_bands == old.data.num_bands
    labeler = train(config, tmp_path / "labeler")
    assert not (labeler / "tgt_tokenizer").exists()
    recognizer = train(
        from_recordings([*options, ("data.kind", "transcription"), ("init_from", str(labeler))]), tmp_path / "again"
    )
    assert not (recognizer / "tgt_codec").exists()
    states = [load_run(path).model.state_dict() for path in (trained, labeler, recognizer)]
    names = [name for name in states[0] if name.startswith("encoder.")]
    assert names
    for state in states[1:]:
        for name in names:
            torch.testing.assert_close(state[name].float(), states[0][name].float(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"not all weights can be copied\. Set `init_parts: matching`"):
        from_labeled_recordings([*labels, ("data.train", corpus)])
    (tmp_path / "lines.txt").write_text("".join(f"{line}\n" for line in range(30)), encoding="utf-8")
    text_options = ("--data.train", tmp_path / "lines.txt", "--data.tokenizer.kind", "characters")
    assert run_in_process("train", *text_options, "--model.family", "ngram_lm", "--run_dir", tmp_path / "text")[0] == 0
    with pytest.raises(ValueError, match="has no src_codec to copy: it was not trained on recordings"):
        train(
            replace(tiny_config(corpus, max_steps=1), init_from=str(tmp_path / "text"), init_parts="matching"),
            tmp_path / "no",
        )


def test_few_matching_weights_are_reported(
    corpus: str, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = RecognizerConfig(
        encoder=RecurrentEncoderConfig(family="gru", hidden_size=96, num_layers=2, dropout=0.2, output_dropout=0.2),
        frame_size=96,
        channels=(4, 8),
        upsampling=1,
    )
    train(
        replace(tiny_config(corpus, model, max_steps=1), init_from=str(trained), init_parts="matching"),
        tmp_path / "run",
    )
    assert "% of the parameters start from" in caplog.text


@pytest.mark.parametrize("parts", ["all", "matching"])
def test_codec_fields_must_match_init_from(corpus: str, trained: Path, tmp_path: Path, parts: str) -> None:
    """The codecs of `init_from` are reused, so other settings would give other features."""
    config = replace(tiny_config(corpus, TRAINED_MODEL, max_steps=1), init_from=str(trained), init_parts=parts)
    for name, value in (("sample_rate", 16000), ("num_bands", 30), ("normalise", "recording"), ("transcripts", "none")):
        other = replace(config, data=replace(config.data, **{name: value}))
        with pytest.raises(ValueError, match=f"`data.{name}` is {value!r}, but"):
            train(other, tmp_path / "run")


def test_zero_config_follows_init_from(corpus: str, trained: Path) -> None:
    given = [("data.kind", "transcription"), ("data.train", corpus), ("init_from", str(trained))]
    original, chosen = read_config(RunFolder(trained)), from_recordings(given)
    assert chosen.model == original.model
    for name in (*original.data.codec_fields, "tokenizer"):
        assert getattr(chosen.data, name) == getattr(original.data, name)
    assert from_recordings(given[:2]).data.num_bands != original.data.num_bands
    for family in ("gru_recogniser", ["gru_recogniser"]):
        assert from_recordings([*given, ("model.family", family)]).model == original.model


@pytest.mark.parametrize(("text", "metric"), [("我们今天去北京大学图书馆", "cer"), ("we go today", "wer")])
def test_zero_config_validates_text_without_spaces_by_characters(
    text: str, metric: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = Path(write_corpus(tmp_path, "train", 4, seed=1))
    records = [json.loads(line) | {"text": text} for line in manifest.read_text("utf-8").splitlines()]
    manifest.write_text("".join(f"{json.dumps(each)}\n" for each in records), encoding="utf-8")
    given = [("data.kind", "transcription"), ("data.train", str(manifest))]
    assert from_recordings(given).training.valid_metric == metric
    assert from_recordings([*given, ("training.valid_metric", "nll")]).training.valid_metric == "nll"
    words = tiny_config(str(manifest), tokenizer=WordsConfig())
    TranscriptionTask().write_codecs(words, RunFolder(tmp_path / "run"), no_progress)
    assert (f"{manifest} is written without spaces between words" in caplog.text) == (metric == "cer")


def test_unknown_characters_are_reported_and_never_output(
    corpus: str, trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.loads(line) for line in Path(corpus).read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"audio": str(Path(corpus).parent / row["audio"]), "text": row["text"].replace("A", "7")}
    (tmp_path / "sevens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = tiny_config(str(tmp_path / "sevens.jsonl"), TRAINED_MODEL, max_steps=8, save_every=8)
    run = train(replace(config, init_from=str(trained)), tmp_path / "run")
    assert (
        "training texts have characters or words that are not in the vocabulary, so no output has them: '7'"
        in caplog.text
    )
    found = seqlab.load(run, device="cpu").transcribe([row["audio"] for row in rows[:20]])
    assert any(found)
    assert not any("unk" in text or "<" in text for text in found)


def write_list(folder: Path, rows: list[tuple[str, np.ndarray | bytes, str]]) -> str:
    """Write recordings, samples or bytes of a file, with their texts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content, _ in rows:
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            soundfile.write(folder / name, content, RATE, subtype="FLOAT")
    path = folder / "list.jsonl"
    lines = (json.dumps({"audio": name, "text": text}) + "\n" for name, _, text in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def tone(seconds: float, pitch: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def write_faulty_list(folder: Path) -> str:
    """Write 20 good recordings, and one of each fault."""
    good = [(f"good_{i}.wav", tone(0.6 + i / 50), "ab"[: 1 + i % 2]) for i in range(20)]
    with_nan = tone(0.5)
    with_nan[100] = np.nan
    soundfile.write(folder / "intact.wav", tone(0.5), RATE)
    intact = (folder / "intact.wav").read_bytes()
    wrong_rate = bytearray(intact)
    wrong_rate[24:28] = (2 * RATE).to_bytes(4, "little")
    faults: list[tuple[str, np.ndarray | bytes, str]] = [
        ("empty.wav", b"", "a"),
        ("silent.wav", np.zeros(RATE, np.float32), "a"),
        ("nan.wav", with_nan, "a"),
        ("truncated.wav", intact[: len(intact) // 2], "a"),
        ("rate.wav", bytes(wrong_rate), "a"),
        ("text.wav", b"not a recording\n" * 20, "a"),
        ("short.wav", tone(0.01), "a"),
    ]
    return write_list(folder, [*good[:10], *faults, *good[10:]])


FAULTS = {
    "empty.wav": "has no bytes",
    "silent.wav": "is silent",
    "nan.wav": "not numbers: the first one is at",
    "truncated.wav": "declares 8,000 bytes of samples, but it has",
    "rate.wav": "wrong header",
    "text.wav": "text",
    "short.wav": "below `data.min_seconds`",
}


def test_unusable_recordings_are_reported_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = train(tiny_config(write_faulty_list(tmp_path), max_steps=2, save_every=2, valid_every=2), tmp_path / "run")
    report = json.loads((run / "run.json").read_text("utf-8"))["data"]
    faults = report["faults"]
    assert len(faults) == len(FAULTS)
    assert len(report["held_out"]["valid"]) == report["counts"]["valid"]
    assert {location.rpartition(", line ")[0] for location in report["held_out"]["valid"]} == {f"{tmp_path}/list.jsonl"}
    assert "left out" in caplog.text
    for name, message in FAULTS.items():
        [fault] = [fault for fault in faults.values() if name in fault]
        assert re.search(message, fault), fault


def test_unusable_recordings_are_refused_with_on_fault_refuse(tmp_path: Path) -> None:
    config = tiny_config(write_faulty_list(tmp_path), on_fault="refuse")
    with pytest.raises(ValueError, match="7 recordings cannot be used") as raised:
        train(config, tmp_path / "run")
    assert "list.jsonl, line 11: " in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_texts_with_too_few_frames_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(f"{i}.wav", tone(0.5), "ab" if i % 5 else "aabbaabbaabbaabb") for i in range(20)]
    train(tiny_config(write_list(tmp_path, rows), max_steps=2, save_every=2, valid_every=2), tmp_path / "run")
    assert "training recordings have texts that need more output frames" in caplog.text
    assert "line 1 (" in caplog.text
    all_rows = [(name, samples, "ab" * 20) for name, samples, _ in rows]
    with pytest.raises(ValueError, match=r"All .* training recordings have texts that need more output frames"):
        train(tiny_config(write_list(tmp_path, all_rows)), tmp_path / "other")


def test_validation_leaves_out_the_texts_that_the_loss_leaves_out(tmp_path: Path) -> None:
    rows = [(f"{i}.wav", tone(0.5), "ab") for i in range(10)]
    steps = {"max_steps": 2, "save_every": 2, "valid_every": 2}
    found = []
    for name, valid in (
        ("few", rows[:6]),
        ("all", [*rows[:6], *((path, tone(0.5), "ab" * 40) for path, *_ in rows[6:])]),
    ):
        corpus, held_out = write_list(tmp_path / name / "train", rows), write_list(tmp_path / name / "valid", valid)
        run = train(tiny_config(corpus, valid=held_out, **steps), tmp_path / name / "run")
        found.append(comparable_metrics(run, ["valid"])[-1]["nll_per_tgt_token"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_equal_word_error_rates_are_ranked_by_characters() -> None:
    worse, better, best = (
        TranscriptValidation(evaluate([text], [["one two"]], ["wer", "cer"]), nll)
        for text, nll in (("", 1.0), ("on tw", 2.0), ("one tw", 3.0))
    )
    assert worse.scores["wer"].value == better.scores["wer"].value == 100
    assert worse.score("wer") < better.score("wer") < best.score("wer")
    assert best.score("nll") < worse.score("nll")


def test_rows_that_older_versions_read_differently_are_noted(tmp_path: Path) -> None:
    sound, rows = tone(0.5), []
    for name, samples, text in [
        ("a", np.stack([sound, -sound], 1), "a"),
        ("b", sound * 6, "b"),
        ("c", sound * 40000, "a"),
        ("d", sound, "a,b"),
        *((str(number), sound, "ab") for number in range(8)),
    ]:
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
        rows.append({"audio": f"{name}.wav", "text": text})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = tiny_config(str(tmp_path / "list.jsonl")).data
    assert isinstance(config, TranscriptionConfig)
    notes = read_transcripts(config, tmp_path / "cache", no_progress).reading
    assert [str(note).partition(" (")[0] for note in notes.changes_after(1)] == [
        "1 recordings were left out, each a recording whose channels cannot be mixed",
        "1 recordings with floats beyond [-1, 1] were divided by their peak",
        "1 recordings were left out, each a recording with samples of another scale",
        "1 transcripts have punctuation between words or numbers, or `İ`, and are normalized differently",
    ]


def test_a_model_that_outputs_only_blanks_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A model trained only on nonspeech."""
    rows = [(f"{i}.wav", tone(1.0), "a") for i in range(20)]
    steps = {"max_steps": 20, "save_every": 20, "valid_every": 20, "batch_seconds": 4}
    run = train(tiny_config(write_list(tmp_path, rows), augment_nonspeech=1.0, **steps), tmp_path / "run")
    [line] = comparable_metrics(run, ["valid"])
    assert line["empty_share"] == 1
    assert "after 20 steps all outputs of the validation set are empty: the model predicts only blanks" in caplog.text


def test_training_fits_empty_texts_and_repeated_letters(tmp_path: Path) -> None:
    """A hum has an empty text, and `aa` repeats a letter."""
    hum = np.random.default_rng(0).normal(size=round(0.4 * RATE)).astype(np.float32) * 0.01
    pair = np.concatenate([tone(0.15), np.zeros(RATE // 20, np.float32), tone(0.15)])
    kinds = [("hum", hum, ""), ("pair", pair, "aa"), ("one", tone(0.35), "a")]
    rows = [(f"{name}_{i}.wav", samples, text) for i in range(4) for name, samples, text in kinds]
    path = write_list(tmp_path, rows)
    steps = {"max_steps": 100, "save_every": 100, "valid_every": 100, "micro_batch_seconds": 8}
    run = train(tiny_config(path, TRAINED_MODEL, valid=path, **steps), tmp_path / "run")
    found = seqlab.load(run, device="cpu", precision="fp32").transcribe(
        [tmp_path / f"{name}_0.wav" for name, *_ in kinds]
    )
    assert found == ["", "aa", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": "given"}, "set `fold_column`"),
        ({"fold_column": "speaker"}, "requires `folds: grouped` or `folds: given`"),
        ({"test_fold": 6}, "must be at most `num_folds`"),
        ({"hop_ms": 30.0}, "must be at most `window_ms`"),
        ({"augment_noise_db": (40.0, 10.0)}, r"`augment_noise_db` must be \(lowest, highest\)"),
        ({"min_seconds": 40.0}, "must be below `max_seconds`"),
        ({"min_seconds": 0.01}, "must be at least one window"),
    ],
)
def test_invalid_configs_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_config("train.jsonl", **options)


def test_glancing_is_refused_for_recognizers() -> None:
    config = tiny_config("train.jsonl")
    with pytest.raises(ValueError, match=r"`objective.glancing` needs a decoder, .* set it to 0"):
        replace(config, objective=CtcConfig(glancing=0.3))
