"""`seqlab replay` names the module, parameter and row of a planted non-finite value."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from reference.ranks import run_in_ranks
from reference.temporary_parts import temporary_parts
from reference.tiny_runs import tiny_config, write_numbers
from torch import Tensor, nn

import seqlab
from seqlab.base.config_class import dataclass
from seqlab.cli.main import main
from seqlab.data.batch import ValueBatch
from seqlab.diagnosis.non_finite import NonFiniteSearch
from seqlab.diagnosis.step_replay import Replay, replay, select_rows
from seqlab.models.config import SETTINGS
from seqlab.models.predictor import InputSide, PredictorConfig, TargetSide
from seqlab.objectives import Loss, SquaredErrorConfig, StepContext
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.training import FailedStep, train

BAD_ROW = 17
"""Row of the table whose first input is 99, far from the others."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FaultyConfig(PredictorConfig):
    """Two layers with a fault between them, for examples with a large first input."""

    family: Literal["faulty"] = "faulty"
    fault: Literal["none", "input", "overflow", "sqrt", "weights"] = "none"

    def build(self, src: InputSide, tgt: TargetSide) -> "Faulty":
        """Build the model."""
        return Faulty(self.fault, src.shape[-1], tgt.size)


class Overflow(nn.Module):
    """Multiply large values by themselves until they are infinite."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.abs().amax(1, keepdim=True) > 1e3, x * 3e38, x)


class Root(nn.Module):
    """Square root, whose derivative at 0 is infinite."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Faulty(nn.Module):
    """Model with a planted fault; `identity` is a healthy module that reads the same tensor."""

    def __init__(self, fault: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fault = fault
        self.first, self.identity, self.last = nn.Linear(inputs, 4), nn.Identity(), nn.Linear(4, outputs)
        self.between: nn.Module = Root() if fault == "sqrt" else Overflow()

    def forward(self, batch: ValueBatch) -> Tensor:
        x = batch.src.flatten(1)
        is_bad = x[:, :1] > 5
        if self.fault == "input":
            x = torch.where(is_bad, torch.nan, x)
        hidden = self.first(x)
        if self.fault == "sqrt":
            hidden = torch.where(is_bad, hidden * 0, hidden.abs() + 1)
        if self.fault == "overflow":
            hidden = torch.where(is_bad, hidden.abs() + 1e4, hidden)
        outputs: Tensor = self.last(self.between(hidden) + 0 * self.identity(hidden))
        return outputs


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LogConfig(SquaredErrorConfig):
    """Squared error and the logarithm of 0 for one row."""

    family: Literal["log_of_zero"] = "log_of_zero"  # type: ignore[assignment]

    def build(self) -> Any:
        """Build the objective."""
        objective = super().build()

        def compute(model: Any, batch: ValueBatch, context: StepContext) -> Loss:
            loss = objective(model, batch, context)
            is_bad = batch.src.flatten(1)[:, 0] > 5
            return replace(loss, total=loss.total - torch.log((~is_bad).float()).sum())

        return compute


@pytest.fixture(autouse=True)
def _parts() -> Iterator[None]:
    with temporary_parts():
        seqlab.register("model")(FaultyConfig)
        seqlab.register("objective")(LogConfig)
        yield


def write_table(folder: Path) -> Path:
    """Write 60 rows, one of which has a large input."""
    x = np.random.default_rng(1).normal(size=(60, 2))
    x[BAD_ROW, 0] = 99
    path = folder / "table.csv"
    path.write_text("a,b,y\n" + "".join(f"{a},{b},{2 * b}\n" for a, b in x.tolist()), encoding="utf-8")
    healthy = "".join(f"{a},{b},{2 * b}\n" for a, b in x[:BAD_ROW].tolist())
    path.with_name("valid.csv").write_text(f"a,b,y\n{healthy}", encoding="utf-8")
    return path


def failed_step(folder: Path, fault: str = "none", objective: Any = None, **training: Any) -> Path:
    """Train until the fault, and return the dump."""
    rows = {"batch_rows": 15, "micro_batch_rows": 8}
    data = PredictionConfig(train=[str(write_table(folder))], valid=str(folder / "valid.csv"), target=["y"], **rows)
    config = Config(
        data=data,
        model=FaultyConfig(fault=fault),
        objective=objective or SquaredErrorConfig(),
        optim=OptimConfig(optimizer=AdamConfig(lr=1e-3), schedule=ConstantScheduleConfig()),
        training=TrainingConfig(max_steps=8, device="cpu", threads=1, **({"precision": "fp32"} | training)),
    )
    with pytest.raises(FailedStep):
        train(config, folder / "run")
    [dump] = (folder / "run" / "failures").iterdir()
    return dump


def replayed(dump: Path) -> Replay:
    """Replay a dump, and check that this changes no file and that the command prints the result."""
    files = {path: path.read_bytes() for path in dump.parents[1].rglob("*") if path.is_file()}
    result = replay(dump)
    assert {path: path.read_bytes() for path in dump.parents[1].rglob("*") if path.is_file()} == files
    return result


FAULTS = {
    "input": ("forward", "first", "Linear", "inputs"),
    "overflow": ("forward", "between", "Overflow", "outputs"),
    "sqrt": ("backward", "between", "Root", "inputs"),
}


@pytest.mark.parametrize(("fault", "expected"), FAULTS.items(), ids=FAULTS)
def test_the_module_and_the_row_are_named(fault: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    result = replayed(failed_step(tmp_path, fault))
    assert result.first is not None
    assert (result.first.phase, result.first.name, result.first.kind, result.first.side) == expected
    assert result.rows is not None
    assert [row.rpartition(", ")[2] for row in result.rows] == [f"line {BAD_ROW + 2}"]
    assert (result.bad_weights, result.is_finite_in_fp32) == ((), None)
    if fault == "overflow":
        assert 1e4 <= result.first.largest < 1.1e4


def test_the_loss_is_named(tmp_path: Path) -> None:
    result = replayed(failed_step(tmp_path, objective=LogConfig()))
    assert result.first is not None
    assert (result.first.phase, result.rows and len(result.rows)) == ("loss", 1)
    assert any("in the loss: the outputs of the model are finite" in line for line in result.lines())


class Mask(nn.Module):
    """Negative infinity for the first position."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape).index_fill(1, torch.tensor(0), -torch.inf)


@pytest.mark.parametrize(("last", "phase"), [(nn.Softmax(-1), "loss"), (nn.LogSoftmax(-1), "forward")])
def test_a_mask_is_the_fault_only_if_it_reaches_the_loss(last: nn.Module, phase: str) -> None:
    model, search = nn.Sequential(nn.Linear(3, 4), Mask(), last), NonFiniteSearch()
    with search.watch(model, None):
        total = model(torch.ones(2, 3)).sum() + torch.zeros(0).mean()
    first = search.result(total)
    assert first is not None
    assert first.phase == phase


def test_a_parameter_is_named_whose_gradient_is_infinite_while_the_loss_is_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The square root of a weight that is 0."""

    def forward(model: Faulty, batch: ValueBatch) -> Tensor:
        outputs: Tensor = model.last(model.first(batch.src.flatten(1))) + (model.first.weight * 0).sqrt().sum()
        return outputs

    monkeypatch.setattr(Faulty, "forward", forward)
    result = replayed(failed_step(tmp_path))
    assert result.first is not None
    assert (result.first.phase, result.first.name, result.first.kind) == ("backward", "first.weight", "parameter")
    assert result.rows is not None
    assert len(result.rows) == 5  # each row gives it


def test_non_finite_weights_are_the_fault_of_an_earlier_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = torch.optim.Adam.step

    def step_to_nan(optimizer: Any, *arguments: Any) -> Any:
        step(optimizer, *arguments)
        optimizer.param_groups[0]["params"][0].data[0] = torch.nan

    monkeypatch.setattr(torch.optim.Adam, "step", step_to_nan)
    result = replayed(failed_step(tmp_path))
    assert (result.step, result.bad_weights) == (2, ("first.weight",))
    assert result.first is not None
    assert (result.first.phase, result.first.name) == ("forward", "first")


def test_a_step_that_is_finite_when_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = failed_step(tmp_path, "overflow")
    monkeypatch.setattr(Overflow, "forward", lambda self, x: x)
    result = replayed(dump)
    assert (result.first, result.rows) == (None, None)
    assert "repeated on this CPU, the step is finite" in result.lines()[-1]


def test_fp32_is_compared_with_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(module: Overflow, x: Tensor) -> Tensor:
        return x * float("nan") if x.dtype == torch.bfloat16 else x

    monkeypatch.setattr(Overflow, "forward", forward)
    result = replayed(failed_step(tmp_path, precision="bf16"))
    assert (result.dtype, result.is_finite_in_fp32) == ("bfloat16", True)
    assert result.lines()[-1] == "in fp32 instead of bf16: finite"


def test_a_diverged_translator_is_repeated_with_its_dropout(tmp_path: Path) -> None:
    write_numbers(tmp_path, range(1, 60))
    optim = OptimConfig(optimizer=SgdConfig(lr=1e9), schedule=ConstantScheduleConfig(), max_grad_norm=None)
    config = tiny_config(tmp_path, optim=optim)
    results = run_in_ranks(2, train, config, tmp_path / "run")
    assert [result.kind for result in results] == [FailedStep] * 2
    [dump] = (tmp_path / "run" / "failures").iterdir()
    result = replayed(dump)
    assert result.first is not None
    assert "loss or gradient" not in result.reason
    assert result.reason in results[0].message


def test_the_command_prints_lines_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = failed_step(tmp_path, "overflow")
    assert main(["replay", str(dump)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "in the forward pass, in the outputs of `between` (Overflow); the magnitudes of its inputs" in lines[1]
    assert lines[2].endswith(f"line {BAD_ROW + 2}")
    assert main(["replay", str(dump), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["first"]["name"], values["first"]["kind"]) == ("between", "Overflow")


def test_errors_name_the_folder_and_what_to_do(tmp_path: Path) -> None:
    dump = failed_step(tmp_path, "overflow")
    run = dump.parents[1]
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        replay(tmp_path / "missing")
    with pytest.raises(
        ValueError, match=f"is not the dump of a failed step.*name one of its dumps, such as .*{dump.name}"
    ):
        replay(run)
    older = shutil.copytree(run, tmp_path / "older") / "failures" / dump.name
    rewrite_state(older, dump_format=None)
    with pytest.raises(ValueError, match="was written by another version of seqlab: repeat the command"):
        replay(older)
    rewrite_state(older, reason=None)
    with pytest.raises(ValueError, match="is a checkpoint, not the dump of a failed step"):
        replay(older)


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    dump = failed_step(tmp_path, "overflow")
    with temporary_parts():
        from seqlab import registry

        del registry._parts["model"]["faulty"]
        with pytest.raises(ValueError, match="faulty"):
            replay(dump)


def rewrite_state(dump: Path, **changes: Any) -> None:
    """Replace entries of state.json; None removes one."""
    from seqlab.base.atomic_io import with_checksum, write_json
    from seqlab.runs.checkpoint import read_state

    state = {name: value for name, value in (read_state(dump) | changes).items() if value is not None}
    write_json(dump / "state.json", with_checksum(state))


def test_a_batch_without_rows_is_not_divided() -> None:
    batch = ValueBatch(torch.zeros(3, 1, 2), torch.ones(3), torch.arange(3), torch.tensor([7, 8, 9]), 3)
    selected = select_rows(batch, torch.tensor([2]))
    assert selected is not None
    assert selected.indices.tolist() == [9]
    assert select_rows(SimpleNamespace(indices=batch.indices), torch.tensor([2])) is None  # type: ignore[arg-type]
