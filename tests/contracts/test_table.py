"""Completeness of the table: every pair of task and model family, and each other part and setting, has a row."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import pytest
from contracts.row import Row
from contracts.table import ROWS

from seqlab.data.text_config import TextConfig
from seqlab.registry import BUILT_IN_OWNER, Parts, list_entries
from seqlab.runs.config import TrainingConfig
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.prediction.config import PredictionConfig


def built_in(kind: str) -> set[str]:
    return {entry.name for entry in list_entries(kind) if entry.owner == BUILT_IN_OWNER}


def choices(config: type, name: str) -> set[Any]:
    """Return the values that a field of a config allows."""
    return set(get_args(get_type_hints(config)[name]))


def used(value: Callable[[Any], Any]) -> set[Any]:
    return {value(row) for row in ROWS}


def _norm(row: Row) -> Any:
    return {**row.current_model, **row.current_model.get("encoder", {})}.get("norm")


def test_each_encoder_has_a_row() -> None:
    assert built_in("encoder") <= used(lambda row: row.current_model.get("encoder", {}).get("family"))


def test_each_pair_of_task_and_family_has_a_row() -> None:
    pairs = {(task, name) for name in built_in("model") for task in Parts("model")[name].tasks[:1]}
    rows = {(row.data["kind"], row.family) for row in ROWS}
    assert pairs <= rows
    assert {task for task, _ in rows} >= built_in("task")
    assert any(row.plugin for row in ROWS)


@pytest.mark.parametrize("kind", ["optimizer", "schedule"])
def test_each_optimizer_and_schedule_has_a_row(kind: str) -> None:
    assert built_in(kind) <= used(lambda row: row.optim[kind]["family"])


def test_each_objective_has_a_row() -> None:
    default = {name: Parts("model")[name].default_objective for name in built_in("model")}
    found = used(lambda row: row.objective.get("family", default.get(row.family)))
    assert built_in("objective") <= found


@pytest.mark.parametrize("average", ["average_last", "ema_decay", "average_trigger"])
def test_each_average_has_a_row(average: str) -> None:
    assert any(row.optim.get(average) for row in ROWS)


@pytest.mark.parametrize(
    ("section", "config", "name", "default"),
    [
        ("training", TrainingConfig, "parallel", "ddp"),
        ("data", TextConfig, "documents", "lines"),
        ("data", TextConfig, "order", "shuffled"),
        ("data", LabellingConfig, "labels_of", "lines"),
        ("data", PredictionConfig, "predicts", "numbers"),
    ],
)
def test_each_layout_has_a_row(section: str, config: type, name: str, default: str) -> None:
    found = used(lambda row: row.parallel if section == "training" else row.data.get(name, default))
    assert choices(config, name) <= found


def test_both_precisions_have_a_row() -> None:
    assert used(lambda row: row.training.get("precision", "fp32")) == {"fp32", "bf16"}


def test_risky_pairs_have_a_row() -> None:
    """Combinations in which a part keeps a state of its own, or two parts change the same tensors."""
    risky: dict[str, Callable[[Any], Any]] = {
        "batch norm with a moving average": lambda row: _norm(row) == "batch" and row.optim.get("ema_decay"),
        "batch norm with a mean of checkpoints": lambda row: _norm(row) == "batch" and row.optim.get("average_last"),
        "carried states over sharded ranks": lambda row: (
            row.data.get("order") == "contiguous" and row.parallel == "fsdp"
        ),
        "Muon with sharded weights": lambda row: row.optim["optimizer"]["family"] == "muon" and row.parallel == "fsdp",
        "carried states with an average that starts later": lambda row: (
            row.data.get("order") == "contiguous" and row.optim.get("average_trigger")
        ),
        "two passes per update with packed rows": lambda row: (
            row.optim["optimizer"]["family"] == "sam" and row.data.get("packing")
        ),
        "two dropout masks per row in bf16": lambda row: (
            row.objective.get("family") == "r_drop" and row.training.get("precision") == "bf16"
        ),
        "copying with summed tags": lambda row: row.model.get("copying") and row.model.get("tags") == "sum",
        "sampled subwords with a mean of checkpoints": lambda row: (
            row.data.get("subword_sampling") and row.optim.get("average_last")
        ),
        "augmentation by several workers with a moving average": lambda row: (
            row.data.get("workers") and row.optim.get("ema_decay")
        ),
        "evaluation weights of the optimizer": lambda row: row.optim["optimizer"]["family"] == "schedule_free",
        "frozen rows with weight decay and sharded weights": lambda row: (
            row.optim.get("frozen_vectors") and row.parallel == "fsdp"
        ),
        "glancing with sharded weights": lambda row: row.objective.get("glancing") and row.parallel == "fsdp",
    }
    assert [name for name, applies in risky.items() if not any(applies(row) for row in ROWS)] == []


def test_names_are_distinct() -> None:
    assert all(first != second for first, second in pairwise(sorted(row.name for row in ROWS)))
