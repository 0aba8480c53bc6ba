"""Zero config: builder that sets the fields a user leaves open, and logs each value with its reason."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seqlab.registry import Parts
from seqlab.runs.config import Config, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import current_keys, migrate_tag
from seqlab.runs.overrides import Override, override
from seqlab.runs.validate import build
from seqlab.text import read_vector_dim

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_VALID_PAIRS = 50
"""Minimum number of pairs to hold out for validation, unless this is more than a tenth of the corpus."""
FALLBACK_WIDTH = 256
"""Assumed width of a plugin's model if its config has no field for the width."""
MIN_SAVE_EVERY = 10
"""Minimum steps between two checkpoints; every fourth checkpoint has a validation."""

LR_BY_WIDTH = 0.5
"""Peak learning rate times `d_model`, for steps of 2,048 tokens or more: the effect of Adam's updates grows with the
width."""
MAX_LR = 4e-3
"""Maximum learning rate of Adam for every width: word vectors may be narrow."""
NUM_SPECIAL_IDS = 4 + 256 + 1  # special tokens, bytes, the space
SUBWORDS_PER_ROOT = 4
"""Subwords per square root of the number of training characters."""
MAX_SUBWORDS = 16_000
"""Maximum vocabulary size: a larger vocabulary makes each step slower, with little gain for Transformers."""


class ConfigBuilder:
    """A config under construction: `set` changes a field unless the user gave it."""

    def __init__(self, config: Config, given: Sequence[str]) -> None:
        """Start from a config. The keys `given`, fields or sections, keep their values."""
        self._values: dict[str, Any] = to_dict(config)
        self._given = tuple(current for key in given for current in current_keys(self._values, key))

    def set(self, key: str, value: T, reason: str) -> T:
        """Set a field unless it is given, and log the reason; return the value of the field.

        If the model, or a plugin's section, lacks the field, nothing is set, and `value` is returned.
        """
        if self.is_given(key):
            given: T = self.get(key)
            return given
        section, name = self._section(key), key.rpartition(".")[2]
        if name in section:
            section[name] = value
            logger.info("  %s %s: %s", key, value, reason)
        return value

    def set_kind(self, key: str, value: str, reason: str) -> str:
        """Set the tag of a section, reset the section to the defaults of that tag, and return the tag.

        If any field of the section is given, the tag stays. Raises ConfigError as `config` does.
        """
        name = key.rpartition(".")[0]
        section = self._section(key)
        if self.is_given(name) or any(given.startswith(f"{name}.") for given in self._given):
            kind: str = self.get(key)
            return kind
        section.clear()
        section[key.rpartition(".")[2]] = value
        logger.info("  %s %s: %s", key, value, reason)
        self._values = to_dict(self.config())
        return value

    def epochs(self, default: float) -> float:
        """Return `training.max_epochs` if it is given, otherwise the default."""
        return self.get("training.max_epochs") if self.is_given("training.max_epochs") else default

    def set_steps(self, steps: int, reason: str) -> int:
        """Set `training.max_steps` and return it; if `max_epochs` is given, only return `steps` as an estimate."""
        if self.is_given("training.max_epochs"):
            return steps
        return self.set("training.max_steps", steps, reason)

    def get(self, key: str) -> Any:
        """Return the current value of a field."""
        return self._section(key)[key.rpartition(".")[2]]

    def layer_key(self, name: str) -> str:
        """Return the key of a field of the model's layers: those of its encoder, if the encoder is a section."""
        return f"model.encoder.{name}" if "encoder" in self._values["model"] else f"model.{name}"

    def has(self, key: str) -> bool:
        """Return whether the config has a field."""
        return key.rpartition(".")[2] in self._section(key)

    def width(self, key: str) -> int:
        """Return the width of the model from its field `key`; `FALLBACK_WIDTH` if the model lacks the field."""
        width: int = self._section(key).get(key.rpartition(".")[2], FALLBACK_WIDTH)
        return width

    def is_given(self, key: str) -> bool:
        """Return whether a field, or a section that contains it, is given."""
        return any(key == given or key.startswith(f"{given}.") for given in self._given)

    def config(self) -> Config:
        """Build the config; raise ConfigError if given values are invalid."""
        return build(Config, self._values)

    def _section(self, key: str) -> dict[str, Any]:
        section = self._values
        for name in key.split(".")[:-1]:
            section = section.get(name, {})  # some models have no encoder
        return section


