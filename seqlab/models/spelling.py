"""What an unknown item costs: its spelling, under a model of bytes that is learnt with a run.

A model whose vocabulary has `<unk>` gives all unknown items together one probability. To say how likely a text is, each
of them has to be spelt out too: with `<unk>` for nothing a model would look the better the fewer words it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.batch import collate_text
from seqlab.models.ngram import NgramConfig, NgramModel

PAD_ID, BOS_ID, EOS_ID = range(3)
NUM_SPECIAL = 3
ORDER = 6
"""Bytes of the longest n-grams."""
MAX_KNOWN = 1 << 16
"""Spellings that are remembered, as unknown items come again."""


class SpellingModel:
    """An n-gram model of the bytes of an item in UTF-8; every spelling has a probability above 0."""

    def __init__(self) -> None:
        config = NgramConfig(order=ORDER)
        self._model = NgramModel(config, NUM_SPECIAL + 256, pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)
        self._known: dict[str, float] = {}

    @classmethod
    def learn(cls, items: Iterable[str]) -> SpellingModel:
        """Learn from the rarest items of a text, which are most like those that it does not have."""
        spelling = cls()
        spelling._model.fit([_ids(item) for item in items], "lines")
        return spelling

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> SpellingModel:
        """Take what `weights` gave; raises ValueError where it is something else."""
        spelling = cls()
        spelling._model.load_weights(weights)
        return spelling

    def weights(self) -> dict[str, Tensor]:
        """Give what there is to save."""
        return self._model.weights()

    def log_prob(self, item: str) -> float:
        """Return the log-probability of a spelling, its end counted, in nats."""
        if item not in self._known:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            row = np.append(_ids(item), EOS_ID)
            scores = self._model.score(collate_text([row], [0], pad_id=PAD_ID, start_id=BOS_ID))
            self._known[item] = float(scores.sum())
        return self._known[item]


def _ids(item: str) -> NDArray[np.int64]:
    return np.frombuffer(item.encode("utf-8"), np.uint8).astype(np.int64) + NUM_SPECIAL
