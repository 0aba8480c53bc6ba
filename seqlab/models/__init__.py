"""Architectures: a batch in, outputs out. One file holds one architecture; all families are named here, once."""

from typing import Annotated, get_args

from pydantic import Field

from seqlab.models.family import Family
from seqlab.models.frequency_labeller import FrequencyLabeller, FrequencyLabellerConfig
from seqlab.models.labelling import LabellingModel
from seqlab.models.ngram import NgramConfig, NgramModel
from seqlab.models.recurrent import GruConfig, LstmConfig, RecurrentTranslator, RnnConfig
from seqlab.models.recurrent_labeller import (
    GruLabellerConfig,
    LstmLabellerConfig,
    RecurrentLabeller,
    RnnLabellerConfig,
)
from seqlab.models.recurrent_lm import GruLmConfig, LstmLmConfig, RecurrentLm, RnnLmConfig
from seqlab.models.transformer import Transformer, TransformerConfig
from seqlab.models.transformer_ctc import TransformerCtc, TransformerCtcConfig
from seqlab.models.transformer_labeller import TransformerLabeller, TransformerLabellerConfig
from seqlab.models.transformer_lm import TransformerLm, TransformerLmConfig
from seqlab.models.transformer_mlm import TransformerMlm, TransformerMlmConfig
from seqlab.models.transformer_nat import TransformerCmlmConfig, TransformerNat, TransformerNatConfig

TranslatorConfig = (
    TransformerConfig
    | RnnConfig
    | LstmConfig
    | GruConfig
    | TransformerCtcConfig
    | TransformerNatConfig
    | TransformerCmlmConfig
)
ModelConfig = Annotated[
    TranslatorConfig
    | TransformerLmConfig
    | RnnLmConfig
    | LstmLmConfig
    | GruLmConfig
    | NgramConfig
    | TransformerMlmConfig
    | RnnLabellerConfig
    | LstmLabellerConfig
    | GruLabellerConfig
    | TransformerLabellerConfig
    | FrequencyLabellerConfig,
    Field(discriminator="family"),
]
FAMILIES: dict[str, type[Family]] = {config.family: config for config in get_args(get_args(ModelConfig)[0])}
"""The config of each family by its name."""
LanguageModel = TransformerLm | RecurrentLm | NgramModel
LeftToRight = Transformer | RecurrentTranslator | TransformerCtc
"""Translators that score what comes next."""
Translator = LeftToRight | TransformerNat
AnyLabeller = RecurrentLabeller | TransformerLabeller | FrequencyLabeller
Model = Translator | TransformerMlm | LanguageModel | AnyLabeller

__all__ = [
    "FAMILIES",
    "AnyLabeller",
    "Family",
    "FrequencyLabeller",
    "FrequencyLabellerConfig",
    "GruConfig",
    "GruLabellerConfig",
    "GruLmConfig",
    "LabellingModel",
    "LanguageModel",
    "LeftToRight",
    "LstmConfig",
    "LstmLabellerConfig",
    "LstmLmConfig",
    "Model",
    "ModelConfig",
    "NgramConfig",
    "NgramModel",
    "RecurrentLabeller",
    "RecurrentLm",
    "RecurrentTranslator",
    "RnnConfig",
    "RnnLabellerConfig",
    "RnnLmConfig",
    "Transformer",
    "TransformerCmlmConfig",
    "TransformerConfig",
    "TransformerCtc",
    "TransformerCtcConfig",
    "TransformerLabeller",
    "TransformerLabellerConfig",
    "TransformerLm",
    "TransformerLmConfig",
    "TransformerMlm",
    "TransformerMlmConfig",
    "TransformerNat",
    "TransformerNatConfig",
    "Translator",
    "TranslatorConfig",
]
