"""Back-pointers of a beam search, which are followed once after the search to read its hypotheses.

Rows are reordered at every step, so a tensor of all ids so far would have to be copied at every step. A pointer to the
row that was extended is enough.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class EndedHypotheses(NamedTuple):
    """Last steps of n ended hypotheses per sentence. Fields (A, n); a log-probability of -inf marks a free slot."""

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    """Number of ids, eos included; 0 only if no id was allowed at the first step."""
    parents: Tensor
    """Row that the last step extended."""
    last_ids: Tensor
    last_log_probs: Tensor
    finished: Tensor
    """Whether the last id is eos."""

    def reorder(self, order: Tensor) -> "EndedHypotheses":
        """Reorder or select the hypotheses of each sentence. order: (A, n')."""
        return EndedHypotheses(*(field.gather(1, order) for field in self))

    def select_sentences(self, sentences: Tensor) -> "EndedHypotheses":
        """Select sentences. sentences: indices (A',) or a mask (A,)."""
        return EndedHypotheses(*(field[sentences] for field in self))


class TracedHypotheses(NamedTuple):
    """E hypotheses, read back from the history."""

    ids: Tensor
    """(E, T): ids with eos, padded with zeros."""
    id_log_probs: Tensor
    """(E, T): log-probability of each id."""
    attention: Tensor | None
    """(E, T, S): attention weights of each id; None if they were not recorded."""


class History:
    """Record of the steps of a search. Step t extends the rows that were appended at step t - 1, in the same order."""

    def __init__(self) -> None:
        self.parents: list[Tensor] = []
        self.ids: list[Tensor] = []
        self.id_log_probs: list[Tensor] = []
        self.attention: list[Tensor] = []  # (N, S) per step: weights of the rows that the step extends

    @property
    def num_steps(self) -> int:
        """Number of steps that were appended."""
        return len(self.ids)

    def append(self, parents: Tensor, ids: Tensor, id_log_probs: Tensor) -> None:
        """Append the rows (N',) of a step. `parents`: index of the previous step's row that each row extends."""
        self.parents.append(parents)
        self.ids.append(ids)
        self.id_log_probs.append(id_log_probs)

    def trace(self, ended: EndedHypotheses) -> TracedHypotheses:
        """Follow the back-pointers of hypotheses to their first id, on the CPU. ended: fields of shape (E,)."""
        ended = EndedHypotheses(*(field.cpu() for field in ended))
        lengths, all_parents = ended.lengths, _copy_to_cpu(self.parents)
        all_ids, all_log_probs = _copy_to_cpu(self.ids), _copy_to_cpu(self.id_log_probs)
        all_attention = [step.cpu() for step in self.attention]  # too large to concatenate on the device
        count, max_length = len(lengths), int(lengths.max()) if len(lengths) else 0
        ids = ended.last_ids.new_zeros(count, max_length)
        id_log_probs = ended.last_log_probs.new_zeros(count, max_length)
        attention = all_attention[0].new_zeros(count, max_length, all_attention[0].shape[1]) if all_attention else None
        row = torch.zeros_like(lengths)  # the row that step t extended
        for t in reversed(range(max_length)):
            last = (lengths == t + 1).nonzero()[:, 0]  # hypotheses that end at step t
            ids[last, t] = ended.last_ids[last]
            id_log_probs[last, t] = ended.last_log_probs[last]
            inner = (lengths > t + 1).nonzero()[:, 0]  # hypotheses that continue after step t
            if len(inner):
                child = row[inner]
                ids[inner, t] = all_ids[t][child]
                id_log_probs[inner, t] = all_log_probs[t][child]
                row[inner] = all_parents[t][child]
            row[last] = ended.parents[last]
            if attention is not None:
                present = (lengths > t).nonzero()[:, 0]
                attention[present, t] = all_attention[t][row[present]]
        return TracedHypotheses(ids, id_log_probs, attention)


def _copy_to_cpu(steps: list[Tensor]) -> list[Tensor]:
    """Copy the rows of all steps to the CPU at once, because the host waits for each copy from a GPU."""
    return [*torch.cat(steps).cpu().split([len(step) for step in steps])] if steps else []
