"""An argument parser whose errors name the nearest option."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from seqlab.base.nearest import nearest_name
from seqlab.commands import UsageError

PLUGIN = "--plugin"
"""The option that is read before a parser is made, and may be repeated."""
QUIET, LOG_FILE = "--quiet", "--log_file"


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose errors are exceptions and name the nearest option."""

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, allow_abbrev=False, formatter_class=raw, **options)
        self.add_argument(
            PLUGIN,
            action="append",
            metavar="MODULE | FILE.py",
            help="load parts from outside of seqlab, which runs their code; may be given several times",
        )
        self.add_argument(QUIET, action="store_true", help="no messages but warnings and errors, no progress bars")
        self.add_argument(LOG_FILE, metavar="FILE", help="add all messages to this file too, with their times")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments, which stay available as `given`; raises UsageError."""
        self._refuse_repetition(arguments)
        namespace, unknown = self.parse_known_args(arguments)
        if not unknown:
            namespace.given = list(arguments)
            return namespace
        given = next((argument for argument in unknown if argument.startswith("-")), None)
        if given is None:
            raise UsageError(f"unexpected argument `{unknown[0]}` {self.advice}")
        name = given.partition("=")[0]
        nearest = self.nearest(name)
        hint = f"; the nearest is `{nearest}`" if nearest else ""
        raise UsageError(f"there is no option `{name}`{hint} {self.advice}")

    def _refuse_repetition(self, arguments: Sequence[str]) -> None:
        """Raise where an option is given twice: argparse would silently drop the first."""
        options = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
        for index, name in enumerate(options):
            if name in options[:index] and name != PLUGIN:
                several = f": a list is given as `{name} A B`" if self.takes_list(name) else ""
                raise UsageError(f"`{name}` is given twice{several} {self.advice}")

    @property
    def takes(self) -> list[str]:
        """The options by now."""
        return [option for action in self._actions for option in action.option_strings]

    def takes_list(self, name: str) -> bool:
        """Tell whether an option takes several values."""
        return any(name in action.option_strings and action.nargs == "+" for action in self._actions)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage: one line says what is wrong."""
        raise UsageError(f"{message} {self.advice}")

    @property
    def advice(self) -> str:
        """Say where to read on."""
        return f"(see `{self.prog} --help`)"

    def nearest(self, name: str) -> str | None:
        """Return the long option that is spelled most alike; None where none is near."""
        return nearest_name(name, [option for option in self.takes if option.startswith("--")])
