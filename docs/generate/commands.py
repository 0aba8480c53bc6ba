"""Reference pages of the commands, from their argument parsers."""

import argparse
import re

from generate.markup import definition, fenced, paragraphs, prose, table
from seqlab.built_in import COMMANDS
from seqlab.cli.main import find_command
from seqlab.cli.parser import Parser

FOLDER = "reference/commands"


def pages() -> dict[str, str]:
    """Write one page per command, and their index."""
    names = [name for commands in COMMANDS.values() for name in commands]
    return {f"{FOLDER}/README.md": index()} | {f"{FOLDER}/{name}.md": page(name) for name in names}


def index() -> str:
    """List the commands under the headings of `seqlab --help`, and the options that all commands have."""
    parts = ["# Commands", "`seqlab COMMAND --help` prints the same text."]
    for heading, commands in COMMANDS.items():
        rows = [(f"[`{name}`]({name}.md)", f"{prose(summary)}") for name, (_, summary) in commands.items()]
        parts += [f"## {heading.capitalize()}", table(["command", "purpose"], rows)]
    common = Parser("seqlab", None)
    entries = [entry(common, action) for action in common._actions]
    return "\n\n".join([*parts, "## Options of all commands", *entries])


def page(name: str) -> str:
    """Write the page of one command: usage, description, arguments and options."""
    parser: Parser = find_command(name).make_parser()
    description = re.sub(rf"\Aseqlab {name}: (.)", lambda found: found[1].upper(), parser.description or "")
    parts = [f"# seqlab {name}", paragraphs(description), fenced(usage(parser), "text", "usage")]
    common = set(Parser("seqlab", None)._option_string_actions)
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not common.issuperset(action.option_strings or ["-"])]
        if actions:
            title = {"positional arguments": "Arguments", "options": "Options"}.get(group.title or "", group.title)
            parts += [f"## {title}", *(entry(parser, action) for action in actions)]
    parts.append("Every command also has the [options of all commands](README.md#options-of-all-commands).")
    return "\n\n".join(parts)


def usage(parser: argparse.ArgumentParser) -> str:
    """Return a short usage line: required options, then arguments."""
    formatter = parser._get_formatter()
    shown = [parser.prog]
    for action in parser._actions:
        if action.option_strings and action.required:
            shown.append(formatter._format_action_invocation(action))
    shown.append("[OPTION ...]")
    for action in parser._actions:
        if not action.option_strings:
            shown.append(formatter._format_args(action, formatter._get_default_metavar_for_positional(action)))
    return " ".join(shown)


def entry(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Describe an argument or option with its help text."""
    formatter = parser._get_formatter()
    text = formatter._expand_help(action) if action.help else ""
    return definition(formatter._format_action_invocation(action), text)
