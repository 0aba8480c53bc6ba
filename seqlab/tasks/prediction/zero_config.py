"""Zero config for prediction: choose every setting of a predictor from the training examples."""

import logging
from collections.abc import Sequence
from math import prod

import numpy as np

from seqlab.data.table_codec import refuse_problem
from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.prediction.config import PredictionConfig, Predicts
from seqlab.tasks.prediction.examples import RawExamples, fit_codecs, read_examples
from seqlab.training.config_builder import ConfigBuilder, choose_intervals, clamp, power_of_two, round_2_digits

logger = logging.getLogger(__name__)
MAX_INTEGER_CLASSES = 20
"""Maximum number of distinct values in a column of integers that is read as classes."""
EPOCHS_FOR_1000_EXAMPLES = 100
"""Epochs for 1,000 examples; more examples get fewer."""
OBJECTIVES: dict[str, str] = {"numbers": "squared_error", "class": "softmax", "labels": "sigmoid"}
"""Kind of target -> objective."""


def from_examples(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides`, based on the training examples; log each choice with its reason.

    Raises:
        ConfigError: an unknown key or an invalid value.
        FileNotFoundError, ValueError: the examples cannot be read.
    """
    overridden = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    base = {"data.kind": "prediction", "model.family": "predictor", "objective.family": "squared_error"}
    if "data.predicts" in overridden:
        base["objective.family"] = OBJECTIVES.get(overridden["data.predicts"], "squared_error")
    data_overrides = [pair for pair in overrides if pair[0].startswith("data.")]
    data = _data_config(override(None, [*base.items(), *data_overrides]))
    raw = read_examples(data, data.train)
    if "data.predicts" not in overridden:
        predicts, reason = _choose_target_kind(raw)
        logger.info("  data.predicts %s: %s", predicts, reason)
        base |= {"data.predicts": predicts, "objective.family": OBJECTIVES[predicts]}
    if (
        not {"model.family", "model.encoder.family"} & overridden.keys()
        and raw.arrays is not None
        and raw.arrays.ndim > 2
    ):
        base["model.family"] = "cnn"
        logger.info("  model.family cnn: the inputs are %s", "images" if raw.arrays.ndim == 4 else "sequences")
    chosen = [(key, value) for key, value in base.items() if key not in overridden]
    builder = ConfigBuilder(override(None, [*chosen, *overrides]), list(overridden))
    if not builder.config().model.is_count_based:
        _choose_sizes(builder, raw)
    return builder.config()


def _data_config(config: Config) -> PredictionConfig:
    assert isinstance(config.data, PredictionConfig)
    return config.data


def _choose_target_kind(raw: RawExamples) -> tuple[Predicts, str]:
    """Return the kind of the targets, and the reason for it."""
    if raw.has_class_folders:
        return "class", "each class has a folder of images"
    columns = [raw.table.columns[name] for name in raw.targets]
    if len(columns) > 1:
        values = [column.binary_values() for column in columns]
        if all(np.isin(value, (0, 1)).all() for value in values):
            if (np.sum(values, axis=0) == 1).all():
                return "class", "in each row one target is 1 and all others are 0"
            return "labels", "each target is 0 or 1"
        return "numbers", f"there are {len(columns)} targets"
    [column] = columns
    refuse_problem(column, raw.table, "set `data.predicts: class`")
    numbers = column.values()
    if not column.is_numeric:
        return "class", f"{column.name} has values that are not numbers"
    if len(column.names) <= MAX_INTEGER_CLASSES and not (numbers[~np.isnan(numbers)] % 1).any():
        return "class", f"{column.name} is one of {len(column.names)} integers"
    return "numbers", f"{column.name} has many values"


def _choose_sizes(builder: ConfigBuilder, raw: RawExamples) -> None:
    """Choose the sizes of the model and the batches, the number of steps and the learning rate."""
    data = _data_config(builder.config())
    codecs = fit_codecs(data, raw)
    count, inputs = len(raw), prod(codecs[0].shape)
    classes = f", {codecs[1].size} classes" if data.predicts == "class" else ""
    shape = " x ".join(map(str, codecs[0].shape))
    logger.info(
        "%s examples of %s numbers%s; chosen settings (give an option to override one):", f"{count:,}", shape, classes
    )
    size = power_of_two(8 * max(inputs, 4) ** 0.5 * max(1.0, count / 1000) ** 0.25, 32, 512, round)
    if builder.has(builder.layer_key("d_model")):
        d_model = builder.set(builder.layer_key("d_model"), clamp(size, 32, 128), f"{inputs} inputs")
        builder.set(builder.layer_key("d_ff"), 4 * d_model, f"d_model is {d_model}")
        builder.set(builder.layer_key("num_layers"), 2, "enough for small inputs")
    builder.set(builder.layer_key("hidden_sizes"), [size, size], f"{inputs} inputs, {count:,} examples")
    dropout = builder.set(builder.layer_key("dropout"), 0.2 if count < 20_000 else 0.1, f"{count:,} examples")
    if builder.has(builder.layer_key("output_dropout")) and builder.has(builder.layer_key("weight_dropout")):
        builder.set(builder.layer_key("input_dropout"), 0.0, "inputs of few numbers")
        builder.set(builder.layer_key("output_dropout"), dropout, "as between layers")
    batch = builder.set("data.batch_rows", power_of_two(max(count, 64) / 32, 16, 256, round), f"{count:,} examples")
    epochs = builder.epochs(clamp(round(EPOCHS_FOR_1000_EXAMPLES * (count / 1000) ** -0.5), 5, 200))
    steps = builder.set_steps(
        max(10, round_2_digits(epochs * count / batch)), f"{epochs:g} epochs, {batch} examples per step"
    )
    builder.set("training.precision", "fp32", "bf16 does not speed up small models, and is less precise")
    builder.set("optim.optimizer.lr", 2e-3, f"optimizer {builder.get('optim.optimizer.family')}")
    builder.set("optim.schedule.warmup_steps", min(200, round_2_digits(0.05 * steps) or 1), f"{steps:,} steps")
    choose_intervals(builder, steps)
