"""Predictors of numbers, classes or labels: the base class of their configs, and an encoder with a linear layer.

Shapes: B examples, F frames of D features each (a table row is one frame), C channels, H and W height and width,
O outputs (numbers, classes or labels).
"""

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, ModelConfig, Size, WarmStart
from seqlab.models.dense_encoder import MlpEncoderConfig
from seqlab.models.encoder import EncoderConfig, EncoderModelConfig
from seqlab.models.output_head import OutputHead, PooledBy
from seqlab.models.vector_input import VectorInput


class InputSide(Protocol):
    """Source side of numeric inputs: the property that a model needs."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an example: (F, D), or (C, H, W)."""
        ...


class TargetSide(Protocol):
    """Target side of numbers, classes or labels: the property that a model needs."""

    @property
    def size(self) -> int:
        """O: number of outputs."""
        ...


class PredictorConfig(ModelConfig):
    """Base class of the configs of models that predict numbers, classes or labels."""

    tasks: ClassVar[tuple[str, ...]] = ("prediction", "control")  # in control as an actor or a critic
    outputs: ClassVar[str] = "scores"
    default_objective: ClassVar[str] = "squared_error"

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of classes, numbers or labels."""
        return int(tgt.size)

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if the model does not support examples of this shape."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError if the model does not support the inputs."""
        self.check_inputs(src.shape)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EncoderPredictorConfig(PredictorConfig, EncoderModelConfig):
    """A predictor of numbers, classes or labels: an encoder, pooling over its outputs, and a linear layer."""

    family: Literal["predictor"] = "predictor"
    """Name of the model family."""
    encoder: EncoderConfig = Field(default_factory=MlpEncoderConfig)
    """Encoder, chosen by its `family`."""
    patch_size: Size = 1
    """Size of a patch in pixels in each direction, or in frames, for encoders of sequences; must divide the size of
    the input. Encoders that read each vector by itself (`mlp`, `linear`) read the whole input as one vector."""
    pooling: PooledBy | None = None
    """Reduction of the encoder's outputs to one vector: the `last`, the `mean` or the `max` of each feature. null takes
    the last output of an encoder that reads forward only, otherwise the mean."""

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length: None, because all inputs have the same shape."""
        return None

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs: the shape of the inputs determines the positions."""
        return replace(super().warm_start, learned_positions=None)

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if examples of this shape cannot be divided into patches that the encoder reads."""
        if not self.encoder.relates_positions:
            return
        if len(shape) == 3 and self.patch_size == 1 and self.encoder.input_size is None:
            raise ValueError(
                f"`model.encoder.family: {self.encoder.family}` reads sequences, but the inputs are images: set "
                "`model.family: cnn`, `model.encoder.family: mlp`, `model.patch_size`, or `data.layout: frames`."
            )
        lengths = shape[1:] if len(shape) == 3 else shape[:1]
        if any(length % self.patch_size for length in lengths):
            raise ValueError(
                f"`model.patch_size` ({self.patch_size}) must divide the {' by '.join(map(str, lengths))} positions of "
                "an example."
            )

    def build(self, src: InputSide, tgt: TargetSide) -> "EncoderPredictor":
        """Build the model."""
        self.check_inputs(src.shape)
        return EncoderPredictor(self, src.shape, tgt.size)


class EncoderPredictor(nn.Module):
    """Encoder of vectors with a linear output layer; implements `Predictor`."""

    def __init__(self, config: EncoderPredictorConfig, shape: tuple[int, ...], outputs: int) -> None:
        """`shape`: shape of an input."""
        super().__init__()
        encoder = config.encoder
        patch_size = config.patch_size if encoder.relates_positions else None
        self.input = VectorInput(shape, patch_size, encoder.input_size)
        self.encoder = encoder.build(self.input.output_size, max_length=self.input.num_vectors)
        pooling = config.pooling or ("last" if encoder.is_causal else "mean")
        self.head = OutputHead(self.encoder.output_size, outputs, pooling)
        encoder.init_weights(self)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        hidden, lengths = self.encoder(self.encoder.enter(self.input(batch.src)), None)
        outputs: Tensor = self.head(hidden, lengths)
        return outputs


@plain_dataclass(frozen=True)
class InputShape:
    """An `InputSide` for building models directly."""

    shape: tuple[int, ...]


@plain_dataclass(frozen=True)
class TargetSize:
    """A `TargetSide` for building models directly."""

    size: int
