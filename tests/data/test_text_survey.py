"""Status of each line of a text (train, valid, dropped), compared with its definition line by line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference.tiny_runs import write_text

import seqlab.data.corpus
from seqlab.data.assignment import RowAssignment, assign_rows
from seqlab.data.row_encoder import EncodeTask, RowStatus
from seqlab.data.survey import survey_corpus
from seqlab.data.tokenizer_training import training_lines
from seqlab.tasks.language_modelling.config import LanguageModellingConfig

Corpora = list[list[str]]
line = st.text("ab é\x85", max_size=4)
corpora_strategy = st.lists(st.lists(line, min_size=1, max_size=14), min_size=1, max_size=3)
with_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def write_config(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LanguageModellingConfig]:
    """Return a function that writes corpora to files and returns a config with them."""

    def write(*corpora: list[str], valid: list[str] | None = None, **settings: Any) -> LanguageModellingConfig:
        folder = tmp_path_factory.mktemp("text")
        files = [] if valid is None else write_text(folder, valid, name="valid")
        return LanguageModellingConfig(train=write_text(folder, *corpora), valid=files, **settings)

    return write


def assign_statuses(config: LanguageModellingConfig) -> list[RowAssignment]:
    train, valid = ([survey_corpus(corpus) for corpus in config.corpora(split)] for split in ("train", "valid"))
    return assign_rows(config, train, valid)


def encode_tasks(assignment: RowAssignment) -> list[EncodeTask]:
    return list(assignment.tasks(0, dict.fromkeys(RowStatus, False)))


def task_lines(task: EncodeTask) -> list[str]:
    [lines] = task.block.lines()
    return lines


def lines_with_statuses(corpora: Corpora, found: list[RowAssignment]) -> list[tuple[str, RowStatus]]:
    """Return each line, stripped, with its status."""
    flat = [text.strip() for lines in corpora for text in lines]
    return [
        (text, RowStatus(status))
        for text, status in zip(flat, [f for each in found for f in each.statuses.tolist()], strict=True)
    ]


@with_files
@given(corpora=corpora_strategy, fraction=st.floats(0.01, 0.99))
def test_no_copy_of_a_validation_line_is_in_training(
    corpora: Corpora, fraction: float, write_config: Callable[..., LanguageModellingConfig]
) -> None:
    config = write_config(*corpora, valid_fraction=fraction)
    different = {text.strip() for lines in corpora for text in lines} - {""}
    if len(different) < 2:
        with pytest.raises(
            ValueError, match=rf"different lines are needed, but there (is|are) {len(different)}: set `data\.valid`"
        ):
            assign_statuses(config)
        return
    found = lines_with_statuses(corpora, assign_statuses(config))
    by_status = {status: [text for text, each in found if each == status] for status in RowStatus}
    valid = set(by_status[RowStatus.VALID])
    assert all(text == "" for text in by_status[RowStatus.EMPTY])
    assert all(status == RowStatus.EMPTY for text, status in found if not text)
    assert len(by_status[RowStatus.VALID]) == len(valid), "each line is in validation once"
    assert len(valid) == min(max(1, round(fraction * len(different))), len(different) - 1)
    assert set(by_status[RowStatus.VALID_SOURCE]) <= valid
    assert set(by_status[RowStatus.TRAIN]) == different - valid
    for text in valid:  # the first copy
        assert next(status for other, status in found if other == text) == RowStatus.VALID


@given(order=st.permutations(range(40)))
@with_files
def test_held_out_lines_do_not_depend_on_the_order(
    order: list[int], write_config: Callable[..., LanguageModellingConfig]
) -> None:
    def held_out(indices: list[int]) -> set[str]:
        lines = [f"line {index}" for index in indices]
        return {
            text
            for text, status in lines_with_statuses([lines], assign_statuses(write_config(lines, valid_fraction=0.25)))
            if status == RowStatus.VALID
        }

    assert held_out(order) == held_out(list(range(40)))
    assert len(held_out(order)) == 10


@with_files
@given(corpora=corpora_strategy, fraction=st.floats(0.01, 0.99))
def test_the_last_lines_of_a_continuous_text_are_held_out(
    corpora: Corpora, fraction: float, write_config: Callable[..., LanguageModellingConfig]
) -> None:
    config = write_config(*corpora, documents="continuous", valid_fraction=fraction)
    total = sum(map(len, corpora))
    if total == 1:
        with pytest.raises(ValueError, match=r"at least 2 lines are needed, but there is 1: set `data\.valid`"):
            assign_statuses(config)
        return
    count = min(max(1, round(fraction * total)), total - 1)
    statuses = [status for _, status in lines_with_statuses(corpora, assign_statuses(config))]
    assert (
        statuses == [RowStatus.TRAIN] * (total - count) + [RowStatus.VALID] * count
    )  # empty lines are part of the text


@with_files
@given(corpora=corpora_strategy, valid=st.lists(line, min_size=1, max_size=5), continuous=st.booleans())
def test_a_given_validation_text_is_used_and_nothing_is_held_out(
    corpora: Corpora, valid: list[str], continuous: bool, write_config: Callable[..., LanguageModellingConfig]
) -> None:
    documents = "continuous" if continuous else "lines"
    found = assign_statuses(write_config(*corpora, valid=valid, documents=documents))
    assert [each.split for each in found] == ["train"] * len(corpora) + ["valid"]
    for lines, each in zip([*corpora, valid], found, strict=True):
        kept = RowStatus.TRAIN if each.split == "train" else RowStatus.VALID
        assert each.statuses.tolist() == [kept if continuous or text.strip() else RowStatus.EMPTY for text in lines]


def test_a_text_is_read_again_block_by_block(
    write_config: Callable[..., LanguageModellingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seqlab.data.corpus, "BLOCK_ROWS", 3)
    lines = [f"line {number}" for number in range(8)]
    [corpus] = assign_statuses(write_config(lines, documents="continuous", valid_fraction=0.25))
    tasks = encode_tasks(corpus)
    assert [task.lines[0].tolist() for task in tasks] == [[1], [4], [7]]
    assert [text for task in tasks for text in task_lines(task)] == lines
    assert [status for task in tasks for status in task.statuses.tolist()] == [RowStatus.TRAIN] * 6 + [
        RowStatus.VALID
    ] * 2


@pytest.mark.parametrize("count", [1, 3, 5, 6, 7, 9, 12], ids=lambda count: f"{count} lines")
def test_a_changed_number_of_lines_is_detected(
    count: int, write_config: Callable[..., LanguageModellingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the surveyed lines end with a block."""
    monkeypatch.setattr(seqlab.data.corpus, "BLOCK_ROWS", 3)
    for surveyed in (6, 7):
        config = write_config([f"line {number}" for number in range(surveyed)])
        [corpus] = assign_statuses(config)
        Path(config.train[0]).write_text("another\n" * count)
        if count == surveyed:
            assert len([text for task in encode_tasks(corpus) for text in task_lines(task)]) == count
        else:
            with pytest.raises(ValueError, match=r"text0\.txt: changed while it was being read"):
                encode_tasks(corpus)


