"""The entry point: `seqlab COMMAND ...`.

A command is a module with SUMMARY, make_parser() and run(arguments); none imports torch before it runs, so that help
is quick.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import seqlab
from seqlab.cli import (
    calibration,
    distill,
    evaluate,
    export,
    exposure,
    generate,
    import_arpa,
    info,
    label,
    perplexity,
    plot,
    recipes,
    score,
    search_errors,
    train,
    translate,
)
from seqlab.cli.errors import BROKEN_PIPE, USER_MISTAKE, explain
from seqlab.cli.logs import set_up_logging
from seqlab.cli.parser import Parser, UsageError
from seqlab.contention import choose_waiting
from seqlab.world import rank_before_meeting

GROUPS: dict[str, dict[str, ModuleType]] = {
    "train and describe": {"train": train, "recipes": recipes, "info": info},
    "use a trained model": {
        "translate": translate,
        "label": label,
        "generate": generate,
        "score": score,
        "distill": distill,
    },
    "measure": {
        "evaluate": evaluate,
        "perplexity": perplexity,
        "calibration": calibration,
        "exposure": exposure,
        "search-errors": search_errors,
        "plot": plot,
    },
    "exchange with other programs": {"export": export, "import": import_arpa},
}
"""Heading -> name -> module of each command."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
EXAMPLES = """
examples:
  seqlab train number_words                                    # the embedded default: a translator in a minute
  seqlab train --data.train_src a.de --data.train_tgt a.en     # a translator of your own corpus, in runs/de-en
  seqlab translate runs/de-en < new.de > new.en
  seqlab evaluate new.en --ref reference.en --metrics bleu chrf
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for a failure, 2 for a user's mistake, 128 + n for signal n."""
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush finds no pipe
        return BROKEN_PIPE
    except SystemExit as done:  # how argparse ends after --help
        return int(done.code or 0)
    except (Exception, KeyboardInterrupt) as error:
        explained = explain(error)
        if explained is None:
            raise
        message, status = explained
        rank = rank_before_meeting()
        if rank == 0 or not _is_told_by_rank_0(error):
            print(f"seqlab: {f'rank {rank}: ' if rank else ''}{' '.join(message.split())}", file=sys.stderr)
        return status


def _is_told_by_rank_0(error: BaseException) -> bool:
    """Tell whether another rank's error need not be printed: all read the same command line."""
    return isinstance(error, UsageError) or getattr(error, "is_told", False)


def _run(argv: Sequence[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        return _without_command(argv)
    command = COMMANDS[argv[0]]
    arguments = command.make_parser().parse(argv[1:])
    set_up_logging()
    choose_waiting()
    return command.run(arguments)


def _without_command(argv: Sequence[str]) -> int:
    listed = "\n".join(
        f"{heading}:\n" + "".join(f"  {name:<15}{command.SUMMARY}\n" for name, command in group.items())
        for heading, group in GROUPS.items()
    )
    parser = Parser("seqlab", (seqlab.__doc__ or "").partition("\n")[0], epilog=listed + EXAMPLES)
    parser.add_argument("--version", action="version", version=f"seqlab {seqlab.__version__}")
    parser.add_argument("command", metavar="COMMAND", help="one of those below; each has its own --help")
    if not argv:
        parser.print_help(sys.stderr)
        return USER_MISTAKE
    command = parser.parse(argv[:1]).command
    nearest = difflib.get_close_matches(command, COMMANDS, n=1, cutoff=0)[0]
    raise UsageError(f"there is no command `{command}`; the nearest is `{nearest}` {parser.advice}")


if __name__ == "__main__":
    sys.exit(main())
