"""Search config: validation, length limits and length penalties."""

import re
from typing import Any

import pytest

from seqlab.search.config import OutputLimits, SamplingConfig, SearchConfig
from seqlab.search.length import length_limits, length_penalty


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be at least 1"),
        ({"num_hypotheses": 0}, "`num_hypotheses` must be at least 1"),
        (
            {"beam_size": 2, "num_hypotheses": 3},
            r"`num_hypotheses` must be at most `beam_size` \(2\), but is 3 instead.",
        ),
        ({"max_length": 0}, "`max_length` must be at least 1"),
        ({"no_repeat_ngram_size": -1}, "`no_repeat_ngram_size` must be at least 0"),
        ({"length_alpha": float("nan")}, r"`length_alpha` must be (at most 10|a finite number)"),
        ({"length_alpha": 11}, r"`length_alpha` must be (at most 10|a finite number)"),
        ({"max_length_ratio": -0.5}, "`max_length_ratio` must be at least 0"),
        ({"min_length_ratio": float("inf")}, "`min_length_ratio` must be a finite number"),
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


@pytest.mark.parametrize(
    ("config", "fields", "message"),
    [
        (SearchConfig, {"beam_size": 0}, "`beam_size` must be at least 1, but is 0 instead."),
        (SearchConfig, {"beem_size": 2}, "There is no `beem_size`; the nearest is `beam_size`."),
        (SearchConfig, {"length_penalty": "gnm"}, "must be 'plain' or 'gnmt', but is 'gnm' instead; the nearest is"),
        (SearchConfig, {"num_hypotheses": 9}, "`num_hypotheses` must be at most `beam_size` (5), but is 9 instead."),
        (SamplingConfig, {"max_length": 0}, "`max_length` must be at least 1, but is 0 instead."),
    ],
)
def test_invalid_values_are_plain_errors(config: type, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        config(**fields)
    assert type(error.value) is ValueError
    assert "pydantic" not in str(error.value)
