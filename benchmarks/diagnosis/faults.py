"""The planted faults: causes with their definitions, the data sets they fit, and how each is planted.

A fault changes rows of the data, settings of the config, or takes a part of `faulty_parts`. It must be the dominant
cause: all else is as in the healthy training of the same data set, variant and seed.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.data_sets.data_set import DataSet, Row, Settings, Splits
from seqlab.optim import ExponentialScheduleConfig
from seqlab.runs.config import Config
from seqlab.runs.overrides import as_overrides, override

PLUGIN = "benchmarks.diagnosis.faulty_parts"
ALL = ("table", "images", "labels", "language_model", "translation", "recordings")
WITH_TARGETS = ("table", "images", "labels", "translation", "recordings")
CLASSES = ("table", "images", "labels", "recordings")
ChangeData = Callable[[Splits, random.Random, DataSet], Splits]
ChangeConfig = Callable[[Config, DataSet, int], Config]


@dataclass(frozen=True)
class Fault:
    """A cause and how it is planted."""

    cause: str
    definition: str
    data_sets: tuple[str, ...]
    change_data: ChangeData | None = None
    change_config: ChangeConfig | None = None
    variants: tuple[tuple[str, int], ...] = ()
    """Data sets on which only one variant can have the fault, with this variant."""

    def variant(self, data_set: str, seed: int) -> int:
        """Return the variant of the healthy training in which the fault is planted."""
        return dict(self.variants).get(data_set, (seed + 1) % 2)

    def plant(self, data_set: DataSet, folder: Path, seed: int) -> Config:
        """Write the data into a folder and return the faulty config."""
        splits = data_set.load(seed)
        if self.change_data is not None:
            splits = self.change_data(splits, random.Random(seed), data_set)
        data_set.write(splits, folder)
        variant = self.variant(data_set.name, seed)
        config = data_set.healthy(folder, variant, seed)
        return config if self.change_config is None else self.change_config(config, data_set, variant)


# Data


def _shuffle(rows: list[Row], rng: random.Random) -> list[Row]:
    targets = [target for _, target in rows]
    rng.shuffle(targets)
    return [(row, target) for (row, _), target in zip(rows, targets, strict=True)]


def shuffle_labels(splits: Splits, rng: random.Random, _: DataSet) -> Splits:
    """Pair the inputs with the targets of other rows."""
    return replace(splits, train=_shuffle(splits.train, rng), valid=_shuffle(splits.valid, rng))


def add_label_noise(splits: Splits, rng: random.Random, _: DataSet) -> Splits:
    """Replace 40% of the targets by those of other rows."""

    def corrupt(rows: list[Row]) -> list[Row]:
        return [(row, rng.choice(rows)[1] if rng.random() < 0.4 else target) for row, target in rows]

    return replace(splits, train=corrupt(splits.train), valid=corrupt(splits.valid))


def shift_pairs(splits: Splits, _: random.Random, __: DataSet) -> Splits:
    """Give each training row after a third of the file the target of the next row."""
    targets = [target for _, target in splits.train]
    start = len(targets) // 3
    shifted = targets[:start] + targets[start + 1 :] + targets[start : start + 1]
    return replace(splits, train=[(row, target) for (row, _), target in zip(splits.train, shifted, strict=True)])


def swap_sides(splits: Splits, _: random.Random, __: DataSet) -> Splits:
    """Exchange source and target of the training data."""
    return replace(splits, train=[(target, source) for source, target in splits.train])


def leak(splits: Splits, rng: random.Random, _: DataSet) -> Splits:
    """Train on a quarter of the rows and on all validation rows."""
    kept = len(splits.train) // 4
    if splits.train[0][1] is None:  # a text keeps its order
        return replace(splits, train=splits.train[:kept] + splits.valid)
    rows = splits.train[:kept] + splits.valid
    return replace(splits, train=rng.sample(rows, len(rows)))


def duplicate(splits: Splits, rng: random.Random, _: DataSet) -> Splits:
    """Repeat a twentieth of the training rows twenty times."""
    kept = splits.train[: len(splits.train) // 20]
    if kept[0][1] is None:
        return replace(splits, train=kept * 20)
    return replace(splits, train=rng.sample(kept * 20, len(kept) * 20))


def keep_little(splits: Splits, _: random.Random, __: DataSet) -> Splits:
    """Keep a fortieth of the training rows, but at least 60."""
    return replace(splits, train=splits.train[: max(60, len(splits.train) // 40)])


def mismatch(splits: Splits, _: random.Random, data_set: DataSet) -> Splits:
    """Validate on rows of another kind."""
    assert data_set.other_distribution is not None
    return data_set.other_distribution(splits)


def read_otherwise(splits: Splits, _: random.Random, data_set: DataSet) -> Splits:
    """Write the validation rows in another casing, or with other line ends."""
    assert data_set.other_reading is not None
    return replace(splits, valid=[data_set.other_reading(row) for row in splits.valid])


# Code and settings


def part(section: str, fault: str, settings: Settings | None = None) -> ChangeConfig:
    """Take the model or objective with a fault."""

    def change(config: Config, _: DataSet, __: int) -> Config:
        from benchmarks.diagnosis.faulty_parts import faulty_part

        config = override(config, as_overrides(settings or {}))
        sections: dict[str, Any] = {section: faulty_part(getattr(config, section), fault)}
        return replace(config, **sections)

    return change


def recurrent_explosion(config: Config, data_set: DataSet, variant: int) -> Config:
    """Take a tanh RNN with large recurrent matrices, without clipping."""
    family = {"labels": "rnn_labeller", "language_model": "rnn_lm", "translation": "rnn"}[data_set.name]
    settings: Settings = {"model.family": family, "model.hidden_size": 96, "optim.max_grad_norm": None}
    config = override(config, as_overrides(settings))
    return part("model", "exploding_gradient")(config, data_set, variant)


def vanishing(config: Config, data_set: DataSet, variant: int) -> Config:
    """Take ten sigmoid layers, or recurrent layers whose gates forget the state."""
    if data_set.name in ("table", "images"):
        deep: Settings = {"model.hidden_sizes": [64] * 10, "model.activation": "sigmoid", "model.dropout": 0.0}
        return override(config, as_overrides(deep))
    return part("model", "vanishing_gradient")(config, data_set, variant)


def own_settings(cause: str) -> ChangeConfig:
    """Take the settings of the data set for a cause."""

    def change(config: Config, data_set: DataSet, variant: int) -> Config:
        settings = dict(data_set.settings_of(cause, variant))
        steps = settings.pop("training.max_steps", None)
        config = override(config, as_overrides(settings))
        return config if steps is None else with_steps(config, steps)

    return change


def with_steps(config: Config, steps: int) -> Config:
    """Return a config of another length, with the same share of warmup and the same number of validations."""
    share = steps / config.training.num_steps
    warmup = getattr(config.optim.schedule, "warmup_steps", 0)
    every = max(1, steps // 10)
    values = {"max_steps": steps, "save_every": every, "valid_every": every, "log_every": max(1, steps // 50)}
    settings: Settings = {f"training.{name}": value for name, value in values.items()}
    return override(config, as_overrides({**settings, "optim.schedule.warmup_steps": round(warmup * share)}))


def scaled_lr(factor: float) -> ChangeConfig:
    """Multiply the learning rate."""

    def change(config: Config, _: DataSet, __: int) -> Config:
        return override(config, as_overrides({"optim.optimizer.lr": config.optim.optimizer.lr * factor}))

    return change


def end_schedule(config: Config, _: DataSet, __: int) -> Config:
    """Decay the learning rate below 1% of its peak within the first twentieth of the steps."""
    return replace(config, optim=replace(config.optim, schedule=ExponentialScheduleConfig(final_ratio=1e-40)))


def clip(config: Config, _: DataSet, __: int) -> Config:
    """Scale each gradient to a norm so small that the epsilon of Adam dominates its updates."""
    return override(config, as_overrides({"optim.max_grad_norm": 1e-8}))


LARGER_BATCH = 16


def enlarge_batch(config: Config, data_set: DataSet, _: int) -> Config:
    """Read 16 times as many rows per step, and make as many passes over the data as before."""
    values = {name: getattr(config.data, name) for name in data_set.batch_fields}
    settings = {f"data.{name}": value * LARGER_BATCH for name, value in values.items()}
    return with_steps(override(config, as_overrides(settings)), config.training.num_steps // LARGER_BATCH)


def stop_early(config: Config, _: DataSet, __: int) -> Config:
    """Train for a twentieth of the steps."""
    return with_steps(config, config.training.num_steps // 20)


FAULTS: tuple[Fault, ...] = (
    Fault("shuffled_labels", "The targets belong to other rows, in all data.", WITH_TARGETS, shuffle_labels),
    Fault("label_noise", "40% of the targets, in training and validation, are random.", WITH_TARGETS, add_label_noise),
    Fault(
        "shifted_pairs", "From a line on, each training row has the target of the next row.", WITH_TARGETS, shift_pairs
    ),
    Fault("swapped_sides", "Training sources and targets are exchanged.", ("translation",), swap_sides),
    Fault("leakage", "The training data contain the validation rows, whose score is too good.", CLASSES, leak),
    Fault("duplicates", "The training data are 20 copies of each of few rows.", ALL, duplicate),
    Fault("mismatch", "Validation rows are of another kind than training rows.", ALL, mismatch),
    Fault(
        "other_reading",
        "Validation text is written in another casing or with other line ends than training text.",
        ("table", "labels", "language_model", "translation"),
        read_otherwise,
    ),
    Fault(
        "unscaled_inputs",
        "The inputs that the model reads are far from a mean of 0 and a deviation of 1.",
        ("table", "images", "recordings"),
        None,
        part("model", "unscaled_inputs"),
        (("table", 0), ("images", 0)),
    ),
    Fault("too_little_data", "A fortieth of the data: more rows lower the validation loss.", ALL, keep_little),
    Fault(
        "unshifted_targets",
        "The decoder reads the token that it must predict: the loss falls to 0, decoding fails.",
        ("language_model", "translation"),
        None,
        part("model", "unshifted_targets"),
    ),
    Fault(
        "future_visible",
        "Self-attention sees later targets: the loss is too good, decoding is worse.",
        ("language_model", "translation"),
        None,
        part("model", "future_visible"),
        (("language_model", 0), ("translation", 0)),
    ),
    Fault(
        "padding_in_loss",
        "Padding counts as targets, so that the training loss is mostly that of padding.",
        ("translation",),
        None,
        part("objective", "padding_in_loss"),
    ),
    Fault(
        "no_gradient",
        "The output of the encoder is detached: its parameters have no gradient.",
        ALL,
        None,
        part("model", "no_gradient"),
    ),
    Fault(
        "bad_initialization",
        "The weights of the output layer are 30 times too large, and so is the first loss.",
        ALL,
        None,
        part("model", "bad_initialization"),
    ),
    Fault("wrong_sign", "The loss is negated: updates raise it.", ALL, None, part("objective", "wrong_sign")),
    Fault(
        "dead_units",
        "All but two ReLU units of a layer output 0 for each input.",
        ("table", "images", "labels", "recordings"),
        None,
        part("model", "dead_units"),
        (("table", 0), ("images", 0), ("labels", 1), ("recordings", 1)),
    ),
    Fault(
        "vanishing_gradient",
        "Gradients shrink over ten sigmoid layers, or over time because gates forget the state.",
        ("table", "images", "labels", "language_model"),
        None,
        vanishing,
        (("table", 0), ("images", 0), ("labels", 0), ("language_model", 1)),
    ),
    Fault(
        "exploding_gradient",
        "Gradients of a tanh RNN grow over time, without clipping.",
        ("labels", "language_model", "translation"),
        None,
        recurrent_explosion,
        (("labels", 0), ("language_model", 1), ("translation", 1)),
    ),
    Fault(
        "batch_norm_statistics",
        "The running mean and variance of batch norms are never updated: evaluation uses wrong ones.",
        ("table", "images"),
        None,
        part("model", "batch_norm_statistics"),
        (("table", 1), ("images", 1)),
    ),
    Fault("lr_too_high", "100 times the healthy learning rate.", ALL, None, scaled_lr(100)),
    Fault(
        "lr_too_low",
        "1/300 of the healthy learning rate: within the same steps, ten times the rate is better.",
        ALL,
        None,
        scaled_lr(1 / 300),
    ),
    Fault("schedule_ended", "The learning rate is 0 for nearly all of the training.", ALL, None, end_schedule),
    Fault("clipping", "Gradients are clipped so much that updates are tiny.", ALL, None, clip),
    Fault(
        "batch_too_large",
        "16 times the healthy batch for as many passes over the data: few updates, each of a low noise.",
        ALL,
        None,
        enlarge_batch,
    ),
    Fault(
        "too_much_regularization",
        "Dropout and weight decay so high that even the training loss stays high.",
        ALL,
        None,
        own_settings("too_much_regularization"),
    ),
    Fault(
        "model_too_small",
        "A layer of a few units: training and validation loss stay high, a larger model lowers both.",
        ALL,
        None,
        own_settings("model_too_small"),
    ),
    Fault(
        "overfitting",
        "A large model without regularization: the validation loss rises while the training loss falls.",
        CLASSES,
        None,
        own_settings("overfitting"),
    ),
    Fault(
        "too_few_steps",
        "A twentieth of the steps: the validation loss still falls at the end, at the healthy learning rate.",
        ALL,
        None,
        stop_early,
    ),
)
