"""Columns of Hugging Face datasets: specs, values and hashes."""

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import write_text

from seqlab.data.columns import parse_column
from seqlab.data.corpus import Corpus
from seqlab.data.hub import HubColumn, require_datasets
from seqlab.data.input_hashes import hash_inputs
from seqlab.data.prepare import PreparedData, prepare
from seqlab.data.workers import BYTES_PER_WORKER, worker_count
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import WordsConfig, train_tokenizer

WIKITEXT = ["", " = Title = \n", "", " a b <unk> . \n", " c . \n"]
"""Records as in WikiText on the hub: lines with their newlines, and "" for an empty line."""
LINES = ["", " = Title = ", "", " a b <unk> . ", " c . "]

Publish = Callable[..., str]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return a function that writes a dataset to a folder and returns its path; `datasets` uses a separate cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def write(name: str = "dataset", **splits: Any) -> str:
        (tmp_path / name).mkdir(exist_ok=True)
        for split, columns in splits.items():
            columns = {"text": columns} if isinstance(columns, list) else columns
            datasets.Dataset.from_dict(columns).to_parquet(tmp_path / name / f"{split}.parquet")
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("hub:wikitext:train#text", ("wikitext", None, None, "train", "text")),
        ("hub:a/b:c-1:test#x.y", ("a/b", None, "c-1", "test", "x.y")),
        ("hub:a/b@refs/convert/parquet:c:train#x", ("a/b", "refs/convert/parquet", "c", "train", "x")),
        ("hub:a/b@1a2b:train[:90%]#x", ("a/b", "1a2b", None, "train[:90%]", "x")),
        ("hub:a:c:train[10:20]#x#y", ("a", None, "c", "train[10:20]", "x#y")),
    ],
)
def test_specs_are_parsed(spec: str, parts: tuple[Any, ...]) -> None:
    column = parse_column(spec)
    assert isinstance(column, HubColumn)
    assert (column.name, column.revision, column.config, column.split, column.column) == parts
    assert str(column) == spec


@pytest.mark.parametrize("spec", ["hub:", "hub:a", "hub:a:train", "hub:a#text", "hub::train#text", "hub:a:b:c:d#e"])
def test_an_invalid_spec_is_refused_with_the_syntax(spec: str) -> None:
    with pytest.raises(ValueError, match=r"must have the form hub:NAME\[@REVISION\]\[:CONFIG\]:SPLIT#COLUMN, for"):
        parse_column(spec)


def test_records_and_slices_are_read_in_order(publish: Publish) -> None:
    names = [f"line {number}" for number in range(2500)]
    folder = publish(train={"text": names, "other": names[::-1]}, validation=["v"])
    assert list(parse_column(f"hub:{folder}:train#text").values()) == names
    assert list(parse_column(f"hub:{folder}:train#other").values()) == names[::-1]
    assert list(parse_column(f"hub:{folder}:train[:10%]#text").values()) == names[:250]
    assert list(parse_column(f"hub:{folder}:validation#text").values()) == ["v"]
    assert list(parse_column(f"hub:{folder}:default:validation#text").values()) == ["v"]
    blocks = list(parse_column(f"hub:{folder}:train#text").blocks(1000))
    assert list(map(len, blocks)) == [1000, 1000, 500]


def test_newlines_split_lines_of_a_text_and_become_spaces_in_pairs(publish: Publish) -> None:
    folder = publish(train=[*WIKITEXT, "two\nlines\r\n", "a\n\nb", "\n", None])
    column = parse_column(f"hub:{folder}:train#text")
    assert list(column.values()) == [*LINES, "two lines", "a  b", "", ""]
    lines = [line for block in column.blocks(4, split_records=True) for line in block]  # type: ignore[union-attr]
    assert lines == [*LINES, "two", "lines", "a", "", "b", "", ""]


