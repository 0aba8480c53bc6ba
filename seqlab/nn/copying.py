"""Pointer-generator: copy source tokens by attention or generate from the vocabulary (See et al. 2017, P17-1099).

    p(w) = (g + (1 - g) u) p_vocabulary(w) + (1 - g) sum of a_s over the source positions s with token w

a is the decoder's attention, and the gate g is computed from the decoder's output. u is the sum of the attention on
positions that cannot be copied, such as tags and eos. It is given to the vocabulary, so that p sums to 1.

Shapes: B sentences, T target positions, S source positions, N rows, R tokens, D size, W ids.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels

NOT_COPYABLE = -1
"""Id of a source position that cannot be copied."""
NO_UNK_ID = -1
"""`unk_id` for models without a pointer-generator, which do not use it."""
MIN_COPY_PROB = 1e-30
"""Lower bound of attention before the logarithm, so that the gradient is finite."""


class PointerOutput(NamedTuple):
    """Gate and copy distribution of a teacher-forced pass."""

    gate: Tensor
    """(B, T): the logit of g."""
    attention: Tensor
    """(B, T, S): attention weights, which sum to 1 over S."""
    src_ids: Tensor
    """(B, S) int64: the id at each source position; `NOT_COPYABLE` where it cannot be copied."""
    vocab_size: int
    """Targets at or above this id can only be copied."""

    def select(self, is_predicted: Tensor) -> "PointerOutput":
        """Select the target positions of a mask (B, T), as rows: gate (R,), attention (R, S), src_ids (R, S)."""
        sentences = is_predicted.nonzero()[:, 0]
        return PointerOutput(
            self.gate[is_predicted], self.attention[is_predicted], self.src_ids[sentences], self.vocab_size
        )

    def vocabulary_targets(self, targets: Tensor) -> Tensor:
        """Replace targets (R,) outside the vocabulary, which can only be copied, by id 0; `mix` ignores its score."""
        return targets.masked_fill(targets >= self.vocab_size, 0)

    def mix(self, log_probs: Tensor, targets: Tensor) -> Tensor:
        """Return log p of targets (R,) from their vocabulary `log_probs` (R,); call it after `select`."""
        log_probs = log_probs.masked_fill(targets >= self.vocab_size, float("-inf"))
        copied = F.logsigmoid(-self.gate) + self._attention_sum(targets[:, None]).clamp_min(MIN_COPY_PROB).log()
        return kernels.log_add(self.log_vocabulary_scale() + log_probs, copied)

    def log_vocabulary_scale(self) -> Tensor:
        """Return log(g + (1 - g) u), the scale of the vocabulary's probabilities (R,); call it after `select`."""
        return _log_vocabulary_scale(self.gate, self._attention_sum(NOT_COPYABLE))

    def _attention_sum(self, ids: Tensor | int) -> Tensor:
        """Sum the attention on the positions that hold the id of each row (R, 1), or a single id: (R,)."""
        return (self.attention * (self.src_ids == ids)).cumsum(-1)[:, -1]  # unlike `sum`, the same bits for any padding


def _log_vocabulary_scale(gate: Tensor, uncopyable: Tensor) -> Tensor:
    """Return log(g + (1 - g) u) from the logit of g and from u."""
    return kernels.log_add(F.logsigmoid(gate), F.logsigmoid(-gate) + uncopyable.clamp_min(MIN_COPY_PROB).log())


class CopySource(NamedTuple):
    """Source tokens that can be copied while decoding."""

    src_ids: Tensor
    """(B, S) int64: the id at each source position; `NOT_COPYABLE` where it cannot be copied."""
    num_ids: int
    """W: number of ids, including those of source words outside the vocabulary."""

    def select(self, sentences: Tensor) -> "CopySource":
        """Keep, reorder and repeat sentences (B',) int64."""
        return self._replace(src_ids=self.src_ids.index_select(0, sentences))


class PointerGenerator(nn.Module):
    """Mix the vocabulary distribution with a copy distribution over the source; source and target share a vocabulary.

    Ids at or above `vocab_size` are source words outside the vocabulary: they can be copied, and their embedding is
    that of `unk_id`. `unk_id` itself, tags and eos are never copied: eos often receives attention that does not align
    with any token.
    """

    def __init__(self, size: int, vocab_size: int, eos_id: int, unk_id: int, tag_ids: range = range(0)) -> None:
        super().__init__()
        self.vocab_size, self.eos_id, self.unk_id, self.tag_ids = vocab_size, eos_id, unk_id, tag_ids
        self.weight = nn.Parameter(torch.empty(1, size).uniform_(-(size**-0.5), size**-0.5))
        self.bias = nn.Parameter(torch.zeros(1))

    def replace_copied(self, ids: Tensor) -> Tensor:
        """Replace ids outside the vocabulary by `unk_id`, for the embedding."""
        return ids.masked_fill(ids >= self.vocab_size, self.unk_id)

    def source(self, src: Tensor) -> CopySource:
        """Return the tokens of src (B, S) that can be copied."""
        return CopySource(self._copyable(src), max(self.vocab_size, int(src.max()) + 1))

    def forward(self, hidden: Tensor, attention: Tensor, src: Tensor) -> PointerOutput:
        """hidden (B, T, D), attention (B, T, S), src (B, S) -> the gate and the copy distribution."""
        return PointerOutput(self._gate(hidden), attention, self._copyable(src), self.vocab_size)

    @torch.no_grad()
    def mix_scores(self, scores: Tensor, hidden: Tensor, attention: Tensor, source: CopySource) -> Tensor:
        """Add the copy distribution: scores (N, V), hidden (N, D), attention (N, S) -> log-probabilities (N, W)."""
        gate, src_ids = self._gate(hidden), source.src_ids
        src_ids = src_ids.repeat_interleave(len(scores) // len(src_ids), dim=0)
        attention, cannot_copy = attention[:, : src_ids.size(1)], src_ids == NOT_COPYABLE
        uncopyable = (attention * cannot_copy).cumsum(-1)[:, -1]  # unlike `sum`, the same bits for any padding
        generated = _log_vocabulary_scale(gate, uncopyable)
        scores = F.pad(scores, (0, source.num_ids - self.vocab_size), value=float("-inf")) + generated[:, None]
        # Only the ids in the source are changed: logarithms of all W ids would take most of the search time.
        columns = src_ids.clamp_min(0)
        shares = torch.zeros_like(scores).scatter_add_(1, columns, attention.masked_fill(cannot_copy, 0.0))
        copied = F.logsigmoid(-gate)[:, None] + shares.gather(1, columns).log()
        return scores.scatter_(1, columns, kernels.log_add(scores.gather(1, columns), copied))

    def _copyable(self, src: Tensor) -> Tensor:
        is_tag = (src >= self.tag_ids.start) & (src < self.tag_ids.stop)
        return src.masked_fill((src == self.eos_id) | (src == self.unk_id) | is_tag, NOT_COPYABLE)

    def _gate(self, hidden: Tensor) -> Tensor:
        """hidden (..., D) -> the logit of g (...), in fp32."""
        with torch.autocast(hidden.device.type, enabled=False):
            return kernels.linear(hidden.float(), self.weight, self.bias)[..., 0]
