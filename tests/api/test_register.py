"""`seqlab.register`: choosing a registered schedule, and errors for classes that are not pydantic dataclasses."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest

import seqlab
from seqlab import registry
from seqlab.optim import SETTINGS, WarmupConfig


def make_flat_config(decorate: Callable[[type], Any]) -> Any:
    """Define the config class of a constant schedule, with a decorator."""

    @decorate
    class FlatConfig(WarmupConfig):
        """A constant schedule."""

        family: Literal["flat"] = "flat"

        def share(self, step: int, max_steps: int) -> float:
            return 1.0

    return FlatConfig


@pytest.mark.parametrize(
    "decorate", [lambda cls: cls, dataclasses.dataclass(frozen=True, kw_only=True)], ids=["none", "standard library"]
)
def test_a_config_that_is_not_a_pydantic_dataclass_is_refused(decorate: Callable[[type], Any]) -> None:
    """This is also the error if `@dataclass` is above `@seqlab.register`, so that it is applied after it."""
    message = "FlatConfig is not a pydantic dataclass: decorate it with `@pydantic.dataclasses.dataclass(frozen=True"
    with pytest.raises(ValueError, match=re.escape(message)):
        seqlab.register("schedule")(make_flat_config(decorate))
    assert "flat" not in registry.Parts("schedule")


def test_a_registered_schedule_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry._parts, "schedule", dict(registry._parts["schedule"]))
    flat_config = make_flat_config(pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=SETTINGS))
    assert seqlab.register("schedule")(flat_config) is flat_config
    assert (
        repr(registry.Parts("schedule"))
        == "Parts('schedule': constant, linear, inverse_sqrt, cosine, exponential, one_cycle, plateau, flat)"
    )
    fields = {"optim.schedule.family": "flat", "optim.schedule.warmup_steps": 4}
    schedule = seqlab.recipe("number_words", tmp_path, fields).optim.schedule
    assert isinstance(schedule, flat_config)
    assert [schedule.lr_at(1.0, step, 10) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