def test_nested_columns_are_read_and_missing_columns_refused(publish: Publish) -> None:
    folder = publish(
        train={
            "pair": [{"de": "eins", "en": "one"}],
            "numbers": [{"a": 1}],
            "words": [["a", "b"]],
            "dotted.name": ["x"],
        }
    )
    assert list(parse_column(f"hub:{folder}:train#pair.de").values()) == ["eins"]
    assert list(parse_column(f"hub:{folder}:train#dotted.name").values()) == ["x"]
    assert list(parse_column(f"hub:{folder}:train#words").values()) == ["a b"]
    for column, message in (
        ("text", r"train#text: has no column 'text', only pair, numbers, words, dotted\.name\."),
        ("pair.fr", r"record 1: has no 'pair\.fr': instead of 'fr' there is only de, en"),
        ("numbers", "record 1: 'numbers' must be text, but is a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            list(parse_column(f"hub:{folder}:train#{column}").values())


def test_errors_name_datasets_that_cannot_be_loaded(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish(train=["a"])
    for spec, reason in (
        (f"hub:{folder}:test#text", 'Unknown split "test"'),
        (f"hub:{folder}:wrong:train#text", "BuilderConfig 'wrong' not found"),
        (f"hub:{tmp_path}/nowhere:train#text", "nowhere"),
    ):
        with pytest.raises(ValueError, match=rf"cannot be loaded \(.*{reason}.*\)\. Check its name, config and spl"):
            list(parse_column(spec).values())

    def offline(name: str, *_: Any, **__: Any) -> None:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    with pytest.raises(ValueError, match=r"hub:some/one:train#text: cannot be loaded \(Couldn't reach 'some/one'"):
        list(parse_column("hub:some/one:train#text").values())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"train#text: needs an optional dependency: pip install 'seqlab\[datasets\]'"):
        list(parse_column(f"hub:{folder}:train#text").values())


def test_a_dataset_of_the_hub_is_loaded_once(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = publish(train=WIKITEXT)
    calls: list[tuple[Any, ...]] = []
    load = importlib.import_module("datasets").load_dataset

    def from_hub(name: str, config: str | None, *, revision: str | None, **options: Any) -> Any:
        calls.append((name, config, revision, options["split"]))
        return load(folder, **options)

    monkeypatch.setattr("datasets.load_dataset", from_hub)
    column = parse_column("hub:owner/loaded-once@v2:small:train#text")
    for _ in range(2):
        assert list(column.values()) == LINES
    assert column.sha256() == parse_column(f"hub:{folder}:train#text").sha256()
    assert calls[0] == ("owner/loaded-once", "small", "v2", "train")
    assert len([call for call in calls if call[0] == "owner/loaded-once"]) == 1


def test_the_hash_depends_only_on_the_text(publish: Publish, tmp_path: Path) -> None:
    folder = publish("a", train={"text": ["x", "y"], "other": ["1", "2"]}, test=["x", "y"])
    same = publish("b", train=["x", "y"])

    def compute_hash(spec: str) -> str:
        return hash_inputs([spec], tmp_path / "run")[spec]

    expected = compute_hash(f"hub:{folder}:train#text")
    assert expected == compute_hash(f"hub:{same}:train#text") == compute_hash(f"hub:{folder}:test#text")
    others = [publish("c", train=["xy"]), publish("d", train=["x", "y", ""]), publish("e", train=["x\ny"])]
    hashes = [compute_hash(f"hub:{other}:train#text") for other in others]
    hashes += [compute_hash(f"hub:{folder}:train#other"), compute_hash(f"hub:{folder}:train[:1]#text")]
    assert len({expected, *hashes}) == 6
    specs = [f"hub:{folder}:train#text", f"hub:{folder}:train#other"]
    assert list(hash_inputs(specs, tmp_path / "run")) == specs


def prepare_text(config: LanguageModellingConfig, folder: Path) -> PreparedData:
    lines = [line for line in LINES if line]
    return prepare(config, [train_tokenizer(WordsConfig(normalization="none"), lines)], folder)


def test_a_dataset_gives_the_same_ids_as_a_text_file(publish: Publish, tmp_path: Path) -> None:
    [file] = write_text(tmp_path, LINES)
    spec = f"hub:{publish(train=WIKITEXT, validation=WIKITEXT)}"
    found = prepare_text(
        LanguageModellingConfig(
            train=[f"{spec}:train#text"], valid=[f"{spec}:validation#text"], documents="continuous"
        ),
        tmp_path / "hub",
    )
    expected = prepare_text(
        LanguageModellingConfig(train=[file], valid=[file], documents="continuous"), tmp_path / "file"
    )
    assert found.train.tgt.values.tolist() == expected.train.tgt.values.tolist()
    assert found.valid.tgt.values.tolist() == expected.valid.tgt.values.tolist()
    assert found.train.locate_token(1) == f"{spec}:train#text, line 2"


def test_only_a_changed_dataset_is_read_again(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"hub:{publish(train=WIKITEXT)}:train#text"
    config = LanguageModellingConfig(train=[spec], valid=[spec], documents="continuous")
    first = prepare_text(config, tmp_path / "run")

    def refuse_reading(self: HubColumn) -> Any:
        raise AssertionError("the dataset was read again")

    with monkeypatch.context() as patch:
        patch.setattr(HubColumn, "cells", refuse_reading)
        assert prepare_text(config, tmp_path / "run").content_hashes == first.content_hashes
    publish(train=[*WIKITEXT, "new"])
    changed = prepare_text(config, tmp_path / "run")
    assert changed.content_hashes != first.content_hashes
    assert len(changed.train) == len(first.train) + 1


def test_translation_pairs_are_read_from_a_dataset(publish: Publish, tmp_path: Path, tokenizer: Any) -> None:
    pairs = [{"de": f"zeile {number}\n", "en": f"line\n{number}"} for number in range(40)]
    spec = f"hub:{publish(train={'translation': pairs})}:train#translation"
    config = TranslationConfig(train_src=[f"{spec}.de"], train_tgt=[f"{spec}.en"], max_length_ratio=1e9)
    assert list(Corpus.from_specs(f"{spec}.de", f"{spec}.en").rows())[3] == ("zeile 3", "line 3")
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "run")
    assert len(data.train) + len(data.valid) == 40
    assert list(data.content_hashes) == [f"{spec}.de", f"{spec}.en"]


def test_the_number_of_processes_depends_on_the_size_of_a_dataset(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqlab.data.workers.usable_cores", lambda: 8)
    text = "x" * 1000
    folder = publish(train=[text] * (3 * BYTES_PER_WORKER // 1000), test=["a"])
    column, small = (parse_column(f"hub:{folder}:{split}#text") for split in ("train", "test"))
    assert worker_count([column]) in (2, 3)
    assert worker_count([column, column]) == worker_count([column])
    assert worker_count([small]) == 1


def test_messages_of_the_libraries_are_printed_once() -> None:
    require_datasets("x")
    library = logging.getLogger("huggingface_hub")
    library.addHandler(logging.StreamHandler())
    require_datasets("x")  # the root logger has handlers, those of pytest
    assert library.handlers == []
    assert library.propagate
