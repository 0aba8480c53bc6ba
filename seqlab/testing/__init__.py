"""Checks for people who write their own parts: models, step functions and objectives.

Each check raises an AssertionError that says what does not hold, so it can be called in a test of any test runner.
"""

from seqlab.testing.models import check_model, row_outputs
from seqlab.testing.objectives import check_objective
from seqlab.testing.random_examples import (
    Examples,
    labeled_lines,
    labeled_recordings,
    recordings,
    texts,
    token_pairs,
    vectors,
)
from seqlab.testing.steppers import check_stepper

__all__ = [
    "Examples",
    "check_model",
    "check_objective",
    "check_stepper",
    "labeled_lines",
    "labeled_recordings",
    "recordings",
    "row_outputs",
    "texts",
    "token_pairs",
    "vectors",
]
