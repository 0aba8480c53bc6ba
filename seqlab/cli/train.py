"""seqlab train: a recipe, a config file or a corpus in, a run folder out.

Any field of the config is an option, `--section.field value`; `seqlab train RECIPE --help` lists them all. The same
command on an existing run folder continues it.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import TYPE_CHECKING, Any

from seqlab.cli.overrides import split_overrides
from seqlab.cli.parser import Parser, UsageError

if TYPE_CHECKING:
    from seqlab.runs.config import Config
    from seqlab.runs.overrides import Override

logger = logging.getLogger(__name__)


class TrainParser(Parser):
    """The options of the command, and those of the config under `overrides`."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Put `--section.field` options aside before their values can be taken for a recipe."""
        rest, overrides = split_overrides(args)
        namespace, unknown = super().parse_known_args(rest, namespace)
        namespace.overrides = overrides
        return namespace, unknown

    def nearest(self, name: str) -> str:
        """Return the option that is spelt most alike, or the field of the config with this last part: lr."""
        from seqlab.runs.config import Config
        from seqlab.runs.fields import list_fields, nearest_key

        keys = [field.key for field in list_fields(Config)]
        key = nearest_key(name.removeprefix("--"), keys)
        return f"--{key}" if key.rpartition(".")[2] == name.removeprefix("--") else super().nearest(name)

    def takes_list(self, name: str) -> bool:
        """Tell whether an option takes several values, or sets a field that is a list."""
        return _is_list(name.removeprefix("--")) or super().takes_list(name)


RECIPE_HELP = (
    "what to train; left out where --data.train_src and --data.train_tgt name a corpus of pairs (with --data.kind "
    "labelling: of lines and labels), or --data.train a text"
)
SHORT_KEYS = {
    "seed": "seed",
    "init_from": "init_from",
    "init_parts": "init_parts",
    "device": "training.device",
    "threads": "training.threads",
}
"""Options without a section, and the fields that they set."""


def make_parser() -> Parser:
    """Name the recipe and what is about the run rather than in its config."""
    parser = TrainParser("seqlab train", __doc__, add_help=False)
    parser.add_argument("recipe", nargs="?", metavar="RECIPE | CONFIG.yaml", help=RECIPE_HELP)
    parser.add_argument(
        "--run_dir", type=Path, metavar="DIR", help="run folder (default: runs/RECIPE, runs/SRC-TGT or runs/TEXT)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew where there is a run already, with data generated anew"
    )
    parser.add_argument(
        "--folds", type=int, metavar="N", help="cross-validation: a run for each of N folds, DIR/fold_01 and so on"
    )
    add_short_options(parser)
    parser.add_argument("-h", "--help", action="store_true", help="show this; for a recipe or a corpus all fields too")
    return parser


def add_short_options(parser: argparse.ArgumentParser) -> None:
    """Name the options of `SHORT_KEYS`."""
    parser.add_argument("--seed", metavar="N", help="start of every random stream")
    parser.add_argument("--init_from", metavar="RUN", help="begin with the weights and the tokenizers of this run")
    parser.add_argument("--init_parts", metavar="all | matching", help="its whole model, or the weights that match")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 or auto")
    parser.add_argument("--threads", metavar="N", help="CPU threads (default: all cores)")


def overrides_of(arguments: argparse.Namespace) -> "list[Override]":
    """Return the fields of the config that are given, those of the short options first."""
    short = [(key, [value]) for name, key in SHORT_KEYS.items() if (value := getattr(arguments, name)) is not None]
    return [*short, *arguments.overrides]


def run(arguments: argparse.Namespace) -> int:
    """Build the config and train."""
    overrides = overrides_of(arguments)
    if arguments.help and arguments.recipe is None and not (overrides and _names_corpus(overrides)):
        make_parser().print_help()
        return 0
    run_dir = arguments.run_dir or run_dir_of(arguments.recipe, overrides)
    if arguments.help:
        make_parser().print_help()
        print_fields(arguments.recipe, overrides, run_dir)
        return 0

    command = ["seqlab", "train", *arguments.given]
    if arguments.folds is not None:
        return _train_folds(arguments, overrides, run_dir, command)

    from seqlab.base.world import join_world
    from seqlab.recipes.run_data import generated_first
    from seqlab.runs import RunFolder
    from seqlab.runs.load import read_config
    from seqlab.training import train
    from seqlab.training.run_setup import without_trace

    recipe, overwrite = arguments.recipe, arguments.overwrite
    with (
        join_world() as world,
        world.enter_on_main(without_trace(RunFolder(run_dir))),
        generated_first(run_dir) as first_dir,
    ):
        checked = world.call_on_main(lambda: _checked_config(recipe, overrides, run_dir, first_dir, overwrite))
        config = partial(make_config, recipe, overrides) if _is_recipe(recipe) else checked
        train(config, run_dir, overwrite=overwrite, command=command)
        next_command = read_config(RunFolder(run_dir)).data.next_command.format(run_dir)
        logger.info("trained: %s (next: %s)", run_dir, next_command)
    return 0


