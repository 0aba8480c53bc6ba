"""Model architectures. Each file holds one architecture: its config, which builds it, and its module.

Language models, labelers, predictors and recognizers are an encoder and a head: see `seqlab.models.encoder`.

To add a model, write a config (a subclass of `ModelConfig`) and a module with the methods of a protocol:
`seqlab.search.Stepper` for decoding, `seqlab.inference.Scorer` for scoring. Names are imported lazily, at first use.
`seqlab.registry` lists the model families.
"""

from typing import Any

import lazy_loader

_import_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_RECURRENT = {kind: f"RecurrentEncoderConfig(family='{kind.lower()}')" for kind in ("Rnn", "Lstm", "Gru")}
_ENCODERS = {**_RECURRENT, "Cnn": "CnnEncoderConfig(...)", "Transformer": "TransformerEncoderConfig(...)"}
_ENCODERS_OF = {
    "LabelerConfig": ("Labeller", _ENCODERS),
    "RecordingLabelerConfig": ("RecordingLabeller", _ENCODERS),
    "RecognizerConfig": ("Recogniser", _ENCODERS),
    "EncoderPredictorConfig": ("Predictor", _ENCODERS),
    "EncoderLmConfig": ("Lm", _RECURRENT),
}
RENAMED = {
    **{
        f"{kind}{older}Config": f"{model}(encoder={encoder})"
        for model, (older, kinds) in _ENCODERS_OF.items()
        for kind, encoder in kinds.items()
    },
    **{f"{kind}Config": f"RecurrentConfig(family='{kind.lower()}')" for kind in ("Rnn", "Lstm", "Gru")},
    "CnnRecordingLabellerConfig": "RecordingLabelerConfig(depth=2, encoder=LinearEncoderConfig(activation='relu'))",
    "TransformerMlmConfig": "EncoderLmConfig(encoder=TransformerEncoderConfig(...))",
    "TransformerMlm": "MaskedLm",
    "MlpConfig": "EncoderPredictorConfig(encoder=MlpEncoderConfig(...))",
    "LinearConfig": "EncoderPredictorConfig(encoder=LinearEncoderConfig())",
    **dict.fromkeys(("LabellerConfig", "LabellingModel"), "an encoder (`EncoderConfig`, `Encoder`) of `LabelerConfig`"),
    **dict.fromkeys(("RecurrentLabeller", "CnnLabeller", "TransformerLabeller"), "Labeler"),
    **{"RecordingLabeller": "RecordingLabeler", "Recogniser": "Recognizer", "RecurrentLm": "CarryingLm"},
    **dict.fromkeys(("Mlp", "LinearPredictor", "RecurrentPredictor", "TransformerPredictor"), "EncoderPredictor"),
}
"""Name up to version 0.3.0 -> what replaces it."""
MOVED = {
    **dict.fromkeys(("FrameModel", "PositionModel", "StaticStepper", "Stepper"), "seqlab.search"),
    **dict.fromkeys(("MixingDecoder", "Predictor"), "seqlab.objectives"),
    "Scorer": "seqlab.inference",
    "CarryingScorer": "seqlab.tasks.language_modelling.text_scorer",
    "CorpusReader": "seqlab.training.train",
    "CountBasedModel": "seqlab.runs.load",
    "EmbeddingModel": "seqlab.training.vector_initialization",
    "Labeller": "seqlab.tasks.labelling.text_labeler",
    "missing_methods": "seqlab.search.protocols",
    **dict.fromkeys(("IMPOSSIBLE_LOG_PROB", "NEG_INF", "SCORING_BLOCK_ROWS"), "seqlab.models.outputs"),
    **dict.fromkeys(("DecoderOutput", "FrameLogProbs", "FrameOutput", "Glance"), "seqlab.models.outputs"),
    **dict.fromkeys(("PositionOutput", "Projection", "TargetLengths"), "seqlab.models.outputs"),
    **dict.fromkeys(("InputMixing", "Mixture"), "seqlab.nn.input_mixing"),
    "IGNORE": "seqlab.data.batch",
    "padding_mask": "seqlab.nn.masks",
}
"""Name that `seqlab.models.interfaces` offered up to version 0.3.0 -> module that offers it."""


def __getattr__(name: str) -> Any:
    """Import a name at its first use; raise ImportError for a name of version 0.3.0, which names its replacement."""
    if name in RENAMED:
        raise ImportError(f"`seqlab.models.{name}` is now {RENAMED[name]}: see docs/how_to/model_families.md#encoders.")
    if name in MOVED and name not in __all__:
        raise ImportError(f"`seqlab.models.{name}` is now `{MOVED[name]}.{name}`.")
    return _import_lazily(name)