def test_the_tokenizer_is_trained_on_the_training_lines(write_config: Callable[..., LanguageModellingConfig]) -> None:
    corpora = [[f"line {number % 30}" for number in range(60)], ["", "one more", ""]]
    for documents in ("lines", "continuous"):
        config = write_config(*corpora, documents=documents, valid_fraction=0.1)
        kept = [
            text
            for text, status in lines_with_statuses(corpora, assign_statuses(config))
            if status in (RowStatus.TRAIN, RowStatus.EMPTY)
        ]
        assert list(training_lines(config)) == kept
        assert len(kept) < 61
        with_valid = write_config(*corpora, valid=["line 1"], documents=documents)
        assert list(training_lines(with_valid)) == [*corpora[0], "", "one more", ""]


def test_text_is_read_from_tables(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n1\tfirst\n2\tsecond\n")
    (tmp_path / "a.jsonl").write_text('{"text": "third\\nline"}\n')
    config = LanguageModellingConfig(
        train=[f"{tmp_path}/a.tsv#text", f"{tmp_path}/a.jsonl#text"], valid=f"{tmp_path}/a.tsv#0"
    )
    assert list(training_lines(config)) == ["first", "second", "third line"]
    first_task = encode_tasks(assign_statuses(config)[0])[0]
    assert first_task.lines[0].tolist() == [2], "the header is the first line"


def test_unreadable_text_is_refused_before_the_first_line(
    write_config: Callable[..., LanguageModellingConfig],
) -> None:
    config = write_config(["a", "b", "c"])
    path = Path(config.train[0])
    path.write_bytes(b"a\n\xff\nc\n")
    with pytest.raises(ValueError, match=r"text0\.txt, line 2: not UTF-8"):
        training_lines(config)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"text0\.txt: has no lines"):
        training_lines(config)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"text0\.txt"):
        training_lines(config)


@pytest.mark.parametrize("count", [1, 3, 5, 7, 9], ids=lambda count: f"{count} lines")
def test_a_text_that_changes_before_tokenizer_training_is_refused(
    count: int, write_config: Callable[..., LanguageModellingConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seqlab.data.corpus, "BLOCK_ROWS", 3)
    config = write_config([f"line {number}" for number in range(6)], valid_fraction=0.2)
    lines = training_lines(config)
    Path(config.train[0]).write_text("another\n" * count)
    with pytest.raises(ValueError, match=r"text0\.txt: changed while it was being read"):
        list(lines)
