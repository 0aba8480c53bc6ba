"""Labellers of whole recordings: an encoder of frames, their mean or maximum, and a score for each label.

Shapes: B recordings, F frames of M bands, K labels.
"""

from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, SequencePooling
from seqlab.models.frame_encoders import (
    ConvolutionFramesConfig,
    FrameEncoder,
    FrameEncoderConfig,
    FrameSide,
    RecurrentFramesConfig,
    TransformerFramesConfig,
)
from seqlab.models.predictor import TargetSide
from seqlab.nn.layers import Dropout, Linear
from seqlab.nn.masks import padding_mask
from seqlab.nn.recurrent import RecurrentKind


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecordingLabellerConfig(FrameEncoderConfig):
    """The base of the families that give a recording one label."""

    pooling: SequencePooling = "mean"
    """How the features of all frames become those of the recording."""
    output_dropout: Probability = 0.2
    """Probability of dropping a feature of a recording."""

    task: ClassVar[str] = "recording_labels"
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "softmax"
    warm_start_excludes: ClassVar[tuple[str, ...]] = ("project.",)

    def build(self, src: FrameSide, tgt: TargetSide) -> "RecordingLabeller":
        """Build the model."""
        encoder = self.build_encoder(src.num_bands)
        return RecordingLabeller(encoder, tgt.size, self.pooling, self.output_dropout)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CnnRecordingLabellerConfig(ConvolutionFramesConfig, RecordingLabellerConfig):
    """A labeller of residual convolutions."""

    family: Literal["cnn_recording_labeller"] = "cnn_recording_labeller"
    """Which architecture this is."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LstmRecordingLabellerConfig(RecurrentFramesConfig, RecordingLabellerConfig):
    """A labeller of bidirectional LSTMs."""

    family: Literal["lstm_recording_labeller"] = "lstm_recording_labeller"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "lstm"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GruRecordingLabellerConfig(RecurrentFramesConfig, RecordingLabellerConfig):
    """A labeller of bidirectional gated recurrent units."""

    family: Literal["gru_recording_labeller"] = "gru_recording_labeller"
    """Which architecture this is."""
    kind: ClassVar[RecurrentKind] = "gru"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerRecordingLabellerConfig(TransformerFramesConfig, RecordingLabellerConfig):
    """A labeller of self-attention."""

    family: Literal["transformer_recording_labeller"] = "transformer_recording_labeller"
    """Which architecture this is."""


class RecordingLabeller(nn.Module):
    """A `Predictor`."""

    def __init__(self, encoder: FrameEncoder, labels: int, pooling: SequencePooling, dropout: float) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.dropout = Dropout(dropout)
        self.project = Linear(encoder.output_size, labels)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Score a batch: (B, K)."""
        hidden, lengths = self.encoder(batch.src, batch.src_lengths)
        is_padding = padding_mask(lengths, hidden.size(1))[..., None]
        if self.pooling == "mean":
            pooled = hidden.masked_fill(is_padding, 0).sum(1) / lengths[:, None]
        else:
            pooled = hidden.masked_fill(is_padding, -torch.inf).amax(1)
        scores: Tensor = self.project(self.dropout(pooled))
        return scores
