"""Options that set fields of a run's config: `--section.field value`, and short names for the most common ones."""

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seqlab.cli.parser import Parser

if TYPE_CHECKING:
    from seqlab.runs.overrides import Override

TARGET_HELP = (
    "a recipe, a config file, or a run folder to continue; omit it if --data.train_src and --data.train_tgt name "
    "a corpus of pairs (with --data.kind labelling: of lines and labels), or if --data.train names a text, a table "
    "(with --data.target) or recordings"
)
TARGET_METAVAR = "RECIPE | CONFIG.yaml | RUN"
SHORT_KEYS = {
    "seed": "seed",
    "init_from": "init_from",
    "init_parts": "init_parts",
    "device": "training.device",
    "threads": "training.threads",
}
"""Short options -> config fields that they set."""
_DOTTED_OPTION = re.compile(r"--(\w+(?:\.\w+)+)(?:=(.*))?", re.DOTALL)
_OPTION = re.compile(r"-{1,2}[A-Za-z]")


class ConfigParser(Parser):
    """Parser that accepts config fields as options; `parse` returns them in the attribute `overrides`."""

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        super().__init__(prog, description, **options)
        self.add_argument("target", nargs="?", metavar=TARGET_METAVAR, help=TARGET_HELP)
        self.add_argument("--seed", metavar="N", help="seed of all random numbers")
        self.add_argument("--init_from", metavar="RUN", help="start from the weights and the tokenizers of this run")
        self.add_argument("--init_parts", metavar="all | matching", help="copy all its weights, or those that match")
        self.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or auto")
        self.add_argument("--threads", metavar="N", help="CPU threads (default: all cores)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Extract `--section.field` options first, so that their values are not parsed as a recipe."""
        remaining, overrides = split_overrides(args)
        namespace, unknown = super().parse_known_args(remaining, namespace)
        namespace.overrides = overrides
        return namespace, unknown

    def nearest(self, name: str) -> str | None:
        """Return the nearest option or config field (`--optim.optimizer.lr` for `--lr`); None if none is similar."""
        from seqlab.runs.config import Config
        from seqlab.runs.fields import keys_with_same_meaning, list_fields, nearest_key

        keys = list(dict.fromkeys(field.key for field in list_fields(Config)))
        plain = name.removeprefix("--")
        same = keys_with_same_meaning(plain, keys)
        key = same[0] if same else super().nearest(name) or nearest_key(plain, keys)
        return f"--{key.removeprefix('--')}" if key else None

    def takes_list(self, name: str) -> bool:
        """Return whether an option accepts several values, or sets a config field that is a list."""
        return is_list_field(name.removeprefix("--")) or super().takes_list(name)


def overrides_of(arguments: argparse.Namespace) -> "list[Override]":
    """Return the config fields in the arguments, those of short options first."""
    short = [(key, [value]) for name, key in SHORT_KEYS.items() if (value := getattr(arguments, name)) is not None]
    return [*short, *arguments.overrides]


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Extract options with a dot, each with its values up to the next option; return the other arguments and these."""
    remaining: list[str] = []
    overrides: list[tuple[str, list[str]]] = []
    current = remaining
    for argument in arguments:
        if match := _DOTTED_OPTION.fullmatch(argument):
            current = []
            overrides.append((match[1], current))
            if match[2] is not None:  # --key=value has one value
                current.append(match[2])
                current = remaining
            continue
        if _OPTION.match(argument):
            current = remaining
        current.append(argument)
    return remaining, overrides


def is_list_field(key: str) -> bool:
    """Return whether a config field is a list."""
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    return any(field.key == key and field.type.startswith(("list of", "[")) for field in list_fields(Config))
