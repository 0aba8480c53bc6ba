"""Pointing at the source as a second way to predict: the pointer-generator (See et al. 2017, P17-1099).

    p(w) = (g + (1 - g) u) p_vocabulary(w) + (1 - g) sum of a_s over the source positions s that stand for w

with the decoder's attention a and a gate g that reads what the decoder predicts from. u is the attention on positions
that cannot be copied, tags and the end: what is said because of them comes from the vocabulary, and p sums to one.

Shapes: B sentences, T target positions, S source positions, N rows, R tokens, D size, W ids.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels

NOT_COPYABLE = -1
"""What a source position stands for that cannot be copied."""
NO_UNK_ID = -1
"""The `unk_id` of a model that never reads one."""
LEAST = 1e-30
"""A smaller share of the attention is counted as this much, so that its logarithm has a gradient."""


class PointerOutput(NamedTuple):
    """What a teacher-forced pass points at."""

    gate: Tensor
    """(B, T), the logit of g."""
    attention: Tensor
    """(B, T, S), sums to one."""
    src_ids: Tensor
    """(B, S) int64, what each position stands for; `NOT_COPYABLE` for what cannot be copied."""
    vocab_size: int
    """Targets from here on can only be copied."""

    def select(self, predicted: Tensor) -> "PointerOutput":
        """Select target positions (B, T) bool: gate (R,), attention (R, S), src_ids (R, S)."""
        sentences = predicted.nonzero()[:, 0]
        return PointerOutput(self.gate[predicted], self.attention[predicted], self.src_ids[sentences], self.vocab_size)

    def vocabulary_targets(self, targets: Tensor) -> Tensor:
        """Give an id of the vocabulary for each target (R,), whatever it is for those that can only be copied."""
        return targets.masked_fill(targets >= self.vocab_size, 0)

    def mix(self, log_probs: Tensor, targets: Tensor) -> Tensor:
        """Give log p of targets (R,), which the vocabulary alone gives log_probs (R,); of what `of` has selected."""
        log_probs = log_probs.masked_fill(targets >= self.vocab_size, float("-inf"))
        copied = F.logsigmoid(-self.gate) + self._share(targets[:, None]).clamp_min(LEAST).log()
        return kernels.log_add(self.log_vocabulary_scale() + log_probs, copied)

    def log_vocabulary_scale(self) -> Tensor:
        """Give the log of what the vocabulary's probabilities are scaled by (R,); of what `of` has selected."""
        return _log_vocabulary_scale(self.gate, self._share(NOT_COPYABLE))

    def _share(self, ids: Tensor | int) -> Tensor:
        """Give the attention (R,) on positions that stand for ids (R, 1), or for one."""
        return (self.attention * (self.src_ids == ids)).cumsum(-1)[:, -1]  # padding changes no last bit


def _log_vocabulary_scale(gate: Tensor, uncopyable: Tensor) -> Tensor:
    """Give the log of what the vocabulary's probabilities are scaled by, from the logit of g and from u."""
    return kernels.log_add(F.logsigmoid(gate), F.logsigmoid(-gate) + uncopyable.clamp_min(LEAST).log())


class CopySource(NamedTuple):
    """What can be copied while decoding."""

    src_ids: Tensor
    """(B, S) int64, what each position stands for, or `NOT_COPYABLE`."""
    width: int
    """W: ids that there are, those of unknown words of the source counted."""

    def select(self, sentences: Tensor) -> "CopySource":
        """Keep, reorder and repeat sentences (B',) int64."""
        return self._replace(src_ids=self.src_ids.index_select(0, sentences))


class PointerGenerator(nn.Module):
    """Decide between predicting from a vocabulary that both sides share and pointing at the source.

    Ids from `vocab_size` on are words of a source that the vocabulary lacks: what is copied is such an id, what is read
    is `unk_id`. Unknown words without such an id are not copied, nor are tags, nor the end of the source, on which
    attention also rests where there is nothing to look at.
    """

    def __init__(self, size: int, vocab_size: int, eos_id: int, unk_id: int, tag_ids: range = range(0)) -> None:
        super().__init__()
        self.vocab_size, self.eos_id, self.unk_id, self.tag_ids = vocab_size, eos_id, unk_id, tag_ids
        self.weight = nn.Parameter(torch.empty(1, size).uniform_(-(size**-0.5), size**-0.5))
        self.bias = nn.Parameter(torch.zeros(1))

    def replace_copied(self, ids: Tensor) -> Tensor:
        """Give the ids that are looked up for ids of any kind."""
        return ids.masked_fill(ids >= self.vocab_size, self.unk_id)

    def source(self, src: Tensor) -> CopySource:
        """src (B, S) -> what of it can be copied."""
        return CopySource(self._copyable(src), max(self.vocab_size, int(src.max()) + 1))

    def forward(self, hidden: Tensor, attention: Tensor, src: Tensor) -> PointerOutput:
        """hidden (B, T, D), attention (B, T, S), src (B, S) -> what a teacher-forced pass points at."""
        return PointerOutput(self._gate(hidden), attention, self._copyable(src), self.vocab_size)

    @torch.no_grad()
    def mix_scores(self, scores: Tensor, hidden: Tensor, attention: Tensor, source: CopySource) -> Tensor:
        """Mix in what is copied: scores (N, V), hidden (N, D), attention (N, S) -> log-probabilities (N, W)."""
        gate, src_ids = self._gate(hidden), source.src_ids
        src_ids = src_ids.repeat_interleave(len(scores) // len(src_ids), dim=0)
        attention, is_nothing = attention[:, : src_ids.size(1)], src_ids == NOT_COPYABLE
        uncopyable = (attention * is_nothing).cumsum(-1)[:, -1]  # unlike `sum`, the same bits with any padding
        generated = _log_vocabulary_scale(gate, uncopyable)
        scores = F.pad(scores, (0, source.width - self.vocab_size), value=float("-inf")) + generated[:, None]
        # Only what stands in the source is mixed: logarithms of all W would take most of the time of a search.
        places = src_ids.clamp_min(0)
        shares = torch.zeros_like(scores).scatter_add_(1, places, attention.masked_fill(is_nothing, 0.0))
        copied = F.logsigmoid(-gate)[:, None] + shares.gather(1, places).log()
        return scores.scatter_(1, places, kernels.log_add(scores.gather(1, places), copied))

    def _copyable(self, src: Tensor) -> Tensor:
        is_tag = (src >= self.tag_ids.start) & (src < self.tag_ids.stop)
        return src.masked_fill((src == self.eos_id) | (src == self.unk_id) | is_tag, NOT_COPYABLE)

    def _gate(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> the logit of g (...), in fp32."""
        with torch.autocast(hidden.device.type, enabled=False):
            return kernels.linear(hidden.float(), self.weight, self.bias)[..., 0]
