"""Where each hypothesis came from: back-pointers, followed once at the end of a search.

Rows are reordered at every step, so a tensor of all ids so far would be copied at every step; a pointer to the row
that was continued is enough.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Endings(NamedTuple):
    """The last step of n hypotheses for each of A sentences. All fields (A, n); log_probs -inf: a free place."""

    scores: Tensor
    log_probs: Tensor
    lengths: Tensor
    """How many ids, eos included; 0 only if the search could not take a single step."""
    parents: Tensor
    """The row that was read in the last step."""
    last_ids: Tensor
    last_log_probs: Tensor
    finished: Tensor
    """Whether the last id is eos."""

    def pick(self, order: Tensor) -> "Endings":
        """Reorder or select the hypotheses of each sentence. order: (A, n')."""
        return Endings(*(field.gather(1, order) for field in self))

    def of(self, sentences: Tensor) -> "Endings":
        """Select sentences. sentences: indices (A',) or a mask (A,)."""
        return Endings(*(field[sentences] for field in self))


class Traced(NamedTuple):
    """E hypotheses, written out."""

    ids: Tensor
    """(E, T), eos included, zeros behind it."""
    id_log_probs: Tensor
    """(E, T)"""
    attention: Tensor | None
    """(E, T, S)"""


class History:
    """The steps of one search. Step t reads the rows that `append` was given for step t - 1, in their order."""

    def __init__(self) -> None:
        self.parents: list[Tensor] = []
        self.ids: list[Tensor] = []
        self.id_log_probs: list[Tensor] = []
        self.attention: list[Tensor] = []

    @property
    def num_steps(self) -> int:
        """How many steps were appended."""
        return len(self.ids)

    def append(self, parents: Tensor, ids: Tensor, id_log_probs: Tensor) -> None:
        """Write down the rows (N',) that go on after a step, as continuations of the rows that the step read."""
        self.parents.append(parents)
        self.ids.append(ids)
        self.id_log_probs.append(id_log_probs)

    def trace(self, endings: Endings) -> Traced:
        """Follow hypotheses back to their first id, on the CPU. endings: fields of shape (E,)."""
        endings = Endings(*(field.cpu() for field in endings))
        lengths, all_parents = endings.lengths, _on_cpu(self.parents)
        all_ids, all_log_probs = _on_cpu(self.ids), _on_cpu(self.id_log_probs)
        all_attention = [step.cpu() for step in self.attention]  # too much to be copied once more on the device
        count, num_steps = len(lengths), int(lengths.max()) if len(lengths) else 0
        ids = endings.last_ids.new_zeros(count, num_steps)
        id_log_probs = endings.last_log_probs.new_zeros(count, num_steps)
        attention = all_attention[0].new_zeros(count, num_steps, all_attention[0].shape[1]) if all_attention else None
        row = torch.zeros_like(lengths)  # the row that step t read
        for t in reversed(range(num_steps)):
            last = (lengths == t + 1).nonzero()[:, 0]
            ids[last, t] = endings.last_ids[last]
            id_log_probs[last, t] = endings.last_log_probs[last]
            inner = (lengths > t + 1).nonzero()[:, 0]
            if len(inner):
                came_from = row[inner]
                ids[inner, t] = all_ids[t][came_from]
                id_log_probs[inner, t] = all_log_probs[t][came_from]
                row[inner] = all_parents[t][came_from]
            row[last] = endings.parents[last]
            if attention is not None:
                present = (lengths > t).nonzero()[:, 0]
                attention[present, t] = all_attention[t][row[present]]
        return Traced(ids, id_log_probs, attention)


def _on_cpu(steps: list[Tensor]) -> list[Tensor]:
    """Copy the rows of all steps at once: for each copy from a GPU the host waits."""
    return [*torch.cat(steps).cpu().split([len(step) for step in steps])] if steps else []
