"""Invalid parts are refused when they are registered or first used; the message names the missing member."""

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
from seqlab.text import TrainedTokenizerConfig


@pytest.fixture(autouse=True)
def _restore_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {kind: dict(parts) for kind, parts in registry._parts.items()}
    yield
    for kind, parts in before.items():
        registry._parts[kind].clear()
        registry._parts[kind].update(parts)


@dataclass(frozen=True, kw_only=True)
class ObjectiveWithoutBuild(ObjectiveConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class ModelWithoutBuild(ModelConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class ScheduleWithoutShare(WarmupConfig):
    family: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class OptimizerWithoutLr(OptimizerConfig):
    family: Literal["mine"] = "mine"

    def build(self, parameters: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class TokenizerWithoutRestore(TrainedTokenizerConfig):
    kind: Literal["mine"] = "mine"

    def train(self, lines: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class ExporterWithoutExport(ExportFormat):
    format: Literal["mine"] = "mine"


@dataclass(frozen=True, kw_only=True)
class ObjectiveWithoutTag(ObjectiveConfig):
    def build(self) -> Any: ...


class NotADataclass(ObjectiveConfig):
    family: ClassVar[str] = "mine"  # type: ignore[misc]


@plain_dataclass
class NotDerived:
    family: str = "mine"


@pytest.mark.parametrize(
    ("kind", "name", "part", "message"),
    [
        (
            "objective",
            None,
            ObjectiveWithoutBuild,
            "'mine' cannot be registered: ObjectiveWithoutBuild lacks `build` (see `ObjectiveConfig`)",
        ),
        ("model", None, ModelWithoutBuild, "ModelWithoutBuild lacks `build`"),
        ("schedule", None, ScheduleWithoutShare, "ScheduleWithoutShare lacks `share`"),
        ("optimizer", None, OptimizerWithoutLr, "OptimizerWithoutLr lacks `lr`"),
        ("tokenizer", None, TokenizerWithoutRestore, "TokenizerWithoutRestore lacks `restore`"),
        ("exporter", None, ExporterWithoutExport, "ExporterWithoutExport lacks `export`"),
        (
            "objective",
            None,
            ObjectiveWithoutTag,
            "ObjectiveWithoutTag must have the field `family: Literal['ObjectiveWithoutTag'] = 'ObjectiveWithoutTag'`",
        ),
        (
            "objective",
            "other",
            ObjectiveWithoutBuild,
            "ObjectiveWithoutBuild must have the field `family: Literal['other'] = 'other'`",
        ),
        (
            "objective",
            None,
            NotADataclass,
            "NotADataclass is not a pydantic dataclass: decorate it with `@",
        ),
        ("objective", "mine", NotDerived, "NotDerived is not derived from `seqlab.objectives.ObjectiveConfig`"),
        (
            "objective",
            None,
            ScheduleWithoutShare,
            "ScheduleWithoutShare is not derived from `seqlab.objectives.ObjectiveConfig`",
        ),
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


def test_parts_of_plugin_tables_are_checked_at_first_use() -> None:
    registry.add_entries(Entry("objective", "mine", f"{__name__}:ObjectiveWithoutBuild", "", "a plugin"))
    with pytest.raises(
        registry.UnusablePart, match=r"'mine' of a plugin cannot be used: ObjectiveWithoutBuild lacks `build`"
    ):
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
def test_failing_plugins_raise_a_one_line_error_and_register_nothing(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / f"failing_{abs(hash(text))}.py"
    file.write_text(f"import seqlab\nseqlab.register('metric', 'half')(len)\n{text}\n")
    with pytest.raises(PluginError, match="cannot be imported") as found:
        load_plugin(file)
    assert message in str(found.value)
    assert "half" not in Parts("metric")


def test_warning_if_a_plugin_file_changes_after_it_was_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "edited_plugin.py"
    file.write_text("VALUE = 1\n")
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        load_plugin(file)
        load_plugin(file)
        assert not caplog.records
        file.write_text("VALUE = 2\n")
        assert load_plugin(file).VALUE == 1
    assert "edited_plugin.py was changed after it was loaded" in caplog.text


def test_plugins_must_be_a_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`plugins` must be a list, but is 'mine\.py' instead"):
        seqlab.load(tmp_path, plugins="mine.py")


SCALAR = torch.ones(())


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (None, "must return a `seqlab.objectives.Loss`, but returned an object of type NoneType"),
        (SCALAR, "but returned an object of type Tensor"),
        (
            Loss(SCALAR, 3),  # type: ignore[arg-type]
            "`count` of an objective's `Loss` must be a tensor without dimensions, but is of type int",
        ),
        (Loss(torch.ones(2), SCALAR), "`total` of an objective's `Loss` must be a tensor without dimensions, but"),
        (Loss(SCALAR, SCALAR, {"step": SCALAR}), "cannot be named `step`"),
    ],
)
def test_invalid_losses_are_refused(loss: Any, message: str) -> None:
    with pytest.raises(ValueError) as found:  # noqa: PT011
        check_loss(loss)
    assert message in str(found.value)


def test_metrics_must_return_line_statistics() -> None:
    seqlab.register("metric", "five")(lambda hypotheses, references: 5)
    with pytest.raises(
        ValueError, match=r"`five` must return `seqlab\.evaluation\.LineStatistics`, but returned an object of type int"
    ):
        evaluate(["a"], [["a"]], ["five"])


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NoOptions:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TakenOption:
    """Do nothing."""

    plugin: str = ""
    """An option whose name is that of an option of all commands."""


def test_invalid_commands_are_refused() -> None:
    run: Callable[[Any], Any] = lambda options: "three"  # noqa: E731
    command = DeclaredCommand("mine", Command(NoOptions, run))
    with pytest.raises(ValueError, match="`mine` must return an exit status or None, but returned 'three'"):
        command.run(command.make_parser().parse([]))
    with pytest.raises(ValueError, match="has the option `plugin`, which all commands have: rename it"):
        DeclaredCommand("mine", Command(TakenOption, run)).make_parser()