def config_from_defaults(overrides: Sequence[Override]) -> Config:
    """Build a config from defaults: the first model for the given kind of data, and the default of each open field.

    Raises:
        ConfigError: an unknown key or an invalid value.
    """
    overridden = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    kind = migrate_tag("data.kind", overridden["data.kind"])
    families = [name for name, model in Parts("model").items() if model.fits_data(kind)]
    defaults = [("model.family", name) for name in families[:1] if "model.family" not in overridden]
    for key, name in defaults:
        logger.info("%s %s; all other fields have their given or default values.", key, name)
    return override(None, [*defaults, *overrides])


def copy_settings(base: dict[str, Any], overrides: Iterable[Override], keys: Sequence[str]) -> list[str]:
    """Copy settings (keys of fields or sections) from the run of `init_from` into the nested values `base`.

    Returns the copied keys: none without `init_from`, and all but `model` with `init_parts: matching`.

    Raises:
        ValueError: `init_from` is not a run, or is a run of another task without `init_parts: matching`.
    """
    overridden = {key: text if isinstance(text, str) else text[0] for key, text in overrides if text}
    if "init_from" not in overridden:
        return []
    folder = RunFolder(Path(overridden["init_from"]))
    folder.read_description()
    values: dict[str, Any] = to_dict(read_config(folder))
    kinds = base.get("data", {}).get("kind"), values["data"]["kind"]
    if overridden.get("init_parts") != "matching" and None not in kinds and kinds[0] != kinds[1]:
        raise ValueError(
            f"`init_from` {folder.path} has `data.kind: {kinds[1]}`, but this run has {kinds[0]}, so that not all "
            "weights can be copied. Set `init_parts: matching` to copy the weights that match."
        )
    copied = [key for key in keys if key != "model" or overridden.get("init_parts") != "matching"]
    for key in copied:
        section, _, name = key.rpartition(".")
        target, source = (base.setdefault(section, {}), values[section]) if section else (base, values)
        if name in source:  # monolingual text has no `joint_vocabulary`
            target[name] = source[name]
    return copied


def word_vector_dim(builder: ConfigBuilder) -> tuple[int, str] | None:
    """Return the dimension of the given word vectors, and the reason for the log; None without word vectors.

    Raises FileNotFoundError or ValueError if a file cannot be read, or the model cannot use its vectors.
    """
    config = builder.config()
    files = list(config.data.vector_files().values())
    sizes = [read_vector_dim(Path(file).expanduser()) for file in files]
    if not sizes:
        return None
    if len({*sizes}) > 1:
        raise ValueError(
            f"{files[0]} contains vectors of {sizes[0]} values and {files[1]} of {sizes[1]}, but both sides have the "
            "same width: choose files of one size, or leave one out."
        )
    positions = config.model.warm_start.settings["positions"] or "learned"
    if sizes[0] % 2 and positions != "learned":
        raise ValueError(
            f"{files[0]} contains vectors of {sizes[0]} values, but `model.positions: {positions}` needs an even "
            "number: choose other vectors, or set it to `learned`."
        )
    return sizes[0], f"the size of the vectors in {files[0]}"


def choose_intervals(builder: ConfigBuilder, steps: int) -> None:
    """Choose the intervals of logging, checkpoints and validation for a run of `steps` steps."""
    progress = f"{steps:,} steps in total"
    save_every = builder.set(
        "training.save_every", max(min(steps, MIN_SAVE_EVERY), round_2_digits(steps / 64)), progress
    )
    builder.set("training.valid_every", 4 * save_every, f"every fourth checkpoint, {progress}")
    builder.set("training.log_every", clamp(steps // 100, 1, 50), progress)


def valid_share(count: int) -> float:
    """Return the share of `count` pairs to hold out for validation."""
    return max(0.05, min(0.1, round(MIN_VALID_PAIRS / count, 3)))


def clamp(value: int, low: int, high: int) -> int:
    """Return the nearest value between `low` and `high`."""
    return max(low, min(value, high))


def power_of_two(value: float, low: int, high: int, rounding: Callable[[float], int]) -> int:
    """Return a power of two near `value`, between the powers of two `low` and `high`."""
    return clamp(2 ** rounding(math.log2(value)), low, high)


def round_2_digits(value: float) -> int:
    """Round to two significant digits."""
    return int(float(f"{value:.2g}"))
