"""Complete runs as functions that give a config.

A recipe takes the run folder, where it may write generated data; `from_corpus` chooses for a corpus of the user's own.
"""

from collections.abc import Callable
from pathlib import Path

from seqlab.recipes.from_corpus import from_corpus
from seqlab.recipes.multi30k import multi30k_en_de
from seqlab.recipes.number_words import number_words
from seqlab.recipes.tinyshakespeare import tinyshakespeare, tinyshakespeare_ngram
from seqlab.runs.config import Config

RECIPES: dict[str, Callable[[Path], Config]] = {
    "number_words": number_words,
    "multi30k_en_de": multi30k_en_de,
    "tinyshakespeare": tinyshakespeare,
    "tinyshakespeare_ngram": tinyshakespeare_ngram,
}

__all__ = ["RECIPES", "from_corpus", *RECIPES]
