"""`seqlab.register`: a registered part can be chosen, and an unsuitable config is refused at once."""

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


def flat(decorate: Callable[[type], Any]) -> Any:
    """Define a schedule that stays at its peak."""

    @decorate
    class FlatConfig(WarmupConfig):
        """The peak at each step."""

        family: Literal["flat"] = "flat"

        def share(self, step: int, max_steps: int) -> float:
            return 1.0

    return FlatConfig


@pytest.mark.parametrize(
    "decorate", [lambda own: own, dataclasses.dataclass(frozen=True, kw_only=True)], ids=["none", "standard library"]
)
def test_a_config_that_is_not_a_pydantic_dataclass_is_refused(decorate: Callable[[type], Any]) -> None:
    """So is `@dataclass` above `@seqlab.register`, which registers the class before it is a dataclass."""
    message = "FlatConfig is not a pydantic dataclass: decorate it with `@pydantic.dataclasses.dataclass(frozen=True"
    with pytest.raises(ValueError, match=re.escape(message)):
        seqlab.register("schedule")(flat(decorate))
    assert "flat" not in registry.Parts("schedule")


def test_a_registered_schedule_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry._parts, "schedule", dict(registry._parts["schedule"]))
    own = flat(pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=SETTINGS))
    assert seqlab.register("schedule")(own) is own
    assert (
        repr(registry.Parts("schedule"))
        == "Parts('schedule': constant, linear, inverse_sqrt, cosine, exponential, one_cycle, plateau, flat)"
    )
    fields = {"optim.schedule.family": "flat", "optim.schedule.warmup_steps": 4}
    schedule = seqlab.recipe("number_words", tmp_path, fields).optim.schedule
    assert isinstance(schedule, own)
    assert [schedule.lr_at(1.0, step, 10) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
