"""Which frames of a recording hold sound: an energy detector whose threshold fits the recording."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NOISE_PERCENTILE, SOUND_PERCENTILE = 10, 95
"""Of the levels of all frames: about those of the background, and of what is loud."""
LEAST_RANGE_DB = 12.0
"""Where levels differ by less, all frames count as sound."""
THRESHOLD_SHARE, MOST_ABOVE_NOISE_DB = 0.4, 10.0
"""How far above the background sound begins: a share of the range, and decibels at most."""
BRIDGED_FRAMES = 5
"""Frames of silence that count as sound between two sounds, as before a stop (`t`, `k`)."""


def active_frames(log_mel: Tensor) -> NDArray[np.bool_]:
    """Tell which frames hold sound: log_mel (F, M) in nats, not normalised -> (F,)."""
    levels = (torch.logsumexp(log_mel, dim=1) * (10 / np.log(10))).numpy()
    if not len(levels):
        return np.zeros(0, bool)
    noise, loud = np.percentile(levels, [NOISE_PERCENTILE, SOUND_PERCENTILE])
    if loud - noise < LEAST_RANGE_DB:
        return np.ones(len(levels), bool)
    active = levels > noise + min(THRESHOLD_SHARE * (loud - noise), MOST_ABOVE_NOISE_DB)
    places = np.flatnonzero(active)
    for before, after in pairwise(places.tolist()):
        if 1 < after - before <= 1 + BRIDGED_FRAMES:
            active[before:after] = True
    return np.asarray(active)
