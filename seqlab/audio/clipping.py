"""Measure which share of a recording is clipped."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

HIGHEST_OF_8_BITS: Final = {
    "PCM_S8": 127 / 128,
    "PCM_U8": 127 / 128,
    "ULAW": 32124 / 32768,
    "ALAW": 32256 / 32768,
}
"""The largest positive amplitude of sample formats (names of libsndfile) with 8 bits."""
HIGHEST_OF_OTHERS = 32767 / 32768


class ClippingMeter:
    """Count samples at full scale, in runs of at least two of one channel and sign, over consecutive blocks.

    A single sample at full scale may be a peak that just fits. Decoders of lossy formats overshoot where their source
    was clipped, so that values beyond full scale count as well.
    """

    def __init__(self, subtype: str, channels: int) -> None:
        self.level = np.float32(HIGHEST_OF_8_BITS.get(subtype, HIGHEST_OF_OTHERS))
        self.channels = channels
        self.num_samples = 0
        self.num_clipped = 0
        # the last two rows of the previous block, for both signs: the last one's right neighbour is still to come
        self._before = np.zeros((2, 2, channels), bool)

    def add(self, block: NDArray[np.float32]) -> None:
        """Count the next samples (n, channels)."""
        self.num_samples += block.size
        if block.max() < self.level and block.min() > -self.level:
            self._count(np.zeros((2, 1, self.channels), bool))
            self._before[:] = False
        else:
            self._count(np.stack([block >= self.level, block <= -self.level]))

    def share(self) -> float:
        """Return the clipped share of all samples; after the last block."""
        self._count(np.zeros((2, 1, self.channels), bool))
        return self.num_clipped / self.num_samples

    def _count(self, at_limit: NDArray[np.bool_]) -> None:
        """Count each sample that has a neighbour at the limit, once both of its neighbours are known."""
        rows = np.concatenate([self._before, at_limit], axis=1)  # (sign, n, channel)
        self.num_clipped += int((rows[:, 1:-1] & (rows[:, :-2] | rows[:, 2:])).sum())
        self._before = rows[:, -2:].copy()
