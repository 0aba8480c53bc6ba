"""Every field that is left open, chosen by the examples."""

import logging
from collections.abc import Sequence
from math import prod

import numpy as np

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.prediction.config import PredictionConfig, Predicts
from seqlab.tasks.prediction.examples import RawExamples, fit_codecs, read_examples
from seqlab.training.choices import Choices, choose_intervals, power_of_two, rounded, within

logger = logging.getLogger(__name__)
FEW_CLASSES = 20
"""Whole numbers with at most so many values are classes."""
EPOCHS = 100
"""Times through 1,000 examples; fewer, the more there are."""
OBJECTIVES: dict[str, str] = {"numbers": "squared_error", "class": "softmax", "labels": "sigmoid"}


def from_examples(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the examples that they name; log what and why.

    Raises:
        ConfigError: an unknown key or an impossible value.
        FileNotFoundError, ValueError: the examples cannot be read.
    """
    given = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = {"data.kind": "prediction", "model.family": "mlp", "objective.family": "squared_error"}
    if "data.predicts" in given:
        base["objective.family"] = OBJECTIVES.get(given["data.predicts"], "squared_error")
    data = _data_of(override(None, [*base.items(), *(each for each in overrides if each[0].startswith("data."))]))
    raw = read_examples(data, data.train)
    if "data.predicts" not in given:
        predicts, reason = _predicts(raw)
        logger.info("  data.predicts %s: %s", predicts, reason)
        base |= {"data.predicts": predicts, "objective.family": OBJECTIVES[predicts]}
    if "model.family" not in given and raw.arrays is not None and raw.arrays.ndim > 2:
        base["model.family"] = "cnn"
        logger.info("  model.family cnn: the inputs are %s", "images" if raw.arrays.ndim == 4 else "sequences")
    chosen = [(key, value) for key, value in base.items() if key not in given]
    choices = Choices(override(None, [*chosen, *overrides]), list(given))
    if not choices.config().model.is_count_based:
        _choose(choices, raw)
    return choices.config()


def _data_of(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


def _predicts(raw: RawExamples) -> tuple[Predicts, str]:
    """Tell what the targets are, and why."""
    columns = [raw.table.columns[name] for name in raw.targets]
    values = [column.values() for column in columns]
    if len(columns) > 1:
        if all(np.isin(each, (0, 1)).all() for each in values):
            if (np.sum(values, axis=0) == 1).all():
                return "class", "one target of each row is 1, all others are 0"
            return "labels", "each target is 0 or 1"
        return "numbers", f"there are {len(columns)} targets"
    [column], [numbers] = columns, values
    if not column.is_numeric:
        return "class", f"{column.name} holds names"
    if len(column.names) <= FEW_CLASSES and not (numbers % 1).any():
        return "class", f"{column.name} is one of {len(column.names)} whole numbers"
    return "numbers", f"{column.name} has many values"


def _choose(choices: Choices, raw: RawExamples) -> None:
    data = _data_of(choices.config())
    codecs = fit_codecs(data, raw)
    count, inputs = len(raw), prod(codecs[0].shape)
    classes = f", {codecs[1].size} classes" if data.predicts == "class" else ""
    logger.info("%s examples of %d numbers%s; chosen by these:", f"{count:,}", inputs, classes)
    size = power_of_two(8 * max(inputs, 4) ** 0.5 * max(1.0, count / 1000) ** 0.25, 32, 512, round)
    choices.set("model.hidden_sizes", [size, size], f"{inputs} inputs, {count:,} examples")
    choices.set("model.dropout", 0.2 if count < 20_000 else 0.1, f"{count:,} examples")
    batch = choices.set("data.batch_rows", power_of_two(max(count, 64) / 32, 16, 256, round), f"{count:,} examples")
    epochs = within(round(EPOCHS * (count / 1000) ** -0.5), 5, 200)
    steps = choices.set(
        "training.max_steps", max(10, rounded(epochs * count / batch)), f"{epochs} times through, by {batch} in a step"
    )
    choices.set("training.precision", "fp32", "small models gain nothing from bf16, and numbers have more digits")
    choices.set("optim.optimizer.lr", 2e-3, f"of {choices.get('optim.optimizer.family')}")
    choices.set("optim.schedule.warmup_steps", min(200, rounded(0.05 * steps) or 1), f"{steps:,} steps in all")
    choose_intervals(choices, steps)
