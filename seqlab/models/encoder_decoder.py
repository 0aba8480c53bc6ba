"""Parts that all encoder-decoders share: tied embeddings, tags in the source, and copying from it.

Tags are such as the features that a word is to be inflected for; their ids come after the tokens and before eos.

Shapes: B sentences, S source positions, T target positions, D size of an embedding and of what is predicted from,
N = B * K rows while decoding.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.interfaces import DecoderOutput, State, Step
from seqlab.nn.copying import CopySource, PointerGenerator
from seqlab.nn.masks import padding_mask
from seqlab.nn.projection import VocabularyProjection

EmbeddingTying = Literal["all", "decoder", "none"]


def check_tying(tied: EmbeddingTying, data: Any) -> None:
    """Raise ValueError where the two sides of the data cannot share what they are to share."""
    if tied == "all" and not data.joint_vocabulary:
        raise ValueError(
            "`model.tied_embeddings: all` gives both sides the same vectors, but with `data.joint_vocabulary: "
            "false` their ids mean different things: set `model.tied_embeddings` to `decoder` or `none`."
        )
    if tied == "all" and len(data.vector_files()) == 2:
        raise ValueError(
            "`model.tied_embeddings: all` gives both sides the same vectors, which cannot start from both "
            "`data.vectors_src` and `data.vectors_tgt`: name one of them, or set `model.tied_embeddings: decoder`."
        )


def check_copying(copying: bool, data: Any) -> None:
    """Raise ValueError where what is copied would have no id on the other side."""
    if copying and not data.joint_vocabulary:
        raise ValueError(
            "`model.copying` puts what the source holds into the target, but with `data.joint_vocabulary: false` their "
            "ids mean different things: set one of them differently."
        )


class EmbeddingWeights(NamedTuple):
    """The weights of a translator's embeddings (V, D); what is tied is one parameter."""

    src: nn.Parameter
    tgt: nn.Parameter
    out: nn.Parameter


def make_embeddings(
    tied: EmbeddingTying, src_vocab_size: int, tgt_vocab_size: int, draw: Callable[[int], Tensor]
) -> EmbeddingWeights:
    """Make the weights, where `draw(rows)` returns initial values (rows, D).

    Raises:
        ValueError: two vocabularies of different sizes are to share a weight.
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
"""Tags are read as symbols of their own, or their embeddings are added to those of all symbols."""


class MemoryPositions(NamedTuple):
    """The position in the encoder's memory of each source position, where tags are no tokens of their own."""

    memory: Tensor
    """(B, S) int64"""
    is_there: Tensor
    """(B, S) bool, False for tags and padding."""

    def select(self, sentences: Tensor) -> "MemoryPositions":
        """Keep, reorder and repeat sentences (B',) int64."""
        return MemoryPositions(*(part.index_select(0, sentences) for part in self))

    def attention(self, weights: Tensor) -> Tensor:
        """Give the attention to the source (B, T, S) from that to the memory (B, T, S or more)."""
        index = self.memory[:, None].expand(-1, weights.size(1), -1)
        return weights.gather(2, index) * self.is_there[:, None]


