"""Argument parser with errors that name the nearest option."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from seqlab.base.nearest import nearest_name
from seqlab.commands import UsageError

PLUGIN = "--plugin"
"""Option that is read before the parser is built, and may be repeated."""
QUIET, LOG_FILE = "--quiet", "--log_file"


class Parser(argparse.ArgumentParser):
    """ArgumentParser without abbreviations; its errors are exceptions that name the nearest option."""

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, allow_abbrev=False, formatter_class=raw, **options)
        self.add_argument(
            PLUGIN,
            action="append",
            metavar="MODULE | FILE.py",
            help="load a plugin, which runs its code; may be given several times",
        )
        self.add_argument(QUIET, action="store_true", help="show only warnings and errors, and no progress bars")
        self.add_argument(LOG_FILE, metavar="FILE", help="also append all messages to this file, with their times")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments, and add the original list as `given`; raise UsageError for invalid arguments."""
        self._refuse_repetition(arguments)
        namespace, unknown = self.parse_known_args(arguments)
        if unknown and any(action.nargs in ("*", "+") for action in self._actions):  # arguments may follow options
            namespace, unknown = self.parse_known_intermixed_args(arguments)
        if not unknown:
            namespace.given = list(arguments)
            return namespace
        option = next((argument for argument in unknown if argument.startswith("-")), None)
        if option is None:
            raise UsageError(f"unexpected argument `{unknown[0]}` {self.advice}")
        name = option.partition("=")[0]
        nearest = self.nearest(name)
        hint = f"; the nearest is `{nearest}`" if nearest else ""
        raise UsageError(f"there is no option `{name}`{hint} {self.advice}")

    def _refuse_repetition(self, arguments: Sequence[str]) -> None:
        """Raise UsageError if an option is given twice: argparse would silently drop the first."""
        options = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
        for index, name in enumerate(options):
            if name in options[:index] and name != PLUGIN:
                several = f": a list is given as `{name} A B`" if self.takes_list(name) else ""
                raise UsageError(f"`{name}` is given twice{several} {self.advice}")

    @property
    def option_names(self) -> list[str]:
        """The options of the parser."""
        return [option for action in self._actions for option in action.option_strings]

    def takes_list(self, name: str) -> bool:
        """Return whether an option accepts several values."""
        return any(name in action.option_strings and action.nargs == "+" for action in self._actions)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and exiting."""
        raise UsageError(f"{message} {self.advice}")

    @property
    def advice(self) -> str:
        """Reference to the help, for error messages."""
        return f"(see `{self.prog} --help`)"

    def nearest(self, name: str) -> str | None:
        """Return the long option of the same meaning or a similar spelling; None if there is none."""
        from seqlab.runs.fields import SYNONYMS  # which needs pydantic

        options = {option.removeprefix("--"): option for option in self.option_names if option.startswith("--")}
        plain = name.lstrip("-")  # all options share the dashes
        same = next((synonym for synonym in SYNONYMS.get(plain, ()) if synonym in options), None)
        nearest = same or nearest_name(plain, options)
        return None if nearest is None else options[nearest]
