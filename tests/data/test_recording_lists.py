"""Lists of recordings: missing texts, segments and durations that are not those of the recording, contradictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from seqlab.data.manifests import open_manifest
from seqlab.data.survey import no_progress
from seqlab.inference.recording_waveforms import read_waveforms
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.tasks.recording_labels.task import LabeledRecordings, read_labeled_recordings
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.tasks.transcription.prepared_transcripts import PreparedTranscripts, read_transcripts

RATE, SECONDS = 8000, 0.8


def write_list(folder: Path, rows: list[dict[str, Any]], name: str = "list.jsonl") -> str:
    """Write a list of as many different recordings of 0.8 s as it has rows, unless they name one."""
    rng = np.random.default_rng(1)
    listed = [{"audio": f"{number}.wav", **row} for number, row in enumerate(rows)]
    for row in listed:
        soundfile.write(folder / row["audio"], rng.normal(0, 0.1, round(RATE * SECONDS)), RATE)
    header = ["\t".join(listed[0])] if name.endswith("tsv") else []
    lines = [*header, *("\t".join(row.values()) if header else json.dumps(row) for row in listed)]
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(folder / name)


def transcripts(path: str, **options: Any) -> PreparedTranscripts:
    config = TranscriptionConfig(train=[path], sample_rate=RATE, **options)
    return read_transcripts(config, Path(path).parent / "cache", no_progress)


def labels(path: str) -> LabeledRecordings:
    config = RecordingLabelsConfig(train=[path], sample_rate=RATE)
    return read_labeled_recordings(config, Path(path).parent / "cache", no_progress)


WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


@pytest.mark.parametrize("name", ["list.jsonl", "list.tsv"])
@pytest.mark.parametrize("marker", ["NaN", " nan", "NULL", "null", "N/A", "<NA>", "-", "?"])
def test_a_text_that_stands_for_a_missing_one_is_left_out(marker: str, name: str, tmp_path: Path) -> None:
    path = write_list(tmp_path, [{"text": text} for text in [*WORDS, marker]], name)
    data = transcripts(path)
    line = len(WORDS) + 1 + name.endswith("tsv")
    [(index, fault)] = data.splits.faults.items()
    assert (data.recordings.examples[index].text, f"its 'text' is {marker.strip()!r}" in fault) == (marker, True)
    assert any(f"line {line}: {tmp_path}/{len(WORDS)}.wav: its 'text' is" in each for each in data.report.lines())
    assert [note.first for note in data.reading.changes_after(1)] == [f"{path}, line {line}"]
    assert all(data.texts[i] in WORDS for i in (*data.train, *data.valid))


def test_an_empty_text_is_that_of_a_recording_without_speech(tmp_path: Path) -> None:
    data = transcripts(write_list(tmp_path, [{"text": text} for text in [*WORDS, ""]]))
    assert data.splits.faults == {}


@pytest.mark.parametrize(
    ("classes", "marker", "is_class"),
    [(["yes", "no"], "NaN", False), (["DE", "FR"], "NA", True), (["eins", "zwei"], "null", True), (["+"], "-", True)],
)
def test_labels_follow_the_rule_of_classes_in_tables(
    classes: list[str], marker: str, is_class: bool, tmp_path: Path
) -> None:
    data = labels(write_list(tmp_path, [{"text": label} for label in [*classes, marker] for _ in range(5)]))
    assert len(data.splits.faults) == (0 if is_class else 5)


def test_the_name_of_a_folder_is_a_label(tmp_path: Path) -> None:
    for label in ("yes", "NaN"):
        (tmp_path / "all" / label).mkdir(parents=True)
        write_list(tmp_path / "all" / label, [{}] * 5)
    assert labels(str(tmp_path / "all")).splits.faults == {}


@pytest.mark.parametrize(
    "columns",
    [
        {"start_ms": 100, "end_ms": 400},
        {"start_ms": 0, "end_ms": 400},
        {"begin": 0.1, "finish": 0.4},
        {"begin": 100, "finish": 400},
        {"onset": "0.1"},
        {"start_time": "00:00:00.1", "end_time": "00:00:00.4"},
        {"frame_offset": 800, "num_frames": 2400},
        {"xmin": 0.0, "xmax": 0.4},
        {"stop_time": 0.4},
        {"from": 0.1, "to": 0.4},
        {"t0": 0, "t1": 400},
        {"segment": [0.1, 0.3]},
        {"timestamps": [0, 0.4]},
    ],
)
def test_a_segment_in_other_columns_is_refused_for_each_recording(columns: dict[str, Any], tmp_path: Path) -> None:
    path = write_list(tmp_path, [{"text": word, **columns} for word in WORDS])
    with pytest.raises(
        ValueError, match=r"list.jsonl, line 1: its column '\w+' .* lies within the recording of 0.80 s"
    ):
        transcripts(path)
    [fault] = read_waveforms([next(open_manifest(path).entries())], RATE)
    assert "write segments into the columns `start` and `end`, in seconds" in str(fault)
    [waveform] = read_waveforms([next(open_manifest(path).entries())], RATE, reading=1)
    assert len(waveform) == RATE * SECONDS


@pytest.mark.parametrize(
    "columns",
    [
        {"start_ms": 0, "end_ms": 800},
        {"begin": 0, "finish": 0.8},
        {"start_time": 1.6e9},
        {"start_time": "10:32:05"},
        {"start_time": "2024-01-31 10:32"},
        {"frame_offset": 0, "num_frames": 6400},
        {"num_frames": 80},
        {"begin": "the"},
        {"duration": 0.8},
        {"duration": 800},
        {"duration": 6400},
        {"duration": "00:00.80"},
        {"duration": "short"},
        {"from": "ann@example.org", "to": "bob@example.org"},
        {"segment": [0, 0.8]},
        {"segment": "intro"},
    ],
)
def test_columns_that_describe_the_whole_recording_give_no_message(columns: dict[str, Any], tmp_path: Path) -> None:
    path = write_list(tmp_path, [{"text": word, **columns} for word in WORDS])
    assert list(transcripts(path).reading) == []
    warnings: dict[int, str] = {}
    [waveform] = read_waveforms([next(open_manifest(path).entries())], RATE, warnings=warnings)
    assert (len(waveform), warnings) == (RATE * SECONDS, {})


@pytest.mark.parametrize("duration", [0.4, 3.8])
def test_a_duration_that_is_not_that_of_the_file_is_counted_and_a_warning(
    duration: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_list(tmp_path, [{"text": word, "duration": duration if word == "two" else 0.8} for word in WORDS])
    [note] = transcripts(path).reading
    assert (note.count, note.first, "`duration`" in note.text) == (1, f"{path}, line 2", True)
    assert f"{path}, line 2" in caplog.text
    warnings: dict[int, str] = {}
    read_waveforms(list(open_manifest(path).entries()), RATE, warnings=warnings)
    assert list(warnings) == [1]
    assert f"names a duration of {duration}, but the recording, which is read whole, has 0.80 s" in warnings[1]


def test_equal_recordings_with_different_texts_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_list(tmp_path, [{"text": word} for word in WORDS])
    with open(path, "a", encoding="utf-8") as more:
        more.write(json.dumps({"audio": "0.wav", "text": "one"}) + "\n")
        more.write(json.dumps({"audio": "1.wav", "text": "other"}) + "\n")
    report = transcripts(path, valid=write_list(tmp_path, [{"audio": "v.wav", "text": "one"}], "valid.jsonl")).report
    assert (len(report.repeated), report.contradictory) == (2, (f"{path}, line 14",))
    assert any("repeat an earlier one with another text: " in line for line in report.lines())


def test_ids_that_occur_twice_are_reported(tmp_path: Path) -> None:
    path = write_list(tmp_path, [{"text": word, "id": word.replace("two", "one")} for word in WORDS])
    other = write_list(tmp_path, [{"audio": "v.wav", "text": "one", "id": "one"}], "valid.jsonl")
    notes = {note.text: (note.count, note.first) for note in transcripts(path, valid=other).reading}
    assert notes == {"recordings have the `id` of an earlier one": (1, f"{path}, line 2")}


def test_messages_name_the_options_of_columns(tmp_path: Path) -> None:
    path = write_list(tmp_path, [{"sentence": word} for word in WORDS])
    with pytest.raises(ValueError, match=r"`--data.text_column`"):
        transcripts(path)
    with pytest.raises(ValueError, match=r"`--data.audio_column NAME`"):
        list(open_manifest(path, "path").entries())
