"""seqlab translate: lines in, translations out, in order and one line for each line.

Reads standard input and writes standard output unless files are named. Blocks of lines are read, sorted by length,
translated and written before the next is read.
"""

import argparse
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqlab.cli.files import BUFFER_LINES, Input, open_input, output_stream, refuse_same_file
from seqlab.cli.inference_options import add_inference_options, load_named_runs
from seqlab.cli.json_lines import json_line
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import progress_bar
from seqlab.cli.search_options import add_search_options, search_values
from seqlab.job import joined

if TYPE_CHECKING:
    from seqlab.tasks.translation.translator import Translation

logger = logging.getLogger(__name__)


def make_parser() -> Parser:
    """Name the run, the files and the search."""
    parser = Parser("seqlab translate", __doc__)
    add_inference_options(parser)
    parser.add_argument("--input", metavar="FILE", help="text to translate, or FILE#COLUMN (default: standard input)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument(
        "--prefix", metavar="FILE", help="for each line that is not blank, what its translations must begin with"
    )
    parser.add_argument("--lm", metavar="RUN", help="a language model over the target vocabulary that decides too")
    parser.add_argument("--lm_weight", type=float, metavar="W", help="of its log-probabilities (default: 0.1)")
    parser.add_argument(
        "--length_reward", type=float, metavar="R", help="added for each symbol beside --lm (default: 0)"
    )
    parser.add_argument(
        "--rescore",
        nargs="+",
        metavar="RUN",
        help="a run of the same vocabularies, or several, whose scores choose between the hypotheses that are found",
    )
    parser.add_argument(
        "--alignment",
        metavar="FILE",
        help="where to write what each translation attended to, one JSON object a line; `seqlab plot` draws it",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line: all hypotheses and their scores")
    parser.add_argument(
        "--buffer_lines", type=int, metavar="N", help=f"lines in a block (default: {BUFFER_LINES}; 1 on a terminal)"
    )
    add_search_options(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Translate block by block; under torchrun every rank its part of each block."""
    from seqlab.inference.lines import write_lines
    from seqlab.tasks.translation.translator import unfinished, warn_of_unfinished

    with joined() as world:
        if arguments.alignment == "-":
            raise UsageError("--alignment needs a file of its own, but is -")
        refuse_same_file("--alignment", arguments.alignment, {"--output": arguments.output})
        read = {"the input": arguments.input, "--prefix": arguments.prefix}
        refuse_same_file("--output", arguments.output, read)
        refuse_same_file("--alignment", arguments.alignment, read)
        options = {**search_values(arguments), "need_scores": arguments.json}
        if arguments.alignment is not None:
            options["need_attention"] = True
        if options["num_hypotheses"] > 1 and not arguments.json:
            raise UsageError("more than one hypothesis per line needs --json")
        if arguments.batch_tokens is not None:
            options["batch_tokens"] = arguments.batch_tokens
        others = {name: getattr(arguments, name) for name in ("lm", "lm_weight", "length_reward", "rescore")}
        trained = load_named_runs(arguments, world, **others)
        if not world.is_main:  # what it translates comes from the main rank, which alone writes
            arguments.input, arguments.output, arguments.prefix = os.devnull, os.devnull, None
            arguments.alignment = os.devnull
        with (
            open_input(arguments.input) as source,
            output_stream(arguments.alignment or os.devnull) as alignment,
            output_stream(arguments.output) as output,
        ):
            prefixes, replaced, done, cut = Prefixes(arguments.prefix), 0, 0, 0
            blocks = _blocks(source, prefixes, arguments.buffer_lines)
            with world.only_main(progress_bar(source.stream, output)) as advance:
                for lines, places, forced in world.from_main(blocks):
                    translations = trained.translate_detailed(
                        lines, prefixes=forced, progress=advance, places=places, **options
                    )
                    write_lines(output, (as_json(t) if arguments.json else t.text for t in translations))
                    write_lines(alignment, (json_line({"pieces": alignments_of(t)}) for t in translations))
                    replaced += sum(translation.control_characters for translation in translations)
                    done, cut = done + len(translations), cut + unfinished(translations)
            prefixes.check_end()
        if replaced:
            logger.warning("control characters in the translations: %d became spaces", replaced)
        if world.is_main:
            warn_of_unfinished(cut, done)
    return 0


def _blocks(
    source: Input, prefixes: "Prefixes", buffer_lines: int | None
) -> Iterator[tuple[list[str], list[str], list[str] | None]]:
    """Yield some lines at a time, where they stand, and the prefixes of their translations."""
    start = 0
    for lines in source.blocks(buffer_lines):
        yield lines, source.places(start, len(lines)), prefixes.take(len(lines))
        start += len(lines)


def as_json(translation: "Translation") -> str:
    """Write a translation as one line of JSON; what it attended to has a file of its own."""
    return json_line({name: value for name, value in asdict(translation).items() if name != "alignments"})


def alignments_of(translation: "Translation") -> list[dict[str, Any]]:
    """Give what each piece of a line attended to; nothing for an empty line, and where nobody asked."""
    return [asdict(each) for each in translation.alignments or []]


class Prefixes:
    """The lines of a file of prefixes, taken block by block."""

    def __init__(self, path: str | None) -> None:
        from seqlab.data.readers import read_lines

        self.path, self.taken = path, 0
        self._lines: Iterator[str] = iter(()) if path is None else read_lines(Path(path))

    def take(self, count: int) -> list[str] | None:
        """Return the next lines, or None where no file was named; raises ValueError where there are fewer."""
        if self.path is None:
            return None
        lines = list(islice(self._lines, count))
        self.taken += len(lines)
        if len(lines) < count:
            raise ValueError(f"{self.path} has {self.taken} lines, but there is more to translate: one is needed each.")
        return lines

    def check_end(self) -> None:
        """Raise ValueError where lines are left, naming both counts."""
        more = sum(1 for _ in self._lines)
        if more:
            raise ValueError(f"{self.path} has {self.taken + more} lines, but {self.taken} were translated.")
