"""Generated speech corpora: disjoint texts and voices, reproducible bytes, and tones for letters."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqlab.corpora import locate, number_speech, number_tones, synthetic_speech
from seqlab.corpora.number_tones import tones
from seqlab.corpora.number_tones.tones import draw_phrases
from seqlab.corpora.recordings import read_wav
from seqlab.corpora.synthetic_speech import Utterance, synthesize, synthesize_many, synthetic_manifest

NUM_PHRASES = {"train": 30, "valid": 6, "test": 8}
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt-get install espeak-ng")
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="apt-get install flite")


def read_manifest_rows(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_recordings(manifest: Path, sample_rate: int) -> None:
    for row in read_manifest_rows(manifest):
        samples = read_wav(manifest.parent / row["audio"], sample_rate)
        assert row["duration"] == pytest.approx(len(samples) / sample_rate, abs=1e-4)
        assert 1_000 < np.abs(samples.astype(int)).max() < 32_000, row


@pytest.mark.parametrize(
    ("write", "sample_rate"),
    [
        (number_tones.write, 8_000),
        pytest.param(number_speech.write, 8_000, marks=needs_espeak),
    ],
)
def test_splits_share_no_text_or_voice_and_are_reproducible(tmp_path: Path, write: Any, sample_rate: int) -> None:
    manifests = write(tmp_path / "once", seed=7, num_phrases=NUM_PHRASES)
    found = {split: read_manifest_rows(manifest) for split, manifest in manifests.items()}
    assert {split: len(split_rows) for split, split_rows in found.items()} == NUM_PHRASES
    for column in ("text", "speaker"):
        values = {split: {row[column] for row in split_rows} for split, split_rows in found.items()}
        assert len(set.union(*values.values())) == sum(map(len, values.values()))
    for manifest in manifests.values():
        check_recordings(manifest, sample_rate)
    write(tmp_path / "again", seed=7, num_phrases=NUM_PHRASES)
    assert read_files(tmp_path / "once") == read_files(tmp_path / "again")
    write(tmp_path / "other", seed=8, num_phrases=NUM_PHRASES)
    assert read_files(tmp_path / "once") != read_files(tmp_path / "other")
    with pytest.raises(
        ValueError, match=r"`num_phrases` must contain only the splits train, valid, test, but contains 'dev'"
    ):
        write(tmp_path / "other", num_phrases={"dev": 1})


def test_the_description_matches_the_written_files(tmp_path: Path) -> None:
    manifests = number_tones.write(tmp_path, num_phrases=NUM_PHRASES)
    assert {split: found["manifest"] for split, found in locate("number_tones", tmp_path).items()} == manifests


def test_phrases_are_short_distinct_and_alphabetic_and_too_many_are_refused() -> None:
    phrases = draw_phrases(5, number_tones.NUM_PHRASES)
    texts = [text for split_phrases in phrases.values() for text in split_phrases]
    assert len(set(texts)) == len(texts) == sum(number_tones.NUM_PHRASES.values())
    assert max(map(len, texts)) <= number_tones.MAX_CHARACTERS
    assert set("".join(texts)) <= set(" abcdefghijklmnopqrstuvwxyz")
    assert not any("  " in text or text != text.strip() for text in texts)
    # the words of the test occur in training
    train_words = {word for text in phrases["train"] for word in text.split()}
    assert {word for text in phrases["test"] for word in text.split()} <= train_words
    with pytest.raises(ValueError, match=r"`num_phrases` must sum up to at most \d+, .* but sums up to 99999 instead"):
        draw_phrases(5, {"train": 99_999})


def test_each_letter_has_its_pair_of_tones_for_every_voice() -> None:
    """The two strongest frequencies in the spectrum of a letter are its tones, for all letters and some voices."""
    pairs = set()
    for number in range(4):
        voice = tones.draw_tone_voice(1, number)
        for position, letter in enumerate(tones.LETTERS):
            generator = np.random.default_rng((number, position))
            waveform = tones.generate_tones(letter, voice, generator)
            spectrum = np.abs(np.fft.rfft(waveform * 10, 1 << 14))
            frequencies = np.fft.rfftfreq(1 << 14, 1 / tones.SAMPLE_RATE) / voice.transposition
            is_high = frequencies > 1080
            low = frequencies[(spectrum * ~is_high).argmax()]
            high = frequencies[(spectrum * is_high).argmax()]
            pair = (
                int(np.abs(np.log(tones.LOW_TONES_HZ / low)).argmin()),
                int(np.abs(np.log(tones.HIGH_TONES_HZ / high)).argmin()),
            )
            pairs.add((letter, pair))
            assert low == pytest.approx(tones.LOW_TONES_HZ[pair[0]], rel=0.05)
    assert len(pairs) == len({pair for _, pair in pairs}) == len(tones.LETTERS)


def test_letters_last_40_to_90_ms_and_a_space_is_a_longer_pause() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        waveform = tones.generate_tones("ab cde", tones.draw_tone_voice(1, 2), generator)
        sounding = np.convolve(np.abs(waveform), np.ones(16), mode="same") > 1e-3
        changes = np.flatnonzero(np.diff(sounding.astype(int))) / tones.SAMPLE_RATE
        starts, ends = changes[::2], changes[1::2]
        assert len(starts) == len(ends) == 5
        assert ((ends - starts > 0.036) & (ends - starts < 0.095)).all()
        gaps = starts[1:] - ends[:-1]
        assert gaps.argmax() == 1
        assert gaps[1] > 0.045
        assert gaps[[0, 2, 3]].max() < 0.025


@needs_espeak
@pytest.mark.parametrize("language", ["en", "fr", "it", "nl"])
def test_voices_of_a_language_sound_different(language: str) -> None:
    names = synthetic_speech.voices(language)
    assert len(set(names)) == len(names) >= 80
    assert {name.split("-")[0].split("+")[0] for name in names} == {language}
    assert not any("whisper" in name or "mbrola" in name for name in names)
    waveforms = {name: synthesize("uno", name)[0].tobytes() for name in names[:86:9]}
    assert len(set(waveforms.values())) == len(waveforms)


@needs_espeak
def test_synthesis_is_reproducible_and_depends_on_rate_pitch_and_text() -> None:
    text = "nineteen eighty four"
    plain, sample_rate = synthesize(text)
    assert sample_rate == 22_050
    assert 0.8 < len(plain) / sample_rate < 3
    np.testing.assert_array_equal(plain, synthesize(text)[0])
    assert len(synthesize(text, rate_wpm=120)[0]) > 1.2 * len(plain) > 1.4 * len(synthesize(text, rate_wpm=220)[0])
    assert _estimate_pitch(synthesize(text, pitch=90)[0]) > 1.2 * _estimate_pitch(synthesize(text, pitch=10)[0])
    # unescaped, espeak-ng takes brackets for phonemes, a hyphen for an option, and a newline for the end of the text
    assert len(synthesize("[[a]] " + text)[0]) > len(plain)
    assert len(synthesize("--help " + text)[0]) > len(plain)
    np.testing.assert_array_equal(synthesize("nineteen\neighty four")[0], plain)


def _estimate_pitch(samples: np.ndarray) -> float:
    """Return the frequency, from 50 to 250 Hz, at which the autocorrelation of the middle second is largest."""
    middle = samples[len(samples) // 2 - 8_000 : len(samples) // 2 + 8_000].astype(float)
    spectrum = np.abs(np.fft.rfft(middle, 1 << 15)) ** 2
    correlation = np.fft.irfft(spectrum)
    first, last = 22_050 // 250, 22_050 // 50
    return 22_050 / (first + int(correlation[first:last].argmax()))


@needs_espeak
def test_invalid_arguments_and_silent_texts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`voice` 'en-us\+nobody' has the unknown variant 'nobody'"):
        synthesize("one", "en-us+nobody")
    with pytest.raises(ValueError, match=r"espeak-ng failed with `voice` 'xx\+f3'"):
        synthesize("one", "xx+f3")
    with pytest.raises(ValueError, match="`text` must contain words, but '' is spoken as silence"):
        synthesize("")
    with pytest.raises(ValueError, match="`rate_wpm` must be from 80 to 450, but is 20 instead"):
        synthesize("one", rate_wpm=20)
    with pytest.raises(ValueError, match="`pitch` must be from 0 to 99, but is 100 instead"):
        synthesize("one", pitch=100)
    with pytest.raises(ValueError, match="espeak-ng has no voice for `language` 'xx'"):
        synthetic_speech.voices("xx")


@needs_flite
def test_flite_synthesizes_speech_and_refuses_unknown_voices() -> None:
    pytest.importorskip("soxr", reason="pip install 'seqlab[audio]'")
    slow, fast = (synthesize("one two three", "flite/slt", rate_wpm=rate)[0] for rate in (120, 220))
    assert len(slow) > 1.5 * len(fast)
    (waveform,) = synthesize_many([Utterance("one", "flite/rms")], sample_rate=8_000)
    assert 0.2 < len(waveform) / 8_000 < 2
    with pytest.raises(ValueError, match=r"`voice` must be one of flite/awb, .* but is 'flite/nobody'"):
        synthesize("one", "flite/nobody")


@needs_espeak
def test_many_utterances_are_synthesized_in_order_at_the_requested_rate() -> None:
    soxr = pytest.importorskip("soxr", reason="pip install 'seqlab[audio]'")
    utterances = [Utterance(f"{number}", "en-gb+f2", 150 + number, 5 + number) for number in range(90)]
    found = list(synthesize_many(utterances, sample_rate=8_000))
    assert len(found) == len(utterances)
    for i in (0, 1, 63, 64, 89):
        each = utterances[i]
        samples, sample_rate = synthesize(each.text, each.voice, each.rate_wpm, each.pitch)
        np.testing.assert_array_equal(found[i], soxr.resample(samples, sample_rate, 8_000))


@needs_espeak
def test_a_synthetic_manifest_has_every_text_as_often_as_requested(tmp_path: Path) -> None:
    pytest.importorskip("soxr", reason="pip install 'seqlab[audio]'")
    texts = ["appuyez sur dièse", "merci"]
    manifest = synthetic_manifest(texts, tmp_path / "once", "fr", seed=2, repeats=3, sample_rate=16_000)
    found = read_manifest_rows(manifest)
    assert [row["text"] for row in found] == texts * 3
    assert len({(row["speaker"], row["rate_wpm"], row["pitch"]) for row in found}) == 6
    assert {row["speaker"] for row in found} <= set(synthetic_speech.voices("fr"))
    check_recordings(manifest, 16_000)
    synthetic_manifest(texts, tmp_path / "again", "fr", seed=2, repeats=3, sample_rate=16_000)
    assert read_files(tmp_path / "once") == read_files(tmp_path / "again")
    with pytest.raises(ValueError, match="there are 0 texts and `repeats` is 1"):
        synthetic_manifest([], tmp_path)


@needs_espeak
def test_held_out_voices_have_other_names_than_training_voices() -> None:
    voices = number_speech.split_voices(5)
    names = {
        split: {voice.split("+")[1].rstrip("0123456789") for voice in split_voices}
        for split, split_voices in voices.items()
    }
    numbered = {"f", "m"}  # f1 to f5 and m1 to m8 are different voices
    assert not (names["train"] - numbered) & ((names["valid"] | names["test"]) - numbered)
    assert not (names["valid"] - numbered) & (names["test"] - numbered)
    assert sorted(voice for split_voices in voices.values() for voice in split_voices) == synthetic_speech.voices("en")


def test_errors_of_missing_programs_and_packages_name_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (synthetic_speech.find_espeak, synthetic_speech.voices, lambda: synthesize("one")):
        with pytest.raises(FileNotFoundError, match="apt-get install espeak-ng"):
            call()
    with pytest.raises(FileNotFoundError, match="apt-get install flite"):
        synthesize("one", "flite/slt")
    with pytest.raises(FileNotFoundError, match="apt-get install espeak-ng"):
        number_speech.write(tmp_path / "speech")
    assert not (tmp_path / "speech").exists()
    monkeypatch.setitem(__import__("sys").modules, "soxr", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'seqlab\[audio\]'"):
        next(synthesize_many([Utterance("one")]))
