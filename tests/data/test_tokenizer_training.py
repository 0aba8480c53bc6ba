"""Training of tokenizers on the training text: warnings about its words."""

from pathlib import Path

import pytest

from seqlab.data.tokenizer_training import train_or_load_tokenizer
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import WordsConfig


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
