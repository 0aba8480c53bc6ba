"""Which token should come next behind a prefix that may be wrong: one by which the fewest edits are left.

Behind a prefix h, some beginnings y[:i] of the reference are nearest to it by edit distance; whoever goes on with y[i]
for one of these can still become as similar to the reference as is possible (Sabour et al. 2019, Optimal Completion
Distillation, arXiv:1810.01398). Behind a true prefix that is the reference's next token alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Oracle:
    """A reference and a prefix of a hypothesis."""

    reference: tuple[int, ...]
    """Ids, eos last."""
    costs: np.ndarray
    """Edit distances of the prefix to each beginning of the reference without eos: (len(reference),)."""

    @classmethod
    def begin(cls, reference: Sequence[int]) -> "Oracle":
        """Start with the empty prefix; `reference` ends with eos."""
        return cls(tuple(reference), np.arange(len(reference)))

    def read(self, token: int) -> "Oracle":
        """Give the oracle of the prefix that is longer by a token, which is not eos."""
        places = np.arange(len(self.costs))
        row = self.costs + 1
        differs = np.array([each != token for each in self.reference[:-1]], dtype=np.int64)
        np.minimum(row[1:], self.costs[:-1] + differs, out=row[1:])
        return Oracle(self.reference, np.minimum.accumulate(row - places) + places)

    def best(self) -> set[int]:
        """Give the tokens that should come next, eos among them where the reference may be at its end."""
        return {self.reference[place] for place in np.flatnonzero(self.costs == self.costs.min())}

    @property
    def has_error(self) -> bool:
        """Whether the prefix is no beginning of the reference."""
        return bool(self.costs.min() > 0)
