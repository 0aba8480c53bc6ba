"""Grapheme-to-phoneme conversion: LSTM with attention, Transformer, and non-autoregressive Transformers.

Six languages from Wiktionary (Ashby et al. 2021), and English from the CMU Pronouncing Dictionary.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from seqlab.corpora import cmudict, locate
from seqlab.corpora.g2p2021 import LANGUAGES
from seqlab.recipes.character_level import LSTM, TRANSFORMER, WordModel, non_autoregressive_models, word_recipes
from seqlab.recipes.run_data import generated_data
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, WordsConfig

MODELS = [
    WordModel(
        "",
        replace(LSTM, tied_embeddings="decoder", dropout=0.4),
        2e-3,
        4000,
        512,
        "a bidirectional LSTM with attention",
    ),
    WordModel(
        "_transformer",
        replace(TRANSFORMER, tied_embeddings="decoder", dropout=0.3),
        2e-3,
        4000,
        1024,
        "a Transformer",
    ),
    *non_autoregressive_models(0.3, 4000, 1024),
]
CMUDICT_MODELS = [
    WordModel(
        "",
        replace(LSTM, hidden_size=512, embedding_size=256, tied_embeddings="decoder", dropout=0.3),
        1e-3,
        8000,
        2048,
        "a bidirectional LSTM with attention",
    ),
    WordModel(
        "_transformer",
        replace(TRANSFORMER, tied_embeddings="decoder", dropout=0.15),
        2e-3,
        24_000,
        2048,
        "a Transformer",
    ),
    *non_autoregressive_models(0.1, 12_000, 2048),
]
"""Larger models and more steps, for ten times as many words."""


def _words(files: Mapping[str, Path], pronunciations: int = 1) -> TranslationConfig:
    """Read letters (decomposed by Unicode NFD) and phonemes from the columns of a table for each split."""
    return TranslationConfig(
        train_src=[f"{files['train']}#0"],
        train_tgt=[f"{files['train']}#1"],
        valid_src=f"{files['valid']}#0",
        valid_tgt=[f"{files['valid']}#{column}" for column in range(1, pronunciations + 1)],
        test_src=[f"{files['test']}#0"],
        test_tgt=[f"{files['test']}#1"],
        tokenizer=CharactersConfig(normalization="nfd"),
        tokenizer_tgt=WordsConfig(normalization="none"),
        joint_vocabulary=False,
        max_length_ratio=20.0,
        batch_tokens=512,
    )


def _wiktionary(language: str, run_dir: str | Path) -> TranslationConfig:
    """Return the data config of a language.

    English has four times as many words as the other languages, and larger steps. Korean inputs have the composed
    syllables as well as their letters, since most errors are in vowel length, which letters do not show.
    """
    splits = locate("g2p2021")
    words = _words({split: files[language] for split, files in splits.items()})
    match language:
        case "eng_us":
            return replace(words, batch_tokens=2048)
        case "kor":
            return replace(words, tokenizer=CharactersConfig(normalization="nfc+nfd"))
        case _:
            return words


def _cmudict(name: str, run_dir: str | Path) -> TranslationConfig:
    """Write CMUdict to `run_dir/data`, and return its data config."""
    folder = generated_data(run_dir, cmudict.write, name)
    return _words({split: folder / f"{split}.tsv" for split in ("train", "valid", "test")}, cmudict.MAX_PRONUNCIATIONS)


G2P_RECIPES = [
    *word_recipes(
        "g2p",
        [(code, f"{name} spelling to pronunciation") for code, name in LANGUAGES.items()],
        MODELS,
        _wiktionary,
    ),
    *word_recipes("g2p", [("cmudict", "English spelling to pronunciation (CMUdict)")], CMUDICT_MODELS, _cmudict),
]
