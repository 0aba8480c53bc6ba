"""Non-autoregressive Transformer decoder: predicts all target positions in parallel (Gu et al. 2018, arXiv:1711.02281).

Its input is as long as the target: source embeddings resampled to that length, or mask embeddings. It may also observe
some of the target tokens.

Shapes: B batch, S source positions, P positions of the decoder, D d_model.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.models.config import SETTINGS, Ability, Size
from seqlab.models.encoder_decoder import EmbeddingTying, check_tying
from seqlab.models.transformer_encoder import TokenTransformerConfig, TransformerEncoder, make_decoder_layer
from seqlab.nn import kernels, masks
from seqlab.nn.attention import LayerMemory
from seqlab.nn.embedding import Embedding
from seqlab.nn.layers import make_norm
from seqlab.nn.transformer import DecoderLayer

DecoderInput = Literal["uniform_copy", "soft_copy", "mask"]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelDecoderConfig(TokenTransformerConfig):
    """Common fields of families with a non-autoregressive decoder."""

    num_decoder_layers: Size = 4
    """Number of decoder layers."""
    decoder_input: DecoderInput = "uniform_copy"
    """Input of the decoder: the source embedding at the same relative position (`uniform_copy`), a mean of the source
    embeddings weighted by distance with a learned width (`soft_copy`, Wei et al. 2019), or the mask embedding
    (`mask`)."""
    tied_embeddings: EmbeddingTying = "all"
    """Embeddings that share a weight: source, target and output (`all`), target and output (`decoder`), or none."""

    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)  # it depends on the corpus, not on the family
    adds_mask_embedding: ClassVar[bool] = False
    """Whether the mask embedding is added to source embeddings, to distinguish them from observed target tokens."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """Glancing."""
        return frozenset({"glancing"})

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        check_tying(self.tied_embeddings, data)
        if self.positions == "learned" and data.max_length >= self.max_length:
            raise ValueError(
                f"`model.positions: learned` needs `model.max_length` ({self.max_length}) above `data.max_length` "
                f"({data.max_length}), because each sequence also has a special token."
            )


class EncodedSource(NamedTuple):
    """Encoded source for a non-autoregressive decoder."""

    vectors: Tensor
    """(B, S, D): token embeddings, for the decoder's input."""
    lengths: Tensor
    """(B,): source lengths, eos included."""
    end: Tensor
    """(B, D): the encoder's hidden state at eos."""
    memories: list[LayerMemory]
    """Keys and values of the memory for each decoder layer."""

    def select(self, rows: Tensor) -> "EncodedSource":
        """Keep, reorder or repeat rows (B',) int64."""
        memories = [LayerMemory(memory.key[rows], memory.value[rows], memory.bias[rows]) for memory in self.memories]
        return EncodedSource(self.vectors[rows], self.lengths[rows], self.end[rows], memories)


class ParallelDecoder(nn.Module):
    """Non-autoregressive Transformer decoder: each position attends to all positions and to the memory."""

    def __init__(self, config: ParallelDecoderConfig, embedding: Embedding, mask_id: int) -> None:
        super().__init__()
        self.embedding, self.mask_id, self.kind = embedding, mask_id, config.decoder_input
        self.adds_mask_embedding = config.adds_mask_embedding
        self.layers = nn.ModuleList(make_decoder_layer(config) for _ in range(config.num_decoder_layers))
        self.norm = make_norm("layer_norm", config.d_model) if config.norm == "pre" else nn.Identity()
        self.log_width = nn.Parameter(torch.zeros(1)) if config.decoder_input == "soft_copy" else None

    def encode(self, encoder: TransformerEncoder, batch: Seq2SeqBatch) -> EncodedSource:
        """Run an encoder and compute the keys and values of its memory for each layer."""
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
        """Compute hidden states (B, P, D), and the last layer's cross-attention (B, P, S) with `need_attention`.

        Args:
            source: the encoded source.
            lengths: (B,), positions of each target.
            shown: (B, P), observed target tokens, IGNORE for none.
            need_attention: whether to return attention.
            size: P, at least the maximum of `lengths`; None: this maximum, which waits for a GPU.
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
        """Compute the decoder's input (B, P, D) at positions without an observed token."""
        vectors = None if self.kind == "mask" else self._resample(source.vectors, source.lengths, lengths, size)
        if vectors is not None and not self.adds_mask_embedding:
            return vectors
        mask = self.embedding.look_up(lengths.new_full((len(lengths), size), self.mask_id))
        return mask if vectors is None else vectors + mask

    def _resample(self, vectors: Tensor, src_lengths: Tensor, lengths: Tensor, size: int) -> Tensor:
        """Resample source embeddings (B, S, D) to other lengths: (B, P, D)."""
        positions = torch.arange(size, device=lengths.device)
        if self.log_width is None:
            index = (positions * src_lengths[:, None] // lengths[:, None]).clamp_max(vectors.size(1) - 1)
            return vectors.gather(1, index[..., None].expand(-1, -1, vectors.size(2)))
        vectors = kernels.prepare_keys(vectors, vectors.size(2))
        centers = (positions + 0.5) * src_lengths[:, None] / lengths[:, None] - 0.5  # (B, P), in source positions
        src_positions = torch.arange(vectors.size(1), device=lengths.device)
        scores = -(src_positions - centers[..., None]).abs() * (-self.log_width).exp()  # (B, P, S)
        scores = scores.masked_fill(masks.padding_mask(src_lengths, vectors.size(1))[:, None], float("-inf"))
        return kernels.batched_product(scores.softmax(2), vectors)
