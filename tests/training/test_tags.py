"""Unknown tags and sources without tags are reported with file and line before the first step."""

import logging
from pathlib import Path
from typing import Any

import pytest

from seqlab.models import RecurrentConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, SavedConfig, SentencePieceBpeConfig, train_tokenizer
from seqlab.training import train

TRAIN = [f"w{i}\tV;PST\tw{i}ed" for i in range(20)]


def train_on(
    folder: Path, train_lines: list[str], valid_lines: list[str], tgt: str = "2", model: Any = None, **options: Any
) -> None:
    for split, lines in (("train", train_lines), ("valid", valid_lines)):
        (folder / f"{split}.tsv").write_text("".join(f"{line}\n" for line in lines))
    data = TranslationConfig(
        train_src=[f"{folder}/train.tsv#0+1"],
        train_tgt=[f"{folder}/train.tsv#{tgt}"],
        valid_src=f"{folder}/valid.tsv#0+1",
        valid_tgt=[f"{folder}/valid.tsv#{tgt}"],
        **{"tokenizer": CharactersConfig(tags=True), **options},
    )
    training = TrainingConfig(max_steps=1, save_every=1, valid_every=1, device="cpu", threads=1)
    config = Config(data=data, model=RecurrentConfig(family="gru", hidden_size=16, **(model or {})), training=training)
    train(config, folder / "run")


def warnings_of(folder: Path, train_lines: list[str], valid_lines: list[str], caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        train_on(folder, train_lines, valid_lines)
    return "\n".join(message for record in caplog.records if " tag" in (message := record.getMessage()))


def test_unknown_tags_are_reported_with_file_and_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    message = warnings_of(tmp_path, TRAIN, ["walk\tV;PST\twalked", "sing\tV;FUT\tsang"], caplog)
    assert "'FUT'" in message
    assert "\n" not in message
    assert f"{tmp_path}/valid.tsv#0+1 and {tmp_path}/valid.tsv#2, line 2" in message


def test_sources_without_tags_are_counted_and_the_first_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untagged = ["go\t\twent", "see\t\tsaw"]
    message = warnings_of(tmp_path, [*TRAIN[:3], *untagged, *TRAIN[3:]], [TRAIN[0], untagged[0]], caplog)
    training, validation = message.splitlines()
    assert training.startswith("2 of 22 training pairs have no tags")
    assert training.endswith("#2, line 4.")
    assert validation.startswith("1 of 2 validation pairs have no tags")
    assert validation.endswith("#2, line 2.")


def test_a_source_without_any_tags_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    message = warnings_of(tmp_path, [f"w{i}\t\tw{i}ed" for i in range(20)], [TRAIN[0]], caplog)
    assert "20 of 20 training pairs have no tags after a tab in their source (is a column missing?)" in message


def test_targets_with_tags_are_refused(tmp_path: Path) -> None:
    """Outputs have no tags."""
    with pytest.raises(ValueError, match=r"train\.tsv#0\+1, line 2: its target has tags after a tab"):
        train_on(tmp_path, ["a\t\tb", *TRAIN], TRAIN[:2], tgt="0+1")
    with pytest.raises(ValueError, match=r"valid\.tsv#1\+2, line 2: its target has tags after a tab"):
        train_on(tmp_path, ["a\tb\t"] * 20, ["b\tc\t", "a\tc\tV"], tgt="1+2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": "sum"}, "`model.tags: sum` needs a source with tags, but the tokenizer taken from another run"),
        ({"copying": True}, "`data.copy_unknown` needs a tokenizer with unknown words"),
    ],
)
def test_a_copied_tokenizer_must_support_the_config(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    train_tokenizer(SentencePieceBpeConfig(vocab_size=279), TRAIN).save(tmp_path / "bpe")
    saved = SavedConfig(folder=str(tmp_path / "bpe"))
    with pytest.raises(ValueError, match=message):
        train_on(tmp_path, TRAIN, TRAIN[:2], model=options, tokenizer=saved, copy_unknown="copying" in options)
