"""Recordings: the cache of samples, splits by folds and texts, the report, and training steps."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from seqlab.audio.codec import fit_recording_codec, load_recording_codec
from seqlab.audio.reading import read_recording
from seqlab.data.batch import collate_frames
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recording_splits import split_recordings
from seqlab.data.recording_steps import RecordingSteps
from seqlab.data.recordings import RecordingExample, Recordings, read_recordings
from seqlab.data.recordings_report import RecordingsReport
from seqlab.data.survey import no_progress
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.recording_labels.task import read_labeled_recordings
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.tasks.transcription.prepared_transcripts import read_transcripts

from .conftest import SAMPLE_RATES, WORDS


def make_config(corpus: Path, **options: Any) -> TranscriptionConfig:
    return TranscriptionConfig(train=[str(corpus / "all.jsonl")], sample_rate=16000, **options)


def read_splits(config: Any, cache: Path, *, by_text: bool = True) -> Any:
    recordings, _ = read_recordings(config, cache, no_progress)
    texts = [each.text for each in recordings.examples]
    return recordings, texts, split_recordings(config, recordings, texts, by_text=by_text)


def test_a_channel_of_the_config_is_read_unless_the_list_names_one(corpus: Path, tmp_path: Path) -> None:
    """Recordings 1 and 3 have two channels; recording 0 has one."""
    rows = [{"audio": "1.flac"}, {"audio": "3.flac", "channel": 1}, {"audio": "0.flac"}]
    path = corpus / "channels.jsonl"
    path.write_text("".join(json.dumps({"text": "one"} | row) + "\n" for row in rows), encoding="utf-8")
    config = replace(make_config(corpus), train=[str(path)])
    recordings, _ = read_recordings(replace(config, channel="right"), tmp_path, no_progress)
    for number, (name, channel) in enumerate((("1.flac", "2"), ("3.flac", "1"))):
        expected = read_recording(corpus / name, 16000, channel=channel)
        np.testing.assert_array_equal(recordings.waveform(number), expected.samples)
    assert "0.flac: a recording whose channels cannot be mixed: its channel is 'right', but it has 1" in (
        recordings.examples[2].fault
    )
    averaged, _ = read_recordings(config, tmp_path, no_progress)  # not from the cache of the other channel
    np.testing.assert_array_equal(averaged.waveform(0), read_recording(corpus / "1.flac", 16000).samples)


@pytest.mark.parametrize("channel", ["0", "-1", "BBC News", "1.5"])
def test_other_channels_are_refused(channel: str, corpus: Path) -> None:
    with pytest.raises(ValueError, match=f"must be a number from 1, `left`, `right` or `mean`, but is '{channel}'"):
        make_config(corpus, channel=channel)
    assert make_config(corpus, channel=2).channel == "2"


def test_cached_samples_equal_the_files(corpus: Path, tmp_path: Path) -> None:
    config = make_config(corpus)
    recordings, _ = read_recordings(config, tmp_path, no_progress)
    for number in range(60):
        expected = read_recording(corpus / f"{number}.flac", 16000)
        np.testing.assert_array_equal(recordings.waveform(number), expected.samples)
        assert recordings.examples[number].source_rate == SAMPLE_RATES[number % 3]
        assert recordings.examples[number].channels == 1 + number % 2
    [cache] = tmp_path.glob("recordings-*")
    mtime_ns = (cache / "samples.i16").stat().st_mtime_ns
    reopened, _ = read_recordings(config, tmp_path, None)
    assert (cache / "samples.i16").stat().st_mtime_ns == mtime_ns
    np.testing.assert_array_equal(reopened.samples, recordings.samples)


def test_metadata_may_contain_unicode_line_separators(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(8000, np.int16), 16000)
    text = "one\u2028two\u2029three\x85four"
    (tmp_path / "all.jsonl").write_text(json.dumps({"audio": "a.wav", "text": text}) + "\n", encoding="utf-8")
    recordings, _ = read_recordings(make_config(tmp_path), tmp_path / "cache", no_progress)
    assert [each.text for each in recordings.examples] == [text]


def test_a_list_may_name_segments_of_a_recording(tmp_path: Path) -> None:
    """Columns `start` and `end` are in seconds; without an end, a segment ends with the recording."""
    rate = 16000
    samples = np.arange(1, rate + 1, dtype=np.int16)
    soundfile.write(tmp_path / "long.wav", samples, rate)
    spans = [(0.1, 0.5), (0.5, None), (None, 0.25), (0.9, 1.5)]
    named = [{"audio": "long.wav", "text": f"t{i}", "start": a, "end": b} for i, (a, b) in enumerate(spans)]
    (tmp_path / "parts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    (tmp_path / "cache").mkdir()
    config = TranscriptionConfig(train=[str(tmp_path / "parts.jsonl")], sample_rate=rate)
    recordings, _ = read_recordings(config, tmp_path / "cache", no_progress)
    for i, (start, end) in enumerate(spans):
        wanted = samples[round((start or 0) * rate) : None if end is None else round(end * rate)]
        assert np.array_equal(recordings.waveform(i), wanted)


def test_no_text_is_in_two_splits(corpus: Path, tmp_path: Path) -> None:
    _, texts, splits = read_splits(make_config(corpus, valid_fraction=0.2), tmp_path)
    train, valid = ({texts[i] for i in part} for part in (splits.train, splits.valid))
    assert not train & valid
    assert len(splits.train) + len(splits.valid) == 60
    assert 6 <= len(splits.valid) <= 18


@pytest.mark.parametrize(
    "options",
    [
        {"folds": "grouped", "fold_column": "speaker"},
        {"folds": "given", "fold_column": "fold", "num_folds": 4},
        {"folds": "plain"},
    ],
)
def test_each_recording_is_in_one_test_fold(options: dict[str, Any], corpus: Path, tmp_path: Path) -> None:
    """Each recording is in one test fold, which is excluded from training and validation."""
    config = make_config(corpus, **{"num_folds": 5} | options)
    test_rows = []
    for fold in range(1, config.num_folds + 1):
        recordings, _, splits = read_splits(config.for_fold(fold, config.num_folds), tmp_path)
        assert not set(splits.test) & (set(splits.train) | set(splits.valid))
        assert len(splits.valid)
        if config.fold_column is not None:
            columns = [
                {recordings.examples[i].columns[config.fold_column] for i in part}
                for part in (splits.test, np.concatenate([splits.train, splits.valid]))
            ]
            assert not columns[0] & columns[1]
        test_rows += splits.test.tolist()
    assert sorted(test_rows) == list(range(60))


@pytest.mark.parametrize(("test_fold", "by_text"), [(None, True), (2, True), (2, False)])
def test_grouped_folds_group_the_validation_data(
    test_fold: int | None, by_text: bool, corpus: Path, tmp_path: Path
) -> None:
    """No speaker is in two splits, also not by additional training data."""
    options: dict[str, Any] = {"folds": "grouped", "fold_column": "speaker", "num_folds": 5, "test_fold": test_fold}
    rows = [{"audio": "1.flac", "text": f"extra {number}", "speaker": f"s{number}"} for number in range(6)]
    rows[5]["speaker"] = ""
    extra = corpus / "speakers.jsonl"
    extra.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = make_config(corpus, extra_train=[str(extra)], valid_fraction=0.3, **options)
    recordings, _, splits = read_splits(config, tmp_path, by_text=by_text)
    parts = [splits.train, splits.valid, splits.test]
    speakers = [{recordings.examples[i].columns["speaker"] for i in part} for part in parts]
    assert sum(map(len, speakers)) == 6  # five, and none
    assert len(speakers[1]) == 1  # 12 recordings, as near to 30% as 24
    assert sum(recordings.examples[i].field == "extra_train" for i in splits.train) == len(speakers[0])
    notes = {note.text: note.since for note in splits.reading_notes(recordings)}
    assert notes == dict.fromkeys(
        ("recordings are in the split of their group", "additional recordings of held-out groups are left out"), 2
    )


def test_a_single_group_leaves_no_validation_data(corpus: Path, tmp_path: Path) -> None:
    rows = [{"audio": f"{number}.flac", "text": str(number), "speaker": "Ann"} for number in range(4)]
    (corpus / "one.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = replace(make_config(corpus, folds="grouped", fold_column="speaker"), train=[str(corpus / "one.jsonl")])
    with pytest.raises(ValueError, match=r"have 'Ann' in the column 'speaker' .*: name validation recordings by"):
        read_splits(config, tmp_path)


@pytest.mark.parametrize("num_empty", [0, 100])
@pytest.mark.parametrize(
    ("num_texts", "repeats", "is_grouped"), [(200, 10, True), (30, 2, True), (10, 20, False), (35, 100, False)]
)
def test_equal_texts_are_held_out_together_unless_they_are_a_few_commands(
    num_texts: int, repeats: int, is_grouped: bool, num_empty: int
) -> None:
    """Recordings of equal texts are held out together, unless the texts are few commands with many repetitions each."""
    texts: list[str | None] = [f"text {number % num_texts}" for number in range(num_texts * repeats)] + [""] * num_empty
    examples = [
        RecordingExample("train", f"{i}.wav", text, f"list, line {i}", {}, 0, 16000) for i, text in enumerate(texts)
    ]
    recordings = Recordings(np.ones(16000, np.int16), examples, 16000)
    found = split_recordings(
        TranscriptionConfig(train=["list"], test_fold=1, num_folds=5), recordings, texts, by_text=True
    )
    of_train, of_valid, of_test = ({texts[i] for i in part} - {""} for part in (found.train, found.valid, found.test))
    assert bool(of_train & of_test) is not is_grouped
    assert bool(of_train & of_valid) is not is_grouped


def test_an_empty_split_of_recordings_is_an_error_with_reasons(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"leaves no recording for training: 60 cannot be used; .*its 'sentence' is missing"
    ):
        read_splits(make_config(corpus, text_column="sentence"), tmp_path)


def test_reasons_end_with_one_period(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(800) / 2, 8000)
    row = {"audio": "a.wav", "text": "eins", "start": 5, "end": 6}
    (tmp_path / "list.jsonl").write_text(f"{json.dumps(row)}\n" * 20, "utf-8")
    with pytest.raises(ValueError, match=r"copy the recording again\.\Z"):
        read_splits(TranscriptionConfig(train=[f"{tmp_path}/list.jsonl"]), tmp_path / "cache")


def test_extra_speech_of_held_out_texts_is_excluded(corpus: Path, tmp_path: Path) -> None:
    config = make_config(corpus, folds="given", fold_column="fold", num_folds=4, test_fold=1)
    with_extra = TranscriptionConfig(
        **{name: getattr(config, name) for name in ("train", "folds", "fold_column", "num_folds", "test_fold")},
        extra_train=[str(corpus / "extra.jsonl")],
    )
    recordings, texts, splits = read_splits(with_extra, tmp_path)
    extra = [i for i in splits.train if recordings.examples[i].field == "extra_train"]
    held_out = {texts[i] for part in (splits.valid, splits.test) for i in part}
    assert 0 < len(extra) < 10
    assert not {texts[i] for i in extra} & held_out
    [first, *others] = [str(texts[i]) for i in extra]
    of_training = {texts[i] for i in splits.train if i not in extra}
    splits = split_recordings(with_extra, recordings, texts, by_text=True, test_texts=[first])
    kept = [i for i in splits.train if recordings.examples[i].field == "extra_train"]
    assert [texts[i] for i in kept] == ([first] if first in of_training else []) + others


def test_each_label_is_in_all_splits(corpus: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (corpus / "all.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        row |= {"audio": str(corpus / row["audio"]), "text": row["text"].split()[0]}
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = RecordingLabelsConfig(train=[str(tmp_path / "labels.jsonl")], valid_fraction=0.2, num_folds=3, test_fold=1)
    _, labels, splits = read_splits(config, tmp_path / "cache", by_text=False)
    for part in (splits.train, splits.valid, splits.test):
        assert {labels[i] for i in part} == set(WORDS)


def test_long_recordings_are_excluded_and_wrong_folds_refused(corpus: Path, tmp_path: Path) -> None:
    recordings, _, splits = read_splits(make_config(corpus, max_seconds=0.7), tmp_path)
    assert all(recordings.seconds(i) <= 0.7 for i in splits.train)
    assert any("longer than `data.max_seconds`" in fault for fault in splits.faults.values())
    with pytest.raises(ValueError, match=r"names 4 folds, but `data.num_folds` .* is 5: set it to 4"):
        read_splits(make_config(corpus, folds="given", fold_column="fold", test_fold=1), tmp_path)
    with pytest.raises(ValueError, match="line 1: has no value in the column 'reader'"):
        read_splits(make_config(corpus, folds="grouped", fold_column="reader", test_fold=1), tmp_path)


def test_the_report_lists_sample_rates_channels_speakers_and_shared_texts(corpus: Path, tmp_path: Path) -> None:
    recordings, texts, splits = read_splits(make_config(corpus), tmp_path)
    first = recordings.examples[splits.train[0]]
    test = [
        ManifestEntry(first.audio, texts[splits.train[0]], "test, line 1", columns={"speaker": "s9"}),
        ManifestEntry("new.flac", "new text", "test, line 2", columns={"speaker": "s0"}),
        ManifestEntry(first.audio, "a part", "test, line 3", start=0.1),
    ]
    report = RecordingsReport.from_splits(recordings, splits, texts, by_text=True, test=test)
    assert report.shared_texts == 1
    assert report.shared_recordings == ("test, line 1",)
    lines = "\n".join(report.lines())
    assert "20 at 8,000 Hz" in lines
    assert "channels: 30 with 1, 30 with 2" in lines
    assert "20 recordings have a lower sample rate (8,000 Hz) than `data.sample_rate` (16,000 Hz)" in lines
    held_out = {recordings.examples[i].columns["speaker"] for i in splits.valid} | {"s0"}
    assert f"speakers of the held-out splits are also in the training split: {', '.join(sorted(held_out))}" in lines
    assert "for scores of new speakers, set `data.folds: grouped` and `data.fold_column`" in lines
    entries = [replace(each, columns={"client_id": each.columns["speaker"]}) for each in recordings.examples]
    other = Recordings(recordings.samples, entries, recordings.sample_rate)  # as Common Voice names the column
    without_test = RecordingsReport.from_splits(recordings, splits, texts, by_text=True).shared_speakers
    assert RecordingsReport.from_splits(other, splits, texts, by_text=True).shared_speakers == without_test != ()
    seconds = sum(recordings.seconds(i) for i in splits.train)
    assert report.hours["train"] == pytest.approx(seconds / 3600)
    assert json.loads(json.dumps(report.to_json()))["corpora"][0]["kept"] == len(splits.train)


def make_steps(config: TranscriptionConfig, recordings: Any, codec: Any) -> RecordingSteps[Any]:
    def collate(frames: Any, part: Any, epoch: int) -> Any:
        arrays = [each.numpy() for each in frames]
        return collate_frames(arrays, [[5]] * len(arrays), part.tolist(), pad_id=0, bos_id=1, eos_id=2)

    return RecordingSteps(recordings, codec, config, 7, collate)


def test_recordings_without_a_text_are_not_grouped(corpus: Path, tmp_path: Path) -> None:
    """Recordings with empty texts may be in different splits, and in the test list."""
    rows = [json.loads(line) for line in (corpus / "all.jsonl").read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        row |= {"audio": str(corpus / row["audio"]), "text": row["text"] * (number < 40)}
    for name, part in (("train", rows), ("extra", rows[40:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    (tmp_path / "test.jsonl").write_text("\n", encoding="utf-8")
    lists = {"train": [str(tmp_path / "train.jsonl")], "extra_train": [str(tmp_path / "extra.jsonl")]}
    config = TranscriptionConfig(**lists, test=[str(tmp_path / "test.jsonl")], valid_fraction=0.4)
    found = read_transcripts(config, tmp_path / "cache", no_progress)
    assert {found.texts[i] == "" for i in found.valid} == {True, False}
    listed_rows = [i for i in found.train if found.recordings.examples[i].field == "train"]
    assert {found.texts[i] == "" for i in listed_rows} == {True, False}
    assert sum(found.recordings.examples[i].field == "extra_train" for i in found.train) == 20


def test_the_report_names_equal_recordings_empty_texts_and_labels(corpus: Path, tmp_path: Path) -> None:
    rows = [{"audio": str(corpus / f"{number}.flac"), "text": WORDS[number % 2]} for number in range(8)]
    parts = {"train": [*rows, rows[0] | {"text": "..."}], "valid": [rows[1], {**rows[2], "text": "five"}]}
    for name, part in parts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    lists = {"train": [str(tmp_path / "train.jsonl")], "valid": str(tmp_path / "valid.jsonl")}
    found = read_transcripts(TranscriptionConfig(**lists), tmp_path / "cache", no_progress)
    lines = found.report.lines()
    assert f"1 transcripts are empty: {tmp_path}/train.jsonl, line 9" in lines
    assert f"1 training recordings repeat an earlier one: {tmp_path}/train.jsonl, line 9" in lines
    both = f"{tmp_path}/valid.jsonl, line 1, {tmp_path}/valid.jsonl, line 2"
    assert f"2 held-out recordings are also in the training split: {both}" in lines
    lines = read_labeled_recordings(RecordingLabelsConfig(**lists), tmp_path / "cache", no_progress).report.lines()
    assert "3 labels: one 4, two 4, ... 1" in lines
    assert "labels of held-out splits that are not in the training split: five" in lines


def test_steps_resume_at_any_position_with_any_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    """Several ranks split the same steps."""
    options: dict[str, Any] = {"augment_speed": 0.1, "augment_noise": 0.5, "augment_time_masks": 1, "batch_seconds": 6}
    config = make_config(corpus, micro_batch_seconds=3, **options)
    recordings, _, splits = read_splits(config, tmp_path)
    codec = fit_recording_codec(config, [recordings.waveform(i) for i in splits.train.tolist()])
    codec.save(tmp_path)
    assert load_recording_codec(tmp_path) == codec
    uninterrupted = make_steps(config, recordings, codec).steps(splits.train, 0, 1)
    expected = [next(uninterrupted) for _ in range(20)]
    assert {each.position.epoch for each in expected} >= {0, 1}
    seen = [
        int(i) for step in expected if step.position.epoch == 0 for batch in step.micro_steps for i in batch.indices
    ]
    assert sorted(seen) == splits.train.tolist()
    with_workers = make_config(corpus, micro_batch_seconds=3, workers=3, **options)
    for start in (0, 5, 13):
        resumed = make_steps(with_workers, recordings, codec).steps(splits.train, 0, 1, expected[start].position)
        for step in expected[start + 1 : start + 4]:
            found = next(resumed)
            assert found.position == step.position
            for one, other in zip(found.micro_steps, step.micro_steps, strict=True):
                assert one.indices.tolist() == other.indices.tolist()
                assert one.frames.equal(other.frames)
    ranks = [next(make_steps(config, recordings, codec).steps(splits.train, rank, 2)) for rank in (0, 1)]
    parts = [int(i) for step in ranks for batch in step.micro_steps if batch.num_targets for i in batch.indices]
    assert sorted(parts) == sorted(int(i) for batch in expected[0].micro_steps for i in batch.indices)


@pytest.mark.parametrize("normalise", ["corpus", "none"])
def test_augmentation_differs_between_epochs_and_masks_with_the_mean(
    normalise: str, corpus: Path, tmp_path: Path
) -> None:
    config = make_config(corpus, normalise=normalise, augment_time_masks=2, augment_frequency_masks=2)
    recordings, _, splits = read_splits(config, tmp_path)
    codec = fit_recording_codec(config, [recordings.waveform(i) for i in splits.train.tolist()])
    part, seen = splits.train[:1], []
    unmasked = codec.frames(recordings.waveform(int(part[0])))
    fill = float(unmasked.mean()) if normalise == "none" else 0.0
    for step in make_steps(config, recordings, codec).steps(part, 0, 1):
        [frames] = [batch.frames[0] for batch in step.micro_steps]
        is_masked = frames != unmasked
        assert torch.allclose(frames[is_masked], torch.tensor(fill))
        seen.append(is_masked)
        if step.position.epoch == 5:
            break
    assert len({mask.numpy().tobytes() for mask in seen}) == len(seen)


def test_validation_batches_are_not_augmented(corpus: Path, tmp_path: Path) -> None:
    config = make_config(corpus, augment_speed=0.1, augment_noise=1.0)
    recordings, _, splits = read_splits(config, tmp_path)
    codec = fit_recording_codec(config, [recordings.waveform(i) for i in splits.train.tolist()])
    found = []
    for rows, batch in make_steps(config, recordings, codec).batches(splits.valid):
        for position, row in enumerate(rows.tolist()):
            index = int(splits.valid[row])
            assert int(batch.indices[position]) == index
            frames = codec.frames(recordings.waveform(index))
            assert batch.frames[position, : len(frames)].equal(frames)
            found.append(row)
    assert sorted(found) == list(range(len(splits.valid)))


@pytest.mark.parametrize("normalise", ["corpus", "recording", "none"])
def test_bands_are_normalized(normalise: str, corpus: Path, tmp_path: Path) -> None:
    config = make_config(corpus, normalise=normalise, level="kept")
    recordings, _, splits = read_splits(config, tmp_path)
    waveforms = [recordings.waveform(i) for i in splits.train.tolist()]
    codec = fit_recording_codec(config, waveforms)
    frames = np.concatenate([codec.frames(each).numpy() for each in waveforms])
    if normalise == "corpus":
        assert abs(frames.mean(0)).max() < 1e-3
        assert abs(frames.std(0) - 1).max() < 1e-3
    elif normalise == "recording":
        one = codec.frames(waveforms[0]).numpy()
        assert abs(one.mean(0)).max() < 1e-4
        assert abs(one.std(0) - 1).max() < 1e-3
    else:
        np.testing.assert_array_equal(codec.frames(waveforms[0]).numpy(), codec.log_mel(waveforms[0]).numpy())
