"""Classifiers of recordings: an encoder of frames, pooling over time, and a linear output layer.

Shapes: B recordings, F frames of M bands, L labels.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, SequencePooling, WarmStart
from seqlab.models.encoder import EncoderConfig
from seqlab.models.frame_input import FrameModelConfig, FrameSide
from seqlab.models.output_head import OutputHead
from seqlab.models.predictor import TargetSide
from seqlab.models.recurrent_encoder import RecurrentEncoderConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RecordingLabelerConfig(FrameModelConfig):
    """A labeler of recordings: an encoder of frames, pooling over time, and a linear output layer."""

    family: Literal["recording_labeler"] = "recording_labeler"
    """Name of the model family."""
    encoder: EncoderConfig = Field(
        default_factory=lambda: RecurrentEncoderConfig(
            family="gru", hidden_size=320, num_layers=3, dropout=0.2, output_dropout=0.2
        )
    )
    """Encoder, chosen by its `family`."""
    pooling: SequencePooling = "mean"
    """Pooling of the encoder's outputs over time: `mean` or `max`."""
    output_dropout: Probability = 0.2
    """Dropout probability before the output layer."""

    tasks: ClassVar[tuple[str, ...]] = ("recording_labels",)
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "softmax"

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: its outputs depend on the labels."""
        return replace(super().warm_start, excluded=("head.",))

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of labels."""
        return int(tgt.size)

    def build(self, src: FrameSide, tgt: TargetSide) -> "RecordingLabeler":
        """Build the model."""
        return RecordingLabeler(self, src.num_bands, tgt.size)


class RecordingLabeler(nn.Module):
    """Classifier of recordings; implements `Predictor`."""

    def __init__(self, config: RecordingLabelerConfig, bands: int, labels: int) -> None:
        super().__init__()
        self.input = config.build_input(bands)
        self.encoder = config.encoder.build(config.vector_size)
        config.encoder.init_weights(self.encoder)
        self.head = OutputHead(self.encoder.output_size, labels, config.pooling, config.output_dropout)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the logits of a batch: (B, L)."""
        x, lengths = self.input(batch.src, batch.src_lengths)
        hidden, lengths = self.encoder(self.encoder.enter(x), lengths)
        logits: Tensor = self.head(hidden, lengths)
        return logits
