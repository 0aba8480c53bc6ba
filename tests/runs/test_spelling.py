"""Saving and loading spelling models."""

from pathlib import Path

import pytest

from seqlab.models.spelling import SpellingModel
from seqlab.runs.codecs import load_spelling, save_spelling, spelling_sha256
from seqlab.runs.folder import RunFolder

ITEMS = ["Straße", "Strand", "größer", "日本"]
STRINGS = ["", "a", "Strang", "é", "x" * 40]


def test_round_trip(tmp_path: Path) -> None:
    spelling = SpellingModel.fit(ITEMS)
    run = RunFolder(tmp_path)
    run.config_file.write_text("")
    run.write_description({})
    assert load_spelling(run) is None
    save_spelling(spelling, run.spelling)
    loaded = load_spelling(run)
    assert loaded is not None
    assert [loaded.log_prob(string) for string in STRINGS] == [spelling.log_prob(string) for string in STRINGS]
    save_spelling(SpellingModel.fit(["others"]), run.spelling)  # as when a run is overwritten
    replaced = load_spelling(run)
    assert replaced is not None
    assert replaced.log_prob("others") > loaded.log_prob("others")


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: b"", lambda content: b"x" * 99])
def test_a_damaged_file_is_reported(tmp_path: Path, damage) -> None:
    run = RunFolder(tmp_path)
    save_spelling(SpellingModel.fit(ITEMS), run.spelling)
    run.config_file.write_text("")
    with_checksum = {"spelling_sha256": spelling_sha256(run.spelling)}
    [path] = run.spelling.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for description in ({}, with_checksum):  # formats 1 and 2
        run.write_description(description)
        with pytest.raises(ValueError, match=r"model.safetensors is damaged.*; restore it from a copy"):
            load_spelling(run)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.config_file.write_text("")
    run.write_description({"spelling_sha256": "0"})
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        load_spelling(run)
