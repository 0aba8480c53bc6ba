"""Labeled lines: batches, errors and cross-validation folds."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.data.batch import (
    FIRST_BYTE,
    IGNORE,
    MAX_SPELLING_BYTES,
    WORD_END,
    WORD_START,
    collate_labelled,
    spell_words,
)
from seqlab.data.labels import joined_labels, label_fault, note_doubtful_labels, refuse_joined_labels, similar_labels
from seqlab.data.prepare import PreparedData, prepare
from seqlab.data.sampler import LabeledSampler, ordered_labeled_batches
from seqlab.data.survey import no_progress
from seqlab.data.tokenizer_training import Side, training_lines
from seqlab.models import (
    LabelerConfig,
    TransformerEncoderConfig,
)
from seqlab.runs import Config
from seqlab.runs.folder import RunFolder
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.labelling.task import LabellingTask
from seqlab.text import Tokenizer, label_names, train_tokenizer

WORDS = ["the", "dog", "barks", "loudly", "größe", "日本語", "a" * 50]


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def spell(word: str) -> list[int]:
    """Spell one word without numpy."""
    data = word.encode()
    if len(data) > MAX_SPELLING_BYTES:
        data = data[: MAX_SPELLING_BYTES // 2] + data[-MAX_SPELLING_BYTES // 2 :]
    return [WORD_START, *(FIRST_BYTE + byte for byte in data), WORD_END]


def test_spellings_are_utf8_bytes() -> None:
    lines = ["the größe", "日本語", "", "x" * 40 + "y" * 40 + " a"]
    spelling = spell_words([as_bytes(line) for line in lines])
    expected = [spell(word) for line in lines for word in line.split()]
    assert [[code for code in row if code] for row in spelling.tolist()] == expected
    assert all(not any(row[len(word) :]) for row, word in zip(spelling.tolist(), expected, strict=True))
    assert spell_words([as_bytes("")]).shape == (0, 2)


def test_labeled_batches_are_padded_and_count_labels() -> None:
    texts = [as_bytes("the dog"), as_bytes("dog")]
    batch = collate_labelled([[5, 6], [6]], [[0, IGNORE], [1]], texts, [3, 4], pad_id=0)
    assert batch.src.tolist() == [[5, 6], [6, 0]]
    assert batch.tgt_out is not None
    assert batch.tgt_out.tolist() == [[0, IGNORE], [1, IGNORE]]
    assert batch.num_tgt_tokens == 2
    assert batch.spelling is not None
    assert len(batch.spelling) == 3
    with pytest.raises(ValueError, match="2 words needs as many spellings, but `texts` has 1"):
        collate_labelled([[5, 6]], None, [as_bytes("thedog")], [0], pad_id=0)


def write_lines(path: Path, lines: list[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def prepare_labeled(config: LabellingConfig, folder: Path) -> tuple[PreparedData, tuple[Tokenizer, Tokenizer]]:
    src, tgt = config.tokenizers
    tokenizers = (
        train_tokenizer(src, training_lines(config, "src")),
        train_tokenizer(tgt, training_lines(config, "tgt")),
    )
    return prepare(config, tokenizers, folder / "cache"), tokenizers


def make_config(tmp_path: Path, lines: list[str], labels: list[str], **fields: object) -> LabellingConfig:
    values = {
        "train_src": [write_lines(tmp_path / "src", lines)],
        "train_tgt": [write_lines(tmp_path / "tgt", labels)],
        **fields,
    }
    return LabellingConfig(**values)  # type: ignore[arg-type]


def test_every_word_of_an_epoch_has_its_label_and_spelling(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(80)]
    labels = [" ".join(f"L{len(word)}" for word in line.split()) for line in lines]
    config = make_config(tmp_path, lines, labels, labels_of="words", batch_tokens=40, micro_batch_tokens=30)
    data, tokenizers = prepare_labeled(config, tmp_path)
    names, rows_seen = label_names(tokenizers[1]), []
    for step in LabeledSampler(data.train, config, 1, *tokenizers).steps():
        if step.position.epoch > 0:
            break
        for batch in step.micro_steps:
            assert batch.tgt_out is not None
            assert batch.spelling is not None
            is_word = torch.arange(batch.src.size(1)) < batch.src_lengths[:, None]
            words = tokenizers[0].decode([[i] for i in batch.src[is_word].tolist()])
            assert [f"L{len(word)}" for word in words] == [names[i] for i in batch.tgt_out[is_word].tolist()]
            assert [[code for code in row if code] for row in batch.spelling.tolist()] == [
                spell(word) for word in words
            ]
            assert (batch.tgt_out[~is_word] == IGNORE).all()
            rows_seen += batch.indices.tolist()
    assert sorted(rows_seen) == list(range(len(data.train)))
    valid = [i for batch in ordered_labeled_batches(data.valid, 30, tokenizers) for i in batch.indices.tolist()]
    assert sorted(valid) == list(range(len(data.valid)))


@pytest.mark.parametrize(
    ("lines", "labels", "labels_of", "message"),
    [
        (["a b", "c d e"], ["X Y", "X Y"], "words", r"src and \S+tgt, line 2: has 3 words but 2 labels"),
        (["a b", "c d e"], ["X", "X Y"], "lines", r"src and \S+tgt, line 2: has 2 labels \(X Y\), but with `data"),
        (["a b", "c"], ["X"], "lines", r"src has 2 lines but \S+tgt has 1"),
    ],
)
def test_errors_name_lines_with_a_wrong_number_of_labels(
    tmp_path: Path, lines: list[str], labels: list[str], labels_of: str, message: str
) -> None:
    config = make_config(
        tmp_path, lines, labels, labels_of=labels_of, valid_src=str(tmp_path / "src"), valid_tgt=str(tmp_path / "tgt")
    )
    with pytest.raises(ValueError, match=message):
        prepare_labeled(config, tmp_path)


def test_an_unknown_label_is_an_error_in_training_and_ignored_in_validation(tmp_path: Path) -> None:
    valid = {
        "valid_src": write_lines(tmp_path / "vs", ["a b", "c d"]),
        "valid_tgt": write_lines(tmp_path / "vt", ["X Y", "Z Y"]),
    }
    config = make_config(tmp_path, ["a b", "b a"], ["X Y", "Y X"], labels_of="words", **valid)
    data, tokenizers = prepare_labeled(config, tmp_path)
    (batch,) = ordered_labeled_batches(data.valid, 100, tokenizers)
    assert batch.tgt_out is not None
    by_line = dict(zip(batch.indices.tolist(), batch.tgt_out.tolist(), strict=True))
    assert by_line[1][0] == IGNORE
    assert by_line[0][1] == by_line[1][1]
    assert batch.num_tgt_tokens == 3
    other = make_config(tmp_path, ["a b", "b a"], ["X Y", "Y NEW"], labels_of="words", **valid)
    with pytest.raises(ValueError, match=r"line 2: has the label 'NEW', which is not in the vocabulary of labels"):
        prepare(other, tokenizers, tmp_path / "other")


def test_errors_name_the_lines_in_both_files(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a b\nb\na b\n")
    (tmp_path / "labels.tsv").write_text("number\tlabels\n1\tX Y\n2\tY\n3\tX\n")
    (tmp_path / "both.conllu").write_text("# text\n1\ta\t_\tX\n\n# text\n1\ta\t_\tY\n2\tb\t_\tNEW\n")
    valid = {"valid_src": str(tmp_path / "words"), "valid_tgt": str(tmp_path / "labels.tsv#labels")}
    config = make_config(tmp_path, ["a b"], ["X Y"], labels_of="words", **valid)
    with pytest.raises(ValueError, match=r"words, line 3, and .*labels\.tsv#labels, line 4: has 2 words but 1 labels"):
        prepare_labeled(config, tmp_path / "unequal")
    both = str(tmp_path / "both.conllu")
    config = replace(config, valid_src=f"{both}#form", valid_tgt=f"{both}#upos")
    data, _ = prepare_labeled(config, tmp_path / "unknown")
    assert data.valid.locate(1) == f"{both}#form and {both}#upos, line 4"


def test_each_source_is_in_one_validation_fold(tmp_path: Path) -> None:
    lines = [f"line {i % 97}" for i in range(120)]  # with repeated sources
    texts, found = {}, []
    for fold in range(1, 6):
        config = make_config(tmp_path, lines, ["X"] * 120, valid_fraction=0.2, valid_fold=fold, valid_max_pairs=10)
        data, _ = prepare_labeled(config, tmp_path / str(fold))
        texts[fold] = [lines[number - 1] for number in data.valid.lines[:, 0].tolist()]
        train = {lines[number - 1] for number in data.train.lines[:, 0].tolist()}
        assert not train & set(texts[fold])
        assert train | set(texts[fold]) == set(lines)
        found += texts[fold]
    assert sorted(found) == sorted(set(lines))
    with pytest.raises(ValueError, match=re.escape("`valid_fold` (6) must be one of the folds")):
        make_config(tmp_path, lines, ["X"] * 120, valid_fraction=0.2, valid_fold=6)


def test_tokenizers_that_split_words_are_refused(tmp_path: Path) -> None:
    for fields, message in (
        ({"tokenizer": {"kind": "characters"}}, "needs `data.tokenizer.kind: words`"),
        ({"tokenizer": {"kind": "words", "normalization": "nfkc"}}, "nfkc` replaces an acute accent by a space"),
        ({"tokenizer": {"kind": "words", "tags": True}}, "leave it out"),
    ):
        with pytest.raises(ValueError, match=message):
            make_config(tmp_path, ["a"], ["X"], labels_of="words", **fields)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["pos", "neg", "Pos"], [["pos", "Pos"]]),
        (["pos\u200f", "pos", "\ufeffpos"], [["pos\u200f", "pos", "\ufeffpos"]]),
        (["e\u0301", "é"], [["e\u0301", "é"]]),
        (["Ａ", "A", "B"], [["Ａ", "A"]]),
        (["very  good", "very good"], [["very  good", "very good"]]),
        (["B-PER", "I-PER", "O"], []),
    ],
)
def test_labels_that_differ_only_in_form(names: list[str], groups: list[list[str]]) -> None:
    assert similar_labels(names) == groups


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        (["a", "a;b", "b;c"], ("a;b", ";")),
        (["a", "a; b", "b"], ("a; b", ";")),
        (["x|y", "y|x|z", "z"], ("x|y", "|")),
        (["x#y", "x", "y", "C#"], ("x#y", "#")),
        (["Drama, Comedy", "Comedy", "Drama"], ("Drama, Comedy", ",")),
        (["Paris, France", "Lyon, France", "Bern, Switzerland"], None),
        (["bad, really", "very good"], None),
        (["a;", "b"], None),
    ],
)
def test_labels_that_join_other_labels(names: list[str], joined: tuple[str, str] | None) -> None:
    assert joined_labels(names) == joined


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a", "a;b", "b"], r"x\.csv: the cell 'a;b' has labels separated by ';': separate several labels by spaces"),
        (["a", '["a"]'], r"""x\.csv: the cell '\["a"\]' is a list in brackets"""),
    ],
)
def test_cells_with_several_labels_need_spaces(cells: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse_joined_labels(cells, "x.csv")
    refuse_joined_labels(["a b", "b", ""], "x.csv")


@pytest.mark.parametrize(
    ("text", "labels", "settings", "warning"),
    [
        ("a b", ["yes", "no", "yes|no"], {}, "the label 'yes|no' looks like several labels, separated by"),
        ("a b", ['"yes"', "yes"], {}, """the labels 'yes' and '"yes"' differ only in case"""),
        ("a b", ["1", "1.0"], {}, "the labels '1.0' and '1' differ only in case"),
        ("a b", ["yes", "Yes"], {}, "the labels 'Yes' and 'yes' differ only in case"),
        ("Anna", ["f", "m"], {"labels_of": "words"}, "Each line has one word, so that the model sees no other words"),
        ("a " * 30, ["f", "m"], {}, "The longest training line has 31 tokens, but `seqlab label` reads at most"),
        ("sentence", ["Class", "m"], {}, "{folder}/src and {folder}/tgt, line 1: looks like a header (sent"),
        ("id7\ta b", ["f", "m"], {}, "{folder}/src: each line has a tab, which is read as a space: for one of several"),
        ("a b c", ["f", "m"], {}, ""),
    ],
)
def test_text_and_labels_that_a_model_cannot_learn_as_meant_are_reported(
    text: str,
    labels: list[str],
    settings: dict[str, Any],
    warning: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = [text if text == "sentence" and i == 0 else text + chr(ord("a") + i % 26) for i in range(80)]
    (tmp_path / "src").write_text("\n".join(texts), encoding="utf-8")
    (tmp_path / "tgt").write_text("\n".join(labels[i % len(labels)] if i else labels[0] for i in range(80)))
    data = LabellingConfig(train_src=[f"{tmp_path}/src"], train_tgt=[f"{tmp_path}/tgt"], **settings)
    config = Config(
        data=data,
        model=LabelerConfig(
            encoder=TransformerEncoderConfig(d_model=128, d_ff=512, num_layers=2, dropout=0.3, max_length=20)
        ),
    )
    sides: tuple[Side, ...] = ("src", "tgt")
    tokenizers = [
        train_tokenizer(each, training_lines(data, side)) for each, side in zip(data.tokenizers, sides, strict=True)
    ]
    LabellingTask().prepare(config, tokenizers, tmp_path / "cache", no_progress)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    warning = warning.format(folder=tmp_path)
    assert [each[: len(warning)] for each in warnings] == [warning] * bool(warning)


def test_texts_that_are_not_divided_into_words_are_reported_but_labels_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, line in (("src", "我们今天去北京大学图书馆"), ("tgt", "没有任何意见的句子")):
        (tmp_path / name).write_text("".join(f"{line}{i % 9}\n" for i in range(40)), encoding="utf-8")
    data = LabellingConfig(train_src=[f"{tmp_path}/src"], train_tgt=[f"{tmp_path}/tgt"])
    LabellingTask().write_codecs(
        Config(
            data=data,
            model=LabelerConfig(encoder=TransformerEncoderConfig(d_model=128, d_ff=512, num_layers=2, dropout=0.3)),
        ),
        RunFolder(tmp_path / "run"),
        no_progress,
    )
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning.startswith(f"{tmp_path}/src is written without spaces between words")


@pytest.mark.parametrize(("labels_of", "count"), [("lines", 2), ("words", 0)])
def test_lines_with_other_spaces_are_counted(tmp_path: Path, labels_of: str, count: int) -> None:
    """Words with labels are read as they are: a word may consist of a zero-width space."""
    lines, labels = ["a b", "a\u00a0b", " b", "a"], ["X", "Y", "X", "Y"]
    if labels_of == "words":
        labels = ["X Y", "X Y", "X", "Y"]
    config = make_config(tmp_path, lines, labels, labels_of=labels_of, valid_fraction=0.3)
    data, _ = prepare_labeled(config, tmp_path)
    assert sum(note.count for note in data.reading) == count


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat", "NaN", "dog"], r"line 2: the label is missing \(it is 'NaN'\)"),
        (["cat", "N/A", "dog"], r"line 2: the label is missing \(it is 'N/A'\)"),
        (["1", "1.0", "2"], r"line \d: the classes '1(\.0)?' and '1(\.0)?' are the same value"),
        (["01", "1"], r"line \d: the classes '0?1' and '0?1' are the same value"),
    ],
)
def test_labels_of_lines_that_are_missing_or_twice_are_refused(labels: list[str], message: str, tmp_path: Path) -> None:
    """As by tables; an empty label leaves its line out."""
    lines = [f"text {i} of {i % 7}" for i in range(60)]
    data = make_config(tmp_path, lines, [labels[i % len(labels)] for i in range(60)])
    config = Config(
        data=data,
        model=LabelerConfig(encoder=TransformerEncoderConfig(d_model=128, d_ff=512, num_layers=2, dropout=0.3)),
    )
    with pytest.raises(ValueError, match=rf"{tmp_path}/tgt, {message}"):
        LabellingTask().write_codecs(config, RunFolder(tmp_path / "run"), no_progress)


@pytest.mark.parametrize(
    ("label", "message"),
    [("NaN", r"the label is missing \(it is 'NaN'\)"), ("2.0", r"the classes '2' and '2\.0' are the same value")],
)
def test_labels_of_validation_that_are_missing_or_spelled_otherwise_are_refused(
    label: str, message: str, tmp_path: Path
) -> None:
    valid = {
        "valid_src": write_lines(tmp_path / "vs", ["a b", "c d"]),
        "valid_tgt": write_lines(tmp_path / "vt", ["1", label]),
    }
    config = make_config(tmp_path, ["a b", "b a"], ["1", "2"], **valid)
    with pytest.raises(ValueError, match=rf"vt, line 2: {message}"):
        prepare_labeled(config, tmp_path)


@pytest.mark.parametrize(
    ("labels", "doubtful"),
    [(["NA", "DE", "US"], ["NA"]), (["+", "-"], []), (["none", "mild"], ["none"]), (["Unknown"], ["Unknown"])],
)
def test_labels_that_may_be_missing_but_are_meant_are_logged(
    labels: list[str], doubtful: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        note_doubtful_labels(labels)
    assert label_fault(labels) is None
    assert [record.args for record in caplog.records] == [(name,) for name in doubtful]
