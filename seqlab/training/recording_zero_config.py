"""Zero config of tasks on recordings: every field that is left open, chosen by the recordings."""

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.recordings_config import RecordingsConfig
from seqlab.data.survey import no_progress
from seqlab.models.frame_encoders import FrameEncoderConfig
from seqlab.registry import Parts
from seqlab.runs.config import Config, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import Override, override
from seqlab.training.config_builder import ConfigBuilder, choose_intervals, clamp, copy_settings, round_2_digits

logger = logging.getLogger(__name__)
RATES = (8000, 16000)
"""Samples per second that are chosen: that of telephones, and what speech needs at most."""
EPOCHS = 80
"""Over an hour of recordings; fewer, the more there are. CTC begins to output more than blanks after about eight."""
TIMES_REAL_TIME = 60
"""The speed of training as a multiple of real time, on two cores of a CPU, with a model of two million parameters."""
CHANGES = {"speed": 0.1, "volume": 6.0, "noise": 0.2, "time_masks": 2, "time_frames": 20, "frequency_masks": 1}
"""Augmentation, by the fields of the data section."""


def choose_config_by_recordings(
    overrides: Sequence[Override], base: Mapping[str, str], changes: Mapping[str, float]
) -> Config:
    """Choose every field that `overrides` leaves open by the recordings that they name; log what and why.

    Args:
        overrides: the fields that are given.
        base: task, model and objective unless they are given.
        changes: augmentation besides that of all tasks.

    Raises:
        ConfigError: an unknown key or an impossible value.
        FileNotFoundError, ValueError: a list cannot be read, or none of its recordings.
    """
    given = {key for key, _ in overrides}
    open_config = override(None, [*((key, base[key]) for key in base if key not in given), *overrides])
    values: dict[str, Any] = to_dict(open_config)
    of_origin = [name for name in (*open_config.data.codec_fields, "tokenizer") if name in values["data"]]
    settled = copy_settings(values, overrides, ["model", *(f"data.{name}" for name in of_origin)])
    if settled and "model" not in settled:
        settled += _take_over_encoder(values, dict(overrides))
    # Naming what a section is already would reset its fields.
    tags = {"data.kind": values["data"]["kind"], "model.family": values["model"]["family"]}
    others = [(key, text) for key, text in overrides if text not in (tags.get(key), [tags.get(key)])]
    builder = ConfigBuilder(override(values, others), sorted({*given, *settled}))
    data = builder.config().data
    assert isinstance(data, RecordingsConfig), "tasks on recordings have such a section"
    with tempfile.TemporaryDirectory() as folder:
        recordings, _ = read_recordings(data, Path(folder), no_progress)
        _choose(builder, recordings, changes)
    return builder.config()


def _take_over_encoder(values: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Take over the kind and the sizes of the encoder of the run whose weights are taken; return what is settled."""
    old = read_config(RunFolder(Path(_text(given["init_from"])))).model
    families = {name: each for name, each in Parts("model").items() if each.task == values["data"]["kind"]}
    alike = [
        name
        for name, each in families.items()
        if isinstance(old, FrameEncoderConfig)
        and issubclass(each, FrameEncoderConfig)
        and (each.build_encoder, each.kind) == (type(old).build_encoder, old.kind)
    ]
    family = _text(given["model.family"]) if "model.family" in given else next(iter(alike), "")
    if family not in alike:
        return []
    own = {field.name for field in fields(families[family])} - {"family"}
    values["model"] = {"family": family, **{key: value for key, value in vars(old).items() if key in own}}
    return [f"model.{key}" for key in values["model"]]


def _text(given: str | list[str]) -> str:
    return given if isinstance(given, str) else given[0]


def _choose(builder: ConfigBuilder, recordings: Recordings, changes: Mapping[str, float]) -> None:
    hours = float(np.sum([recordings.seconds(i) for i in range(len(recordings))])) / 3600
    rates = Counter(each.source_rate for each in recordings.examples if not each.fault)
    if not rates:
        first = recordings.examples[0].fault if recordings.examples else "there are none"
        raise ValueError(f"None of the {len(recordings)} recordings can be used: {first}.")
    logger.info("%s recordings, %.2f hours; chosen by these:", f"{len(recordings):,}", hours)
    usual = rates.most_common(1)[0][0]
    rate = builder.set(
        "data.sample_rate",
        RATES[usual >= RATES[1]],
        f"more recordings have {usual:,} samples a second than any other rate",
    )
    builder.set("data.num_bands", 80 if rate >= RATES[1] else 64, f"{rate:,} samples a second")
    for name, value in {**CHANGES, **changes}.items():
        builder.set(f"data.augment_{name}", value, "training changes each recording at random")
    seconds = builder.set("data.batch_seconds", float(clamp(round(40 * hours**0.5), 10, 240)), f"{hours:.2f} hours")
    builder.set("data.micro_batch_seconds", min(60.0, seconds), f"{seconds:g} seconds in a step")
    epochs = builder.epochs(clamp(round(EPOCHS * hours**-0.4), 3, 200))
    steps = builder.set_steps(
        max(200, round_2_digits(3600 * hours * epochs / seconds)),
        f"{epochs:.0f} epochs, by {seconds:g} seconds in a step; on two cores of a CPU about "
        f"{max(1, round(60 * hours * epochs / TIMES_REAL_TIME))} minutes",
    )
    builder.set("optim.optimizer.lr", 1.5e-3, f"of {builder.get('optim.optimizer.family')}")
    builder.set_kind("optim.schedule.family", "cosine", "the last steps should be small ones")
    builder.set("optim.schedule.warmup_steps", min(500, round_2_digits(0.1 * steps) or 1), f"{steps:,} steps in all")
    choose_intervals(builder, steps)
