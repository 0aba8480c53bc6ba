"""Byte-level spelling model: the probability of the spelling of unknown words or characters ("items").

The probability of `<unk>` is that of all unknown items together. The probability of a text also needs the probability
of each unknown item's spelling. Without it, a smaller vocabulary would have a lower perplexity.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.batch import collate_text
from seqlab.models.ngram import NgramConfig, NgramModel

PAD_ID, BOS_ID, EOS_ID = range(3)
NUM_SPECIAL = 3
ORDER = 6
"""Order of the byte n-gram model."""
MAX_CACHED = 1 << 16
"""Maximum number of spellings whose log-probabilities are cached."""


class SpellingModel:
    """N-gram model of the UTF-8 bytes of items; every spelling has a probability above 0."""

    def __init__(self) -> None:
        config = NgramConfig(order=ORDER)
        self._model = NgramModel(config, NUM_SPECIAL + 256, pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)
        self._cache: dict[str, float] = {}

    @classmethod
    def fit(cls, items: Iterable[str]) -> SpellingModel:
        """Fit a model to items; use the rarest items of a text, which are most similar to unknown ones."""
        spelling = cls()
        spelling._model.fit([_ids(item) for item in items], "lines", fallback_level=logging.DEBUG)  # rare items are few
        return spelling

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> SpellingModel:
        """Load tensors that `weights` returned; raises ValueError if they do not fit."""
        spelling = cls()
        spelling._model.load_weights(weights)
        return spelling

    def weights(self) -> dict[str, Tensor]:
        """Return all tensors to save, by name."""
        return self._model.weights()

    def log_prob(self, item: str) -> float:
        """Return the log-probability in nats of a spelling, including its end."""
        if item not in self._cache:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            row = np.append(_ids(item), EOS_ID)
            scores = self._model.score(collate_text([row], [0], pad_id=PAD_ID, start_id=BOS_ID))
            self._cache[item] = float(scores.sum())
        return self._cache[item]


def _ids(item: str) -> NDArray[np.int64]:
    return np.frombuffer(item.encode("utf-8"), np.uint8).astype(np.int64) + NUM_SPECIAL
