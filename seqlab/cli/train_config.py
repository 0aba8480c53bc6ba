"""Config of `seqlab train` and `seqlab lr-find`, from a recipe, a config file, a run or a corpus."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.cli.config_options import is_list_field
from seqlab.commands import UsageError

if TYPE_CHECKING:
    from seqlab.runs import RunFolder
    from seqlab.runs.config import Config
    from seqlab.runs.overrides import Override

logger = logging.getLogger(__name__)


def find_target(
    target: str | None, overrides: "Sequence[Override]", run_dir: Path | None, *, overwrite: bool = False
) -> tuple[str | None, Path]:
    """Return the recipe or config file, None for a corpus or a resumed run, and the run folder.

    Raises:
        UsageError: `--run_dir` is not the folder of the resumed run, or the target and the corpus are missing.
    """
    if target is None or is_config_file(target) or is_recipe(target):
        return target, run_dir or default_run_dir_of(target, overrides)
    from seqlab.runs import RunFolder
    from seqlab.runs.overwriting import recover

    run = RunFolder(Path(target))
    recover(run.path)
    if not run.config_file.is_file():
        return target, run_dir or default_run_dir_of(target, overrides)
    if run_dir is not None and run_dir.resolve() != run.path.resolve():
        raise UsageError(
            f"{target} is a run, which continues in its folder: leave `--run_dir` out, or train with its config, "
            f"`seqlab train {run.config_file} --run_dir {run_dir}`"
        )
    return None if run.exists() and not overwrite else str(run.config_file), run.path


def training_config(recipe: str | None, overrides: Sequence["Override"], run_dir: Path) -> "Config":
    """Build the config of a training, and log the defaults and the resets in it that a user may not expect."""
    from seqlab.runs import RunFolder

    config = make_config(recipe, overrides, run_dir)
    if recipe is not None:
        if is_config_file(recipe) and not RunFolder(run_dir).exists():
            _log_default_fields(recipe, config)
        _log_reset_values(recipe, overrides, config, run_dir)
    return config


def make_config(
    recipe: str | None, overrides: Sequence["Override"], run_dir: Path, *, is_continued: bool = True
) -> "Config":
    """Build the config of a recipe, a config file or a corpus with overrides; that of a run in the folder goes on.

    Paths of data that a recipe writes are in `run_dir`. Without `is_continued`, a run there is ignored.
    """
    from seqlab.runs import RunFolder
    from seqlab.runs.overrides import config_from_yaml, override

    run = RunFolder(run_dir) if is_continued and RunFolder(run_dir).exists() else None
    if recipe is None:
        from seqlab.recipes.find import choose_config

        return choose_config(overrides) if run is None else _continued_config(run, overrides)
    if is_config_file(recipe):
        return config_from_yaml(Path(recipe), overrides, continued=run)

    from seqlab.recipes import RECIPES
    from seqlab.recipes.find import nearest_recipes

    if recipe not in RECIPES:
        if Path(recipe).is_file():
            raise UsageError(
                f"{recipe} is neither a recipe nor a config file, which ends in .yaml: name a corpus by "
                f"`--data.train_src {recipe} --data.train_tgt FILE`, a text by `--data.train {recipe}`"
            )
        if Path(recipe).is_dir():
            RunFolder(Path(recipe)).read_description()  # says what the folder lacks
        raise UsageError(f"there is no recipe `{recipe}`; {nearest_recipes(recipe)}; a config file ends in .yaml")
    config = RECIPES[recipe](run_dir)
    return override(config, overrides) if run is None else _continued_config(run, overrides, config)


def _log_default_fields(path: str, config: "Config") -> None:
    """Log the number of fields that a config file leaves to their defaults, which do not depend on the corpus."""
    from seqlab.runs.config import to_dict
    from seqlab.runs.flat_config import flatten
    from seqlab.runs.validate import read_yaml

    written, resolved = flatten(read_yaml(path)), flatten(to_dict(config))
    if missing := len(resolved.keys() - written.keys()):
        logger.info(
            "%s leaves %d of %d fields to their defaults; to choose them for the corpus, give `--data` options "
            "instead of a file",
            path,
            missing,
            len(resolved),
        )


def _log_reset_values(recipe: str, overrides: Sequence["Override"], config: "Config", folder: Path) -> None:
    """Log values of a recipe or file that a given `family` or `kind` resets to its defaults.

    `folder` already contains the data of the recipe.
    """
    from seqlab.runs.config import to_dict
    from seqlab.runs.flat_config import flatten
    from seqlab.runs.overrides import as_text

    tags = [key for key, _ in overrides if key.endswith((".family", ".kind"))]
    if not tags:
        return
    try:
        base = make_config(recipe, [], folder, is_continued=False)
    except ValueError:  # a file may be invalid without the overrides
        return
    old, new, overridden = flatten(to_dict(base)), flatten(to_dict(config)), dict(overrides)
    for tag in tags:
        section = tag.rpartition(".")[0]
        reset = [key for key in old if key.startswith(f"{section}.") and key in new and key not in overridden]
        values = [f"--{key} {as_text(old[key])}" for key in reset if old[key] != new[key]]
        if values:
            logger.info("%s has its own defaults; reset values of the recipe or file: %s", tag, " ".join(values))
        lost = [key for key in old if key.startswith(f"{section}.") and key not in new and old[key] is True]
        if lost:
            logger.info("%s %s has no %s, which was true", tag, new[tag], ", ".join(lost))


def _continued_config(
    run: "RunFolder", overrides: Sequence["Override"], recipe_config: "Config | None" = None
) -> "Config":
    """Return the config of a resumed run with overrides.

    Paths of data are those of `recipe_config`, the current config of the recipe, since the run folder and the corpora
    may have moved. Training compares the files by content.
    """
    from seqlab.runs import override
    from seqlab.runs.config import VECTOR_FIELDS, path_fields, to_dict
    from seqlab.runs.flat_config import flatten
    from seqlab.runs.load import read_config

    config = read_config(run)
    known = flatten(to_dict(config))
    recipe_values = {} if recipe_config is None else flatten(to_dict(recipe_config))
    values = to_dict(config)
    data = values["data"]
    assert isinstance(data, dict)
    paths = path_fields(config) | VECTOR_FIELDS
    data |= {key.removeprefix("data."): recipe_values[key] for key in paths if key in recipe_values and key in known}
    # Skip unchanged values: a tag would reset its section.
    return override(values, [(key, text) for key, text in overrides if [str(known.get(key))] != list(text)])


def default_run_dir_of(recipe: str | None, overrides: Sequence["Override"]) -> Path:
    """Return runs/RECIPE, runs/NAME for a config file or text, or runs/SRC-TGT by the file endings of a corpus."""
    if recipe is not None:
        return Path("runs") / (Path(recipe).stem if is_config_file(recipe) else recipe)
    from seqlab.recipes.find import PAIRS_OR_TEXT, training_keys
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields
    from seqlab.runs.folder import default_run_dir
    from seqlab.runs.overrides import parse_value
    from seqlab.runs.validate import unknown_key_error

    overridden = dict(overrides)
    try:
        names = [[*parse_value("data.train", overridden[key], list[str]), ""][0] for key in training_keys(overrides)]
    except KeyError as missing:
        known = {field.key for field in list_fields(Config)}
        for key, values in overrides:
            if key not in known:
                raise unknown_key_error(Config, {}, key) from None
            if len(values) > 1 and not isinstance(values, str) and not is_list_field(key):
                raise UsageError(
                    f"`--{key}` takes one value, but has {' '.join(values)}: put a recipe or config file first, "
                    f"`seqlab train {values[-1]} --{key} {values[0]}`"
                ) from None
        if missing.args[0] not in PAIRS_OR_TEXT:
            keys = " and ".join(f"--{key}" for key in training_keys(overrides))
            raise UsageError(f"name a corpus by {keys}: {missing} is missing (see `seqlab train --help`)") from None
        raise UsageError(
            "name a recipe, a config file, or a corpus by --data.train_src and --data.train_tgt, or a text by "
            f"--data.train: {missing} is missing (see `seqlab train --help`)"
        ) from None
    return default_run_dir(*names)


def names_corpus(overrides: Sequence["Override"]) -> bool:
    """Return whether the overrides set the training files of a corpus."""
    from seqlab.recipes.find import training_keys

    return set(training_keys(overrides)) <= dict(overrides).keys()


def is_recipe(name: str | None) -> bool:
    """Return whether this is the name of a recipe."""
    from seqlab.recipes import RECIPES

    return name in RECIPES


def is_config_file(recipe: str) -> bool:
    """Return whether a target has the ending of a config file."""
    return recipe.endswith((".yaml", ".yml"))
