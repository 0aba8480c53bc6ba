"""Invalid parts are refused when they are registered or first used, with the missing member in the message."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic.dataclasses import dataclass

import seqlab
from seqlab import registry
from seqlab.cli.declared import DeclaredCommand
from seqlab.commands import Command
from seqlab.evaluation import evaluate
from seqlab.export.formats import ExportFormat
from seqlab.inference.options import SETTINGS
from seqlab.models import ModelConfig
from seqlab.objectives import Loss, ObjectiveConfig
from seqlab.objectives.loss import check_loss
from seqlab.optim import OptimizerConfig, WarmupConfig
from seqlab.plugins import PluginError, load_plugin
from seqlab.registry import Entry, Parts
from seqlab.text import LearntConfig


@pytest.fixture(autouse=True)
def _restore_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {kind: dict(parts) for kind, parts in registry._parts.items()}
    yield
    for kind, parts in before.items():
        registry._parts[kind].clear()
        registry._parts[kind].update(parts)


@dataclass(frozen=True, kw_only=True)
class NoBuild(ObjectiveConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class NoModel(ModelConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class NoShare(WarmupConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class NoRate(OptimizerConfig):
    family: Literal["mine"] = "mine"

    def build(self, parameters: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class NoRestore(LearntConfig):
    kind: Literal["mine"] = "mine"

    def learn(self, lines: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class NoExport(ExportFormat):
    format: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class NoTag(ObjectiveConfig):
    def build(self) -> Any: ...


class NoDataclass(ObjectiveConfig):
    family: ClassVar[str] = "mine"  # type: ignore[misc]


@plain_dataclass
class Other:
    family: str = "mine"


@pytest.mark.parametrize(
    ("kind", "name", "part", "message"),
    [
        ("objective", None, NoBuild, "'mine' cannot be registered: NoBuild lacks `build` (see `ObjectiveConfig`)"),
        ("model", None, NoModel, "NoModel lacks `build`"),
        ("schedule", None, NoShare, "NoShare lacks `share`"),
        ("optimizer", None, NoRate, "NoRate lacks `lr`"),
        ("tokenizer", None, NoRestore, "NoRestore lacks `restore`"),
        ("exporter", None, NoExport, "NoExport lacks `export`"),
        ("objective", None, NoTag, "NoTag must have the field `family: Literal['NoTag'] = 'NoTag'`"),
        ("objective", "other", NoBuild, "NoBuild must have the field `family: Literal['other'] = 'other'`"),
        (
            "objective",
            None,
            NoDataclass,
            "NoDataclass is not a pydantic dataclass: decorate it with `@",
        ),
        ("objective", "mine", Other, "Other is not derived from `seqlab.objectives.ObjectiveConfig`"),
        ("objective", None, NoShare, "NoShare is not derived from `seqlab.objectives.ObjectiveConfig`"),
        ("model", "three", 3, "3 is not derived from `seqlab.models.ModelConfig`"),
        ("metric", "three", 3, "3 is neither a function nor a class"),
        ("command", "count", len, "len is not a `seqlab.commands.Command`"),
        ("metric", "my metric", len, "must have a name without spaces or slashes"),
    ],
)
def test_invalid_parts_are_refused(kind: str, name: str | None, part: Any, message: str) -> None:
    with pytest.raises(ValueError) as found:  # noqa: PT011
        seqlab.register(kind, name)(part)
    assert message in str(found.value)


def test_a_part_of_a_table_is_checked_at_its_first_use() -> None:
    registry.add_entries(Entry("objective", "mine", f"{__name__}:NoBuild", "", "a plugin"))
    with pytest.raises(registry.UnusablePart, match=r"'mine' of a plugin cannot be used: NoBuild lacks `build`"):
        registry.find_part("objective", "mine")
    with pytest.raises(ValueError, match=r"but the metric 'm' has 'a:b' instead"):
        registry.add_table({"metric": {"m": "a:b"}}, "a plugin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nosuchthing", "ModuleNotFoundError: No module named 'nosuchthing'"),
        ("def", "SyntaxError"),
        ("raise RuntimeError('why')", "RuntimeError: why"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_a_failing_plugin_raises_one_line_and_registers_nothing(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / f"failing_{abs(hash(text))}.py"
    file.write_text(f"import seqlab\nseqlab.register('metric', 'half')(len)\n{text}\n")
    with pytest.raises(PluginError, match="cannot be imported") as found:
        load_plugin(file)
    assert message in str(found.value)
    assert "half" not in Parts("metric")


def test_a_plugin_that_is_edited_in_one_process_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "edited_plugin.py"
    file.write_text("VALUE = 1\n")
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        load_plugin(file)
        load_plugin(file)
        assert not caplog.records
        file.write_text("VALUE = 2\n")
        assert load_plugin(file).VALUE == 1
    assert "edited_plugin.py was changed after it was loaded" in caplog.text


def test_plugins_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`plugins` must be a list, but is 'mine\.py' instead"):
        seqlab.load(tmp_path, plugins="mine.py")


ONE = torch.ones(())


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "must return a `seqlab.objectives.Loss`, but returned a NoneType"),
        (ONE, "but returned a Tensor"),
        (
            Loss(ONE, 3),  # type: ignore[arg-type]
            "`count` of an objective's `Loss` must be a tensor without dimensions, but is a int",
        ),
        (Loss(torch.ones(2), ONE), "`total` of an objective's `Loss` must be a tensor without dimensions, but"),
        (Loss(ONE, ONE, {"step": ONE}), "cannot be named `step`"),
    ],
)
def test_invalid_losses_are_refused(loss: Any, message: str) -> None:
    with pytest.raises(ValueError) as found:  # noqa: PT011
        check_loss(loss)
    assert message in str(found.value)


def test_a_metric_returns_statistics() -> None:
    seqlab.register("metric", "five")(lambda hypotheses, references: 5)
    with pytest.raises(
        ValueError, match=r"`five` must return `seqlab\.evaluation\.LineStatistics`, but returned a int"
    ):
        evaluate(["a"], [["a"]], ["five"])


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Nothing:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Taken:
    """Do nothing."""

    plugin: str = ""
    """Something else."""


def test_commands() -> None:
    run: Callable[[Any], Any] = lambda options: "three"  # noqa: E731
    command = DeclaredCommand("mine", Command(Nothing, run))
    with pytest.raises(ValueError, match="`mine` must return an exit status or None, but returned 'three'"):
        command.run(command.make_parser().parse([]))
    with pytest.raises(ValueError, match="has the option `plugin`, which all commands have: rename it"):
        DeclaredCommand("mine", Command(Taken, run)).make_parser()
