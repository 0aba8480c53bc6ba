"""Search errors and model errors of hand-written outputs."""

import pytest

from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.search_errors import ScoredReference, SearchErrors, count_search_errors


def hypothesis(ids: list[int], score: float, finished: bool = True) -> Hypothesis:
    return Hypothesis(ids=ids, score=score, log_prob=score, finished=finished, token_log_probs=[])


REFERENCE = ScoredReference([4, 5], -1.0, is_reachable=True)
OUTPUTS = {
    "right": hypothesis([4, 5], -1.0),
    "search": hypothesis([4, 6], -1.5),
    "model": hypothesis([4, 6], -0.5),
    "model, with an almost equal score": hypothesis([4, 6], -1.00001),
    "the reference without eos": hypothesis([4, 5], -0.1, finished=False),
}


@pytest.mark.parametrize(
    ("name", "right", "search_errors", "model_errors"),
    [
        ("right", 1, 0, 0),
        ("search", 0, 1, 0),
        ("model", 0, 0, 1),
        ("model, with an almost equal score", 0, 0, 1),
        ("the reference without eos", 0, 1, 0),
    ],
)
def test_errors_are_classified(name: str, right: int, search_errors: int, model_errors: int) -> None:
    found = count_search_errors(2, [OUTPUTS[name]], [REFERENCE], None)
    unfinished = 0 if OUTPUTS[name].finished else 1
    assert found == SearchErrors(2, right, search_errors, model_errors, beaten=0, unfinished=unfinished)


def test_only_outputs_with_a_lower_score_than_the_best_are_beaten() -> None:
    best = [hypothesis([4, 6], -0.5)] * 4
    found = [OUTPUTS["right"], OUTPUTS["search"], OUTPUTS["model"], OUTPUTS["the reference without eos"]]
    assert count_search_errors(1, found, [REFERENCE] * 4, best).beaten == 3


def test_incomplete_exact_searches_are_excluded() -> None:
    references = [REFERENCE, REFERENCE, ScoredReference([4] * 99, -9.0, is_reachable=False)]
    found, best = [OUTPUTS["right"], OUTPUTS["search"], OUTPUTS["search"]], [OUTPUTS["model"], None, None]
    assert count_search_errors(3, found, references, best) == SearchErrors(
        3, 1, 0, 0, beaten=1, unknown=1, out_of_reach=1
    )
    assert count_search_errors(None, best, references, best) == SearchErrors(
        None, 0, 0, 1, beaten=0, unknown=1, out_of_reach=1
    )
    assert count_search_errors(3, found, references, None) == SearchErrors(3, 1, 1, 0, beaten=0, out_of_reach=1)
