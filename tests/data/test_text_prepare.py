"""Caches of encoded text: contents, reuse, and failures."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.tiny_runs import write_text

import seqlab.data.cache_builder
import seqlab.data.corpus
import seqlab.data.prepare
from seqlab.data.data_report import DataReport, TokenCounts
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.prepare import prepare
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import Tokenizer

EOS = 2
line = st.text("ab é\u4e2d", max_size=5)


@pytest.fixture
def config(tmp_path: Path) -> LanguageModellingConfig:
    """Return a config with a text of five lines, one of them empty, and a validation text."""
    train, valid = write_text(tmp_path, ["ab", "c", "", "de", "ab"]), write_text(tmp_path, ["v"], name="valid")
    return LanguageModellingConfig(train=train, valid=valid)


def with_changes(config: LanguageModellingConfig, **settings: Any) -> LanguageModellingConfig:
    return LanguageModellingConfig(**{"train": config.train, "valid": config.valid, **settings})


def text_ids(text: EncodedCorpus) -> list[int]:
    return text.tgt.values.tolist()  # type: ignore[no-any-return]


def encode_lines(lines: list[str], tokenizer: Tokenizer) -> list[int]:
    return [id_ for row in tokenizer.encode(lines) for id_ in (*row, EOS)]


def decode_lines(text: EncodedCorpus, tokenizer: Tokenizer) -> list[str]:
    assert all(row[-1] == EOS for row in text.tgt)
    return tokenizer.decode([row[:-1].tolist() for row in text.tgt])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    corpora=st.lists(st.lists(line, min_size=1, max_size=10), min_size=1, max_size=3),
    valid=st.lists(line, min_size=1, max_size=6),
    continuous=st.booleans(),
)
def test_empty_lines_are_dropped_and_counted(
    corpora: list[list[str]],
    valid: list[str],
    continuous: bool,
    tokenizer: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    corpora[0].append("a")  # at least one line is kept
    valid = [*valid, "b"]
    folder = tmp_path_factory.mktemp("text")
    config = LanguageModellingConfig(
        train=write_text(folder, *corpora),
        valid=write_text(folder, valid, name="valid"),
        documents="continuous" if continuous else "lines",
    )
    progress: list[tuple[int, int | None]] = []
    data = prepare(config, (tokenizer,), folder / "cache", lambda _, done, total: progress.append((done, total)))
    kept = [[text for text in lines if continuous or text.strip()] for lines in (*corpora, valid)]
    assert text_ids(data.train) == encode_lines([text for lines in kept[:-1] for text in lines], tokenizer)
    assert text_ids(data.valid) == encode_lines(kept[-1], tokenizer)
    assert data.train.num_tokens == len(text_ids(data.train))
    for lines, kept_lines, report in zip([*corpora, valid], kept, data.report.corpora, strict=True):
        assert (report.rows, report.kept, report.dropped.get("empty", 0)) == (
            len(lines),
            len(kept_lines),
            len(lines) - len(kept_lines),
        )
        assert (report.split_off, report.dropped.keys() - {"empty"}) == (0, set())
        unknown = sum(text.count("\u4e2d") for text in kept_lines)
        assert report.counts == (TokenCounts(len(encode_lines(kept_lines, tokenizer)), unknown),)
    words = [text.strip() for text in kept[-1] if text.strip()]
    train_lines = {text.strip() for lines in kept[:-1] for text in lines}
    [overlap] = data.report.overlaps
    assert (overlap.rows, overlap.rows_in_train) == (len(words), sum(text in train_lines for text in words))
    total = sum(map(len, corpora)) + len(valid)
    assert progress[-1] == (total, total)
    locations = [(number, line) for number, lines in enumerate(corpora) for line in range(1, len(lines) + 1)]
    locations = [(n, line) for n, line in locations if continuous or corpora[n][line - 1].strip()]
    for row, (number, line_number) in enumerate(locations):
        for token in (data.train.tgt.offsets[row], data.train.tgt.offsets[row + 1] - 1):
            assert data.train.locate_token(token) == f"{config.train[number]}, line {line_number}"


def test_held_out_lines_are_counted(tokenizer: Any, tmp_path: Path) -> None:
    lines = ["same", *(f"line {number}" for number in range(30)), "same", "", " same "]
    for documents in ("lines", "continuous"):
        config = LanguageModellingConfig(train=write_text(tmp_path, lines), valid_fraction=0.999, documents=documents)
        data = prepare(config, (tokenizer,), tmp_path / "cache")
        train, valid = (decode_lines(each, tokenizer) for each in (data.train, data.valid))
        [corpus] = data.report.corpora
        assert (corpus.kept, corpus.split_off) == (len(train), len(valid))
        assert corpus.kept + corpus.split_off + sum(corpus.dropped.values()) == corpus.rows == len(lines)
        [overlap] = data.report.overlaps
        assert corpus.counts[0].tokens == data.train.num_tokens + data.valid.num_tokens
        if documents == "lines":
            assert not set(train) & set(valid)
            assert len(valid) == len(set(valid)) == 30  # of 31 distinct lines
            assert corpus.dropped.get("valid_source", 0) == (2 if "same" in valid else 0)
            assert overlap.rows_in_train == 0
        else:
            assert [*train, *valid] == [text.strip() for text in lines]
            assert overlap.rows == len(valid) - 1  # without the empty line
            assert overlap.rows_in_train == 2
        assert DataReport.from_json(json.loads(json.dumps(data.report.to_json()))) == data.report
        text = "\n".join(data.report.lines())
        assert f"{len(lines)} lines, {len(train):,} kept, {len(valid):,} held out for validation" in text
        assert ("1 dropped (empty)" in text) == (documents == "lines")


def test_the_data_report_has_counts_and_examples(tokenizer: Any, tmp_path: Path) -> None:
    train, valid = write_text(tmp_path, ["\u4e2dab", "", "v"]), write_text(tmp_path, ["v", "w"], name="valid")
    report = prepare(LanguageModellingConfig(train=train, valid=valid), (tokenizer,), tmp_path / "cache").report
    assert report.lines() == [
        f"train: {train[0]}: 3 lines, 2 kept",
        "  1 dropped (empty)",
        "  6 tokens, including ends of line, 3.0 per line, 16.667% unknown",
        f"valid: {valid[0]}: 2 lines, 2 kept",
        "  4 tokens, including ends of line, 2.0 per line, 0.000% unknown",
        f"valid: {valid[0]}: of 2 lines, training contains 1",
        f"Examples of dropped rows (full list: {report.dropped_file}):",
        f"  {train[0]}, line 2: empty",
    ]
    swapped = prepare(LanguageModellingConfig(train=valid, valid=train), (tokenizer,), tmp_path / "cache").report
    assert swapped.lines()[-4].startswith("valid: 1 tokens are unknown, but none in training: the model cannot learn")


def test_the_cache_is_reused_only_for_the_same_inputs(
    config: LanguageModellingConfig, tokenizer: Any, tmp_path: Path
) -> None:
    def count_encoded_lines(config: LanguageModellingConfig, tokenizer: Any = tokenizer) -> int:
        before = tokenizer.lines_encoded
        data = prepare(config, (tokenizer,), tmp_path / "cache")
        assert decode_lines(data.train, tokenizer)[0] == "ab"
        return int(tokenizer.lines_encoded - before)

    assert count_encoded_lines(config) == 5
    assert count_encoded_lines(config) == 0
    # Options that only the sampler uses do not matter.
    assert count_encoded_lines(with_changes(config, batch_tokens=99, block_length=4, packing=True, chunk_lines=2)) == 0
    assert count_encoded_lines(with_changes(config, documents="continuous")) == 6
    assert count_encoded_lines(with_changes(config, documents="continuous", order="contiguous")) == 0
    other_tokenizer = type("OtherTokenizer", (type(tokenizer),), {})()
    assert count_encoded_lines(with_changes(config, documents="continuous"), other_tokenizer) == 6
    assert count_encoded_lines(with_changes(config, train=[*config.train, *config.valid])) == 6
    assert count_encoded_lines(with_changes(config, valid=[])) == 4
    assert count_encoded_lines(with_changes(config, valid=[], valid_fraction=0.1)) == 4
    Path(config.train[0]).write_text("ab\nchanged\n")
    assert count_encoded_lines(config) == 3


def test_a_failure_leaves_no_cache(config: LanguageModellingConfig, tokenizer: Any, tmp_path: Path) -> None:
    def assert_prepare_fails(error: type[Exception], message: str, config: LanguageModellingConfig = config) -> None:
        with pytest.raises(error, match=message):
            prepare(config, (tokenizer,), tmp_path / "cache")
        assert {path.name for path in tmp_path.iterdir()} <= {"text0.txt", "valid0.txt"}

    path = Path(config.train[0])
    path.write_bytes(b"a\n\xff\nb\n")
    assert_prepare_fails(ValueError, r"text0\.txt, line 2: not UTF-8")
    path.write_bytes(b"")
    assert_prepare_fails(ValueError, r"text0\.txt: has no lines")
    path.write_bytes(b"\n \n")
    assert_prepare_fails(
        ValueError,
        r"left for `train`: all of \S*text0\.txt were dropped, for example \S*text0\.txt, line 1: empty; ",
    )
    assert_prepare_fails(
        ValueError, "at least 2 different lines are needed, but there are 0", with_changes(config, valid=[])
    )
    path.write_bytes(b"a\n")
    Path(config.valid[0]).write_bytes(b"\n")
    assert_prepare_fails(
        ValueError,
        r"left for `valid`: all of \S*valid0\.txt were dropped, for example \S*valid0\.txt, line 1: empty\.$",
    )
    path.unlink()
    assert_prepare_fails(FileNotFoundError, r"text0\.txt")


@pytest.mark.parametrize("text", ["x\ny\nz\nu\nw\n", "one\ntwo\n"], ids=["as many lines", "fewer lines"])
def test_a_text_that_changes_while_it_is_read_is_refused(
    text: str, config: LanguageModellingConfig, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_or_make_survey = seqlab.data.prepare.open_or_make_survey

    def survey_and_change(*arguments: Any) -> Any:
        found = open_or_make_survey(*arguments)
        Path(config.train[0]).write_text(text)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(seqlab.data.prepare, "open_or_make_survey", survey_and_change)
        with pytest.raises(ValueError, match=r"text0\.txt: changed while it was being read"):
            prepare(config, (tokenizer,), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    data = prepare(config, (tokenizer,), tmp_path / "cache")
    assert decode_lines(data.train, tokenizer) == text.split()
