"""Small recurrent language models."""

from typing import Any

from seqlab.models import EncoderLmConfig, RecurrentEncoderConfig
from seqlab.nn.recurrent import RecurrentKind


def recurrent_lm(family: RecurrentKind, hidden_size: int = 16, num_layers: int = 2, **fields: Any) -> EncoderLmConfig:
    """Return the config of a language model of recurrent layers with dropout."""
    sizes: dict[str, Any] = {"hidden_size": hidden_size, "num_layers": num_layers, "bidirectional": False}
    return EncoderLmConfig(
        encoder=RecurrentEncoderConfig(family=family, **sizes, dropout=0.1, output_dropout=0.1), **fields
    )
