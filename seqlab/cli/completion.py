"""Command `seqlab completion`: shell completion of commands, options, recipes and config fields."""

import shlex
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic.dataclasses import dataclass

from seqlab.commands import AsArgument, Command
from seqlab.inference.options import SETTINGS

Shell = Literal["bash", "zsh", "fish"]
TRAINING_COMMANDS = ("train", "lr-find")
"""Commands that also take recipes and the fields of a config."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CompletionOptions:
    """Print a script that lets a shell complete commands, options, recipes and fields of the config.

    bash: eval "$(seqlab completion bash)" in ~/.bashrc.
    zsh: eval "$(seqlab completion zsh)" in ~/.zshrc, after compinit.
    fish: seqlab completion fish > ~/.config/fish/completions/seqlab.fish
    """

    shell: Annotated[Shell, AsArgument]
    """the shell"""


def run(options: CompletionOptions) -> None:
    """Print the script."""
    words = completions()
    print(fish_script(words) if options.shell == "fish" else bash_script(words, is_zsh=options.shell == "zsh"), end="")


def completions() -> dict[str, list[str]]:
    """Return the completions after each command, without file names; those of the key "" are the commands."""
    from seqlab.cli.main import find_command
    from seqlab.registry import list_entries

    names = [entry.name for entry in list_entries("command")]
    words = {"": [*names, "help"], "help": names}
    for name in names:
        words[name] = [option for option in find_command(name).make_parser().option_names if option.startswith("--")]
    from seqlab.recipes import RECIPES
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    fields = list(dict.fromkeys(f"--{field.key}" for field in list_fields(Config)))
    for name in TRAINING_COMMANDS:
        words[name] += [*RECIPES, *fields]
    return words


def bash_script(words: dict[str, list[str]], *, is_zsh: bool = False) -> str:
    """Return the script for bash, or for zsh with its emulation of bash completion."""
    cases = "\n".join(
        f"        {command}) words={_quote_words(options)} ;;" for command, options in words.items() if command
    )
    start = "autoload -U +X bashcompinit && bashcompinit\n" if is_zsh else ""
    return f"""{start}_seqlab() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" command="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*) ;; *) command="$word"; break ;; esac
    done
    case "$command" in
        "") words={_quote_words(words[""])} ;;
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _seqlab seqlab
"""


def fish_script(words: dict[str, list[str]]) -> str:
    """Return the script for fish."""
    lines = [f"complete -c seqlab -n __fish_use_subcommand -a {_quote_words(words[''])}"]
    for command, options in words.items():
        if command and options:
            condition = f"__fish_seen_subcommand_from {command}"
            lines.append(f"complete -c seqlab -n {shlex.quote(condition)} -a {_quote_words(options)}")
    return "\n".join(lines) + "\n"


def _quote_words(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))


COMPLETION = Command(CompletionOptions, run)
