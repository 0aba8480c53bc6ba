"""Bound of the output length as a linear function of the source length, fitted to the pairs of a corpus."""

import math
from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

MARGIN = 1.2
"""Ratio of the bound to the lowest line above all training pairs, so that outputs can be slightly longer."""


class LengthBound(TypedDict):
    """Parameters of the bound of the output length: ratio * S + offset for a source of length S."""

    ratio: float
    offset: int


def fit_length_bound(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> LengthBound:
    """Fit the bound of the output length: `MARGIN` times the lowest line above all pairs of lengths."""
    slope, intercept = lowest_upper_line(src_lengths, tgt_lengths)
    return {"ratio": math.ceil(MARGIN * slope * 10_000) / 10_000, "offset": math.ceil(MARGIN * intercept)}


def lowest_upper_line(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> tuple[float, float]:
    """Return a, b >= 0 with T <= a * S + b for all pairs of lengths (S, T) and the smallest mean of a * S + b.

    Because b is at least 0, the line lies above the origin too. The mean of a * S + b is the height of the line at the
    mean of S. So the lowest line above the points (S, T) and the origin is the edge of their upper convex hull at the
    mean of S. If the slope of that edge is negative, the lowest line with a >= 0 is horizontal.
    """
    points = [(0.0, 0.0), *_longest_by_source(src_lengths, tgt_lengths)]
    mean = float(src_lengths.mean())
    for (left, low), (right, high) in pairwise(_upper_hull(points)):
        if right >= mean:
            slope = (high - low) / (right - left)
            return (slope, low - slope * left) if slope > 0 else (0.0, float(tgt_lengths.max()))
    raise AssertionError("the mean is between 0 and the length of the longest source")


def _longest_by_source(src_lengths: NDArray[np.int64], tgt_lengths: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Return each source length with the length of its longest target, ascending."""
    sources, source_of_pair = np.unique(src_lengths, return_inverse=True)
    longest = np.zeros(len(sources))
    np.maximum.at(longest, source_of_pair, tgt_lengths)
    return list(zip(sources.astype(float).tolist(), longest.tolist(), strict=True))


def _upper_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the upper convex hull of points in ascending order (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (left, low), (middle, high) = hull[-2:]
            if (high - low) * (x - left) > (y - low) * (middle - left):
                break
            hull.pop()
        hull.append((x, y))
    return hull
