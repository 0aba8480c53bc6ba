"""How long targets become by the length of their source: the tightest line above all pairs of a corpus."""

import math
from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

MARGIN = 1.2
"""How much longer than the line an output may become: a little longer than any target of the training data."""


class LengthBound(TypedDict):
    """A limit of the output's length: at most ratio * S + offset for a source of length S."""

    ratio: float
    offset: int


def fit_length_bound(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> LengthBound:
    """Return the limit of outputs: `MARGIN` above the line, so that no pair is out of reach."""
    slope, height = lowest_upper_line(src_lengths, tgt_lengths)
    return {"ratio": math.ceil(MARGIN * slope * 10_000) / 10_000, "offset": math.ceil(MARGIN * height)}


def lowest_upper_line(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> tuple[float, float]:
    """Return a, b >= 0 such that T <= a * S + b for each pair of lengths (S, T), and the mean of a * S + b is least.

    As b is at least 0, the line lies above the origin too. Among all lines above the points (S, T) and the origin, the
    mean of a * S + b is its height above the mean of S, so that the lowest one is the edge of their upper convex hull
    there; where that edge falls, the lowest with a >= 0 is horizontal.
    """
    points = [(0.0, 0.0), *_longest_by_source(src_lengths, tgt_lengths)]
    mean = float(src_lengths.mean())
    for (left, low), (right, high) in pairwise(_upper_hull(points)):
        if right >= mean:
            slope = (high - low) / (right - left)
            return (slope, low - slope * left) if slope > 0 else (0.0, float(tgt_lengths.max()))
    raise AssertionError("a mean lies between the origin and the longest source")


def _longest_by_source(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> list[tuple[float, float]]:
    """List each source length with its longest target, ascending."""
    sources, places = np.unique(src_lengths, return_inverse=True)
    longest = np.zeros(len(sources))
    np.maximum.at(longest, places, tgt_lengths)
    return list(zip(sources.astype(float).tolist(), longest.tolist(), strict=True))


def _upper_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the points of the upper convex hull, of points that ascend from left to right (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (left, low), (middle, high) = hull[-2:]
            if (high - low) * (x - left) > (y - low) * (middle - left):
                break
            hull.pop()
        hull.append((x, y))
    return hull