def _train_folds(
    arguments: argparse.Namespace, overrides: Sequence["Override"], folder: Path, command: list[str]
) -> int:
    """Train a run for each fold, and print the means."""
    from seqlab.training import train_folds

    config = make_config(arguments.recipe, overrides, folder)
    report = train_folds(config, folder, arguments.folds, overwrite=arguments.overwrite, command=command)
    print("\n".join(report.lines()))
    return 0


def _checked_config(
    recipe: str | None, overrides: Sequence["Override"], run_dir: Path, first_dir: Path, overwrite: bool
) -> "Config":
    """Build the config before anything in the run folder changes: a new run's recipe writes into `first_dir`."""
    from seqlab.runs import RunFolder
    from seqlab.training.run_setup import bring_back, check_folder

    bring_back(RunFolder(run_dir))
    check_folder(RunFolder(run_dir), overwrite)
    is_new = overwrite or not RunFolder(run_dir).exists()
    folder = first_dir if _is_recipe(recipe) and is_new else run_dir
    config = make_config(recipe, overrides, folder, overwrite)
    if recipe is not None:
        _say_what_is_reset(recipe, overrides, config, folder)
    return config


def _is_recipe(name: str | None) -> bool:
    from seqlab.recipes import RECIPES

    return name in RECIPES


def make_config(
    recipe: str | None, overrides: Sequence["Override"], run_dir: Path, overwrite: bool = False
) -> "Config":
    """Build the config of a recipe, of a config file, or for a corpus, with single fields set."""
    from seqlab.runs import RunFolder
    from seqlab.runs.overrides import config_from_yaml, override

    if recipe is None:
        from seqlab.recipes.find import choose_config

        if RunFolder(run_dir).exists() and not overwrite:
            return _continued_config(run_dir, overrides)
        return choose_config(overrides)
    if _is_config_file(recipe):
        run = None if overwrite else RunFolder(run_dir)
        return config_from_yaml(Path(recipe), overrides, continued=run if run is not None and run.exists() else None)

    from seqlab.recipes import RECIPES
    from seqlab.recipes.find import nearest_recipes

    if recipe not in RECIPES:
        if (config_file := RunFolder(Path(recipe)).config_file).is_file():
            raise UsageError(
                f"{recipe} is a run folder, not a recipe: `seqlab train {config_file} --run_dir {recipe}` continues it"
            )
        if Path(recipe).is_file():
            raise UsageError(
                f"{recipe} is neither a recipe nor a config file, which ends in .yaml: name a corpus by "
                f"`--data.train_src {recipe} --data.train_tgt FILE`, a text by `--data.train {recipe}`"
            )
        raise UsageError(f"there is no recipe `{recipe}`; {nearest_recipes(recipe)}; a config file ends in .yaml")
    config = RECIPES[recipe](run_dir)
    if RunFolder(run_dir).exists() and not overwrite:
        return _continued_config(run_dir, overrides, paths_of=config)
    return override(config, overrides)


def _say_what_is_reset(recipe: str, overrides: Sequence["Override"], config: "Config", folder: Path) -> None:
    """Log which values a recipe or a file has in vain, as a family or a kind that is given begins from its defaults.

    `folder` has the recipe's data already.
    """
    from seqlab.recipes.find import as_text
    from seqlab.runs.config import to_dict
    from seqlab.training.resume import flatten

    tags = [key for key, _ in overrides if key.endswith((".family", ".kind"))]
    if not tags:
        return
    try:
        base = make_config(recipe, [], folder, overwrite=True)
    except ValueError:  # a file may be nothing without what is given beside it
        return
    old, new, given = flatten(to_dict(base)), flatten(to_dict(config)), dict(overrides)
    for tag in tags:
        section = tag.rpartition(".")[0]
        reset = [key for key in old if key.startswith(f"{section}.") and key in new and key not in given]
        values = [f"--{key} {as_text(old[key])}" for key in reset if old[key] != new[key]]
        if values:
            logger.info("%s is set to its own defaults; what it had before: %s", tag, " ".join(values))
        lost = [key for key in old if key.startswith(f"{section}.") and key not in new and old[key] is True]
        if lost:
            logger.info("%s %s has no %s, which was on", tag, new[tag], ", ".join(lost))


