"""Classifiers of recordings: an encoder of frames, pooling over time, and a linear output layer.

Shapes: B recordings, F frames of M bands, L labels.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, SequencePooling
from seqlab.models.frame_encoders import (
    ConvolutionFrameEncoderConfig,
    FrameEncoder,
    FrameEncoderConfig,
    FrameSide,
    RecurrentFrameEncoderConfig,
    TransformerFrameEncoderConfig,
)
from seqlab.models.predictor import TargetSide
from seqlab.nn.layers import Dropout, Linear
from seqlab.nn.masks import padding_mask
from seqlab.nn.recurrent import RecurrentKind


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecordingLabellerConfig(FrameEncoderConfig):
    """Base class of the configs of models that label recordings."""

    pooling: SequencePooling = "mean"
    """Pooling of the encoder's outputs over time: `mean` or `max`."""
    output_dropout: Probability = 0.2
    """Dropout probability before the output layer."""

    task: ClassVar[str] = "recording_labels"
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "softmax"
    warm_start_excludes: ClassVar[tuple[str, ...]] = ("project.",)

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of labels."""
        return int(tgt.size)

    def build(self, src: FrameSide, tgt: TargetSide) -> "RecordingLabeller":
        """Build the model."""
        encoder = self.build_encoder(src.num_bands)
        return RecordingLabeller(encoder, tgt.size, self.pooling, self.output_dropout)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnRecordingLabellerConfig(ConvolutionFrameEncoderConfig, RecordingLabellerConfig):
    """A labeller of recordings with residual convolutions."""

    family: Literal["cnn_recording_labeller"] = "cnn_recording_labeller"
    """Name of the model family."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmRecordingLabellerConfig(RecurrentFrameEncoderConfig, RecordingLabellerConfig):
    """A labeller of recordings with bidirectional LSTM layers."""

    family: Literal["lstm_recording_labeller"] = "lstm_recording_labeller"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruRecordingLabellerConfig(RecurrentFrameEncoderConfig, RecordingLabellerConfig):
    """A labeller of recordings with bidirectional GRU layers."""

    family: Literal["gru_recording_labeller"] = "gru_recording_labeller"
    """Name of the model family."""
    kind: ClassVar[RecurrentKind] = "gru"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerRecordingLabellerConfig(TransformerFrameEncoderConfig, RecordingLabellerConfig):
    """A labeller of recordings with self-attention."""

    family: Literal["transformer_recording_labeller"] = "transformer_recording_labeller"
    """Name of the model family."""


class RecordingLabeller(nn.Module):
    """Classifier of recordings; implements `Predictor`."""

    def __init__(self, encoder: FrameEncoder, labels: int, pooling: SequencePooling, dropout: float) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.dropout = Dropout(dropout)
        self.project = Linear(encoder.output_size, labels)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the logits of a batch: (B, L)."""
        hidden, lengths = self.encoder(batch.src, batch.src_lengths)
        is_padding = padding_mask(lengths, hidden.size(1))[..., None]
        if self.pooling == "mean":
            pooled = hidden.masked_fill(is_padding, 0).sum(1) / lengths[:, None]
        else:
            pooled = hidden.masked_fill(is_padding, -torch.inf).amax(1)
        logits: Tensor = self.project(self.dropout(pooled))
        return logits
