"""Transformer over image patches (Vision Transformer, Dosovitskiy et al. 2021), sequences or windows of time series.

Shapes: B examples, F frames of D features each, C channels, H and W height and width, P patches,
O outputs (numbers, classes or labels).
"""

from math import prod
from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS, Probability, Size
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.models.transformer_encoder import init_linear_weights
from seqlab.nn.attention import SelfAttention
from seqlab.nn.embedding import LearnedPositions, check_heads
from seqlab.nn.layers import Dropout, Linear, make_norm
from seqlab.nn.transformer import Activation, FeedForward, NormPlacement, SelfAttentionLayer


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TransformerPredictorConfig(PredictorConfig):
    """A Transformer encoder over image patches or frames of a sequence, with mean pooling and a linear layer."""

    family: Literal["transformer_predictor"] = "transformer_predictor"
    """Name of the model family."""
    patch_size: Size = 1
    """Size of a patch in pixels in each direction, or in frames; must divide the size of the input."""
    d_model: Size = 64
    """Size of the hidden states."""
    d_ff: Size = 256
    """Size of the feed-forward networks' hidden layer."""
    num_heads: Size = 4
    """Number of attention heads; must divide `d_model`."""
    num_layers: Size = 2
    """Number of layers."""
    dropout: Probability = 0.1
    """Dropout probability of embeddings and residual branches; on the CPU rounded to a multiple of 1/256."""
    attention_dropout: Probability = 0.0
    """Dropout probability of the attention weights."""
    norm: NormPlacement = "pre"
    """Layer norm before each residual branch (`pre`) or after each residual sum (`post`)."""
    activation: Activation = "relu"
    """Activation function of the feed-forward networks."""
    positions: Literal["learned", "none"] = "learned"
    """Position encoding: a learned vector per position (`learned`), or none, which ignores the order of patches."""

    @model_validator(mode="after")
    def _check(self) -> "TransformerPredictorConfig":
        check_heads(self.d_model, self.num_heads, "learned")
        return self

    def check_inputs(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if examples of this shape cannot be divided into patches."""
        lengths = shape[1:] if len(shape) == 3 else shape[:1]
        if any(length % self.patch_size for length in lengths):
            raise ValueError(
                f"`model.patch_size` ({self.patch_size}) must divide the {' by '.join(map(str, lengths))} positions of "
                "an example."
            )

    def build(self, src: InputSide, tgt: TargetSide) -> "TransformerPredictor":
        """Build the model."""
        self.check_inputs(src.shape)
        is_image = len(src.shape) == 3
        patch_dim = self.patch_size**2 * src.shape[0] if is_image else self.patch_size * src.shape[1]
        return TransformerPredictor(self, patch_dim, prod(src.shape) // patch_dim, tgt.size)


class TransformerPredictor(nn.Module):
    """Transformer encoder over patches; implements `Predictor`."""

    def __init__(self, config: TransformerPredictorConfig, patch_dim: int, num_patches: int, outputs: int) -> None:
        """Build the layers; `patch_dim`: features of a patch."""
        super().__init__()
        self.patch_size = config.patch_size
        self.embed = Linear(patch_dim, config.d_model)
        self.positions = LearnedPositions(config.d_model, num_patches) if config.positions == "learned" else None
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(
                config.d_model,
                config.norm,
                config.dropout,
                SelfAttention(config.d_model, config.num_heads, config.attention_dropout),
                FeedForward(config.d_model, config.d_ff, config.activation),
            )
            for _ in range(config.num_layers)
        )
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()
        self.project = Linear(config.d_model, outputs)
        self.apply(init_linear_weights)

    def forward(self, batch: ValueBatch) -> Tensor:
        """Compute the outputs of a batch: (B, O)."""
        x = self.embed(split_into_patches(batch.src, self.patch_size)).float()  # (B, P, d_model)
        x = self.dropout(x if self.positions is None else self.positions(x))
        for layer in self.layers:
            x = layer(x)
        outputs: Tensor = self.project(self.norm(x).mean(1))
        return outputs


def split_into_patches(inputs: Tensor, size: int) -> Tensor:
    """Split images (B, C, H, W) or sequences (B, F, D) into patches: (B, P, features of a patch).

    Patches of an image are ordered by row and column; the features of a patch by channel, row and column.
    """
    if inputs.dim() == 3:
        return inputs.flatten(1).unflatten(1, (-1, size * inputs.size(2)))
    split = inputs.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, H / size, size, W / size, size)
    return split.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
