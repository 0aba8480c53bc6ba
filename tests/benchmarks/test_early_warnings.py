"""Cost of early warnings: the stopwatch counts nested calls once."""

import time
from unittest.mock import patch

from benchmarks.early_warnings import Stopwatch, measure


def test_nested_calls_are_counted_once() -> None:
    watch = Stopwatch()
    with patch.object(time, "process_time", side_effect=[10.0, 13.0]):
        inner = watch.timed(lambda: 5)
        assert watch.timed(lambda: inner() + inner())() == 10
    assert watch.seconds == 3.0


def test_a_training_is_measured() -> None:
    warnings, steps = measure("digits_linear", 4)
    assert 0 < warnings < steps
