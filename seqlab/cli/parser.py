"""Argument parsing that says what was probably meant."""

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn


class UsageError(ValueError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose errors are exceptions and name the nearest option."""

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, allow_abbrev=False, formatter_class=raw, **options)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments, which stay available as `given`; raises UsageError."""
        namespace, unknown = self.parse_known_args(arguments)
        if not unknown:
            namespace.given = list(arguments)
            return namespace
        given = next((argument for argument in unknown if argument.startswith("-")), None)
        if given is None:
            raise UsageError(f"unexpected argument `{unknown[0]}` {self.advice}")
        name = given.partition("=")[0]
        raise UsageError(f"there is no option `{name}`; the nearest is `{self.nearest(name)}` {self.advice}")

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage: one line says what is wrong."""
        raise UsageError(f"{message} {self.advice}")

    @property
    def advice(self) -> str:
        """Say where to read on."""
        return f"(see `{self.prog} --help`)"

    def nearest(self, name: str) -> str:
        """Return the long option that is spelt most alike."""
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        return difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
