"""Architectures: a batch in, outputs out. One file holds one architecture: its config, which builds it, and its module.

A model of your own is a config (`ModelConfig`) and a module that has the methods of a protocol: a `Stepper` is decoded
with, a `Scorer` scores. A name is imported when it is asked for. Which families there are says `seqlab.registry`.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.models.config import (
        SETTINGS,
        LanguageModelConfig,
        ModelConfig,
        Probability,
        Size,
        TokenSide,
        Unreachable,
    )
    from seqlab.models.frequency_labeller import FrequencyLabeller, FrequencyLabellerConfig
    from seqlab.models.interfaces import (
        CarryingScorer,
        FrameModel,
        Labeller,
        PositionModel,
        Scorer,
        State,
        Step,
        Stepper,
    )
    from seqlab.models.labelling import LabellerConfig, LabellingModel
    from seqlab.models.ngram import NgramConfig, NgramModel
    from seqlab.models.outputs import DecoderOutput, FrameOutput, Frames, PositionOutput, TensorState
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
    from seqlab.models.uncached import UncachedLm, UncachedTranslator

__all__ = [
    "SETTINGS",
    "CarryingScorer",
    "DecoderOutput",
    "FrameModel",
    "FrameOutput",
    "Frames",
    "FrequencyLabeller",
    "FrequencyLabellerConfig",
    "GruConfig",
    "GruLabellerConfig",
    "GruLmConfig",
    "Labeller",
    "LabellerConfig",
    "LabellingModel",
    "LanguageModelConfig",
    "LstmConfig",
    "LstmLabellerConfig",
    "LstmLmConfig",
    "ModelConfig",
    "NgramConfig",
    "NgramModel",
    "PositionModel",
    "PositionOutput",
    "Probability",
    "RecurrentLabeller",
    "RecurrentLm",
    "RecurrentTranslator",
    "RnnConfig",
    "RnnLabellerConfig",
    "RnnLmConfig",
    "Scorer",
    "Size",
    "State",
    "Step",
    "Stepper",
    "TensorState",
    "TokenSide",
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
    "UncachedLm",
    "UncachedTranslator",
    "Unreachable",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "SETTINGS": "config",
            "CarryingScorer": "interfaces",
            "DecoderOutput": "outputs",
            "FrameModel": "interfaces",
            "FrameOutput": "outputs",
            "Frames": "outputs",
            "FrequencyLabeller": "frequency_labeller",
            "FrequencyLabellerConfig": "frequency_labeller",
            "GruConfig": "recurrent",
            "GruLabellerConfig": "recurrent_labeller",
            "GruLmConfig": "recurrent_lm",
            "Labeller": "interfaces",
            "LabellerConfig": "labelling",
            "LabellingModel": "labelling",
            "LanguageModelConfig": "config",
            "LstmConfig": "recurrent",
            "LstmLabellerConfig": "recurrent_labeller",
            "LstmLmConfig": "recurrent_lm",
            "ModelConfig": "config",
            "NgramConfig": "ngram",
            "NgramModel": "ngram",
            "PositionModel": "interfaces",
            "PositionOutput": "outputs",
            "Probability": "config",
            "RecurrentLabeller": "recurrent_labeller",
            "RecurrentLm": "recurrent_lm",
            "RecurrentTranslator": "recurrent",
            "RnnConfig": "recurrent",
            "RnnLabellerConfig": "recurrent_labeller",
            "RnnLmConfig": "recurrent_lm",
            "Scorer": "interfaces",
            "Size": "config",
            "State": "interfaces",
            "Step": "interfaces",
            "Stepper": "interfaces",
            "TensorState": "outputs",
            "TokenSide": "config",
            "Transformer": "transformer",
            "TransformerCmlmConfig": "transformer_nat",
            "TransformerConfig": "transformer",
            "TransformerCtc": "transformer_ctc",
            "TransformerCtcConfig": "transformer_ctc",
            "TransformerLabeller": "transformer_labeller",
            "TransformerLabellerConfig": "transformer_labeller",
            "TransformerLm": "transformer_lm",
            "TransformerLmConfig": "transformer_lm",
            "TransformerMlm": "transformer_mlm",
            "TransformerMlmConfig": "transformer_mlm",
            "TransformerNat": "transformer_nat",
            "TransformerNatConfig": "transformer_nat",
            "UncachedLm": "uncached",
            "UncachedTranslator": "uncached",
            "Unreachable": "config",
        },
    )
