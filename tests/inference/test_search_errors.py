"""Search errors and model errors of hand-made outputs."""

import pytest

from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.search_errors import ScoredReference, SearchErrors, count_search_errors


def answer(ids: list[int], score: float, finished: bool = True) -> Hypothesis:
    return Hypothesis(ids=ids, score=score, log_prob=score, finished=finished, token_log_probs=[])


REFERENCE = ScoredReference([4, 5], -1.0, is_in_reach=True)
KINDS = {
    "right": answer([4, 5], -1.0),
    "search": answer([4, 6], -1.5),
    "model": answer([4, 6], -0.5),
    "equal score, so no search error": answer([4, 6], -1.00001),
    "the reference without its end": answer([4, 5], -0.1, finished=False),
}


@pytest.mark.parametrize(
    ("name", "right", "search_errors", "model_errors"),
    [
        ("right", 1, 0, 0),
        ("search", 0, 1, 0),
        ("model", 0, 0, 1),
        ("equal score, so no search error", 0, 0, 1),
        ("the reference without its end", 0, 1, 0),
    ],
)
def test_errors_are_classified(name: str, right: int, search_errors: int, model_errors: int) -> None:
    found = count_search_errors(2, [KINDS[name]], [REFERENCE], None)
    unfinished = 0 if KINDS[name].finished else 1
    assert found == SearchErrors(2, right, search_errors, model_errors, beaten=0, unfinished=unfinished)


def test_only_outputs_with_a_lower_score_are_beaten() -> None:
    best = [answer([4, 6], -0.5)] * 4
    found = [KINDS["right"], KINDS["search"], KINDS["model"], KINDS["the reference without its end"]]
    assert count_search_errors(1, found, [REFERENCE] * 4, best).beaten == 3


def test_incomplete_exact_searches_count_for_no_search() -> None:
    wanted = [REFERENCE, REFERENCE, ScoredReference([4] * 99, -9.0, is_in_reach=False)]
    found, best = [KINDS["right"], KINDS["search"], KINDS["search"]], [KINDS["model"], None, None]
    assert count_search_errors(3, found, wanted, best) == SearchErrors(3, 1, 0, 0, beaten=1, unknown=1, out_of_reach=1)
    assert count_search_errors(None, best, wanted, best) == SearchErrors(
        None, 0, 0, 1, beaten=0, unknown=1, out_of_reach=1
    )
    assert count_search_errors(3, found, wanted, None) == SearchErrors(3, 1, 1, 0, beaten=0, out_of_reach=1)
