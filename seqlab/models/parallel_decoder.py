"""A decoder that predicts all positions of a target at once (Gu et al. 2018, arXiv:1711.02281).

It reads no target, so that it is given something else of the length that the target is to have: the source again,
stretched or shrunk to that length, or nothing but a mask. In training it may be shown some of the target.

Shapes: B batch, S source positions, P positions of the decoder, D d_model.
"""

from collections.abc import Iterable
from typing import Literal, cast

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import IGNORE
from seqlab.models.family import SETTINGS, Size
from seqlab.models.transformer_encoder import TransformerEncoderConfig, make_decoder_layer
from seqlab.nn import masks
from seqlab.nn.attention import pad_positions
from seqlab.nn.embedding import Embedding
from seqlab.nn.norms import make_norm
from seqlab.nn.transformer import DecoderLayer, LayerMemory

DecoderInput = Literal["uniform_copy", "soft_copy", "mask"]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelDecoderConfig(TransformerEncoderConfig):
    """The fields that all families have with such a decoder."""

    num_decoder_layers: Size = 4
    """Layers of the decoder."""
    decoder_input: DecoderInput = "uniform_copy"
    """What the decoder reads: at each position the source's vector at the same share of its length (`uniform_copy`), a
    mean of these that weighs near ones more, by a learnt width (`soft_copy`, Wei et al. 2019), or a mask (`mask`)."""


class ParallelDecoder(nn.Module):
    """Positions and memory to hidden states; each position attends to all."""

    def __init__(self, config: ParallelDecoderConfig, embedding: Embedding, mask_id: int) -> None:
        super().__init__()
        self.embedding, self.mask_id, self.kind = embedding, mask_id, config.decoder_input
        self.head_dim = config.d_model // config.num_heads
        self.layers = nn.ModuleList(make_decoder_layer(config) for _ in range(config.num_decoder_layers))
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()
        self.log_width = nn.Parameter(torch.zeros(())) if config.decoder_input == "soft_copy" else None

    def forward(
        self,
        source: Tensor,
        src_lengths: Tensor,
        memory: tuple[Tensor, Tensor],
        lengths: Tensor,
        shown: Tensor | None = None,
    ) -> Tensor:
        """Predict `lengths` (B,) positions: hidden states (B, P, D).

        Args:
            source: vectors of the source's symbols (B, S, D), to be copied.
            src_lengths: (B,)
            memory: the encoder's, and its attention bias.
            lengths: how many positions each sentence has; P is the most.
            shown: ids (B, P) that stand for themselves, IGNORE where there is none.
        """
        size = int(lengths.max())
        vectors = self._inputs(source, src_lengths, lengths, size)
        if shown is not None:
            known = self.embedding.looked_up(shown.clamp_min(0))
            vectors = torch.where((shown != IGNORE)[..., None], known, vectors)
        x = self.embedding.placed(vectors)
        if not self.training:
            x = pad_positions(x, self.head_dim)
        bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(lengths, x.size(1))))
        for layer in cast(Iterable[DecoderLayer], self.layers):
            key, value = layer.cross_attention.keys_and_values(memory[0])
            x, _ = layer(x, LayerMemory(key, value, memory[1]), bias=bias)
        return self.norm(x[:, :size])

    def _inputs(self, source: Tensor, src_lengths: Tensor, lengths: Tensor, size: int) -> Tensor:
        """Give what is read where nothing is shown: (B, P, D)."""
        if self.kind == "mask":
            return self.embedding.looked_up(lengths.new_full((len(lengths), size), self.mask_id))
        positions = torch.arange(size, device=lengths.device)
        if self.log_width is None:
            index = (positions * src_lengths[:, None] // lengths[:, None]).clamp_max(source.size(1) - 1)
            return source.gather(1, index[..., None].expand(-1, -1, source.size(2)))
        if not self.training:
            source = pad_positions(source, source.size(2))
        middles = (positions + 0.5) * src_lengths[:, None] / lengths[:, None] - 0.5  # (B, P), among the source's
        places = torch.arange(source.size(1), device=lengths.device)
        scores = -(places - middles[..., None]).abs() * (-self.log_width).exp()  # (B, P, S)
        scores = scores.masked_fill(masks.padding_mask(src_lengths, source.size(1))[:, None], float("-inf"))
        return scores.softmax(2) @ source
