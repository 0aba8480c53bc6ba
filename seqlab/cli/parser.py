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
            raise UsageError(f"unexpected argument `{unknown[0]}` (see `{self.prog} --help`)")
        name = given.partition("=")[0]
        nearest = difflib.get_close_matches(name, self.option_names(), n=1, cutoff=0)[0]
        raise UsageError(f"there is no option `{name}`; the nearest is `{nearest}` (see `{self.prog} --help`)")

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage: one line says what is wrong."""
        raise UsageError(f"{message} (see `{self.prog} --help`)")

    def option_names(self) -> list[str]:
        """List the long options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]
