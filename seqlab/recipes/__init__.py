"""Recipes: functions that return the complete config of a run.

A recipe takes the run folder, in which it may write generated data. `from_corpus`, `from_labels` and `from_text` choose
a config for the user's pairs of lines, labeled lines or text.
"""

from collections.abc import Callable
from pathlib import Path

from seqlab.recipes.awd_lstm import ptb_lstm, wikitext2_lstm
from seqlab.recipes.control import CONTROL_RECIPES
from seqlab.recipes.g2p import G2P_RECIPES
from seqlab.recipes.inflection import INFLECTION_RECIPES
from seqlab.recipes.iwslt_wmt import IWSLT_WMT_RECIPES
from seqlab.recipes.labelling import LABELLING_RECIPES
from seqlab.recipes.multi30k import multi30k_en_de, multi30k_en_de_names, multi30k_en_de_rnn, multi30k_mlm
from seqlab.recipes.multi30k_lm import multi30k_lm_en, multi30k_lm_en_gru, multi30k_lm_en_lstm, multi30k_lm_en_ngram
from seqlab.recipes.multi30k_parallel import (
    multi30k_en_de_cmlm,
    multi30k_en_de_deep_shallow,
    multi30k_en_de_nat,
    multi30k_en_de_nat_vanilla,
)
from seqlab.recipes.number_words import number_words
from seqlab.recipes.prediction import PREDICTION_RECIPES
from seqlab.recipes.speech import SPEECH_RECIPES
from seqlab.recipes.tinyshakespeare import (
    tinyshakespeare,
    tinyshakespeare_gru,
    tinyshakespeare_lstm,
    tinyshakespeare_ngram,
)
from seqlab.recipes.wikitext import wikitext2_transformer, wikitext103_transformer
from seqlab.runs.config import Config
from seqlab.tasks.labelling.zero_config import from_labels
from seqlab.tasks.language_modelling.zero_config import from_text
from seqlab.tasks.translation.zero_config import from_corpus

RECIPES: dict[str, Callable[[str | Path], Config]] = {
    recipe.__name__: recipe
    for recipe in (
        number_words,
        multi30k_en_de,
        multi30k_en_de_rnn,
        multi30k_en_de_names,
        multi30k_en_de_nat,
        multi30k_en_de_cmlm,
        multi30k_en_de_nat_vanilla,
        multi30k_en_de_deep_shallow,
        multi30k_mlm,
        *IWSLT_WMT_RECIPES,
        *G2P_RECIPES,
        *INFLECTION_RECIPES,
        *LABELLING_RECIPES,
        *PREDICTION_RECIPES,
        *SPEECH_RECIPES,
        *CONTROL_RECIPES,
        multi30k_lm_en,
        multi30k_lm_en_lstm,
        multi30k_lm_en_gru,
        multi30k_lm_en_ngram,
        tinyshakespeare,
        tinyshakespeare_lstm,
        tinyshakespeare_gru,
        tinyshakespeare_ngram,
        ptb_lstm,
        wikitext2_lstm,
        wikitext2_transformer,
        wikitext103_transformer,
    )
}

__all__ = ["RECIPES", "from_corpus", "from_labels", "from_text", *(name for name in RECIPES if name in globals())]
