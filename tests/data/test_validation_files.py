"""Additional references of validation pairs: alignment with the pairs, and caching."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.data.prepare import PreparedData, open_prepared, prepare
from seqlab.tasks.translation.config import TranslationConfig

Pairs = list[tuple[str, str]]
WriteConfig = Callable[..., TranslationConfig]
side = st.text("aé\x85 ", max_size=6)
TRAIN = [("t", "t")]


def with_references(config: TranslationConfig, *references: list[str]) -> TranslationConfig:
    """Return a config with additional references, written to files."""
    paths = [Path(f"{config.valid_src}.reference{number}") for number in range(len(references))]
    for path, lines in zip(paths, references, strict=True):
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return replace(config, valid_tgt=[*config.valid_tgt, *map(str, paths)])


def read_references(data: PreparedData) -> list[tuple[str, ...]]:
    """Return all references of each validation pair, the target first."""
    assert data.valid.tgt_text is not None
    return list(zip(*(rows.texts() for rows in (data.valid.tgt_text, *data.references)), strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(lines=st.lists(st.tuples(side, side, side, side), min_size=1, max_size=8))
def test_references_are_aligned_with_the_kept_pairs(
    lines: list[tuple[str, ...]], write_config: WriteConfig, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only the source and the first target decide whether a pair is dropped."""
    lines = [*lines, ("a", "b", "", "c")]  # at least one pair is kept
    config = write_config(TRAIN, valid=[(line[0], line[1]) for line in lines], max_length=4)
    config = with_references(config, *([line[column] for line in lines] for column in (2, 3)))
    data = prepare(config, (tokenizer, tokenizer), tmp_path_factory.mktemp("run") / "cache")
    kept = [line[1:] for line in lines if all(1 <= len(side.strip()) <= 4 for side in line[:2])]
    assert read_references(data) == kept
    assert len(data.valid) == len(kept)


def test_references_are_read_from_columns_of_one_table(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    table = tmp_path / "valid.tsv"
    table.write_text("read\tr E d\tr i d\n\tx\ty\nred\tr E d\t\n")
    config = replace(write_config(TRAIN), valid_src=f"{table}#0", valid_tgt=[f"{table}#1", f"{table}#2"])
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    assert read_references(data) == [("r E d", "r i d"), ("r E d", "")]
    assert config.input_specs()[-3:] == [f"{table}#0", f"{table}#1", f"{table}#2"]
    assert len(data.content_hashes) == 3  # two training files and the table


def test_errors_for_references_of_another_length_name_both_counts(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    config = with_references(write_config(TRAIN, valid=[("a", "b"), ("c", "d")]), ["x", ""], ["x"])
    with pytest.raises(ValueError, match=r"valid\.src has 2 lines but .*reference1 has 1: line i of one"):
        prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="none: there is no such file"):
        prepare(
            replace(config, valid_tgt=[*config.valid_tgt[:1], str(tmp_path / "none")]),
            (tokenizer, tokenizer),
            tmp_path / "cache",
        )
    assert not (tmp_path / "cache").exists()


def test_the_cache_is_reused_only_for_the_same_references(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    first = write_config(TRAIN, valid=[("a", "b"), ("c", "d")])
    config, folder = with_references(first, ["x", "y"], ["", "z"]), tmp_path / "cache"

    def prepare_references(config: TranslationConfig) -> tuple[list[tuple[str, ...]], bool]:
        before = tokenizer.lines_encoded
        found = read_references(prepare(config, (tokenizer, tokenizer), folder))
        return found, tokenizer.lines_encoded > before

    assert prepare_references(config) == ([("b", "x", ""), ("d", "y", "z")], True)
    assert prepare_references(config) == ([("b", "x", ""), ("d", "y", "z")], False)
    assert read_references(open_prepared(config, (tokenizer, tokenizer), folder)) == [("b", "x", ""), ("d", "y", "z")]
    swapped = replace(config, valid_tgt=[config.valid_tgt[index] for index in (0, 2, 1)])
    assert prepare_references(swapped) == ([("b", "", "x"), ("d", "z", "y")], True)
    Path(config.valid_tgt[2]).write_text("new\nz\n")
    assert prepare_references(config) == ([("b", "x", "new"), ("d", "y", "z")], True)
    assert prepare_references(first) == ([("b",), ("d",)], True)


def test_damaged_references_are_rebuilt(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    config = with_references(write_config(TRAIN, valid=[("a", "b"), ("c", "d")]), ["x", "yy"])
    folder = tmp_path / "cache"
    prepare(config, (tokenizer, tokenizer), folder)
    files = sorted(folder.glob("references/*"))
    assert len(files) == 4
    for path in files:
        raw = path.read_bytes()
        for damaged in (raw[:-1], bytes(len(raw))):
            path.write_bytes(damaged)
            found = read_references(prepare(config, (tokenizer, tokenizer), folder))
            assert found == [("b", "x"), ("d", "yy")]
            assert path.read_bytes() == raw
