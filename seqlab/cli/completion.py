"""Command `seqlab completion`: shell completion of commands, options, recipes and config fields."""

import shlex
import sys
from collections.abc import Iterable
from typing import Annotated, Literal

from seqlab.base.config_class import dataclass
from seqlab.commands import AsArgument, Command
from seqlab.inference.options import SETTINGS

Shell = Literal["bash", "zsh", "fish"]
TRAINING_COMMANDS = ("train", "lr-find", "inspect-data")
"""Commands that also take recipes and the fields of a config."""
RELOAD = f"{shlex.quote(sys.executable)} -m seqlab completion bash --fields 2>/dev/null"
"""Shell command that prints the fields of the config: listing them imports torch, too slow for the start of a shell."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CompletionOptions:
    """Print a script that lets a shell complete commands, options, recipes and fields of the config.

    bash: eval "$(seqlab completion bash)" in ~/.bashrc.
    zsh: eval "$(seqlab completion zsh)" in ~/.zshrc, after compinit.
    fish: seqlab completion fish > ~/.config/fish/completions/seqlab.fish
    """

    shell: Annotated[Shell, AsArgument]
    """the shell"""
    fields: bool = False
    """print only the fields of the config; the scripts of bash and zsh ask for them when they are first completed"""


def run(options: CompletionOptions) -> None:
    """Print the script."""
    if options.fields:
        print("\n".join(config_fields()))
        return
    words = completions()
    if options.shell == "fish":  # it stores the script
        words |= {name: [*words[name], *config_fields()] for name in TRAINING_COMMANDS}
    print(fish_script(words) if options.shell == "fish" else bash_script(words, is_zsh=options.shell == "zsh"), end="")


def completions() -> dict[str, list[str]]:
    """Return the completions after each command, without files and fields; those of the key "" are the commands."""
    from seqlab.cli.main import find_command
    from seqlab.registry import list_entries

    names = [entry.name for entry in list_entries("command")]
    words = {"": [*names, "help"], "help": names}
    for name in names:
        words[name] = [option for option in find_command(name).make_parser().option_names if option.startswith("--")]
    from seqlab.cli.recipes import read_table

    recipes = [row[0] for row in read_table()[1:]]
    return words | {name: [*words[name], *recipes] for name in TRAINING_COMMANDS}


def config_fields() -> list[str]:
    """Return the options that set fields of a config."""
    from seqlab.runs.config import Config
    from seqlab.runs.fields import list_fields

    return list(dict.fromkeys(f"--{field.key}" for field in list_fields(Config)))


def bash_script(words: dict[str, list[str]], *, is_zsh: bool = False) -> str:
    """Return the script for bash, or for zsh with its emulation of bash completion."""
    cases = "\n".join(
        f"        {command}) words={_quote_words(options)} ;;" for command, options in words.items() if command
    )
    patterns = " | ".join(f'"{name} "--*' for name in TRAINING_COMMANDS)
    start = "autoload -U +X bashcompinit && bashcompinit\n" if is_zsh else ""
    return f"""{start}_seqlab_fields=""
_seqlab() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" command="" words="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*) ;; *) command="$word"; break ;; esac
    done
    case "$command" in
        "") words={_quote_words(words[""])} ;;
{cases}
    esac
    case "$command $current" in
        {patterns})
            [ -n "$_seqlab_fields" ] || _seqlab_fields="$({RELOAD})"
            words="$words $_seqlab_fields" ;;
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
