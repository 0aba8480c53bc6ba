"""Fields set one after the other, each with its reason, except those that were given."""

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from seqlab.runs.config import Config, to_dict
from seqlab.runs.validate import build

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Choices:
    """A config in the making."""

    def __init__(self, config: Config, given: Sequence[str]) -> None:
        """Start from a config in which the keys `given`, fields or whole sections, are settled."""
        self._values: dict[str, Any] = to_dict(config)
        self._given = tuple(given)

    def set(self, key: str, value: T, reason: str) -> T:
        """Choose a field, say why, and return it; where it is given, return what was given instead."""
        if self.is_given(key):
            given: T = self.get(key)
            return given
        section = self._section(key)
        section[key.rpartition(".")[2]] = value
        logger.info("  %s %s: %s", key, value, reason)
        return value

    def get(self, key: str) -> Any:
        """Return a field as it stands."""
        return self._section(key)[key.rpartition(".")[2]]

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
