"""Fixtures of the tests of diagnosis."""

from collections.abc import Callable

import pytest
from contracts.trained import Trained

from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.workbench import open_run


@pytest.fixture
def lab_of(
    trained_row: Callable[[str], Trained], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Experiments]:
    """Return a function that opens the run of a row for experiments."""
    return lambda name: Experiments(open_run(trained_row(name).run, tmp_path_factory.mktemp("scratch")), minutes=5)
