"""Zero config for tasks on recordings: choose every setting from the training recordings."""

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqlab.data.line_sample import word_metric_advice
from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.recordings_config import RecordingsConfig
from seqlab.data.survey import no_progress
from seqlab.models.frame_input import FrameModelConfig
from seqlab.registry import Parts
from seqlab.runs.config import Config, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import OLDER_FAMILIES
from seqlab.runs.overrides import Override, override
from seqlab.training.config_builder import ConfigBuilder, choose_intervals, clamp, copy_settings, round_2_digits

logger = logging.getLogger(__name__)
SAMPLE_RATES = (8000, 16000)
"""Sample rates to choose from, in Hz: that of telephones, and one that suffices for speech."""
EPOCHS_FOR_ONE_HOUR = 80
"""Epochs for one hour of recordings; more recordings get fewer. In about the first eight, CTC outputs only blanks."""
SPEEDUP_OVER_REAL_TIME = 60
"""Training speed as a multiple of real time, with two CPU cores and two million parameters."""
AUGMENTATION = {"speed": 0.1, "volume": 6.0, "noise": 0.2, "time_masks": 2, "time_frames": 20, "frequency_masks": 1}
"""Settings of augmentation: fields of the data section, without the prefix `augment_`."""


def choose_config_by_recordings(
    overrides: Sequence[Override], base: Mapping[str, str], augmentation: Mapping[str, float]
) -> Config:
    """Choose every field that is not in `overrides`, based on the recordings; log each choice with its reason.

    Args:
        overrides: the given fields.
        base: default task, model and objective.
        augmentation: augmentation settings of the task, in addition to `AUGMENTATION`.

    Raises:
        ConfigError: an unknown key or an invalid value.
        FileNotFoundError, ValueError: a list of recordings, or each recording in it, cannot be read.
    """
    given_keys = {key for key, _ in overrides}
    open_config = override(None, [*((key, base[key]) for key in base if key not in given_keys), *overrides])
    values: dict[str, Any] = to_dict(open_config)
    codec_fields = [name for name in (*open_config.data.codec_fields, "tokenizer") if name in values["data"]]
    copied = copy_settings(values, overrides, ["model", *(f"data.{name}" for name in codec_fields)])
    if copied and "model" not in copied:
        copied += _copy_encoder_settings(values, dict(overrides))
    # An override of a section's tag would reset the section's fields, which have the values of the tag already.
    tags = ("data.kind", "model.family", "model.encoder.family")
    others = [(key, text) for key, text in overrides if key not in tags]
    builder = ConfigBuilder(override(values, others), sorted({*given_keys, *copied}))
    data = builder.config().data
    assert isinstance(data, RecordingsConfig), "the data section of a task on recordings is a `RecordingsConfig`"
    with tempfile.TemporaryDirectory() as folder:
        recordings, _ = read_recordings(data, Path(folder), no_progress)
        _choose_fields(builder, recordings, augmentation)
    return builder.config()


def _copy_encoder_settings(values: dict[str, Any], overridden: Mapping[str, Any]) -> list[str]:
    """Copy the encoder and its inputs from the run of `init_from`; return the keys that are set."""
    old = read_config(RunFolder(Path(_text(overridden["init_from"]))))
    models, model = Parts("model"), values["model"]
    if not all(issubclass(models[name], FrameModelConfig) for name in (old.model.family, model["family"])):
        return []
    old_values: dict[str, Any] = to_dict(old)["model"]  # type: ignore[assignment]
    names_encoder = "model.encoder.family" in overridden or _text(overridden.get("model.family", "")) in OLDER_FAMILIES
    if names_encoder and model["encoder"]["family"] != old_values["encoder"]["family"]:
        return []
    copied = {key: value for key, value in old_values.items() if key in model and key != "family"}
    model |= copied
    return ["model.family", *(f"model.{key}" for key in copied)]


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else value[0]


def _choose_fields(builder: ConfigBuilder, recordings: Recordings, augmentation: Mapping[str, float]) -> None:
    hours = float(np.sum([recordings.seconds(i) for i in range(len(recordings))])) / 3600
    rates = Counter(example.source_rate for example in recordings.examples if not example.fault)
    if not rates:
        first = recordings.examples[0].fault if recordings.examples else "there are none"
        raise ValueError(f"None of the {len(recordings)} recordings can be used: {first}.")
    logger.info(
        "%s recordings, %.2f hours; chosen settings (give an option to override one):", f"{len(recordings):,}", hours
    )
    usual = rates.most_common(1)[0][0]
    rate = builder.set(
        "data.sample_rate",
        SAMPLE_RATES[usual >= SAMPLE_RATES[1]],
        f"the most frequent sample rate is {usual:,} Hz",
    )
    builder.set("data.num_bands", 80 if rate >= SAMPLE_RATES[1] else 64, f"{rate:,} samples per second")
    for name, value in {**AUGMENTATION, **augmentation}.items():
        builder.set(f"data.augment_{name}", value, "augmentation: random changes of the recordings")
    seconds = builder.set("data.batch_seconds", float(clamp(round(40 * hours**0.5), 10, 240)), f"{hours:.2f} hours")
    builder.set("data.micro_batch_seconds", min(60.0, seconds), f"{seconds:g} seconds per step")
    epochs = builder.epochs(clamp(round(EPOCHS_FOR_ONE_HOUR * hours**-0.4), 3, 200))
    steps = builder.set_steps(
        max(200, round_2_digits(3600 * hours * epochs / seconds)),
        f"{epochs:.0f} epochs, {seconds:g} seconds per step; with two CPU cores about "
        f"{max(1, round(60 * hours * epochs / SPEEDUP_OVER_REAL_TIME))} minutes",
    )
    builder.set("optim.optimizer.lr", 1.5e-3, f"optimizer {builder.get('optim.optimizer.family')}")
    builder.set_kind("optim.schedule.family", "cosine", "the last updates should be small")
    builder.set("optim.schedule.warmup_steps", min(500, round_2_digits(0.1 * steps) or 1), f"{steps:,} steps in total")
    choose_intervals(builder, steps)
    metric, texts = builder.get("training.valid_metric"), [example.text or "" for example in recordings.examples]
    if metric == "wer" and word_metric_advice(metric, texts):
        builder.set("training.valid_metric", "cer", "the texts have no spaces between words, which WER needs")
