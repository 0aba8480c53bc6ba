"""Spelling to sound: a bidirectional LSTM that attends, or a Transformer, also all sounds at once.

Six languages from Wiktionary (Ashby et al. 2021), and English from the CMU Pronouncing Dictionary.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from seqlab.corpora import cmudict, locate
from seqlab.corpora.g2p2021 import LANGUAGES
from seqlab.recipes.run_data import written
from seqlab.recipes.words import LSTM, TRANSFORMER, WordModel, all_at_once, word_recipes
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, WordsConfig

MODELS = [
    WordModel(
        "",
        replace(LSTM, tied_embeddings="decoder", dropout=0.4),
        2e-3,
        4000,
        512,
        "a bidirectional LSTM that attends",
    ),
    WordModel(
        "_transformer",
        replace(TRANSFORMER, tied_embeddings="decoder", dropout=0.3),
        2e-3,
        4000,
        1024,
        "a Transformer",
    ),
    *all_at_once(0.3, 4000, 1024),
]
CMUDICT_MODELS = [
    WordModel(
        "",
        replace(LSTM, hidden_size=512, embedding_size=256, tied_embeddings="decoder", dropout=0.3),
        1e-3,
        8000,
        2048,
        "a bidirectional LSTM that attends",
    ),
    WordModel(
        "_transformer",
        replace(TRANSFORMER, tied_embeddings="decoder", dropout=0.15),
        2e-3,
        24_000,
        2048,
        "a Transformer",
    ),
    *all_at_once(0.1, 12_000, 2048),
]
"""For ten times as many words."""


def _words(files: Mapping[str, Path], pronunciations: int = 1) -> TranslationConfig:
    """Letters, taken apart where Unicode knows their parts, and sounds: columns of a table for each split."""
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
    """Of English there are four times as many words as of the others, which take larger steps.

    Korean reads whole syllables, too: what goes wrong is mostly the length of vowels, which its letters do not show.
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
    """Write the words to `run_dir/data`."""
    folder = written(run_dir, cmudict.write, name)
    return _words({split: folder / f"{split}.tsv" for split in ("train", "valid", "test")}, cmudict.MAX_PRONUNCIATIONS)


G2P_RECIPES = [
    *word_recipes(
        "g2p",
        [(code, f"{name}, from spelling to sound") for code, name in LANGUAGES.items()],
        MODELS,
        _wiktionary,
    ),
    *word_recipes("g2p", [("cmudict", "English of CMUdict, from spelling to sound")], CMUDICT_MODELS, _cmudict),
]
