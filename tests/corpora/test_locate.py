"""Locating the files of a corpus: alternative names, checksums, and errors with a remedy."""

import gzip
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from seqlab.corpora import CORPORA, CorpusDescription, Split, TextFile, locate, path_specs
from seqlab.corpora.description import locate_files, path_specs_of
from seqlab.corpora.recordings import locate_recordings
from seqlab.data.columns import parse_column
from seqlab.data.hub import HubColumn

TEXT = {"en": b"A man.\nA dog.\n", "de": "Ein Mann.\nEin Hündchen.\n".encode()}


@pytest.fixture
def toy():
    files = {
        column: TextFile((f"new.{column}", f"old.{column}"), hashlib.sha256(text).hexdigest())
        for column, text in TEXT.items()
    }
    return CorpusDescription(
        name="toy",
        summary="two lines",
        source="https://example.org/toy",
        license="CC0",
        columns={"en": "English", "de": "German"},
        splits={"train": Split(num_lines=2, files=files)},
    )


@pytest.mark.parametrize("stem", ["new", "old"])
@pytest.mark.parametrize("level", [None, 1, 9])
def test_files_are_located_under_every_name_and_compression(tmp_path, monkeypatch, toy, stem, level):
    (tmp_path / "toy").mkdir()
    paths = {}
    for column, text in TEXT.items():
        paths[column] = tmp_path / "toy" / (f"{stem}.{column}" + (".gz" if level else ""))
        paths[column].write_bytes(gzip.compress(text, level) if level else text)
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    assert locate_files(toy) == {"train": paths}
    monkeypatch.delenv("SEQLAB_DATA")
    assert locate_files(toy, tmp_path / "toy") == {"train": paths}


def test_a_missing_variable_and_a_missing_file_raise_errors_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"SEQLAB_DATA is not set.*github\.com/multi30k/dataset.*SEQLAB_DATA=DIR"
    ):
        locate("multi30k")
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"multi30k has no train\.en \(or .*github\.com/multi30k/dataset"):
        locate("multi30k")


def test_different_content_and_damaged_files_are_refused(tmp_path, toy):
    (tmp_path / "new.en.gz").write_bytes(gzip.compress(TEXT["en"])[:-9])
    with pytest.raises(ValueError, match=r"new\.en\.gz is damaged"):
        locate_files(toy, tmp_path)
    (tmp_path / "new.en.gz").write_bytes(TEXT["en"])
    with pytest.raises(ValueError, match=r"new\.en\.gz is damaged or not gzip"):
        locate_files(toy, tmp_path)
    (tmp_path / "new.en.gz").write_bytes(gzip.compress(b"A man.\r\nA dog.\r\n"))
    with pytest.raises(ValueError, match=r"new\.en\.gz differs from the file of the corpus toy.*example\.org/toy"):
        locate_files(toy, tmp_path)


def test_the_error_for_an_unknown_corpus_lists_all_corpora():
    with pytest.raises(
        ValueError, match=r"`name` must be one of .*, multi30k, .*number_words, .*, but is 'multi30' instead\."
    ):
        locate("multi30")
    with pytest.raises(ValueError, match=r"fsdd has no lists of its recordings"):
        locate("fsdd")


def test_descriptions_are_complete():
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert {"train", "valid"} <= set(corpus.splits) or set(corpus.splits) == {"all"} or corpus.recordings
        for split in corpus.splits.values():
            assert set(split.files) == set(corpus.columns)
            assert set(split.hub) in (set(), set(corpus.columns))
            assert all(file.sha256 is None or len(file.sha256) == 64 for file in split.files.values())


def remove_checksums(corpus):
    splits = {
        name: replace(
            split,
            files={column: TextFile(file.names) for column, file in split.files.items()},
            hub={column: f"hub:toy:{name}#{column}" for column in split.files},
        )
        for name, split in corpus.splits.items()
    }
    return replace(corpus, splits=splits)


def test_a_file_without_a_checksum_is_accepted(tmp_path, toy):
    (tmp_path / "old.en").write_bytes(b"anything\n")
    (tmp_path / "new.de.gz").write_bytes(b"not gzip")
    found = locate_files(remove_checksums(toy), tmp_path)
    assert found == {"train": {"en": tmp_path / "old.en", "de": tmp_path / "new.de.gz"}}
    (tmp_path / "old.en").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no new\.en or old\.en"):
        locate_files(remove_checksums(toy), tmp_path)


def test_a_corpus_without_files_is_a_hugging_face_dataset(tmp_path, monkeypatch, toy):
    hub_specs = {"train": {"en": "hub:toy:train#en", "de": "hub:toy:train#de"}}
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    assert path_specs_of(remove_checksums(toy)) == hub_specs
    with pytest.raises(FileNotFoundError, match="SEQLAB_DATA is not set"):
        path_specs_of(toy)
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    assert path_specs_of(remove_checksums(toy)) == hub_specs
    (tmp_path / "toy").mkdir()  # an incomplete corpus is an error
    with pytest.raises(FileNotFoundError, match=r"toy has no new\.en"):
        path_specs_of(remove_checksums(toy))
    for column, text in TEXT.items():
        (tmp_path / "toy" / f"new.{column}").write_bytes(text)
    files = {"train": {column: str(tmp_path / "toy" / f"new.{column}") for column in TEXT}}
    assert path_specs_of(remove_checksums(toy)) == path_specs_of(toy) == files


def test_datasets_are_valid_path_specs(monkeypatch):
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    for name in ("wikitext2", "wikitext103"):
        for split, columns in path_specs(name).items():
            column = parse_column(columns["text"])
            assert isinstance(column, HubColumn)
            assert (column.name, column.column) == ("Salesforce/wikitext", "text")
            assert column.split.startswith(split)
            assert column.config == {"wikitext2": "wikitext-2-v1", "wikitext103": "wikitext-103-v1"}[name]
    with pytest.raises(FileNotFoundError, match="`seqlab corpora ptb` tells how to get it"):
        path_specs("ptb")


@pytest.mark.skipif(
    not (Path(os.environ.get("SEQLAB_DATA", "")) / "multi30k").is_dir() or not os.environ.get("SEQLAB_DATA"),
    reason="needs $SEQLAB_DATA/multi30k",
)
def test_real_multi30k_has_the_described_lines():
    for split, files in locate("multi30k").items():
        for path in files.values():
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
                assert sum(1 for _ in lines) == CORPORA["multi30k"].splits[split].num_lines


@pytest.mark.parametrize("corpus", list(CORPORA.values()), ids=lambda corpus: corpus.name)
def test_a_missing_corpus_is_one_short_line_that_names_its_card(corpus, monkeypatch):
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as error:
        locate_recordings(corpus) if corpus.recordings else locate_files(corpus)
    message = str(error.value)
    assert f"`seqlab corpora {corpus.name}" in message
    assert "\n" not in message
    assert len(message) <= 215
