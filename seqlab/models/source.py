"""What a source holds besides its symbols: tags, such as the features that a word is to be inflected for.

Their ids stand behind the symbols and before eos. Shapes: B sentences, S source positions, N rows, D embedding size.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from seqlab.nn.masks import padding_mask

TagUse = Literal["symbols", "sum"]
"""Tags are read as symbols of their own, or their embeddings are added to those of all symbols."""


class Positions(NamedTuple):
    """Which position of the encoder's memory is that of each position of the source, where tags are no symbols."""

    memory: Tensor
    """(B, S) int64"""
    is_there: Tensor
    """(B, S) bool, False for tags and padding."""

    def select(self, sentences: Tensor) -> "Positions":
        """Keep, reorder and repeat sentences (B',) int64."""
        return Positions(*(part.index_select(0, sentences) for part in self))

    def attention(self, weights: Tensor) -> Tensor:
        """Give the attention to the source (B, T, S) from that to the memory (B, T, S or more)."""
        index = self.memory[:, None].expand(-1, weights.size(1), -1)
        return weights.gather(2, index) * self.is_there[:, None]


class SourceTags:
    """What becomes of the tags of a source."""

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

    def positions(self, src: Tensor, src_lengths: Tensor) -> Positions | None:
        """Say where the memory stands in a source (B, S); None where position i is position i."""
        if not self.are_summed:
            return None
        tags, positions = self.are_tags(src), torch.arange(src.size(1), device=src.device)
        is_eos = positions == src_lengths[:, None] - 1
        last = src_lengths[:, None] - 1 - tags.sum(1, keepdim=True)
        is_there = ~(tags | padding_mask(src_lengths, src.size(1)))
        return Positions(torch.where(is_eos, last, positions.expand_as(src)), is_there)

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
