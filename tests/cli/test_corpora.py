"""`seqlab corpora`: the list, cards, and corpora that are generated, downloaded, datasets or fetched by hand."""

import hashlib
import json
import re

import pytest

from seqlab import corpora
from seqlab.cli.main import main
from seqlab.corpora import CORPORA, CorpusDescription, Split, TextFile
from seqlab.corpora.card import card_path
from seqlab.corpora.houses import NUM_HOUSES


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    return tmp_path


def test_the_list_has_each_corpus_and_says_which_are_here(data_folder, capsys):
    assert main(["corpora", "houses", "--get"]) == 0
    assert capsys.readouterr().out == f"{data_folder / 'houses'}\n"
    assert main(["corpora", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == sorted(CORPORA)
    assert all(all(row.values()) for row in rows)
    assert {row["name"]: row["here"] for row in rows if row["name"] in ("houses", "multi30k", "ptb")} == {
        "houses": "yes",
        "multi30k": "no, --get",
        "ptb": "no, by hand",
    }
    assert main(["corpora"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "kind", "size", "here", "license"]
    assert [line.split()[0] for line in lines] == sorted(CORPORA)


def test_a_card_is_printed_as_it_is(capsys):
    assert main(["corpora", "multi30k"]) == 0
    assert capsys.readouterr().out == card_path("multi30k").read_text("utf-8")


def test_a_sample_is_written_but_is_not_the_corpus(data_folder, capsys):
    assert main(["corpora", "trec", "--sample"]) == 0
    sample = card_path("trec").with_name("sample") / "train.txt"
    assert (data_folder / "trec" / "train.txt").read_bytes() == sample.read_bytes()
    assert main(["corpora", "trec", "--sample"]) == 0
    capsys.readouterr()
    assert main(["corpora", "--json"]) == 0
    assert '"name": "trec", "kind": "labels", "size": "292 kB", "here": "no, --get"' in capsys.readouterr().out
    (data_folder / "trec" / "train.txt").write_text("0 What is this ?\n", "utf-8")
    assert main(["corpora", "trec", "--sample"]) == 2
    assert "train.txt is not the sample's: choose another folder with --folder" in capsys.readouterr().err
    assert (data_folder / "trec" / "train.txt").read_text("utf-8") == "0 What is this ?\n"
    assert main(["corpora", "fillets_nl", "--sample"]) == 2
    assert "fillets_nl has no sample." in capsys.readouterr().err


def test_generated_files_replace_no_other_file(tmp_path, capsys):
    (tmp_path / "houses.csv").write_text("size,price\n1,2\n", "utf-8")
    assert main(["corpora", "houses", "--get", "--folder", str(tmp_path)]) == 2
    assert "houses.csv is not that of the corpus houses: choose another folder" in capsys.readouterr().err
    assert (tmp_path / "houses.csv").read_text("utf-8") == "size,price\n1,2\n"
    assert not (tmp_path / "new_houses.csv").exists()
    (tmp_path / "houses.csv").unlink()
    for _ in ("written", "unchanged"):
        assert main(["corpora", "houses", "--get", "--folder", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["houses.csv", "new_houses.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["multi30"], "must be one of .*multi30k.*but is 'multi30' instead. The nearest is `multi30k`"),
        (["Houses"], "but is 'Houses' instead. The nearest is `houses`"),
        (["houses", "--json"], "--json lists all corpora: leave out the name"),
        (["houses", "--folder", "d"], "--folder needs --get or --sample"),
        (["number_words", "--sample"], "number_words has no sample: use --get, which generates it without a network"),
        (["--get"], "--get, --sample and --folder need the name of a corpus"),
        (["trec", "--get", "--sample"], "--get and --sample exclude each other"),
        (["ptb", "--sample"], "the sample would be taken for ptb, whose files have no checksums: name another folder"),
        (["ptb", "--get"], "ptb cannot be fetched automatically. Download and unpack the archive"),
    ],
)
def test_mistakes_name_the_remedy(data_folder, capsys, arguments, message):
    assert main(["corpora", *arguments]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert re.search(message, streams.err)


def test_without_the_variable_a_folder_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    assert main(["corpora", "houses", "--get"]) == 2
    assert "SEQLAB_DATA is not set" in capsys.readouterr().err
    assert main(["corpora", "ptb", "--get"]) == 2
    assert "ptb cannot be fetched automatically. Download and unpack" in capsys.readouterr().err
    assert main(["corpora", "houses", "--get", "--folder", str(tmp_path)]) == 0
    assert len((tmp_path / "houses.csv").read_text("utf-8").splitlines()) == NUM_HOUSES + 1


def toy(**file: object) -> CorpusDescription:
    splits = {"train": Split(num_lines=2, files={"text": TextFile(("train.txt",), **file)})}
    return CorpusDescription("toy", "two lines", "https://example.org", "CC0", {"text": "lines"}, splits)


def test_no_network_names_the_address_and_the_place(data_folder, monkeypatch, capsys):
    address = "http://127.0.0.1:9/train.txt"
    monkeypatch.setitem(corpora.CORPORA, "toy", toy(sha256=hashlib.sha256(b"").hexdigest(), address=address))
    assert main(["corpora", "toy", "--get"]) == 2
    error = capsys.readouterr().err
    assert f"{address} cannot be reached: " in error
    assert f"fetch {address} elsewhere, and put it at {data_folder / 'toy' / 'train.txt'}." in error
    assert not (data_folder / "toy").exists()


def test_a_dataset_is_written_as_lines(data_folder, monkeypatch, capsys):
    source = data_folder / "dataset"
    source.mkdir()
    (source / "train.jsonl").write_text('{"text": "eins\\n"}\n{"text": ""}\n', "utf-8")
    corpus = toy()
    split = Split(num_lines=2, files=corpus.splits["train"].files, hub={"text": f"hub:{source}:train#text"})
    corpus.splits["train"] = split
    monkeypatch.setitem(corpora.CORPORA, "toy", corpus)
    assert main(["corpora", "toy", "--get"]) == 0
    assert (data_folder / "toy" / "train.txt").read_bytes() == b"eins\n\n"
    assert main(["corpora", "toy", "--get"]) == 0
    (data_folder / "toy" / "train.txt").write_bytes(b"a sample\n")
    assert main(["corpora", "toy", "--get"]) == 2
    assert "train.txt has 1 lines, but the data card has 2: remove the file." in capsys.readouterr().err
    (data_folder / "toy" / "train.txt").unlink()
    (source / "train.jsonl").unlink()
    assert main(["corpora", "toy", "--get"]) == 2
    assert f"put the lines of the dataset at {data_folder / 'toy' / 'train.txt'}" in capsys.readouterr().err
    assert not (data_folder / "toy").exists()  # an empty folder would be an incomplete corpus
