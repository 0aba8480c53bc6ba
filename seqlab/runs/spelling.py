"""What an unknown item costs: its spelling, under a model of bytes that was trained with the run.

A model whose vocabulary has `<unk>` gives all unknown items together one probability. To say how likely a text is, each
of them has to be spelt out too: with `<unk>` for nothing a model would look the better the fewer words it knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from seqlab.data.batch import collate_text
from seqlab.durable import write_bytes
from seqlab.models import NgramConfig, NgramModel
from seqlab.text import Tokenizer

PAD_ID, BOS_ID, EOS_ID = range(3)
NUM_SPECIAL = 3
ORDER = 6
"""Bytes of the longest n-grams."""
MODEL = "model.safetensors"


class SpellingModel:
    """An n-gram model of the bytes of an item in UTF-8; every spelling has a probability above 0."""

    def __init__(self, model: NgramModel) -> None:
        self._model = model
        self._log_prob = lru_cache(maxsize=1 << 16)(self._compute)

    @classmethod
    def learn(cls, items: Iterable[str]) -> SpellingModel:
        """Learn from the rarest items of a text, which are most like those that it does not have."""
        model = _empty_model()
        model.fit([_ids(item) for item in items], "lines")
        return cls(model)

    def log_prob(self, item: str) -> float:
        """Return the log-probability of a spelling, its end counted, in nats."""
        return self._log_prob(item)

    def _compute(self, item: str) -> float:
        row = np.append(_ids(item), EOS_ID)
        return float(self._model.score(collate_text([row], [0], pad_id=PAD_ID, start_id=BOS_ID)).sum())

    def save(self, folder: Path) -> None:
        """Write what `load_spelling` reads."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / MODEL, save(self._model.weights()))


def load_spelling(folder: Path) -> SpellingModel | None:
    """Read a spelling model, None where the run has none; raises ValueError where it is damaged."""
    from safetensors.torch import load

    path = folder / MODEL
    if not path.is_file():
        return None
    model = _empty_model()
    try:
        model.load_weights(load(path.read_bytes()))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy.") from error
    return SpellingModel(model)


def rare_items(lines: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """Choose from the items of a text what spelling is learnt from: the unknown ones and those that occur once."""
    counts: Counter[str] = Counter()
    unknown: set[str] = set()
    for line in lines:
        counts.update(tokenizer.items(line))
        unknown.update(tokenizer.unknown_items(line))
    return sorted(item for item, count in counts.items() if count == 1 or item in unknown) or sorted(counts)


def _empty_model() -> NgramModel:
    return NgramModel(NgramConfig(order=ORDER), NUM_SPECIAL + 256, pad_id=PAD_ID, bos_id=BOS_ID, eos_id=EOS_ID)


def _ids(item: str) -> NDArray[np.int64]:
    return np.frombuffer(item.encode("utf-8"), np.uint8).astype(np.int64) + NUM_SPECIAL
