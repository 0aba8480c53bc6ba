"""Model architectures. Each file holds one architecture: its config, which builds it, and its module.

Language models, labelers, predictors and recognizers are an encoder and a head: see `seqlab.models.encoder`.

To add a model, write a config (a subclass of `ModelConfig`) and a module with the methods of a protocol: `Stepper` for
decoding, `Scorer` for scoring. Names are imported lazily, at first use. `seqlab.registry` lists the model families.
"""

from typing import Any

import lazy_loader

_import_lazily, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_ENCODERS_OF = {
    "LabelerConfig": ("Labeller", ("Rnn", "Lstm", "Gru", "Cnn", "Transformer")),
    "RecordingLabelerConfig": ("RecordingLabeller", ("Lstm", "Gru", "Cnn", "Transformer")),
    "RecognizerConfig": ("Recogniser", ("Lstm", "Gru", "Transformer")),
    "EncoderPredictorConfig": ("Predictor", ("Rnn", "Lstm", "Gru", "Transformer")),
    "EncoderLmConfig": ("Lm", ("Rnn", "Lstm", "Gru")),
}
RENAMED = {
    **{
        f"{kind}{older}Config": f"{model}(encoder={kind}EncoderConfig(...))"
        for model, (older, kinds) in _ENCODERS_OF.items()
        for kind in kinds
    },
    "CnnRecordingLabellerConfig": "RecordingLabelerConfig(depth=2, encoder=LinearEncoderConfig(activation='relu'))",
    "MlpConfig": "EncoderPredictorConfig(encoder=MlpEncoderConfig(...))",
    "LinearConfig": "EncoderPredictorConfig(encoder=LinearEncoderConfig())",
    **dict.fromkeys(("LabellerConfig", "LabellingModel"), "an encoder (`EncoderConfig`, `Encoder`) of `LabelerConfig`"),
    **dict.fromkeys(("RecurrentLabeller", "CnnLabeller", "TransformerLabeller"), "Labeler"),
    **{"RecordingLabeller": "RecordingLabeler", "Recogniser": "Recognizer", "RecurrentLm": "CarryingLm"},
    **dict.fromkeys(("Mlp", "LinearPredictor", "RecurrentPredictor", "TransformerPredictor"), "EncoderPredictor"),
}
"""Name up to version 0.3.0 -> what replaces it."""


def __getattr__(name: str) -> Any:
    """Import a name at its first use; raise ImportError for a name of version 0.3.0, which names its replacement."""
    if name in RENAMED:
        raise ImportError(f"`seqlab.models.{name}` is now {RENAMED[name]}: see docs/how_to/model_families.md#encoders.")
    return _import_lazily(name)
