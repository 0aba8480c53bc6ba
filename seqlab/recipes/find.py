"""The config of a run, from Python: of a recipe by its name, or chosen for a corpus that dotted keys name.

`seqlab train` finds its configs here, too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from seqlab import recipes
from seqlab.base.nearest import nearest_names
from seqlab.data.config import DataConfig
from seqlab.registry import Parts, default_part, import_target
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of, list_fields
from seqlab.runs.migrate import migrate_tag
from seqlab.runs.overrides import Override, override
from seqlab.runs.validate import unknown_key

PAIRS_OR_TEXT = {"data.train_src", "data.train_tgt", "data.train"}
"""What names a corpus of the usual kinds."""
Value = str | int | float | bool | Path | None
"""Of a field of a config."""
Fields = Mapping[str, Value | Sequence[Value]]
"""Values by dotted key: `{"model.d_model": 256, "data.train_src": ["a.en", "b.en"]}`."""


def recipe(name: str, run_dir: str | Path | None = None, fields: Fields | None = None) -> Config:
    """Build the config of a recipe; `seqlab recipes` lists them.

    Args:
        name: the recipe's name, as on the command line: `number_words`.
        run_dir: the folder of the run that it is for, into whose `data/` some recipes write generated data;
            `runs/NAME` unless given. Train into the same folder.
        fields: fields to set, by dotted key: `{"training.max_steps": 100}`. A tag, such as `model.family`, sets its
            section to the defaults of what it names, before the other fields are set.

    Raises:
        ValueError: there is no such recipe (names the nearest), no such field, or an impossible value.
        FileNotFoundError: the recipe's corpus is not on this machine.
    """
    if name not in recipes.RECIPES:
        raise ValueError(f"There is no recipe `{name}`; {nearest_recipes(name)}.")
    config = recipes.RECIPES[name](Path("runs") / name if run_dir is None else run_dir)
    return override(config, as_overrides(fields or {}))


def config_for(fields: Fields) -> Config:
    """Choose a config for your files: every field that is left open, by what the training data hold.

    The same fields give the same config as after `seqlab train`: `config_for({"data.train_src": "corpus.de",
    "data.train_tgt": "corpus.en"})` is that of `--data.train_src corpus.de --data.train_tgt corpus.en`. What is chosen
    is logged with the reason, at level INFO.

    Args:
        fields: values by dotted key. Pairs of lines are named by `data.train_src` and `data.train_tgt`, lines and
            labels likewise beside `"data.kind": "labelling"`, a text by `data.train`. A value is a text, a number, True
            or False, None, a path, or a list of these.

    Raises:
        ValueError: no corpus is named or it cannot be read, there is no such field, or a value is impossible.
        FileNotFoundError: a file is missing.
    """
    overrides = as_overrides(fields)
    missing = [key for key in training_keys(overrides) if key not in fields]
    if missing:
        known = {field.key for field in list_fields(Config)}
        for key in (each for each in fields if each not in known):
            raise unknown_key(Config, {}, key)
        if missing[0] not in PAIRS_OR_TEXT:
            keys = " and ".join(f"`{key}`" for key in training_keys(overrides))
            raise ValueError(f"Name a corpus by {keys}: `{missing[0]}` is missing.")
        raise ValueError(
            "Name a corpus by `data.train_src` and `data.train_tgt`, or a text by `data.train`: "
            f"`{missing[0]}` is missing."
        )
    return choose_config(overrides)


def choose_config(overrides: Sequence[Override]) -> Config:
    """Choose a config for the corpus that some of the fields name; errors as `config_for`."""
    chosen: Config = import_target(_task(overrides).zero_config_name)(overrides)
    return chosen


def training_keys(overrides: Sequence[Override]) -> tuple[str, ...]:
    """Return the fields that have to name what is trained on without a recipe."""
    task = _task(overrides)
    fields = fields_of(task).items()
    return tuple(f"data.{name}" for name, field in fields if field.is_required() and name != task.tag_field)


def _task(overrides: Sequence[Override]) -> type[DataConfig]:
    """Return the data section of what is trained without a recipe: by `data.kind`, a field of its own, or a path."""
    given, tasks = dict(overrides), Parts("task")
    kind = given.get("data.kind", ())
    for name in [kind] if isinstance(kind, str) else kind:
        if migrate_tag("data.kind", name) in tasks:
            found: type[DataConfig] = tasks[migrate_tag("data.kind", name)]
            return found
    for task in tasks.values():
        corpus = given.get(f"data.{task.path_fields[0]}", ()) if task.path_fields else ()
        paths = [corpus] if isinstance(corpus, str) else corpus
        if any(f"data.{name}" in given for name in task.identifying_fields) or any(map(task.recognizes_path, paths)):
            return task
    found = default_part("task")
    return found


def as_overrides(fields: Fields) -> list[Override]:
    """Write values as the command line takes them."""
    return [
        (key, as_text(value) if isinstance(value, Value) else [as_text(each) for each in value])
        for key, value in fields.items()
    ]


def as_text(value: object) -> str:
    """Write one value as the command line takes it."""
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def nearest_recipes(name: str) -> str:
    """Name up to three recipes that are spelled like `name`, and how to list all."""
    nearest = ", ".join(f"`{each}`" for each in nearest_names(name.lower(), recipes.RECIPES, count=3))
    return f"the nearest: {nearest} (`seqlab recipes` lists all)" if nearest else "`seqlab recipes` lists all"
