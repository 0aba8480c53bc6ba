"""Entry point of the command line: `seqlab COMMAND ...`.

A command is a module with make_parser() and run(arguments), or a `seqlab.commands.Command`. No command imports torch
before it runs, so that `--help` is fast.
"""

import argparse
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

import seqlab
from seqlab.base.nearest import nearest_hint
from seqlab.base.openmp import limit_spinning
from seqlab.base.world import rank_from_environment
from seqlab.built_in import COMMANDS
from seqlab.cli.declared import DeclaredCommand
from seqlab.cli.errors import (
    BROKEN_PIPE,
    FAILURE,
    USER_MISTAKE,
    explain,
    is_out_of_memory,
    memory_advice,
    printable,
)
from seqlab.cli.logs import log_error, set_up_logging
from seqlab.cli.parser import LOG_FILE, PLUGIN, QUIET, Parser
from seqlab.cli.streams import STANDARD_OUTPUT, drop_output, print_error
from seqlab.commands import Command, UsageError
from seqlab.plugins import load_plugin
from seqlab.registry import BUILT_IN_OWNER, Parts, broken_plugins_hint, find_part, list_entries
from seqlab.remote_errors import is_user_error

HELP = "help"
COMMAND_SIMILARITY = 0.7
"""Minimum similarity of a suggested command: names of few letters that share some of them have other meanings."""
EXAMPLES = """
examples:
  seqlab train number_words                                    # a translator of generated phrases, in a minute
  seqlab train --data.train_src a.de --data.train_tgt a.en     # a translator of your own corpus, in runs/de-en
  seqlab translate runs/de-en < new.de > new.en
  seqlab evaluate new.en --ref reference.en --metrics bleu chrf
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, one of `seqlab.cli.errors.STATUSES`."""
    try:
        try:
            status = _run(sys.argv[1:] if argv is None else argv)
        except SystemExit:  # for example after --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output closed the pipe
        drop_output()
        return BROKEN_PIPE
    except SystemExit as done:  # argparse exits after --help; a plugin may call `sys.exit` with a text
        if done.code is None or isinstance(done.code, int):
            return (done.code or 0) & 0xFF
        report_error(str(done.code))
        return FAILURE
    except (Exception, KeyboardInterrupt) as error:
        drop_failed_output(error)
        explained = explain(error)
        if explained is None:
            log_error(traceback.format_exc())
            raise
        message, status = explained
        if rank_from_environment() == 0 or not _is_reported_by_rank_0(error):
            report_error(message)
        return status


def report_error(message: str) -> None:
    """Print one line to standard error and write it to the log file."""
    rank = rank_from_environment()
    line = f"seqlab: {f'rank {rank}: ' if rank else ''}{printable(' '.join(message.split()))}"
    print_error(line)
    log_error(line)


def drop_failed_output(error: BaseException) -> None:
    """Keep Python from writing to standard output again after a write error."""
    if isinstance(error, OSError) and error.filename == STANDARD_OUTPUT:
        drop_output()


def _is_reported_by_rank_0(error: BaseException) -> bool:
    """Return whether rank 0 reports the same error: a usage error, or an error that is marked as reported."""
    return isinstance(error, UsageError) or getattr(error, "is_reported", False)


def _run(argv: Sequence[str]) -> int:
    for plugin in _find_plugins(argv):
        load_plugin(plugin)
    argv = _move_command_first(argv)
    if argv and argv[0] == HELP:  # `seqlab help COMMAND`
        argv = [*argv[1:], "--help"]
    name, arguments = argv[0] if argv else "", list(argv[1:])
    if name not in Parts("command"):
        return _run_without_command(argv)
    command = find_command(name)
    takes_arguments = isinstance(command, DeclaredCommand)
    parser: Parser = command.make_parser(arguments) if takes_arguments else command.make_parser()
    parsed = parser.parse(arguments)
    other_files = [path for path in arguments if path != parsed.log_file or arguments.count(path) > 1]
    set_up_logging(quiet=parsed.quiet, log_file=parsed.log_file, other_files=other_files)
    limit_spinning()
    try:
        status: int = command.run(parsed)
    except Exception as error:
        if not is_user_error(error) and is_out_of_memory(error):
            raise MemoryError(memory_advice(vars(parsed))) from error
        raise
    return status


def find_command(name: str) -> Any:
    """Return an object with `make_parser` and `run` for a command."""
    command = find_part("command", name)
    return DeclaredCommand(name, command) if isinstance(command, Command) else command


def _find_plugins(argv: Sequence[str]) -> list[str]:
    """Return the plugins of `--plugin`. They must be loaded before the parser is built, since they may extend it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument(PLUGIN, action="append", default=[])
    try:
        named: list[str] = parser.parse_known_args(argv)[0].plugin
    except argparse.ArgumentError:
        return []  # the parser of the command reports the error
    return named


def _move_command_first(argv: Sequence[str]) -> Sequence[str]:
    """Move common options, such as `--plugin`, from before the command to after it."""
    moved: list[str] = []
    remaining = list(argv)
    while remaining and (name := remaining[0].partition("=")[0]) in (PLUGIN, QUIET, LOG_FILE):
        count = 1 if "=" in remaining[0] or name == QUIET else 2
        moved, remaining = moved + remaining[:count], remaining[count:]
    return remaining[:1] + moved + remaining[1:] if remaining else []


def _run_without_command(argv: Sequence[str]) -> int:
    """Print the help of all commands or the version; raise UsageError for an unknown command."""
    known = {entry.name: entry for entry in list_entries("command")}
    plugin_commands = [name for name, entry in known.items() if entry.owner != BUILT_IN_OWNER]
    groups: dict[str, Iterable[str]] = {**COMMANDS, **({"of plugins": plugin_commands} if plugin_commands else {})}
    listed = "\n".join(
        f"{heading}:\n" + "".join(f"  {name:<15}{known[name].summary}\n" for name in group)
        for heading, group in groups.items()
    )
    parser = Parser("seqlab", (seqlab.__doc__ or "").partition("\n")[0], epilog=listed + EXAMPLES)
    parser.add_argument("--version", action="version", version=f"seqlab {seqlab.__version__}")
    parser.add_argument("command", metavar="COMMAND", help="one of those below; each has a --help")
    if not argv:
        parser.print_help(sys.stderr)
        return USER_MISTAKE
    command = parser.parse(argv).command if argv[0].startswith("-") else argv[0]
    hint = nearest_hint(command, known, COMMAND_SIMILARITY)
    raise UsageError(f"there is no command `{command}`{hint} {parser.advice}{broken_plugins_hint()}")
