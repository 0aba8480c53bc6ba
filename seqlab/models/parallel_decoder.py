"""A decoder that predicts all positions of a target at once (Gu et al. 2018, arXiv:1711.02281).

It reads no target, so that it is given something else of the length that the target is to have: the source again,
stretched or shrunk to that length, or nothing but a mask. In training it may be shown some of the target.

Shapes: B batch, S source positions, P positions of the decoder, D d_model.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models.config import SETTINGS, Size
from seqlab.models.encoder_decoder import EmbeddingTying, check_tying
from seqlab.models.transformer_encoder import TransformerEncoder, TransformerEncoderConfig, make_decoder_layer
from seqlab.nn import kernels, masks
from seqlab.nn.attention import LayerMemory
from seqlab.nn.embedding import Embedding
from seqlab.nn.layers import make_norm
from seqlab.nn.transformer import DecoderLayer

DecoderInput = Literal["uniform_copy", "soft_copy", "mask"]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelDecoderConfig(TransformerEncoderConfig):
    """The fields that all families have with such a decoder."""

    num_decoder_layers: Size = 4
    """Layers of the decoder."""
    decoder_input: DecoderInput = "uniform_copy"
    """What the decoder reads: at each position the source's vector at the same share of its length (`uniform_copy`), a
    mean of these that weighs near ones more, by a learnt width (`soft_copy`, Wei et al. 2019), or a mask (`mask`)."""
    tied_embeddings: EmbeddingTying = "all"
    """Which embeddings share a weight: source, target and output (`all`), target and output (`decoder`), or none."""

    task: ClassVar[str] = "translation"
    adds_mask_embedding: ClassVar[bool] = False
    """Whether a copy is read with the mask, which tells it from a symbol that is shown."""

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        check_tying(self.tied_embeddings, data)
        if self.positions == "learned" and data.max_length >= self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) above `data.max_length` "
                f"({data.max_length}), as each sequence has one special id more."
            )


class EncodedSource(NamedTuple):
    """What a parallel decoder reads of a source."""

    vectors: Tensor
    """(B, S, D): of its symbols, to be copied."""
    lengths: Tensor
    """(B,), eos counted."""
    end: Tensor
    """(B, D): the encoder's hidden state of eos."""
    memories: list[LayerMemory]
    """For each layer."""

    def select(self, rows: Tensor) -> "EncodedSource":
        """Keep, reorder and repeat rows (B',) int64."""
        memories = [LayerMemory(each.key[rows], each.value[rows], each.bias[rows]) for each in self.memories]
        return EncodedSource(self.vectors[rows], self.lengths[rows], self.end[rows], memories)


class ParallelDecoder(nn.Module):
    """Positions and memory to hidden states; each position attends to all."""

    def __init__(self, config: ParallelDecoderConfig, embedding: Embedding, mask_id: int) -> None:
        super().__init__()
        self.embedding, self.mask_id, self.kind = embedding, mask_id, config.decoder_input
        self.adds_mask_embedding = config.adds_mask_embedding
        self.layers = nn.ModuleList(make_decoder_layer(config) for _ in range(config.num_decoder_layers))
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()
        self.log_width = nn.Parameter(torch.zeros(1)) if config.decoder_input == "soft_copy" else None

    def encode(self, encoder: TransformerEncoder, batch: Seq2SeqBatch) -> EncodedSource:
        """Run an encoder, and project its memory for each layer."""
        memory, bias = encoder(batch.src, batch.src_lengths)
        layers = cast(Iterable[DecoderLayer], self.layers)
        rows = torch.arange(len(memory), device=memory.device)
        return EncodedSource(
            encoder.embedding.look_up(batch.src),
            batch.src_lengths,
            memory[rows, batch.src_lengths - 1],
            [layer.cross_attention.prepare(memory, bias) for layer in layers],
        )

    def forward(
        self,
        source: EncodedSource,
        lengths: Tensor,
        shown: Tensor | None = None,
        need_attention: bool = False,
        size: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Predict `lengths` (B,) positions: hidden states (B, P, D), where P is the most, or a known `size` above it.

        `shown` (B, P): ids that stand for themselves, IGNORE where there is none. Beside them, where it is asked for,
        what the last layer attends to (B, P, S).
        """
        size = int(lengths.max()) if size is None else size
        vectors = self._inputs(source, lengths, size)
        if shown is not None:
            known = self.embedding.look_up(shown.clamp_min(0))
            vectors = torch.where((shown != IGNORE)[..., None], known, vectors)
        x = self.embedding.add_positions(vectors)
        bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(lengths, x.size(1))))
        attention, last = None, len(self.layers) - 1
        for i, (layer, memory) in enumerate(zip(self.layers, source.memories, strict=True)):
            x, attention = layer(x, memory, need_attention and i == last, bias)
        if attention is not None:
            attention = attention[..., : source.vectors.size(1)]
        return self.norm(x), attention

    def _inputs(self, source: EncodedSource, lengths: Tensor, size: int) -> Tensor:
        """Give what is read where nothing is shown: (B, P, D)."""
        vectors = None if self.kind == "mask" else self._copied(source.vectors, source.lengths, lengths, size)
        if vectors is not None and not self.adds_mask_embedding:
            return vectors
        mask = self.embedding.look_up(lengths.new_full((len(lengths), size), self.mask_id))
        return mask if vectors is None else vectors + mask

    def _copied(self, vectors: Tensor, src_lengths: Tensor, lengths: Tensor, size: int) -> Tensor:
        """Stretch or shrink a source's vectors (B, S, D) to other lengths: (B, P, D)."""
        positions = torch.arange(size, device=lengths.device)
        if self.log_width is None:
            index = (positions * src_lengths[:, None] // lengths[:, None]).clamp_max(vectors.size(1) - 1)
            return vectors.gather(1, index[..., None].expand(-1, -1, vectors.size(2)))
        vectors = kernels.prepare_keys(vectors, vectors.size(2))
        middles = (positions + 0.5) * src_lengths[:, None] / lengths[:, None] - 0.5  # (B, P), among the source's
        places = torch.arange(vectors.size(1), device=lengths.device)
        scores = -(places - middles[..., None]).abs() * (-self.log_width).exp()  # (B, P, S)
        scores = scores.masked_fill(masks.padding_mask(src_lengths, vectors.size(1))[:, None], float("-inf"))
        return kernels.batched_product(scores.softmax(2), vectors)