def _continued_config(run_dir: Path, overrides: Sequence["Override"], paths_of: "Config | None" = None) -> "Config":
    """Take the config of the run that is continued, so that only given fields can differ from it.

    A recipe finds its files anew, as the run folder and the corpora may have moved: the paths are those of its config,
    `paths_of`. Training compares them by content.
    """
    from seqlab.runs import RunFolder, override
    from seqlab.runs.config import VECTOR_FIELDS, path_fields, to_dict
    from seqlab.runs.load import read_config
    from seqlab.training.resume import flatten

    config = read_config(RunFolder(run_dir))
    known = flatten(to_dict(config))
    found = {} if paths_of is None else flatten(to_dict(paths_of))
    values = to_dict(config)
    data = values["data"]
    assert isinstance(data, dict)
    paths = path_fields(config) | VECTOR_FIELDS
    data |= {key.removeprefix("data."): found[key] for key in paths if key in found and key in known}
    # What is given again is left out: a tag would reset its section.
    return override(values, [(key, text) for key, text in overrides if [str(known.get(key))] != list(text)])


def _names_corpus(overrides: Sequence["Override"]) -> bool:
    from seqlab.recipes.find import training_keys

    return set(training_keys(overrides)) <= dict(overrides).keys()


def run_dir_of(recipe: str | None, overrides: Sequence["Override"]) -> Path:
    """Return runs/RECIPE, or the same by the name of a config file or a text; of pairs, by their endings, SRC-TGT."""
    if recipe is not None:
        return Path("runs") / (Path(recipe).stem if _is_config_file(recipe) else recipe)
    from seqlab.recipes.find import PAIRS_OR_TEXT, training_keys
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields
    from seqlab.runs.folder import default_run_dir
    from seqlab.runs.overrides import parse
    from seqlab.runs.validate import unknown_key

    given = dict(overrides)
    try:
        names = [[*parse("data.train", given[key], list[str]), ""][0] for key in training_keys(overrides)]
    except KeyError as missing:
        known = {field.key for field in list_fields(Config)}
        for key, values in overrides:
            if key not in known:
                raise unknown_key(Config, {}, key) from None
            if len(values) > 1 and not isinstance(values, str) and not _is_list(key):
                raise UsageError(
                    f"`--{key}` takes one value, but is given {' '.join(values)}: a recipe or config file goes first, "
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


def _is_config_file(recipe: str) -> bool:
    return recipe.endswith((".yaml", ".yml"))


def _is_list(key: str) -> bool:
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    return any(field.key == key and field.type.startswith(("list of", "[")) for field in list_fields(Config))


def print_fields(recipe: str | None, overrides: Sequence["Override"], run_dir: Path) -> None:
    """Print every field of the config: type, the value that this command line would train with, and docstring."""
    from seqlab.runs.config import Config, to_dict
    from seqlab.runs.fields import list_fields
    from seqlab.runs.validate import ConfigError

    values: dict[str, object] = {}
    with TemporaryDirectory() as folder:  # a recipe may write data into the run folder
        try:
            values = to_dict(make_config(recipe, overrides, run_dir if recipe is None else Path(folder)))
        except (OSError, ValueError) as error:
            # Without a recipe the values come from text, which may be unreadable in more ways than to be missing.
            if isinstance(error, ConfigError) or not (recipe is None or isinstance(error, FileNotFoundError)):
                raise
            print(f"\nThe values below are the fields' own defaults, not those of {recipe or 'the corpus'}. {error}")
    heading = ""
    for field in list_fields(Config, values):
        section = field.key.rpartition(".")[0]
        title = section if field.chosen else f"{section} with {field.family}"
        if title != heading:
            heading = title
            print(f"\n{title}:" if title else "")
        print(f"  --{field.key} {field.type} = {json.dumps(field.default).replace(folder, str(run_dir))}")
        if field.text:
            print(fill(field.text, 112, initial_indent="      ", subsequent_indent="      "))
