"""Search config: validation, length limits and length penalties."""

from typing import Any

import pytest

from seqlab.search.config import OutputLimits, SearchConfig
from seqlab.search.length import length_limits, length_penalty


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beam_size": 0}, r"beam_size\n.* greater than or equal to 1"),
        ({"num_hypotheses": 0}, r"num_hypotheses\n.* greater than or equal to 1"),
        (
            {"beam_size": 2, "num_hypotheses": 3},
            r"`num_hypotheses` must be at most `beam_size` \(2\), but is 3 instead.",
        ),
        ({"max_length": 0}, r"max_length\n.* greater than or equal to 1"),
        ({"no_repeat_ngram_size": -1}, r"no_repeat_ngram_size\n.* greater than or equal to 0"),
        ({"length_alpha": float("nan")}, r"length_alpha\n.* less than or equal to 10"),
        ({"length_alpha": 11}, r"length_alpha\n.* less than or equal to 10"),
        ({"max_length_ratio": -0.5}, r"max_length_ratio\n.* greater than or equal to 0"),
        ({"min_length_ratio": float("inf")}, r"min_length_ratio\n.* less than or equal to"),
        ({"beam_size": 1, "coverage_penalty": 0.2}, "`coverage_penalty` chooses between the hypotheses of a beam"),
        ({"length_penalty": "other"}, "length_penalty"),
        ({"beamsize": 3}, "beamsize"),
    ],
)
def test_invalid_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchConfig(**fields)


def test_length_penalties_equal_the_published_formulas() -> None:
    plain, gnmt = SearchConfig(length_alpha=0.5), SearchConfig(length_penalty="gnmt", length_alpha=2)
    assert [length_penalty(n, plain) for n in (0, 1, 4, 9)] == [1, 1, 2, 3]
    assert [length_penalty(n, gnmt) for n in (0, 1, 7, 13)] == [1, 1, 4, 9]
    assert length_penalty(30, SearchConfig(length_alpha=0)) == 1


def test_length_limits_depend_on_the_source_and_the_maximum() -> None:
    config = SearchConfig(max_length_ratio=1.5, max_length_offset=2, max_length=20, min_length_ratio=0.7)
    assert length_limits([1, 5, 10, 50], 4, config) == ([1, 3, 7, 20], [3, 9, 17, 20])
    assert length_limits(None, 2, SearchConfig(max_length=7)) == ([1, 1], [7, 7])
    shrinking = SearchConfig(max_length_ratio=1, max_length_offset=-3)
    assert length_limits([1, 4, 9], 3, shrinking) == ([1, 1, 1], [1, 1, 6])


def test_output_limits_only_lower_the_maximum_length() -> None:
    config = SearchConfig(beam_size=3, max_length=100)
    assert config.with_limits(OutputLimits(40)).max_length == 40
    assert config.with_limits(OutputLimits(400)).max_length == 100


def test_limits_of_a_model_are_the_defaults() -> None:
    limits = OutputLimits(40, ratio=3.5, offset=1)
    assert length_limits([2, 4, 100], 3, SearchConfig().with_limits(limits))[1] == [8, 15, 40]
    assert length_limits([2, 4], 2, SearchConfig(max_length_ratio=1).with_limits(limits))[1] == [12, 14]
    assert length_limits([2, 4], 2, SearchConfig(max_length_offset=9).with_limits(limits))[1] == [13, 17]
    assert length_limits([2, 4], 2, SearchConfig())[1] == [14, 18]  # without a model, the ratio is 2 and the offset 10


def test_limits_of_an_ensemble_are_combined() -> None:
    members = [OutputLimits(40, ratio=3.5, offset=1), OutputLimits(30, ratio=2, offset=10)]
    assert OutputLimits.combined(members) == OutputLimits(30, ratio=3.5, offset=10)
