"""Training of tokenizers on the training text: warnings about its words."""

from pathlib import Path

import pytest

from seqlab.data.tokenizer_training import Side, train_or_load_tokenizer
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, WordsConfig


@pytest.mark.parametrize("mark", ["\ufeff", "\u200f", "\u00ad", ""])
def test_words_with_invisible_characters_are_reported(
    mark: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For example the first word of a file that was joined to another one, with its byte order mark."""
    (tmp_path / "text").write_text("".join(f"a word {i}\n" for i in range(40)) + f"{mark}word\n" * 2, encoding="utf-8")
    text = f"{tmp_path}/text"
    config = LanguageModellingConfig(train=[text], valid=[text], tokenizer=WordsConfig())
    train_or_load_tokenizer(config, "both", tmp_path / "cache")
    assert ("1 words differ from others only in invisible characters" in caplog.text) == bool(mark)


@pytest.mark.parametrize("text", ["我们今天去北京大学图书馆看书学习", "ผมไปโรงเรียนทุกวันจันทร์ครับ"])
@pytest.mark.parametrize(("side", "file"), [("src", "zh"), ("tgt", None), ("both", "zh")])
def test_text_that_is_not_divided_into_words_is_reported_by_file(
    side: Side, file: str | None, text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, line in (("zh", text), ("en", "we read in the library today")):
        (tmp_path / name).write_text("".join(f"{line} {i}\n" for i in range(40)), encoding="utf-8")
    corpus = {"train_src": [f"{tmp_path}/zh"], "train_tgt": [f"{tmp_path}/en"]}
    config = TranslationConfig(**corpus, tokenizer=WordsConfig())  # type: ignore[arg-type]
    train_or_load_tokenizer(config, side, tmp_path / "cache")
    expected = f"{tmp_path}/{file} is written without spaces between words" if file else ""
    assert expected in caplog.text
    assert caplog.text.count("without spaces") == bool(file)
    caplog.clear()
    train_or_load_tokenizer(config, side, tmp_path / "cache", is_text=False)
    characters = TranslationConfig(**corpus, tokenizer=CharactersConfig())  # type: ignore[arg-type]
    train_or_load_tokenizer(characters, side, tmp_path / "cache")
    assert "without spaces" not in caplog.text
