"""Fields set one after the other, each with its reason, except those that were given."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seqlab.registry import Parts
from seqlab.runs.config import Config, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.migrate import migrate_tag
from seqlab.runs.overrides import Override, override
from seqlab.runs.validate import build
from seqlab.text import read_vector_dim

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_VALID_PAIRS = 50
"""Pairs that are held out where a twentieth of the corpus is less, up to a tenth of it."""
FALLBACK_WIDTH = 256
MIN_SAVE_EVERY = 10
"""Steps between two checkpoints at least: a validation comes with every fourth."""

LR_BY_WIDTH = 0.5
"""Peak learning rate times `d_model`, for steps of 2,048 tokens and more; Adam's steps add up over the width."""
MAX_LR = 4e-3
"""The highest rate of Adam, whatever the width: word vectors may be narrow."""
SPECIAL_IDS = 4 + 256 + 1  # special tokens, bytes, the space
SUBWORDS_PER_ROOT = 4
"""Subwords per root of the characters that they are learnt from."""
MAX_SUBWORDS = 16_000
"""More make every step slower, and Transformers gain little from them."""


class ConfigBuilder:
    """A config in the making."""

    def __init__(self, config: Config, given: Sequence[str]) -> None:
        """Start from a config in which the keys `given`, fields or whole sections, are settled."""
        self._values: dict[str, Any] = to_dict(config)
        self._given = tuple(given)

    def set(self, key: str, value: T, reason: str) -> T:
        """Choose a field, say why, and return it; where it is given, return what was given instead.

        A part from outside may lack the field: then the value is returned, and nothing is set.
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
        """Choose the tag of a section, which then has that kind's defaults, and return it.

        Where any field of the section is given, the kind is settled too. Raises ConfigError as `config`.
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
        """Return the given `training.max_epochs`, or else the default."""
        return self.get("training.max_epochs") if self.is_given("training.max_epochs") else default

    def set_steps(self, steps: int, reason: str) -> int:
        """Choose `training.max_steps` and return it; where `max_epochs` is given, return `steps` as an estimate."""
        if self.is_given("training.max_epochs"):
            return steps
        return self.set("training.max_steps", steps, reason)

    def get(self, key: str) -> Any:
        """Return a field as it stands."""
        return self._section(key)[key.rpartition(".")[2]]

    def width(self, key: str) -> int:
        """Return the width of the model, a field; `FALLBACK_WIDTH` where a model from a plugin does not have it."""
        width: int = self._section(key).get(key.rpartition(".")[2], FALLBACK_WIDTH)
        return width

    def is_given(self, key: str) -> bool:
        """Tell whether a field is settled, itself or as part of a section."""
        return any(key == given or key.startswith(f"{given}.") for given in self._given)

    def config(self) -> Config:
        """Build the config; raises ConfigError where what was given cannot be."""
        return build(Config, self._values)

    def _section(self, key: str) -> dict[str, Any]:
        section = self._values
        for name in key.split(".")[:-1]:
            section = section[name]
        return section


def config_from_defaults(overrides: Sequence[Override]) -> Config:
    """Take the first model for the kind of data that `overrides` name, and the default of every field left open.

    Raises:
        ConfigError: an unknown key or an impossible value.
    """
    given = {key: text if isinstance(text, str) else " ".join(text) for key, text in overrides}
    kind = migrate_tag("data.kind", given["data.kind"])
    families = [name for name, each in Parts("model").items() if each.task == kind]
    chosen = [("model.family", name) for name in families[:1] if "model.family" not in given]
    for key, name in chosen:
        logger.info("%s %s, and all that is not given by its default.", key, name)
    return override(None, [*chosen, *overrides])


def copy_settings(base: dict[str, Any], overrides: Iterable[Override], keys: Sequence[str]) -> list[str]:
    """Put what the run that is started from has under some keys, fields or sections, into nested values.

    Returns the keys that are settled by it: none where `overrides` names no such run, and not `model` where only those
    of its weights are taken that match. Raises ValueError where what it names is no run.
    """
    given = {key: text if isinstance(text, str) else text[0] for key, text in overrides if text}
    if "init_from" not in given:
        return []
    folder = RunFolder(Path(given["init_from"]))
    folder.read_description()
    values: dict[str, Any] = to_dict(read_config(folder))
    kinds = base.get("data", {}).get("kind"), values["data"]["kind"]
    if given.get("init_parts") != "matching" and None not in kinds and kinds[0] != kinds[1]:
        raise ValueError(
            f"{folder.path} is a run of `data.kind: {kinds[1]}`, not {kinds[0]}: its whole model cannot be taken over. "
            "Set `init_parts: matching` to take over the weights that match."
        )
    settled = [key for key in keys if key != "model" or given.get("init_parts") != "matching"]
    for key in settled:
        section, _, name = key.rpartition(".")
        target, source = (base.setdefault(section, {}), values[section]) if section else (base, values)
        if name in source:  # a text has no sides that could share a vocabulary
            target[name] = source[name]
    return settled


def word_vector_dim(builder: ConfigBuilder) -> tuple[int, str] | None:
    """Return the size that given word vectors ask for, and the reason; None where there are none.

    Raises FileNotFoundError or ValueError where a file cannot be read, or holds vectors that the model cannot take.
    """
    config = builder.config()
    files = list(config.data.vector_files().values())
    sizes = [read_vector_dim(Path(file).expanduser()) for file in files]
    if not sizes:
        return None
    if len({*sizes}) > 1:
        raise ValueError(
            f"{files[0]} holds vectors of {sizes[0]} values and {files[1]} of {sizes[1]}, but both sides have one "
            "width: choose files of one size, or leave one out."
        )
    positions = config.model.compatibility_settings()["positions"] or "learned"
    if sizes[0] % 2 and positions != "learned":
        raise ValueError(
            f"{files[0]} holds vectors of {sizes[0]} values, but `model.positions: {positions}` needs an even number: "
            "choose other vectors, or set it to `learned`."
        )
    return sizes[0], f"that of the vectors of {files[0]}"


def choose_intervals(builder: ConfigBuilder, steps: int) -> None:
    """Choose how often a run of so many steps logs, saves and validates."""
    progress = f"{steps:,} steps in all"
    save_every = builder.set(
        "training.save_every", max(min(steps, MIN_SAVE_EVERY), round_2_digits(steps / 64)), progress
    )
    builder.set("training.valid_every", 4 * save_every, f"every fourth checkpoint, {progress}")
    builder.set("training.log_every", clamp(steps // 100, 1, 50), progress)


def valid_share(count: int) -> float:
    """Return the share that is held out for validation of so many pairs."""
    return max(0.05, min(0.1, round(MIN_VALID_PAIRS / count, 3)))


def clamp(value: int, low: int, high: int) -> int:
    """Return the number of a range that is nearest."""
    return max(low, min(value, high))


def power_of_two(value: float, low: int, high: int, rounding: Callable[[float], int]) -> int:
    """Return a power of two near a number, of a range with such ends."""
    return clamp(2 ** rounding(math.log2(value)), low, high)


def round_2_digits(value: float) -> int:
    """Round to two significant digits."""
    return int(float(f"{value:.2g}"))
