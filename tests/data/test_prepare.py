"""Preparation of parallel corpora: dropped and held-out pairs, cache, report and failures."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.base.atomic_io import read_checksummed_json
from seqlab.data.columns import parse_column
from seqlab.data.data_report import DataReport
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.prepare import PreparedData, open_prepared, prepare
from seqlab.data.tokenizer_training import training_lines
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import Tokenizer, WordsConfig, train_tokenizer

Pairs = list[tuple[str, str]]
WriteConfig = Callable[..., TranslationConfig]
Prepare = Callable[..., PreparedData]
side = st.text("aé\x85 ", max_size=6)
corpora = st.lists(st.lists(st.tuples(side, side), min_size=1, max_size=8), min_size=1, max_size=3)


def decode_pairs(data: PreparedData, split: str, tokenizer: Tokenizer) -> Pairs:
    pairs = getattr(data, split)
    sides = [tokenizer.decode([row.tolist() for row in rows]) for rows in (pairs.src, pairs.tgt)]
    return list(zip(*sides, strict=True))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corpora=corpora, max_length=st.integers(1, 6), with_text=st.booleans())
def test_empty_and_long_pairs_are_dropped_and_reported(
    corpora: list[Pairs], max_length: int, with_text: bool, prepare_pairs: Prepare, tokenizer: Any
) -> None:
    corpora[0].append(("a", "a"))  # at least one pair is kept
    sampling = 0.1 if with_text else 0.0
    valid = [("b", "b")]
    data = prepare_pairs(*corpora, valid=valid, max_length=max_length, subword_sampling=sampling)
    kept, raw, locations, dropped = [], [], [], []
    for number, pairs in enumerate(corpora):
        counts = {"empty": 0, "too_long": 0}
        for line, (src, tgt) in enumerate(pairs, start=1):
            lengths = [len(src.strip()), len(tgt.strip())]
            if min(lengths) and max(lengths) <= max_length:
                kept.append((src.strip(), tgt.strip()))
                raw.append((src, tgt))
                locations.append((number, line))
            else:
                counts["too_long" if min(lengths) else "empty"] += 1
        dropped.append({reason: count for reason, count in counts.items() if count})
    assert decode_pairs(data, "train", tokenizer) == kept
    assert [report.dropped for report in data.report.corpora] == [*dropped, {}]
    assert [report.kept for report in data.report.corpora[:-1]] == [
        sum(location[0] == number for location in locations) for number in range(len(corpora))
    ]
    for index, (number, line) in enumerate(locations):
        assert data.train.locate(index).endswith(f"train{number}.tgt, line {line}")
    if with_text:
        assert data.train.src_text is not None
        assert data.train.tgt_text is not None
        assert list(zip(data.train.src_text.texts(), data.train.tgt_text.texts(), strict=True)) == raw
    else:
        assert data.train.src_text is None
    dropped_rows = Path(data.report.dropped_file).read_bytes().decode().split("\n")[1:-1]
    assert len(dropped_rows) == sum(map(len, corpora)) - len(kept)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), min_size=1, max_size=30))
def test_a_held_out_validation_set_shares_no_source_with_training(
    pairs: Pairs, prepare_pairs: Prepare, tokenizer: Any
) -> None:
    pairs = [("first", "x"), *pairs, ("last", "x")]
    data = prepare_pairs(pairs, valid=None, valid_fraction=0.3)
    train, valid = decode_pairs(data, "train", tokenizer), decode_pairs(data, "valid", tokenizer)
    assert train
    assert valid
    assert not {src for src, _ in train} & {src for src, _ in valid}
    assert {src for src, _ in train} | {src for src, _ in valid} == {src for src, _ in pairs}
    report = data.report.corpora[0]
    assert report.split_off == len(valid) == len({src for src, _ in valid})
    assert report.kept == len(train)
    assert report.kept + report.split_off + report.dropped.get("valid_source", 0) == len(pairs)
    assert [overlap.in_train[0] for overlap in data.report.overlaps] == [0]
    assert data.valid.src_text is not None  # needed to compare decoded output
    assert read_held_out(data) == valid
    assert data.report.valid_file in "\n".join(data.report.lines())


def read_held_out(data: PreparedData) -> Pairs:
    raw = Path(data.report.valid_file).read_bytes().decode("utf-8").split("\n")
    assert raw.pop() == ""
    return [(record["src"], record["tgt"]) for record in map(json.loads, raw)]


def test_held_out_pairs_are_saved_unchanged(prepare_pairs: Prepare) -> None:
    unusual = ["a\tV;PST", "\u00e9\u2028\x85", 'b"c\\', "\u65e5\u672c \U0001f600"]
    data = prepare_pairs(
        [(f"{text}{number}", text) for number in range(10) for text in unusual], valid=None, valid_fraction=0.5
    )
    assert data.valid.src_text is not None
    assert data.valid.tgt_text is not None
    found = read_held_out(data)
    assert found == list(zip(data.valid.src_text.texts(), data.valid.tgt_text.texts(), strict=True))
    assert {tgt for _, tgt in found} == set(unusual)
    columns = [parse_column(f"{data.report.valid_file}#{side}").values() for side in ("src", "tgt")]
    assert list(zip(*columns, strict=True)) == found


@pytest.mark.parametrize("damaged", [None, b""])
def test_a_missing_or_empty_file_of_held_out_pairs_is_rewritten(
    damaged: bytes | None, write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    config = write_config([(f"s{number}", "t") for number in range(20)], valid_fraction=0.2)
    path = Path(prepare(config, (tokenizer, tokenizer), tmp_path / "cache").report.valid_file)
    raw = path.read_bytes()
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
    assert prepare(config, (tokenizer, tokenizer), tmp_path / "cache").report.valid_file == str(path)
    assert path.read_bytes() == raw


def test_a_given_validation_set_is_not_copied(prepare_pairs: Prepare) -> None:
    data = prepare_pairs([("a", "b")] * 3, valid=[("v", "w")])
    assert data.report.valid_file == ""
    assert not list(Path(data.report.dropped_file).parent.glob("valid.jsonl"))


def test_the_tokenizer_is_not_trained_on_the_validation_set(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    pairs = [(f"s{index % 30}", f"t{index}") for index in range(60)]
    config = write_config(pairs, valid_fraction=0.2)
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    expected = decode_pairs(data, "train", tokenizer)
    assert list(training_lines(config)) == [line for pair in expected for line in pair]
    assert list(training_lines(config, "src")) == [src for src, _ in expected]
    assert list(training_lines(config, "tgt")) == [tgt for _, tgt in expected]
    with_valid = write_config(pairs, valid=[("s1", "t1")])
    assert list(training_lines(with_valid, "src")) == [src for src, _ in pairs]
    Path(with_valid.train_tgt[0]).write_text("one line\n")
    with pytest.raises(ValueError, match="has 60 lines but"):
        training_lines(with_valid)  # before the first line is read


def test_a_full_disk_leaves_the_workspace_but_no_cache(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config([("a", "b")] * 3, valid=[("v", "w")])

    def raise_disk_full(self: Any, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seqlab.data.ragged.RaggedWriter.extend", raise_disk_full)
        with pytest.raises(OSError, match="No space left"):
            prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache.tmp"]
    assert list((tmp_path / "cache.tmp" / "surveys").iterdir())
    assert len(prepare(config, (tokenizer, tokenizer), tmp_path / "cache").train) == 3


def test_the_cache_is_reused_only_for_the_same_inputs(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path
) -> None:
    config = write_config([("a", "b"), ("c", "d")], valid=[("v", "w")])
    folder = tmp_path / "cache"

    def count_encoded_lines(config: TranslationConfig, tokenizer: Any = tokenizer) -> int:
        before = tokenizer.lines_encoded
        data = prepare(config, (tokenizer, tokenizer), folder)
        assert decode_pairs(data, "train", tokenizer)[0] == ("a", "b")
        return int(tokenizer.lines_encoded - before)

    assert count_encoded_lines(config) == 6
    assert count_encoded_lines(config) == 0
    # Options that only the sampler uses do not matter.
    settings = {"train_src": config.train_src, "train_tgt": config.train_tgt, "max_length_ratio": 1e9}
    settings |= {"valid_src": config.valid_src, "valid_tgt": config.valid_tgt}
    assert count_encoded_lines(TranslationConfig(**settings, batch_tokens=9999, train_weights=[3.0])) == 0
    assert count_encoded_lines(TranslationConfig(**settings, subword_sampling=0.1)) == 6
    assert count_encoded_lines(TranslationConfig(**settings, subword_sampling=0.2)) == 0
    assert count_encoded_lines(TranslationConfig(**settings, max_length=5)) == 6
    other_tokenizer = type("OtherTokenizer", (type(tokenizer),), {})()
    assert count_encoded_lines(TranslationConfig(**settings, max_length=5), other_tokenizer) == 6
    Path(config.train_tgt[0]).write_text("b\nchanged\n")
    assert count_encoded_lines(TranslationConfig(**settings, max_length=5), other_tokenizer) == 6


def test_a_damaged_cache_is_rebuilt(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    config = write_config([("a", "b"), ("", "x"), ("c", "d")], valid=[("v", "w")], subword_sampling=0.1)
    folder = tmp_path / "cache"
    intact = prepare(config, (tokenizer, tokenizer), folder)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("dropped.tsv", "checked.json")]
    assert len(files) > 20
    for number, path in enumerate(files):
        raw = path.read_bytes()
        kinds_of_damage = (None, raw[:-1], bytes(len(raw)))
        for damaged in (*kinds_of_damage, kinds_of_damage[number % 3]):  # the last one is repaired
            path.unlink(missing_ok=True)
            if damaged is not None:
                path.write_bytes(damaged)
            if path.name != "inputs.json":  # a missing or damaged one is ignored
                with pytest.raises(ValueError, match=str(folder)):
                    open_prepared(config, (tokenizer, tokenizer), folder)
        rebuilt = prepare(config, (tokenizer, tokenizer), folder)
        assert decode_pairs(rebuilt, "train", tokenizer) == [("a", "b"), ("c", "d")]
        assert rebuilt.report == intact.report
        assert path.read_bytes() == raw


def test_opening_a_cache_does_not_write_to_it(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    config = write_config([("a", "b"), ("c", "d")], valid=[("v", "w")])
    folder, workspace = tmp_path / "cache", tmp_path / "cache.tmp"
    with pytest.raises(ValueError, match="is not a usable cache"):
        open_prepared(config, (tokenizer, tokenizer), folder)
    assert not folder.exists()
    prepare(config, (tokenizer, tokenizer), folder)
    workspace.mkdir()
    (folder / "checked.json").unlink()
    os.utime(config.train_src[0], (0, 0))  # as another machine that shares the file system may see it
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert decode_pairs(open_prepared(config, (tokenizer, tokenizer), folder), "train", tokenizer) == [
        ("a", "b"),
        ("c", "d"),
    ]
    with pytest.raises(ValueError, match="made from other text, tokenizers or options"):
        open_prepared(replace(config, max_length=5), (tokenizer, tokenizer), folder)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    prepare(config, (tokenizer, tokenizer), folder)
    assert (folder / "checked.json").exists()
    assert not workspace.exists()


def test_a_failure_leaves_no_cache(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    config = write_config([("a", "b")] * 3)
    Path(config.train_tgt[0]).write_bytes(b"b\n\xff\nb\n")
    with pytest.raises(ValueError, match=r"train0\.tgt, line 2: not UTF-8"):
        prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    Path(config.train_tgt[0]).write_bytes(b"b\nb\n")
    with pytest.raises(ValueError, match=r"has 3 lines but .* has 2"):
        prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    Path(config.train_tgt[0]).unlink()
    with pytest.raises(FileNotFoundError, match=r"train0\.tgt"):
        prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_an_empty_split_is_an_error_with_reasons(prepare_pairs: Prepare) -> None:
    with pytest.raises(ValueError, match=r"No pair is left for `train`.*line 1: target empty.*line 2: 9 and 1 tokens"):
        prepare_pairs([("a", ""), ("a" * 9, "b")], max_length=3, valid=[("v", "w")])
    with pytest.raises(ValueError, match="No pair is left for `valid`"):
        prepare_pairs([("a", "b")], valid=[("", "w")])


def test_the_report_counts_pairs_tokens_and_overlaps(prepare_pairs: Prepare, write_config: WriteConfig) -> None:
    test = write_config([("a test", "ein Test"), ("hello", "hallo")])
    train = [("hello", "hallo"), ("hello", "hallo"), ("same", "same"), ("", "leer"), ("\u4e2d x", "y" * 30)]
    train += [("hi", "z" * 300), *[(f"n{i} {'w' * 30}", f"m{i} {'v' * 30}") for i in range(50)]]
    data = prepare_pairs(
        train,
        valid=[("hello", "servus"), ("new", "neu")],
        max_length=29 + 10,
        max_length_ratio=4.0,
        test_src=test.train_src,
        test_tgt=test.train_tgt,
    )
    report = data.report
    corpus, valid = report.corpora
    assert (corpus.rows, corpus.kept, corpus.duplicates, corpus.copies) == (56, 54, 1, 1)
    assert corpus.dropped == {"empty": 1, "length_ratio": 1}
    assert corpus.counts[0].unknown == 1
    assert corpus.counts[0].tokens == sum(len(src) for src, tgt in train if src and len(tgt) < 100)
    assert (valid.split, valid.rows, valid.kept) == ("valid", 2, 2)
    found = [(each.split, *each.in_train, each.rows_in_train) for each in report.overlaps]
    assert found == [("valid", 1, 0, 0), ("test", 1, 1, 1)]
    assert [(row.reason, row.lines[0]) for row in report.examples] == [("empty", 4), ("length_ratio", 6)]
    assert DataReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    text = "\n".join(report.lines())
    for expected in (
        "56 pairs, 54 kept",
        "1 dropped with an empty side",
        "1 repeat an earlier pair",
        "line 6: 2 and 300",
    ):
        assert expected in text


def test_unknown_tags_count_as_unknown(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    src_tokenizer = train_tokenizer(WordsConfig(tags=True), ["go\tPST"])
    config = write_config([("go\tPST", "went")], valid=[("go\tPST;new", "went")])
    corpora = prepare(config, (src_tokenizer, tokenizer), tmp_path / "cache").report.corpora
    assert [(corpus.counts[0].unknown, corpus.counts[0].tokens) for corpus in corpora] == [(0, 2), (1, 3)]


@pytest.mark.parametrize("index_is_deleted", [True, False])
def test_a_changed_text_of_the_same_size_and_mtime_is_detected(
    write_config: WriteConfig, tokenizer: Any, tmp_path: Path, index_is_deleted: bool
) -> None:
    config = write_config([("a", "b"), ("c", "d")], valid=[("v", "w")])
    prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    path = Path(config.train_tgt[0])
    stat = path.stat()
    path.write_text("b\ne\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    if index_is_deleted:
        (tmp_path / "cache" / "inputs.json").unlink()
    data = prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    assert decode_pairs(data, "train", tokenizer) == [("a", "b"), ("c", "e")]


def test_a_flipped_bit_in_a_json_file_is_detected(write_config: WriteConfig, tokenizer: Any, tmp_path: Path) -> None:
    """Reading returns the written values or raises an error, after which the cache is rebuilt."""
    config = write_config([("a", "b"), ("c", "d")], valid=[("v", "w")])
    prepare(config, (tokenizer, tokenizer), tmp_path / "cache")
    paths = sorted(
        path for path in (tmp_path / "cache").rglob("*.json") if path.name not in ("checked.json", "inputs.json")
    )
    assert {path.name for path in paths} >= {"cache.json", "corpus.json", "lines.json"}
    for path in paths:
        content, expected = path.read_bytes(), read_checksummed_json(path)
        for offset in range(len(content)):
            flipped = content[offset] ^ 1 << (7 * offset) % 8  # a bit of each byte, at changing positions
            path.write_bytes(content[:offset] + bytes([flipped]) + content[offset + 1 :])
            with suppress(ValueError):
                found = read_checksummed_json(path)
                assert {key: found.get(key) for key in expected} == expected
        path.write_bytes(content)


def test_caches_of_an_older_version_are_read(prepare_pairs: Prepare, tokenizer: Any) -> None:
    """Older caches, which are opened to check an export, have `pairs.json` instead of `corpus.json`."""
    folder = Path(prepare_pairs([("a", "b")] * 3).report.dropped_file).parent / "train"
    (folder / "corpus.json").rename(folder / "pairs.json")
    pairs = EncodedCorpus.open(folder, check=True)
    assert [tokenizer.decode(rows) for rows in (pairs.src, pairs.tgt)] == [["a"] * 3, ["b"] * 3]
    assert pairs.locate(2).endswith("train0.tgt, line 3")


def test_sources_with_other_spaces_are_counted(prepare_pairs: Prepare) -> None:
    pairs = [("a b", "c\u00a0d"), ("a\u00a0b", "c"), (" e", "f"), ("g\u200b", "h")]
    [note] = prepare_pairs(pairs).reading
    assert (note.count, note.first.endswith("train0.src, line 2")) == (3, True)
    assert "src_spaces: single" in note.text
    assert not list(prepare_pairs(pairs, src_spaces="keep").reading)


def test_the_tokenizer_is_trained_on_the_spaces_that_the_model_reads(write_config: WriteConfig) -> None:
    config = write_config([("a\u200b b", "c\u00a0d")], valid=[("e", "f")], tokenizer=WordsConfig())
    assert list(training_lines(config)) == ["a b", "c\u00a0d"]
    assert list(training_lines(replace(config, src_spaces="keep"))) == ["a\u200b b", "c\u00a0d"]