class SourceTags:
    """The tags of a source: tokens of their own, or summed into the embeddings of the others."""

    def __init__(self, use: TagUse, tag_ids: range, eos_id: int) -> None:
        self.tag_ids, self.eos_id = tag_ids, eos_id
        self.are_summed = use == "sum" and len(tag_ids) > 0

    def are_tags(self, src: Tensor) -> Tensor:
        """Tell which ids (B, S) are tags."""
        return (src >= self.tag_ids.start) & (src < self.tag_ids.stop)

    def take_out(
        self, src: Tensor, src_lengths: Tensor, look_up: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Give the ids without tags, eos behind the symbols; their lengths; and the tags' sum (B, 1, D)."""
        tags = self.are_tags(src)
        added = (look_up(src) * tags[..., None]).cumsum(1)[:, -1:]  # unlike `sum`, not grouped by how much padding
        lengths = src_lengths - tags.sum(1)
        return src.masked_fill(padding_mask(lengths - 1, src.size(1)), self.eos_id), lengths, added

    def positions(self, src: Tensor, src_lengths: Tensor) -> MemoryPositions | None:
        """Say where the memory stands in a source (B, S); None where position i is position i."""
        if not self.are_summed:
            return None
        tags, positions = self.are_tags(src), torch.arange(src.size(1), device=src.device)
        is_eos = positions == src_lengths[:, None] - 1
        last = src_lengths[:, None] - 1 - tags.sum(1, keepdim=True)
        is_there = ~(tags | padding_mask(src_lengths, src.size(1)))
        return MemoryPositions(torch.where(is_eos, last, positions.expand_as(src)), is_there)

    def places(self, src: Tensor, src_lengths: Tensor) -> Tensor:
        """Place each symbol between 0, the first, and 1, eos: (B, S), -1 for tags and padding."""
        tags, positions = self.are_tags(src), torch.arange(src.size(1), device=src.device)
        last = (src_lengths - tags.sum(1) - 1).clamp_min(1)[:, None]
        symbols = positions.clamp_max(last) / last  # eos stands behind the tags
        return symbols.masked_fill(tags | padding_mask(src_lengths, src.size(1)), -1.0)


NO_TAGS = SourceTags("symbols", range(0), -1)
"""Of a source that has none."""


def check_tag_ids(use: TagUse, tag_ids: range) -> None:
    """Raise ValueError where a tokenizer that was taken over has no tags to be summed."""
    if use == "sum" and not tag_ids:
        raise ValueError(
            "`model.tags: sum` is for sources with tags, but the tokenizer that was taken over has none: leave it out."
        )


def check_tags(use: TagUse, data: Any) -> None:
    """Raise ValueError where there are no tags to be summed."""
    if use == "sum" and not data.tokenizer.may_have_tags:
        raise ValueError(
            "`model.tags: sum` is for sources with tags, but `data.tokenizer` has none: set `data.tokenizer.tags: "
            "true`, or leave it out."
        )


class SourceView(NamedTuple):
    """The sources while decoding, besides the memory: tokens to copy and positions to attend to."""

    copied: CopySource | None
    """What can be copied, by models that copy."""
    positions: MemoryPositions | None
    """Where the memory stands in the source, if not where it seems to."""
    attention_size: int
    """Source positions whose weights were asked for, 0 for none."""

    @property
    def needs_weights(self) -> bool:
        """Whether anyone looks at the attention of a step."""
        return self.attention_size > 0 or self.copied is not None

    def select(self, sentences: Tensor) -> "SourceView":
        """Keep, reorder and repeat sentences (B',) int64."""
        copied = None if self.copied is None else self.copied.select(sentences)
        positions = None if self.positions is None else self.positions.select(sentences)
        return SourceView(copied, positions, self.attention_size)


class EncoderDecoder(nn.Module):
    """An encoder and a decoder that attends to it, as far as they do not depend on what these consist of."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""
    bos_id: int
    projection: VocabularyProjection
    copying: PointerGenerator | None
    source_tags: SourceTags

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 at padding."""
        assert batch.tgt_out is not None, "scoring needs a target"
        output: DecoderOutput = self(batch)
        return output.scores(batch.tgt_out)

    def readable(self, ids: Tensor) -> Tensor:
        """Give the ids that are looked up: without those of words that can only be copied."""
        return ids if self.copying is None else self.copying.replace_copied(ids)

    def view(self, batch: Seq2SeqBatch, need_attention: bool) -> SourceView:
        """Give what steps need to know of the sources."""
        copied = None if self.copying is None else self.copying.source(batch.src)
        positions = self.source_tags.positions(batch.src, batch.src_lengths)
        return SourceView(copied, positions, batch.src.size(1) if need_attention else 0)

    def first_ids(self, batch: Seq2SeqBatch) -> Tensor:
        """Give what the first step reads: bos (B,)."""
        return batch.src.new_full((len(batch),), self.bos_id)

    def output(
        self, batch: Seq2SeqBatch, hidden: Tensor, attention: Tensor | None, undropped: Tensor | None = None
    ) -> DecoderOutput:
        """hidden (B, T, D) and attention to the memory (B, T, S or more) -> what a teacher-forced pass gives."""
        if attention is None:
            return DecoderOutput(hidden, self.projection, None, undropped)
        positions = self.source_tags.positions(batch.src, batch.src_lengths)
        attention = attention[..., : batch.src.size(1)] if positions is None else positions.attention(attention)
        pointer = None if self.copying is None else self.copying(hidden, attention, batch.src)
        places = self.source_tags.places(batch.src, batch.src_lengths)
        return DecoderOutput(hidden, self.projection, None, undropped, attention, places, pointer)

    def scored(self, hidden: Tensor, attention: Tensor | None, view: SourceView, state: State) -> Step:
        """hidden (N, D) and attention to the memory (N, S or more) -> the scores of a step."""
        if attention is not None and view.positions is not None:
            by_sentence = attention.unflatten(0, (len(view.positions.memory), -1))
            attention = view.positions.attention(by_sentence).flatten(0, 1)
        scores = self.projection.log_probs(hidden)
        if self.copying is not None and attention is not None and view.copied is not None:
            scores = self.copying.mix_scores(scores, hidden, attention, view.copied)
        shown = None if attention is None or not view.attention_size else attention[:, : view.attention_size]
        return Step(scores, state, shown)
