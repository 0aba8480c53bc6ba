"""Morphological inflection in six languages (Cotterell et al. 2017): lemma and features to the inflected form."""

from dataclasses import replace
from pathlib import Path

from seqlab.corpora import locate
from seqlab.corpora.inflection2017 import LANGUAGES
from seqlab.recipes.character_level import LSTM, TRANSFORMER, WordModel, non_autoregressive_models, word_recipes
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig

MODELS = [
    WordModel(
        "",
        replace(LSTM, dropout=0.3),
        2e-3,
        8000,
        1024,
        "a bidirectional LSTM with attention",
    ),
    WordModel(
        "_transformer",
        replace(TRANSFORMER, dropout=0.2, tags="sum"),
        2e-3,
        4000,
        2048,
        "a Transformer",
    ),
    *non_autoregressive_models(0.2, 4000, 2048),
]


def _words(language: str, run_dir: str | Path) -> TranslationConfig:
    """Read the characters of lemma and form, and one tag per feature."""
    splits = locate("inflection2017")
    train, valid = (str(splits[split][language]) for split in ("train", "valid"))
    return TranslationConfig(
        train_src=[f"{train}#0+2"],
        train_tgt=[f"{train}#1"],
        valid_src=f"{valid}#0+2",
        valid_tgt=[f"{valid}#1"],
        tokenizer=CharactersConfig(normalization="none", tags=True),
        max_length_ratio=20.0,
        batch_tokens=1024,
    )


INFLECTION_RECIPES = word_recipes(
    "inflection",
    [(language, f"{language.capitalize()} lemma and features to the inflected form") for language in LANGUAGES],
    MODELS,
    _words,
)
