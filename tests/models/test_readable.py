"""Size of the code of each model: files and lines from its config to its logits."""

import pytest
from trace_models import MODELS, trace

MAX_FILES, MAX_LINES = 12, 900


@pytest.mark.parametrize("name", MODELS)
def test_models_are_built_from_few_files_and_lines(name: str) -> None:
    found = trace(MODELS[name])
    assert 3 <= len(found.files) <= MAX_FILES, sorted(found.files)
    assert 100 < found.lines <= MAX_LINES
    assert not [file for file in found.files if file.startswith("nn/cpu/")]
