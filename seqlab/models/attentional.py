"""What all translators share that attend to their source: pointing at it, and its tags.

Shapes: B sentences, S source positions, T target positions, D what is predicted from, N = B * K rows while decoding.
"""

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from seqlab.data.batch import Seq2SeqBatch
from seqlab.models.interfaces import DecoderOutput, State, Step
from seqlab.models.source import Positions, SourceTags
from seqlab.nn.copying import Copying, Source
from seqlab.nn.projection import VocabularyProjection


class SourceView(NamedTuple):
    """What is known of the sources while decoding, besides the memory."""

    copied: Source | None
    """What can be copied, by models that copy."""
    positions: Positions | None
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


class AttentionalTranslator(nn.Module):
    """An encoder and a decoder that attends to it, as far as they do not depend on what these consist of."""

    embeddings: ClassVar[dict[str, str]] = {"src": "encoder.embedding.weight", "tgt": "decoder.embedding.weight"}
    """The parameter that the ids of each side are looked up in."""
    bos_id: int
    projection: VocabularyProjection
    copying: Copying | None
    source_tags: SourceTags

    def score(self, batch: Seq2SeqBatch) -> Tensor:
        """(B, T): log-probabilities in nats of `tgt_out`, 0 at padding."""
        assert batch.tgt_out is not None, "scoring needs a target"
        output: DecoderOutput = self(batch)
        return output.scores(batch.tgt_out)

    def readable(self, ids: Tensor) -> Tensor:
        """Give the ids that are looked up: without those of words that can only be copied."""
        return ids if self.copying is None else self.copying.readable(ids)

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
            scores = self.copying.scores(scores, hidden, attention, view.copied)
        shown = None if attention is None or not view.attention_size else attention[:, : view.attention_size]
        return Step(scores, state, shown)
