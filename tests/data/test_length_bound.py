"""Linear bound of target lengths by source lengths, compared with all candidate lines."""

from itertools import combinations

import numpy as np
import pytest

from seqlab.data.length_bound import fit_length_bound, lowest_upper_line
from seqlab.search.config import OutputLimits, SearchConfig


@pytest.mark.parametrize("seed", range(40))
def test_no_line_above_all_lengths_has_a_lower_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources = rng.integers(1, 30, size=rng.integers(1, 50))
    targets = np.maximum(
        1, (rng.normal(rng.uniform(-0.5, 3), 0.5) * sources + rng.integers(1, 40, len(sources)))
    ).astype(np.int64)
    slope, intercept = lowest_upper_line(sources, targets)
    assert slope >= 0
    assert intercept >= -1e-9
    assert (slope * sources + intercept >= targets - 1e-9).all()
    # the lowest line passes through two of the points and the origin, or is horizontal
    points = [(0, 0), *zip(sources.tolist(), targets.tolist(), strict=True)]
    slopes = [0.0, *((t - u) / (s - r) for (s, t), (r, u) in combinations(points, 2) if s != r)]
    intercepts = {a: max(0.0, float((targets - a * sources).max())) for a in slopes if a >= 0}
    lowest = min(a * sources.mean() + b for a, b in intercepts.items())
    assert slope * sources.mean() + intercept == pytest.approx(lowest)


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_allows_all_training_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(1, 20, 30), rng.integers(1, 20, 30)
    search = SearchConfig().with_limits(OutputLimits(1000, **fit_length_bound(sources, targets)))
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        assert search.max_length_for(source) >= target


def test_the_bound_allows_long_targets_of_short_sources() -> None:
    sources, targets = np.full(6, 2), np.full(6, 31)  # including eos
    assert lowest_upper_line(sources, targets) == (15.5, 0.0)
    assert fit_length_bound(sources, targets) == {"ratio": 18.6, "offset": 0}
