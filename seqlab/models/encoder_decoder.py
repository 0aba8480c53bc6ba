"""Base class of encoder-decoders with attention: tied embeddings, source tags and copying.

Tags are features of a source, for example the morphological features of a word to inflect. Their ids follow the tokens
of the source and precede eos.

Shapes: B sentences, S source positions, T target positions, D size of the embeddings and of the decoder's output,
N = B * K rows while decoding.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.interfaces import State, Step
from seqlab.models.outputs import DecoderOutput
from seqlab.nn.copying import CopySource, PointerGenerator
from seqlab.nn.masks import padding_mask
from seqlab.nn.projection import VocabularyProjection

EmbeddingTying = Literal["all", "decoder", "none"]


def check_tying(tied: EmbeddingTying, data: Any) -> None:
    """Raise ValueError if source and target cannot share their embeddings as configured."""
    if tied == "all" and not data.joint_vocabulary:
        raise ValueError(
            "`model.tied_embeddings: all` shares one embedding for both sides, but `data.joint_vocabulary: false` "
            "gives them separate vocabularies: set `model.tied_embeddings` to `decoder` or `none`."
        )
    if tied == "all" and len(data.vector_files()) == 2:
        raise ValueError(
            "`model.tied_embeddings: all` shares one embedding for both sides, which cannot be initialized from both "
            "`data.vectors_src` and `data.vectors_tgt`: give one of them, or set `model.tied_embeddings: decoder`."
        )


def check_copying(copying: bool, data: Any) -> None:
    """Raise ValueError for a model that copies if source and target have separate vocabularies."""
    if copying and not data.joint_vocabulary:
        raise ValueError(
            "`model.copying` copies source tokens into the target, but `data.joint_vocabulary: false` gives the two "
            "sides separate vocabularies: change one of the two."
        )


class EmbeddingWeights(NamedTuple):
    """Embedding weights (V, D) of a translator; tied ones are the same parameter."""

    src: nn.Parameter
    tgt: nn.Parameter
    out: nn.Parameter


def make_embeddings(
    tied: EmbeddingTying, src_vocab_size: int, tgt_vocab_size: int, draw: Callable[[int], Tensor]
) -> EmbeddingWeights:
    """Create the embedding weights; `draw(rows)` returns initial values (rows, D).

    Raises:
        ValueError: all weights are tied, but the vocabularies differ in size.
    """
    if tied == "all" and src_vocab_size != tgt_vocab_size:
        raise ValueError(
            f"`model.tied_embeddings: all` needs one vocabulary for both sides, but they have {src_vocab_size} and "
            f"{tgt_vocab_size} entries: set `data.joint_vocabulary: true` or `model.tied_embeddings: decoder`."
        )
    tgt = nn.Parameter(draw(tgt_vocab_size))
    src = tgt if tied == "all" else nn.Parameter(draw(src_vocab_size))
    out = nn.Parameter(draw(tgt_vocab_size)) if tied == "none" else tgt
    return EmbeddingWeights(src, tgt, out)


TagUse = Literal["symbols", "sum"]
"""Tags are read as tokens (`symbols`), or the sum of their embeddings is added to that of each token (`sum`)."""


class MemoryPositions(NamedTuple):
    """Mapping from source positions to positions of the memory, which has no positions for summed tags."""

    memory: Tensor
    """(B, S) int64: position in the memory of each source position."""
    is_in_memory: Tensor
    """(B, S) bool: False for tags and padding."""

    def select(self, sentences: Tensor) -> "MemoryPositions":
        """Keep, reorder or repeat sentences (B',) int64."""
        return MemoryPositions(*(part.index_select(0, sentences) for part in self))

    def attention(self, weights: Tensor) -> Tensor:
        """Map attention weights over the memory (B, T, S or more) to weights over the source positions (B, T, S)."""
        index = self.memory[:, None].expand(-1, weights.size(1), -1)
        return weights.gather(2, index) * self.is_in_memory[:, None]


class SourceTags:
    """Handling of source tags: as tokens, or summed into the embeddings of the tokens."""

    def __init__(self, use: TagUse, tag_ids: range, eos_id: int) -> None:
        self.tag_ids, self.eos_id = tag_ids, eos_id
        self.are_summed = use == "sum" and len(tag_ids) > 0

    def is_tag(self, src: Tensor) -> Tensor:
        """Return a mask (B, S) bool of src (B, S): True for tags."""
        return (src >= self.tag_ids.start) & (src < self.tag_ids.stop)

    def remove_tags(
        self, src: Tensor, src_lengths: Tensor, look_up: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Remove the tags from src (B, S): return ids, new lengths, and the summed embeddings of the tags (B, 1, D).

        eos then follows the tokens directly.
        """
        tags = self.is_tag(src)
        added = (look_up(src) * tags[..., None]).cumsum(1)[:, -1:]  # unlike `sum`, in an order independent of padding
        lengths = src_lengths - tags.sum(1)
        return src.masked_fill(padding_mask(lengths - 1, src.size(1)), self.eos_id), lengths, added

    def positions(self, src: Tensor, src_lengths: Tensor) -> MemoryPositions | None:
        """Map the positions of a source (B, S) to those of the memory; None if they are the same."""
        if not self.are_summed:
            return None
        tags, positions = self.is_tag(src), torch.arange(src.size(1), device=src.device)
        is_eos = positions == src_lengths[:, None] - 1
        last = src_lengths[:, None] - 1 - tags.sum(1, keepdim=True)
        is_in_memory = ~(tags | padding_mask(src_lengths, src.size(1)))
        return MemoryPositions(torch.where(is_eos, last, positions.expand_as(src)), is_in_memory)

    def relative_positions(self, src: Tensor, src_lengths: Tensor) -> Tensor:
        """Compute the relative position (B, S) of each token, from 0 (first) to 1 (eos); -1 for tags and padding."""
        tags, positions = self.is_tag(src), torch.arange(src.size(1), device=src.device)
        last = (src_lengths - tags.sum(1) - 1).clamp_min(1)[:, None]
        relative = positions.clamp_max(last) / last  # eos follows the tags
        return relative.masked_fill(tags | padding_mask(src_lengths, src.size(1)), -1.0)


NO_TAGS = SourceTags("symbols", range(0), -1)
"""For sources without tags."""


def check_tag_ids(use: TagUse, tag_ids: range) -> None:
    """Raise ValueError for summed tags if a tokenizer from another run has no tags."""
    if use == "sum" and not tag_ids:
        raise ValueError(
            "`model.tags: sum` needs a source with tags, but the tokenizer taken from another run has none: remove it."
        )


def check_tags(use: TagUse, data: Any) -> None:
    """Raise ValueError for summed tags if the tokenizer has no tags."""
    if use == "sum" and not data.tokenizer.may_have_tags:
        raise ValueError(
            "`model.tags: sum` needs a source with tags, but `data.tokenizer` has none: set `data.tokenizer.tags: "
            "true`, or remove `model.tags`."
        )


class SourceView(NamedTuple):
    """Source data that decoding steps need besides the memory: tokens to copy, and positions of the memory."""

    copied: CopySource | None
    """Source tokens that can be copied; None for models that do not copy."""
    positions: MemoryPositions | None
    """Positions of the memory; None if they are those of the source."""
    attention_size: int
    """Number of source positions whose attention weights each step returns; 0 for none."""

    @property
    def needs_weights(self) -> bool:
        """Whether a step must compute attention weights."""
        return self.attention_size > 0 or self.copied is not None

    def select(self, sentences: Tensor) -> "SourceView":
        """Keep, reorder or repeat sentences (B',) int64."""
        copied = None if self.copied is None else self.copied.select(sentences)
        positions = None if self.positions is None else self.positions.select(sentences)
        return SourceView(copied, positions, self.attention_size)


class EncoderDecoder(nn.Module):
    """Base class of encoder-decoders with attention, recurrent or Transformer."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """Names of the embedding parameters of the source and target side."""
    bos_id: int
    projection: VocabularyProjection
    copying: PointerGenerator | None
    source_tags: SourceTags

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """Return the log-probabilities (B, T) in nats of `tgt_out`, 0 at padding."""
        assert batch.tgt_out is not None, "scoring needs a target"
        output: DecoderOutput = self(batch)
        return output.scores(batch.tgt_out)

    def replace_copied(self, ids: Tensor) -> Tensor:
        """Replace ids outside the vocabulary, of words that can only be copied, by unk."""
        return ids if self.copying is None else self.copying.replace_copied(ids)

    def source_view(self, batch: Seq2SeqBatch, need_attention: bool) -> SourceView:
        """Collect the source data that decoding steps need."""
        copied = None if self.copying is None else self.copying.source(batch.src)
        positions = self.source_tags.positions(batch.src, batch.src_lengths)
        return SourceView(copied, positions, batch.src.size(1) if need_attention else 0)

    def first_ids(self, batch: Seq2SeqBatch) -> Tensor:
        """Return the ids that the first step reads: bos (B,)."""
        return batch.src.new_full((len(batch),), self.bos_id)

    def make_output(
        self, batch: Seq2SeqBatch, hidden: Tensor, attention: Tensor | None, undropped: Tensor | None = None
    ) -> DecoderOutput:
        """Build the output of a teacher-forced pass.

        Args:
            batch: the batch, for its source.
            hidden: (B, T, D), hidden states.
            attention: (B, T, S or more), weights over the memory.
            undropped: (B, T, D), the hidden states before dropout.
        """
        if attention is None:
            return DecoderOutput(hidden, self.projection, None, undropped)
        positions = self.source_tags.positions(batch.src, batch.src_lengths)
        attention = attention[..., : batch.src.size(1)] if positions is None else positions.attention(attention)
        pointer = None if self.copying is None else self.copying(hidden, attention, batch.src)
        relative_positions = self.source_tags.relative_positions(batch.src, batch.src_lengths)
        return DecoderOutput(hidden, self.projection, None, undropped, attention, relative_positions, pointer)

    def make_step(self, hidden: Tensor, attention: Tensor | None, view: SourceView, state: State) -> Step:
        """Build the output of a decoding step from hidden states (N, D) and attention to the memory (N, S or more)."""
        if attention is not None and view.positions is not None:
            by_sentence = attention.unflatten(0, (len(view.positions.memory), -1))
            attention = view.positions.attention(by_sentence).flatten(0, 1)
        scores = self.projection.log_probs(hidden)
        if self.copying is not None and attention is not None and view.copied is not None:
            scores = self.copying.mix_scores(scores, hidden, attention, view.copied)
        returned = None if attention is None or not view.attention_size else attention[:, : view.attention_size]
        return Step(scores, state, returned)
