"""Mixing of the channels of a recording, with detection of channels that cancel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.containers import RecordingError

MIN_KEPT_POWER = 0.01
"""Minimum power of the mean of the channels as a share of their mean power. With N channels, it is 1 if all are equal,
1/N for one channel beside silence or for independent channels, and 0 for channels that cancel."""

MIN_CHANNEL_POWER = 0.01
"""Minimum power of a channel that changes the mean, as a share of that of the loudest one."""


class MeanOfChannels:
    """Mean of the channels, or one of them, of consecutive blocks, and the power that the mean keeps."""

    def __init__(self, index: int | None = None, *, is_chosen: bool = False) -> None:
        """Choose the channel `index`, or None for the mean; `is_chosen` if that was asked for."""
        self.index, self.is_chosen = index, is_chosen
        self.num_frames = 0
        self._sums: list[NDArray[np.float64]] = []
        """For each block, the sums and the sums of squares of the mean and of each channel: (2, 1 + channels)."""

    def mix(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean or the chosen channel of a block: (n, channels) -> (n,)."""
        if self.index is not None or block.shape[1] == 1:
            return block[:, self.index or 0]
        channels = [block[:, channel] for channel in range(block.shape[1])]  # numpy is slow along a short last axis
        total = channels[0] + channels[1]
        for values in channels[2:]:
            total += values
        mean = total * np.float32(1 / len(channels))
        self.num_frames += len(block)
        sums = [
            (values.sum(dtype=np.float64), np.square(values, dtype=np.float64).sum()) for values in (mean, *channels)
        ]
        self._sums.append(np.array(sums).T)
        return mean

    def correlation(self) -> float:
        """Return the mean correlation of the channels, weighted by their amplitudes, apart from constant offsets.

        It is 1 if the mean was asked for, or if all channels but one are silent or `MIN_CHANNEL_POWER` below it.
        """
        if self.is_chosen or not self.num_frames:
            return 1.0
        sums, squares = np.sum(self._sums, axis=0) / self.num_frames
        power = squares - sums**2
        loud = power[1:][power[1:] > MIN_CHANNEL_POWER * power[1:].max()]
        if len(loud) < 2:
            return 1.0
        total = power[0] * (len(power) - 1) ** 2  # the power of the sum of all channels
        return float((total - loud.sum()) / (np.sqrt(loud).sum() ** 2 - loud.sum()))

    def check(self, name: str) -> None:
        """Raise RecordingError ("channels") if the channels cancel, apart from constant offsets."""
        if not self.num_frames:
            return
        sums, squares = np.sum(self._sums, axis=0) / self.num_frames
        power = squares - sums**2
        if power[0] < MIN_KEPT_POWER * power[1:].mean():
            raise RecordingError(
                name,
                "channels",
                f"its {len(power) - 1} channels cancel: their mean keeps {power[0] / power[1:].mean():.1%} of their "
                "power. Name one of them: `--channel 1` (`--data.channel 1` in training), or a column `channel`.",
            )
