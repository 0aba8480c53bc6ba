"""Build the config of a run, from the name of a recipe or for the user's files, in Python and in `seqlab train`."""

from collections.abc import Sequence
from pathlib import Path

from seqlab import recipes
from seqlab.base.nearest import nearest_names
from seqlab.data.config import DataConfig
from seqlab.registry import Parts, default_part, import_target
from seqlab.runs.config import Config
from seqlab.runs.fields import fields_of, list_fields
from seqlab.runs.migrate import log_older_family, migrate_tag
from seqlab.runs.overrides import Fields, Override, as_overrides, override
from seqlab.runs.validate import unknown_key_error

PAIRS_OR_TEXT = {"data.train_src", "data.train_tgt", "data.train"}
"""Keys of the training data: pairs of lines, or text."""
MAX_NEAREST = 3
"""Maximum number of recipes that a message suggests."""


def recipe(name: str, run_dir: str | Path | None = None, fields: Fields | None = None) -> Config:
    """Build the config of a recipe; `seqlab recipes` lists all recipes.

    Args:
        name: the recipe's name, as on the command line: `number_words`.
        run_dir: the run folder to train into; some recipes write generated data into its `data/`. `runs/NAME` by
            default.
        fields: fields to override, by dotted key: `{"training.max_steps": 100}`. A tag, such as `model.family`, resets
            its section to the defaults of the named family before the other fields are set.

    Raises:
        ValueError: unknown recipe (the message names the nearest), unknown field, or invalid value.
        FileNotFoundError: the recipe's corpus is not on this machine.
    """
    if name not in recipes.RECIPES:
        raise ValueError(f"There is no recipe `{name}`; {nearest_recipes(name)}.")
    config = recipes.RECIPES[name](Path("runs") / name if run_dir is None else run_dir)
    return override(config, as_overrides(fields or {}))


def config_for(fields: Fields) -> Config:
    """Choose a config for your files: fields that are not given are chosen from the training data.

    `seqlab train` makes the same choices: `config_for({"data.train_src": "corpus.de", "data.train_tgt": "corpus.en"})`
    returns the config of `seqlab train --data.train_src corpus.de --data.train_tgt corpus.en`. Each choice is logged
    with its reason at level INFO.

    Args:
        fields: values by dotted key. `data.train_src` and `data.train_tgt` name pairs of lines, or with `"data.kind":
            "labelling"` lines and their labels; `data.train` names a text. A value is a string, number, boolean, None
            or path, or a list of these.

    Raises:
        ValueError: no training data are named or they cannot be read; unknown field, or invalid value.
        FileNotFoundError: a file is missing.
    """
    overrides = as_overrides(fields)
    missing = [key for key in training_keys(overrides) if key not in fields]
    if missing:
        known = {field.key for field in list_fields(Config)}
        for key in (name for name in fields if name not in known):
            raise unknown_key_error(Config, {}, key)
        if missing[0] not in PAIRS_OR_TEXT:
            keys = " and ".join(f"`{key}`" for key in training_keys(overrides))
            raise ValueError(f"Name a corpus by {keys}: `{missing[0]}` is missing.")
        raise ValueError(
            "Name a corpus by `data.train_src` and `data.train_tgt`, or a text by `data.train`: "
            f"`{missing[0]}` is missing."
        )
    return choose_config(overrides)


def choose_config(overrides: Sequence[Override]) -> Config:
    """Choose a config for the training data that the overrides name; raises the errors of `config_for`."""
    log_older_family(dict(overrides).get("model.family"))
    config: Config = import_target(task_of(overrides).zero_config_name)(overrides)
    return config


def training_keys(overrides: Sequence[Override]) -> tuple[str, ...]:
    """Return the keys that must name the training data if no recipe is given."""
    task = task_of(overrides)
    fields = fields_of(task).items()
    return tuple(f"data.{name}" for name, field in fields if field.is_required() and name != task.tag_field)


def task_of(overrides: Sequence[Override]) -> type[DataConfig]:
    """Return the task that `data.kind`, a field of only one task, or a path determines; the default task otherwise."""
    overridden, tasks = dict(overrides), Parts("task")
    kind = overridden.get("data.kind", ())
    for name in [kind] if isinstance(kind, str) else kind:
        if migrate_tag("data.kind", name) in tasks:
            given_task: type[DataConfig] = tasks[migrate_tag("data.kind", name)]
            return given_task
    for task in tasks.values():
        corpus = overridden.get(f"data.{task.path_fields[0]}", ()) if task.path_fields else ()
        paths = [corpus] if isinstance(corpus, str) else corpus
        is_named = any(f"data.{name}" in overridden for name in task.identifying_fields)
        if is_named or any(map(task.recognizes_path, paths)):
            return task
    default_task: type[DataConfig] = default_part("task")
    return default_task


def nearest_recipes(name: str) -> str:
    """Return a hint with up to three recipes of similar spelling, and the command that lists all."""
    longer = [key for key in recipes.RECIPES if key.startswith(f"{name.lower()}_")]  # such as those of a corpus
    names = dict.fromkeys([*nearest_names(name.lower(), recipes.RECIPES, count=MAX_NEAREST), *longer])
    nearest = ", ".join(f"`{candidate}`" for candidate in list(names)[:MAX_NEAREST])
    return f"the nearest: {nearest} (`seqlab recipes` lists all)" if nearest else "`seqlab recipes` lists all"
