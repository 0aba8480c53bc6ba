"""Corpora of real recordings: splits, folds, texts and times, on the files of `SEQLAB_DATA`."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from num2words import num2words

from seqlab.corpora import asterisk_prompts, fillets_nl, fsdd
from seqlab.corpora.recordings import read_wav, write_wav
from seqlab.text.transcripts import normalize_transcript

DATA = os.environ.get("SEQLAB_DATA", "")
FSDD = Path(DATA) / "fsdd"
NUM_STRINGS = {"train": 40, "valid": 8, "test": 12}


def requires(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA and (Path(DATA) / name).is_dir()), reason=f"SEQLAB_DATA has no {name}")


def read_manifest_rows(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return fsdd.write_strings(tmp_path_factory.mktemp("strings"), seed=3, num_strings=NUM_STRINGS)


@requires("fsdd")
def test_digits_are_split_by_index_with_all_speakers_and_words(tmp_path: Path) -> None:
    found = {split: read_manifest_rows(path) for split, path in fsdd.write_digits(tmp_path).items()}
    assert {split: len(split_rows) for split, split_rows in found.items()} == {
        "train": 2_100,
        "valid": 300,
        "test": 300,
    }
    all_rows = [row for split_rows in found.values() for row in split_rows]
    assert len({row["audio"] for row in all_rows}) == len(all_rows) == len(list(FSDD.glob("*.wav")))
    for split, first, last in (("train", 15, 49), ("valid", 10, 14), ("test", 5, 9)):
        assert {row["index"] for row in found[split]} == set(range(first, last + 1))
        assert set(Counter((row["label"], row["speaker"]) for row in found[split]).values()) == {last - first + 1}
    for row in all_rows[::97]:
        digit, speaker, index = Path(row["audio"]).stem.split("_")
        assert (row["digit"], row["speaker"], row["index"]) == (int(digit), speaker, int(index))
        assert row["text"] == row["label"] == num2words(digit)
        assert row["duration"] == pytest.approx((Path(row["audio"]).stat().st_size - 44) / 16_000, abs=1e-3)


@requires("fsdd")
def test_leave_one_speaker_out_has_every_recording_once(tmp_path: Path) -> None:
    found = read_manifest_rows(fsdd.write_leave_one_out(tmp_path))
    assert sorted(row["audio"] for row in found) == sorted(str(path.absolute()) for path in FSDD.glob("*.wav"))
    assert set(Counter(row["speaker"] for row in found).values()) == {450}
    assert {row["speaker"] for row in found} == set(fsdd.SPEAKERS)


@requires("fsdd")
def test_times_locate_a_recording_of_the_digit_speaker_and_split(strings: dict[str, Path]) -> None:
    """Each span correlates with one of the recordings of its digit, speaker and split, up to the noise."""
    for split, manifest in strings.items():
        for row in read_manifest_rows(manifest)[:6]:
            samples = read_wav(manifest.parent / row["audio"], 8_000).astype(float)
            words = row["text"].split()
            assert len(words) == len(row["times"])
            for word, (start, end) in zip(words, row["times"], strict=True):
                span = samples[round(start * 8_000) : round(end * 8_000)]
                digit = fsdd.DIGITS.index(word)
                names = [f"{digit}_{row['speaker']}_{index}.wav" for index in fsdd.SPLITS[split]]
                originals = [read_wav(FSDD / name, 8_000).astype(float) for name in names]
                same_length = [original for original in originals if len(original) == len(span)]
                best = max(np.corrcoef(span, original)[0, 1] for original in same_length)
                # digits of a string differ by 12 dB and more in level, but have the same background noise
                assert best > (0.9 if row["snr_db"] > 20 else 0.3), (row, word)


@requires("fsdd")
def test_strings_are_ordered_inside_the_recording_and_neither_clipped_nor_silent(strings: dict[str, Path]) -> None:
    gaps = []
    for split, manifest in strings.items():
        found = read_manifest_rows(manifest)
        assert len(found) == NUM_STRINGS[split]
        for row in found:
            samples = read_wav(manifest.parent / row["audio"], 8_000)
            assert row["duration"] == pytest.approx(len(samples) / 8_000, abs=1e-4)
            times = np.array(row["times"])
            assert 3 <= len(times) <= 9
            assert (times[:, 0] < times[:, 1]).all()
            assert (np.diff(times.reshape(-1)) >= 0).all()
            assert times[0, 0] > 0
            assert times[-1, 1] < row["duration"]
            gaps.extend(times[1:, 0] - times[:-1, 1])
            peak = np.abs(samples.astype(int)).max()
            assert 300 < peak < 32_000
            assert 10 <= row["snr_db"] <= 40
    is_short = np.array(gaps) < 0.021
    assert 0.05 < is_short.mean() < 0.3
    assert min(np.array(gaps)[~is_short]) > 0.049
    assert max(gaps) < 0.601


@requires("fsdd")
def test_no_string_is_in_two_splits_and_the_same_seed_writes_the_same_bytes(
    strings: dict[str, Path], tmp_path: Path
) -> None:
    texts = {split: {row["text"] for row in read_manifest_rows(manifest)} for split, manifest in strings.items()}
    assert not texts["train"] & (texts["valid"] | texts["test"])
    assert not texts["valid"] & texts["test"]
    repeated = fsdd.write_strings(tmp_path / "again", seed=3, num_strings=NUM_STRINGS)
    other = fsdd.write_strings(tmp_path / "other", seed=4, num_strings=NUM_STRINGS)
    folder = strings["train"].parent
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == sum(NUM_STRINGS.values()) + 3
    assert all((repeated["train"].parent / file).read_bytes() == (folder / file).read_bytes() for file in files)
    assert other["test"].read_bytes() != strings["test"].read_bytes()
    with pytest.raises(
        ValueError, match=r"`num_strings` must contain only the splits train, valid, test, but contains 'dev'"
    ):
        fsdd.write_strings(tmp_path, num_strings={"dev": 1})


def test_short_strings_of_the_test_split_are_not_drawn_for_training() -> None:
    """With this many strings, independent draws would repeat hundreds of those of three digits."""
    from seqlab.corpora.fsdd.strings import _draw_digits

    drawn = _draw_digits(1, {"train": 4_000, "valid": 400, "test": 400})
    assert {split: len(split_rows) for split, split_rows in drawn.items()} == {
        "train": 4_000,
        "valid": 400,
        "test": 400,
    }
    assert not set(drawn["train"]) & (set(drawn["valid"]) | set(drawn["test"]))
    assert not set(drawn["valid"]) & set(drawn["test"])
    assert {len(digits) for digits in drawn["train"]} == set(range(3, 10))


@pytest.mark.parametrize(
    ("name", "write", "source"),
    [
        ("fsdd", fsdd.write_digits, r"free-spoken-digit-dataset.*CC BY-SA 4\.0"),
        ("fsdd", fsdd.write_leave_one_out, r"free-spoken-digit-dataset"),
        ("fsdd", fsdd.write_strings, r"free-spoken-digit-dataset"),
        ("asterisk_prompts", asterisk_prompts.write, r"apt-get install asterisk-core-sounds-en-wav.*CC BY-SA 3\.0"),
        ("fillets_nl", fillets_nl.write, r"apt-get install fillets-ng-data-nl.*GPL-2"),
    ],
)
def test_errors_of_missing_data_name_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Any, source: str
) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"\$SEQLAB_DATA/{name}.*SEQLAB_DATA is not set.*{source}"):
        write(tmp_path / "out")
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"{name} has no .*{source}.*SEQLAB_DATA=DIR"):
        write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@requires("fsdd")
def test_errors_name_missing_and_damaged_digits(tmp_path: Path) -> None:
    for path in FSDD.glob("*.wav"):
        (tmp_path / path.name).symlink_to(path.absolute())
    (tmp_path / "7_theo_49.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no 7_theo_49\.wav"):
        fsdd.write_digits(tmp_path / "out", tmp_path)
    write_wav(tmp_path / "7_theo_49.wav", np.zeros(5, np.int16), 16_000)
    with pytest.raises(ValueError, match=r"7_theo_49\.wav must have 8000 Hz"):
        fsdd.write_digits(tmp_path / "out", tmp_path)


@requires("asterisk_prompts")
@pytest.mark.parametrize("language", ["en", "fr", "it"])
def test_folds_share_no_words_and_all_prompts_have_words(tmp_path: Path, language: str) -> None:
    found = read_manifest_rows(asterisk_prompts.write(tmp_path, language))
    originals = {
        row["audio"]: row for row in read_manifest_rows(Path(DATA) / "asterisk_prompts" / language / "manifest.jsonl")
    }
    assert len(originals) - 15 <= len(found) <= len(originals) - 3
    folds: dict[str, set[int]] = {}
    for row in found:
        original = originals[Path(row["audio"]).name]
        assert Path(row["audio"]).is_absolute()
        assert Path(row["audio"]).is_file()
        assert (row["duration"], row["original_text"]) == (original["duration"], original["text"])
        assert not re.search(r"[<>\[\]]|\s\s|silence|silenzio", row["text"])
        words = "".join(character for character in row["text"].casefold() if character.isalnum())
        assert words
        folds.setdefault(words, set()).add(row["fold"])
    assert {len(text_folds) for text_folds in folds.values()} == {1}
    assert set.union(*folds.values()) == set(range(5))
    assert sum(row["fold"] != originals[Path(row["audio"]).name]["fold"] for row in found) <= 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("press 1, 2 or 10. 3D H.323 4.5 ext.6", "press one, two or 10. 3D H.323 4.5 ext.6"),
        ("Dial 4.", "Dial four."),
        ("dash [-]", "dash"),
        ("spazio []", "spazio"),
        ("Il [suo] messaggio.", "Il suo messaggio."),
        ("Pour (emphase)", "Pour"),
        ('IAX (note: does not say "2")', "IAX"),
        ("au menu poli (ne m'appelez plus, jamais), 4.", "au menu poli (ne m'appelez plus, jamais), four."),
        ("appuyez sur dièse.vm-review-nonurgent: Pour enlever", "appuyez sur dièse."),
        ("After the tone.  Hang up.", "After the tone. Hang up."),
        ("Vous avez ces options: accepter", "Vous avez ces options: accepter"),
        ("<beep ascending>", ""),
        ("(1 second of silence)", ""),
    ],
)
def test_notes_are_removed_from_texts_and_spoken_words_are_kept(text: str, expected: str) -> None:
    assert asterisk_prompts.clean_text(text, "en") == expected


def test_digits_are_spelled_in_the_language() -> None:
    found = [asterisk_prompts.clean_text("1, 9", language) for language in asterisk_prompts.LANGUAGES]
    assert found == ["one, nine", "un, neuf", "uno, nove"]


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`language` must be one of en, fr, it, but is 'nl' instead"):
        asterisk_prompts.write(tmp_path, "nl")


@requires("fillets_nl")
def test_dutch_dialogue_is_listed_with_absolute_paths_and_split_by_level(tmp_path: Path) -> None:
    found = {split: read_manifest_rows(path) for split, path in fillets_nl.write(tmp_path).items()}
    for split, split_rows in found.items():
        given = read_manifest_rows(Path(DATA) / "fillets_nl" / f"{split}.jsonl")
        given = [row for row in given if (split, row["text"].strip(".!")) != ("train", "Weet ik veel")]
        assert [{**row, "audio": ""} for row in split_rows] == [{**row, "audio": ""} for row in given]
        assert all(Path(row["audio"]).is_absolute() for row in split_rows)
    levels = {split: {Path(row["audio"]).parent.name for row in split_rows} for split, split_rows in found.items()}
    assert not levels["train"] & (levels["valid"] | levels["test"])
    assert not levels["valid"] & levels["test"]
    empty = [Path(row["audio"]).name for split_rows in found.values() for row in split_rows if row["duration"] == 0]
    assert sorted(empty) == ["zav-v-sto.ogg", "zd1-m-cesta.ogg"]
    texts = {
        split: {normalize_transcript(row["text"], "plain") for row in split_rows} for split, split_rows in found.items()
    }
    assert not texts["train"] & (texts["valid"] | texts["test"])
