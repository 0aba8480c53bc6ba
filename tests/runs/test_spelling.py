"""A spelling model through a folder."""

from pathlib import Path

import pytest

from seqlab.models.spelling import SpellingModel
from seqlab.runs.spelling import load_spelling, save_spelling

ITEMS = ["Straße", "Strand", "größer", "日本"]
STRINGS = ["", "a", "Strang", "é", "x" * 40]


def test_a_folder_keeps_it(tmp_path: Path) -> None:
    spelling = SpellingModel.learn(ITEMS)
    save_spelling(spelling, tmp_path / "spelling")
    loaded = load_spelling(tmp_path / "spelling")
    assert loaded is not None
    assert [loaded.log_prob(string) for string in STRINGS] == [spelling.log_prob(string) for string in STRINGS]
    assert load_spelling(tmp_path / "none") is None
    save_spelling(SpellingModel.learn(["others"]), tmp_path / "spelling")  # a run that is begun anew
    replaced = load_spelling(tmp_path / "spelling")
    assert replaced is not None
    assert replaced.log_prob("others") > loaded.log_prob("others")


@pytest.mark.parametrize("damage", [lambda content: content[:-40], lambda content: b"", lambda content: b"x" * 99])
def test_a_damaged_file_is_named(tmp_path: Path, damage) -> None:
    save_spelling(SpellingModel.learn(ITEMS), tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"model.safetensors is damaged .*; restore it from a copy"):
        load_spelling(tmp_path)
