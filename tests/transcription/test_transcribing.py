"""Transcription: batch independence, times, nonspeech, input formats, and the command line."""

import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from system.conftest import run_in_process

import seqlab
from seqlab.audio.nonspeech import draw_nonspeech
from seqlab.audio.waveform import resample
from seqlab.data.manifests import ManifestEntry
from seqlab.training import train

from .conftest import LETTER_SECONDS, RATE, SPACE_SECONDS, draw_text, synthesize, synthesize_with_times, tiny_config


@pytest.fixture(scope="module")
def recordings_with_times() -> list[tuple[str, np.ndarray, list[tuple[float, float]]]]:
    """Draw texts that are not in training; return each text, its samples, and the times of its words."""
    rng = np.random.default_rng(11)
    return [(text, *synthesize_with_times(text, rng)) for text in (draw_text(rng) for _ in range(24))]


@pytest.fixture(scope="module")
def recordings(
    recordings_with_times: list[tuple[str, np.ndarray, list[tuple[float, float]]]],
) -> list[tuple[str, np.ndarray]]:
    return [(text, samples) for text, samples, _ in recordings_with_times]


@pytest.fixture(scope="module")
def paths(recordings: list[tuple[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("recordings")
    for number, (_, samples) in enumerate(recordings):
        soundfile.write(folder / f"{number:02}.wav", samples, RATE)
    return [str(folder / f"{number:02}.wav") for number in range(len(recordings))]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("beam_size", [1, 8])
def test_the_batch_does_not_change_transcripts(trained: Path, paths: list[str], precision: str, beam_size: int) -> None:
    """Texts and times do not depend on the other recordings of a batch."""
    run = seqlab.load(trained, device="cpu", precision=precision)
    together = run.transcribe_detailed(paths, times=True, beam_size=beam_size)
    in_reverse = run.transcribe_detailed(paths[::-1], times=True, beam_size=beam_size, batch_seconds=3)
    one_by_one = [run.transcribe_detailed([path], times=True, beam_size=beam_size)[0] for path in paths]
    for one, other, third in zip(together, in_reverse[::-1], one_by_one, strict=True):
        assert one.text == other.text == third.text
        spans = [[(each.text, each.start, each.end) for each in found.tokens] for found in (one, other, third)]
        assert spans[0] == spans[1] == spans[2]


def test_most_transcripts_are_correct(trained: Path, recordings: list[tuple[str, np.ndarray]]) -> None:
    found = seqlab.load(trained, device="cpu").transcribe([(samples, RATE) for _, samples in recordings])
    assert sum(text == transcript for (text, _), transcript in zip(recordings, found, strict=True)) >= 20


def test_times_match_the_words(
    trained: Path, paths: list[str], recordings_with_times: list[tuple[str, np.ndarray, list[tuple[float, float]]]]
) -> None:
    """Times increase, are within the recording, and differ from the true times by at most one output frame."""
    run = seqlab.load(trained, device="cpu", precision="fp32")
    step = run.model.output_step * run.codec.log_mel.hop / RATE
    num_correct = 0
    found_of_all = run.transcribe_detailed(paths, times=True)
    for (text, _, times), found in zip(recordings_with_times, found_of_all, strict=True):
        for timed in (found.tokens, found.words):
            edges = [edge for each in timed for edge in (each.start, each.end)]
            assert edges == sorted(edges)
            assert all(0 <= edge <= found.duration for edge in edges)
            assert all(0 < each.confidence <= 1 for each in timed)
        assert " ".join(each.text for each in found.words) == found.text
        if found.text != text:
            continue
        num_correct += 1
        for word, (start, end) in zip(found.words, times, strict=True):
            assert start - step <= word.start <= word.end <= end + step
        starts = [each.start for each in found.words]
        assert all(b - a > SPACE_SECONDS for a, b in pairwise(starts))
    assert num_correct >= 20
    assert step < LETTER_SECONDS


@pytest.mark.parametrize("beam_size", [8, 16])
def test_alternatives_are_ordered_by_their_probability(trained: Path, paths: list[str], beam_size: int) -> None:
    """Scores are log-probabilities without a length penalty, since all alternatives have the same frames."""
    run = seqlab.load(trained, device="cpu", precision="fp32")
    for found in run.transcribe_detailed(paths, beam_size=beam_size, num_hypotheses=4):
        log_probs = [each.log_prob for each in found.alternatives]
        assert log_probs == sorted(log_probs, reverse=True)
        assert [each.score for each in found.alternatives] == pytest.approx(log_probs)


def test_length_limits_are_refused(trained: Path, paths: list[str]) -> None:
    run = seqlab.load(trained, device="cpu", precision="fp32")
    with pytest.raises(ValueError, match="`max_length` does not apply to transcription"):
        run.transcribe(paths[:1], max_length=5)


def test_too_short_recordings_are_reported(trained: Path) -> None:
    run = seqlab.load(trained, device="cpu", precision="fp32")
    short = np.full(RATE // 100, 0.1, np.float32)
    [found] = run.transcribe_detailed([(short, RATE)], times=True)
    assert (found.text, found.tokens) == ("", [])
    assert found.fault == "recording 1: is shorter than one window of features."
    [swapped] = run.transcribe_detailed([(RATE, short)])
    assert swapped.fault == "recording 1: must be (samples, rate), in this order."


def test_transcripts_do_not_depend_on_file_format_or_sampling_rate(
    trained: Path, recordings: list[tuple[str, np.ndarray]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = seqlab.load(trained, device="cpu", precision="fp32")
    for _, samples in [each for each in recordings if " " in each[0]][:6]:
        variants: dict[str, tuple[np.ndarray, int]] = {
            "a.wav": (samples, RATE),
            "b.flac": (samples, RATE),
            "c.ogg": (samples, RATE),
            "d.wav": (resample(samples, RATE, 22050), 22050),
            "e.wav": (np.stack([resample(samples, RATE, 44100)] * 2, 1), 44100),
        }
        for name, (values, rate) in variants.items():
            soundfile.write(tmp_path / name, values, rate, compression_level=0 if name.endswith("ogg") else None)
        found = run.transcribe_detailed([tmp_path / name for name in variants], times=True)
        assert dict(zip(variants, (each.text for each in found), strict=True)) == dict.fromkeys(variants, found[0].text)
        for each in found[1:]:
            for one, other in zip(found[0].words, each.words, strict=True):
                assert abs(one.start - other.start) <= 0.041
                assert abs(one.end - other.end) <= 0.041
    assert "upper bands" not in caplog.text
    soundfile.write(tmp_path / "low.wav", resample(samples, RATE, 4000), 4000)
    run.transcribe([tmp_path / "low.wav"])
    assert "low.wav has 4,000 samples a second, but the model was trained on 8,000" in caplog.text


@pytest.mark.parametrize("kind", ["silence", "noise", "zeros"])
def test_nonspeech_has_an_empty_transcript(trained: Path, kind: str) -> None:
    """Music is tested in tests/system/test_speech.py, since the letters are tones here."""
    rng = np.random.default_rng(5)
    zeros = np.zeros(RATE, np.float32)
    sounds = [zeros if kind == "zeros" else draw_nonspeech(2 * RATE, RATE, rng, kind) for _ in range(20)]
    assert seqlab.load(trained, device="cpu").transcribe([(each, RATE) for each in sounds]) == [""] * len(sounds)


def test_silence_has_an_empty_transcript_for_any_model(
    trained: Path, recordings: list[tuple[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model gets the features of speech for all recordings, but silent ones still have an empty transcript."""
    run = seqlab.load(trained, device="cpu", precision="fp32")
    _, speech = recordings[1]
    [text] = run.transcribe([(speech, RATE)])
    frames = run.codec.frames(speech)
    monkeypatch.setattr(type(run.codec), "frames", lambda codec, samples: frames)
    zeros, tone = np.zeros(RATE, np.float32), 0.1 * np.sin(np.arange(RATE, dtype=np.float32))
    assert run.transcribe([(zeros, RATE), (zeros + 0.1, RATE), (tone, RATE)]) == ["", "", text]
    assert text


def test_sound_that_is_too_quiet_is_reported_but_digital_silence_is_not(trained: Path) -> None:
    tone = np.sin(np.arange(RATE))
    sounds = [np.round(level * tone).astype(np.int16) for level in (0, 5, 8000)]
    results = seqlab.load(trained, device="cpu").transcribe_detailed([(sound, RATE) for sound in sounds])
    assert [result.text for result in results[:2]] == ["", ""]
    expected = [None, "recording 2: is silent: its peak is -76 dB of full scale", None]
    assert [result.warning for result in results] == expected


def test_arrays_bytes_and_paths_have_the_same_transcript(
    trained: Path, paths: list[str], recordings: list[tuple[str, np.ndarray]]
) -> None:
    run = seqlab.load(trained, device="cpu", precision="fp32")
    [expected] = run.transcribe(paths[:1])
    samples, _ = soundfile.read(paths[0], dtype="int16")
    floats = soundfile.read(paths[0], dtype="float32")[0]
    content = Path(paths[0]).read_bytes()
    assert run.transcribe([(samples, RATE), (floats, RATE), content, Path(paths[0])]) == [expected] * 4
    with pytest.raises(ValueError, match="Transcription has no option `lm`"):
        run.transcribe(paths[:1], lm="words")
    with pytest.raises(ValueError, match="recording 1: must be a path, bytes or"):
        run.transcribe([None])
    with pytest.raises(ValueError, match="`recordings` must be a list"):
        run.transcribe(paths[0])
    with pytest.raises(ValueError, match="there is no such file"):
        run.transcribe(["nowhere.wav"])
    for bad, message in (
        ((np.zeros((2, 3, 4), np.float32), RATE), r"must be \(n,\)"),
        ((np.array([np.nan], np.float32), RATE), "NaN"),
        ((np.zeros(10, np.int64), RATE), "recording 1: must hold int16 or floats"),
        ((np.zeros((1, 1000), np.float32), RATE), "transpose it"),
        ((np.full(1000, 2e4, np.float32), RATE), "divide samples of 16 bits by 32768"),
        ((np.zeros(1000, np.float32), 0), "its sampling rate is 0 Hz"),
        ([np.zeros(1000, np.float32), RATE], "must be a path, bytes or"),
    ):
        with pytest.raises(ValueError, match=message):
            run.transcribe([bad])


@pytest.mark.parametrize("suffix", ["jsonl", "tsv", "kaldi"])
def test_lists_of_segments_are_transcribed_by_segment(trained: Path, tmp_path: Path, suffix: str) -> None:
    """Lists of segments are read as in training; a list of paths names complete recordings."""
    rng = np.random.default_rng(3)
    texts = [draw_text(rng) for _ in range(4)]
    samples = [synthesize(text, rng) for text in texts]
    edges = np.cumsum([0, *map(len, samples)]) / RATE
    soundfile.write(tmp_path / "long.wav", np.concatenate(samples), RATE, subtype="FLOAT")
    spans = list(pairwise(edges.tolist()))
    manifest = tmp_path / f"list.{suffix}"
    if suffix == "jsonl":
        rows = [json.dumps({"audio": "long.wav", "text": "", "start": start, "end": end}) for start, end in spans]
    elif suffix == "tsv":
        rows = ["audio\tstart\tend", *(f"long.wav\t{start}\t{end}" for start, end in spans)]
    else:
        manifest.mkdir()
        (manifest / "wav.scp").write_text("long ../long.wav\n", encoding="utf-8")
        rows = [f"part{number} long {start} {end}" for number, (start, end) in enumerate(spans)]
    content = "".join(f"{row}\n" for row in rows)
    (manifest / "segments" if suffix == "kaldi" else manifest).write_text(content, encoding="utf-8")
    run = seqlab.load(trained, device="cpu", precision="fp32")
    expected = run.transcribe([(part, RATE) for part in samples])
    status, done = run_in_process("transcribe", trained, "--input", manifest, "--precision", "fp32")
    assert (status, done.stdout.decode().splitlines()) == (0, expected), done.stderr.decode()
    if suffix != "kaldi":
        status, done = run_in_process(
            "transcribe", trained, "--input", f"{manifest}#audio", "--precision", "fp32", "--json"
        )
        outputs = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert [each["text"] for each in outputs] == expected
        assert [(each["part_start"], each["part_end"]) for each in outputs] == spans


def test_the_command_writes_one_line_per_recording(trained: Path, paths: list[str], tmp_path: Path) -> None:
    """An unreadable recording gives an empty line and exit status 3."""
    (tmp_path / "broken.wav").write_bytes(Path(paths[0]).read_bytes()[:60])
    manifest_paths = [paths[0], "", str(tmp_path / "broken.wav"), "nowhere.wav", paths[1]]
    stdin = b"\xef\xbb\xbf" + "".join(f"{path}\n" for path in manifest_paths).encode()
    status, done = run_in_process("transcribe", trained, "--device", "cpu", stdin=stdin)
    lines = done.stdout.decode().split("\n")
    expected = seqlab.load(trained, device="cpu").transcribe(paths[:2])
    assert status == 3
    assert lines == [expected[0], "", "", "", expected[1], ""]
    assert "broken.wav" in done.stderr.decode()
    assert "standard input, line 2: names no recording" in done.stderr.decode()
    rows = [{"audio": path or None} for path in manifest_paths]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    status, done = run_in_process("transcribe", trained, "--input", tmp_path / "list.jsonl", "--device", "cpu")
    assert (status, done.stdout.decode().split("\n")) == (3, lines)
    assert "nowhere.wav: there is no such file" in done.stderr.decode()
    options = ("--json", "--num_hypotheses", "2")
    status, done = run_in_process("transcribe", trained, "--input", tmp_path / "list.jsonl", *options)
    outputs = [json.loads(line) for line in done.stdout.splitlines()]
    assert (status, len(outputs)) == (3, len(manifest_paths))
    assert all(each.keys() == outputs[0].keys() for each in outputs)
    status, done = run_in_process("transcribe", trained, "--input", tmp_path / "list.jsonl", "--on_fault", "refuse")
    assert (status, done.stdout) == (2, b"")
    status, done = run_in_process("transcribe", trained, "--input", paths[0])
    assert (status, done.stdout) == (2, b"")
    assert f"{paths[0]} is a recording, but must be a list of recordings" in done.stderr.decode()
    status, done = run_in_process(
        "transcribe", trained, *paths[:2], "--json", "--num_hypotheses", "3", "--beam_size", "8"
    )
    assert status == 0
    records = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [each["audio"] for each in records] == paths[:2]
    for each in records:
        texts = [alternative["text"] for alternative in each["alternatives"]]
        assert 1 < len(texts) == len(set(texts)) <= 3  # outputs that differ in spaces only are one transcript
    assert records[0]["text"] == records[0]["alternatives"][0]["text"]
    assert {"start", "end", "confidence", "text"} == set(records[1]["words"][0])


def test_the_command_reads_a_column_of_a_list(trained: Path, tmp_path: Path) -> None:
    spec = f"{trained.parent / 'valid.jsonl'}#audio"
    status, done = run_in_process("transcribe", trained, "--input", spec, "--output", tmp_path / "out.txt")
    assert status == 0, done.stderr.decode()
    assert len((tmp_path / "out.txt").read_text("utf-8").splitlines()) == 20


def test_invalid_options_are_refused(trained: Path, paths: list[str]) -> None:
    for arguments, message in (
        ([trained, paths[0], "--input", "x"], "name either recordings or"),
        ([trained, paths[0], "--num_hypotheses", "2"], "needs --json"),
        ([trained, paths[0], "--lm_weight", "0.3"], "`lm_weight` needs a language model"),
    ):
        status, done = run_in_process("transcribe", *arguments)
        assert status == 2
        assert message in done.stderr.decode()


def test_the_command_accepts_a_list_as_argument(trained: Path, paths: list[str], tmp_path: Path) -> None:
    expected = seqlab.load(trained, device="cpu").transcribe(paths[:3])
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths[:3]), encoding="utf-8")
    rows = ({"audio": path, "text": ""} for path in paths[:3])
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name in ("list.txt", "list.jsonl"):
        status, done = run_in_process("transcribe", trained, tmp_path / name, "--device", "cpu")
        assert (status, done.stdout.decode().splitlines()) == (0, expected)


def test_recordings_are_not_overwritten(trained: Path, paths: list[str], tmp_path: Path) -> None:
    content = Path(paths[0]).read_bytes()
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.wav'}\n", encoding="utf-8")
    for given in ([tmp_path / "a.wav"], ["--input", tmp_path / "list.txt"]):
        status, done = run_in_process("transcribe", trained, *given, "--output", tmp_path / "a.wav")
        assert status == 2
        assert "is a recording, which would be overwritten" in done.stderr.decode()
    assert (tmp_path / "a.wav").read_bytes() == content


def test_faults_end_the_command_with_on_fault_refuse(trained: Path, paths: list[str]) -> None:
    status, done = run_in_process("transcribe", trained, paths[0], "nowhere.wav", "--on_fault", "refuse")
    assert (status, done.stdout) == (2, b"")
    assert "nowhere.wav: there is no such file" in done.stderr.decode()


def test_recordings_given_as_text_are_refused(trained: Path, paths: list[str]) -> None:
    status, done = run_in_process("transcribe", trained, stdin=Path(paths[0]).read_bytes())
    assert status == 2
    assert "standard input" in done.stderr.decode()
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(100), RATE, format="WAV")
    assert seqlab.load(trained, device="cpu").transcribe([buffer.getvalue()]) == [""]


def test_a_recognizer_reads_the_channel_that_it_was_trained_on(corpus: str, tmp_path: Path) -> None:
    steps = {"max_steps": 1, "save_every": 1, "valid_every": 1}
    run = train(tiny_config(corpus, channel="left", **steps), tmp_path / "run")
    rng = np.random.default_rng(3)
    sound = np.round(synthesize("ab c", rng) * 32767).astype(np.int16)
    stereo = np.stack([sound, rng.integers(-9000, 9000, len(sound)).astype(np.int16)], 1)
    soundfile.write(tmp_path / "stereo.wav", stereo, RATE)
    recognizer = seqlab.load(run, device="cpu", precision="fp32")
    path = str(tmp_path / "stereo.wav")
    recordings = [path, (stereo, RATE), (sound, RATE), ManifestEntry(path, None, "", channel="2"), (stereo[:, 1], RATE)]
    from_file, from_array, left, from_list, right = recognizer.frame_log_probs(recordings)
    for found, expected in ((from_file, left), (from_array, left), (from_list, right)):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(left - right).max() > 0.01
    status, done = run_in_process("transcribe", run, path, "--json")
    assert (status, json.loads(done.stdout)["channel"]) == (0, "left")
