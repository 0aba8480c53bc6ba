"""Help for config fields: a short overview with the most used ones first, or all details."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill, shorten
from typing import TYPE_CHECKING

from seqlab.base.nearest import nearest_hint
from seqlab.cli.train_config import find_target, make_config
from seqlab.commands import UsageError

if TYPE_CHECKING:
    from seqlab.runs.fields import FieldDescription
    from seqlab.runs.overrides import Override

WIDTH = 112
"""Maximum characters of a line."""
KEY_WIDTH = 44
"""Width of the column with a field and its value; the description follows."""
NO_BREAK = "\u00a0"
ALL = "all"
"""Help topic for all fields."""
MOST_USED = (
    *("train_src", "train_tgt", "valid_src", "valid_tgt", "train", "valid", "inputs", "targets"),
    *("batch_tokens", "batch_rows", "batch_seconds", "vocab_size", "documents"),
    *(
        "model.family",
        "model.encoder.family",
        "d_model",
        "hidden_size",
        "num_layers",
        "num_encoder_layers",
        "num_decoder_layers",
        "dropout",
    ),
    *("objective.family", "label_smoothing", "optimizer.family", "lr", "weight_decay", "schedule.family"),
    *("warmup_steps", "max_steps", "max_epochs", "max_minutes", "valid_every", "valid_metric", "patience"),
    *("precision", "valid_search.beam_size"),
)
"""Last parts of the keys of the most used fields."""


def is_section(topic: str) -> bool:
    """Return whether a help topic is a section of the config, or `all`."""
    return topic == ALL or topic in _sections()


def _sections() -> list[str]:
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    keys = (field.key.split(".") for field in list_fields(Config))
    return list(dict.fromkeys(".".join(parts[:depth]) for parts in keys for depth in range(1, len(parts))))


def print_fields(target: str | None, overrides: "Sequence[Override]", run_dir: Path | None, topic: str | None) -> None:
    """Print config fields with the values that this command line would train with.

    Args:
        target: the recipe, config file or run; None for a corpus, or for the defaults.
        overrides: the given fields.
        run_dir: the given run folder.
        topic: a section, or "all", with types and full descriptions; None for a short list of the fields in use.

    Raises:
        UsageError: the section does not exist.
    """
    if topic is not None and not is_section(topic):
        hint = nearest_hint(topic, _sections())
        raise UsageError(f"there is no section `{topic}`{hint}: `--help` takes `all` or a section, such as `model`")
    fields, unused = _fields(target, overrides, run_dir)
    if topic is None:
        shown = [field for field in fields if field.is_chosen and not any(_is_in(field.key, key) for key in unused)]
        print("\n".join(_overview(shown)))
    else:
        print("\n".join(_details(field for field in fields if topic == ALL or _is_in(field.key, topic))))


def _is_in(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def _fields(
    target: str | None, overrides: "Sequence[Override]", run_dir: Path | None
) -> "tuple[list[FieldDescription], set[str]]":
    """Return the fields with their values, and the keys of fields without effect.

    If the data are missing, the values are defaults, and a note is printed.
    """
    from seqlab.cli.train_config import names_corpus
    from seqlab.recipes.run_data import without_generating
    from seqlab.runs.config import Config, to_dict, unused_fields
    from seqlab.runs.fields import list_fields
    from seqlab.runs.validate import ConfigError

    if target is None and not (overrides and names_corpus(overrides)):
        return list(list_fields(Config)), set()
    recipe, found_dir = find_target(target, overrides, run_dir)
    values: dict[str, object] = {}
    unused: set[str] = set()
    with TemporaryDirectory() as folder, without_generating():  # the data of a recipe may take a minute
        try:
            config = make_config(recipe, overrides, found_dir if recipe is None else Path(folder))
            values, unused = to_dict(config), unused_fields(config)
        except (OSError, ValueError) as error:
            # Without a recipe the values are derived from the corpus, which may be missing or invalid.
            if isinstance(error, ConfigError) or not (recipe is None or isinstance(error, FileNotFoundError)):
                raise
            print(f"\nThe values below are the defaults of the fields, not those of {recipe or 'the corpus'}. {error}")
    text = json.dumps(values).replace(json.dumps(folder)[1:-1], json.dumps(str(found_dir))[1:-1])
    return list(list_fields(Config, json.loads(text))), unused


def _overview(fields: "Sequence[FieldDescription]") -> list[str]:
    """Return one line for each of the most used fields, and the values of all other fields by section."""
    most_used = [field for field in fields if any(f".{field.key}".endswith(f".{end}") for end in MOST_USED)]
    lines = ["", "most used fields:"]
    for field in most_used:
        left_column = f"  --{field.key} {_value(field)}".ljust(KEY_WIDTH)
        text = field.type if field.is_tag else first_sentence(field.text)
        lines.append(
            f"{left_column}  {shorten(text, max(20, WIDTH - len(left_column) - 2), placeholder=' ...')}".rstrip()
        )
    lines += ["", "other fields of this run and their values, set by `--SECTION.FIELD VALUE`:"]
    other_fields = [field for field in fields if field not in most_used]
    for section, group in groupby(other_fields, key=lambda field: field.key.rpartition(".")[0]):
        values = ", ".join(f"{field.key.rpartition('.')[2]} {_value(field)}".replace(" ", NO_BREAK) for field in group)
        title = f"{section}: " if section else ""
        lines.append(fill(f"{title}{values}", WIDTH, initial_indent="  ", subsequent_indent="      "))
    lines += ["", "`--help all` explains every field, and `--help SECTION` those of a section, such as `--help model`."]
    return [line.replace(NO_BREAK, " ") for line in lines]


def _details(fields: "Iterable[FieldDescription]") -> list[str]:
    """Return type, value and description of each field: those in use by section, then those of other families."""
    all_fields = list(fields)
    lines: list[str] = []
    chosen_fields = [field for field in all_fields if field.is_chosen]
    for section, group in groupby(chosen_fields, key=lambda field: field.key.rpartition(".")[0]):
        lines += ["", f"{section}:"] if section else [""]
        for field in group:
            lines += _entry(field, "")
    known = {field.key for field in chosen_fields}
    other_fields: dict[str, list[FieldDescription]] = {}
    for field in all_fields:
        if field.key not in known:
            other_fields.setdefault(field.key, []).append(field)
    if other_fields:
        lines += ["", "fields of other families:"]
    for same in other_fields.values():
        lines += _entry(same[0], f" ({', '.join(dict.fromkeys(field.family for field in same))})")
    return lines


def _entry(field: "FieldDescription", note: str) -> list[str]:
    text = fill(field.text, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return [f"  --{field.key} {field.type} = {json.dumps(field.default)}{note}", *([text] if text else [])]


def _value(field: "FieldDescription") -> str:
    """Format a value as on the command line; shorten a long list."""
    values = field.default if isinstance(field.default, list) else [field.default]
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return shorten(" ".join(texts), 60, placeholder=" ...") if texts else "[]"


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, or its first clause before a colon or semicolon."""
    return re.split(r"(?<=[^.])[.;:](?:\s|$)", text, maxsplit=1)[0]
