"""Early warnings: no recipe gives one in its first steps."""

import logging
from pathlib import Path

import pytest
from reference.stopped_runs import train_until

from seqlab.recipes import RECIPES
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of
from seqlab.runs.overrides import override
from seqlab.training.early_warnings import GRADIENT_STEPS

QUICK = ("digits_linear", "diabetes", "frozen_lake")
OTHER_LANGUAGES = ("eng_us", "hun", "kor", "dut", "jpn_hira", "arabic", "finnish", "russian", "spanish", "turkish")
"""Languages of recipes that have the config of another language."""


def first_steps(name: str, run_dir: Path) -> Config:
    """Return the config of a recipe with one micro-step in each step, and without a validation in the first steps."""
    config = RECIPES[name](run_dir)
    changes = {"training.valid_every": "1000000", "training.device": "cpu", "training.threads": "1"}
    data = fields_of(type(config.data))
    for unit in ("tokens", "rows", "seconds"):
        if f"micro_batch_{unit}" in data:
            sizes = [getattr(config.data, f"{prefix}batch_{unit}") for prefix in ("", "micro_")]
            changes[f"data.batch_{unit}"] = str(min(sizes))
    return override(config, [*changes.items()])


def check(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Train the first steps of a recipe, and check that there is no warning."""
    try:
        config = first_steps(name, tmp_path / "run")
    except FileNotFoundError as error:  # its corpus, or the text that another run must translate first
        pytest.skip(str(error))
    if any(str(spec).startswith("hub:") for spec in config.data.input_specs()):
        pytest.skip("its text is downloaded")
    if not config.model.is_count_based:
        with caplog.at_level(logging.WARNING, "seqlab.training.early_warnings"):
            train_until(config, tmp_path / "run", GRADIENT_STEPS + 1)
    assert [each.getMessage() for each in caplog.records if each.name == "seqlab.training.early_warnings"] == []


@pytest.mark.parametrize("name", QUICK)
def test_small_recipes_have_no_warning(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(name, tmp_path, caplog)


@pytest.mark.learning
@pytest.mark.parametrize("name", [name for name in RECIPES if not any(each in name for each in OTHER_LANGUAGES)])
def test_recipes_have_no_warning(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check(name, tmp_path, caplog)
