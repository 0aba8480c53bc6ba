"""seqlab score: how probable given lines are to a model, the log-probability of each in nats: higher is more probable.

Of a translator, each target (--tgt) given its source (--src). Of a language model, each line (--tgt) by itself, or as
what goes on after its prompt (--src). One number per line, in order, the end of line counted: to rescore or to filter.

With several files of targets, --likeliest tells for each line in which of them it is likelier: 1 for the first.
"""

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from seqlab.cli.files import BUFFER_LINES, output_stream, refuse_same_file, side_by_side
from seqlab.cli.inference_options import (
    add_inference_options,
    load_language_models,
    load_named_runs,
)
from seqlab.cli.json_lines import json_line
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import progress_bar
from seqlab.data.column import in_batches, places_of, places_of_pairs
from seqlab.job import joined
from seqlab.world import OnRows, World

if TYPE_CHECKING:
    from seqlab.data.column import Column
    from seqlab.inference.engine import PairScore
    from seqlab.tasks.language_modelling.line_score import LineScore


Score = Callable[[Sequence[str] | None, Sequence[str], Sequence[str], OnRows | None], "Sequence[LineScore | PairScore]"]
"""Scores sources (or prompts) and targets, given where they stand and what is told how many are done."""


def make_parser() -> Parser:
    """Name the run and the lines."""
    parser = Parser("seqlab score", __doc__)
    add_inference_options(parser)
    parser.add_argument("--src", metavar="FILE", help="sources, or prompts: FILE or FILE#COLUMN")
    parser.add_argument(
        "--tgt", required=True, nargs="+", metavar="FILE", help="targets, or lines: FILE or FILE#COLUMN"
    )
    parser.add_argument("--likeliest", action="store_true", help="of several files, the number of the likeliest line's")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line: also tokens and their scores")
    parser.add_argument(
        "--buffer_lines",
        type=int,
        default=BUFFER_LINES,
        metavar="N",
        help=f"lines that are read, sorted and answered together (default: {BUFFER_LINES})",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Score block by block; under torchrun every rank its part of each block."""
    from seqlab.data.columns import parse_column
    from seqlab.inference.lines import write_lines
    from seqlab.runs.use import is_a
    from seqlab.tasks.language_modelling.config import LANGUAGE_MODEL

    with joined() as world:
        if arguments.buffer_lines < 1:
            raise ValueError(f"`buffer_lines` must be at least 1, but is {arguments.buffer_lines} instead.")
        if arguments.likeliest != (len(arguments.tgt) > 1):
            raise UsageError("`--likeliest` and several files after `--tgt` are given together, or neither is")
        for name, specs in (("--src", [arguments.src]), ("--tgt", arguments.tgt)):
            for spec in specs:
                refuse_same_file("--output", arguments.output, {name: spec})
        src = parse_column(arguments.src) if arguments.src else None
        score = (_language_model if is_a(LANGUAGE_MODEL, arguments.runs[0]) else _translator)(arguments, world)
        blocks = _blocks(src, [parse_column(spec) for spec in arguments.tgt], arguments.buffer_lines)
        with (
            output_stream(arguments.output if world.is_main else os.devnull) as output,
            world.only_main(progress_bar(None, output)) as advance,
        ):
            for columns, places in world.from_main(blocks):
                src_lines = None if src is None else columns.pop(0)
                found = [score(src_lines, *target, advance) for target in zip(columns, places, strict=True)]
                write_lines(output, (_shown(each, arguments) for each in zip(*found, strict=True)))
    return 0


def _blocks(
    src: "Column | None", targets: "Sequence[Column]", size: int
) -> Iterator[tuple[list[list[str]], list[list[str]]]]:
    """Yield some lines of all files at a time, the sources first, and where those of each file of targets stand."""
    start = 0
    for rows in in_batches(side_by_side([*([] if src is None else [src]), *targets]), size):
        places = [
            places_of(str(tgt), tgt.line_numbers(start, len(rows)))
            if src is None
            else places_of_pairs(src, tgt, start, len(rows))
            for tgt in targets
        ]
        yield [list(column) for column in zip(*rows, strict=True)], places
        start += len(rows)


def _translator(arguments: argparse.Namespace, world: World) -> Score:
    trained = load_named_runs(arguments, world)
    if arguments.src is None:
        raise UsageError(f"{arguments.runs[0]} translates: name the sources of its targets with `--src`")
    options = _options(arguments)

    def score(
        src_lines: Sequence[str] | None, tgt_lines: Sequence[str], places: Sequence[str], advance: OnRows | None
    ) -> "list[PairScore]":
        assert src_lines is not None
        return trained.score(src_lines, tgt_lines, progress=advance, places=places, **options)

    return score


def _language_model(arguments: argparse.Namespace, world: World) -> Score:
    for name, is_given in (
        ("engine", arguments.engine != "torch"),
        ("quantization", arguments.quantization is not None),
        ("processes", arguments.processes is not None),
    ):
        if is_given:
            raise UsageError(f"{arguments.runs[0]} is a language model, for which there is no `--{name}`")
    precision = "fp32" if arguments.precision == "auto" else arguments.precision  # figures are compared
    model = load_language_models(arguments.runs, arguments, world, precision=precision)
    options = _options(arguments)

    def score(
        prompts: Sequence[str] | None, lines: Sequence[str], places: Sequence[str], advance: OnRows | None
    ) -> "list[LineScore]":
        before = [""] * len(lines) if prompts is None else prompts
        if arguments.likeliest:  # whole lines are what can be compared, see `LanguageModel.score`
            lines, before = [prompt + line for prompt, line in zip(before, lines, strict=True)], [""] * len(lines)

        def compute(own: list[int], on_rows: OnRows | None) -> "list[LineScore]":
            scores = model.score([lines[i] for i in own], [before[i] for i in own], **options)
            if on_rows is not None:
                on_rows(len(own))
            return scores

        return world.spread([len(line) for line in lines], compute, advance)

    return score


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {} if arguments.batch_tokens is None else {"batch_tokens": arguments.batch_tokens}


def _shown(scores: "Sequence[LineScore | PairScore]", arguments: argparse.Namespace) -> str:
    """Write what belongs to one line: its score, or which of several targets is the likeliest."""
    log_probs = [score.log_prob for score in scores]
    if not arguments.likeliest:
        return json_line(asdict(scores[0])) if arguments.json else _or_na(log_probs[0], ".6f")
    known = [log_prob for log_prob in log_probs if log_prob is not None]
    is_decided = len(known) == len(log_probs) and max(known) > -math.inf
    likeliest = log_probs.index(max(known)) + 1 if is_decided else None
    return json_line({"likeliest": likeliest, "log_probs": log_probs}) if arguments.json else _or_na(likeliest, "d")


def _or_na(value: float | None, style: str) -> str:
    return "n/a" if value is None else f"{value:{style}}"
