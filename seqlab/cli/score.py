"""The command `seqlab score`."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass

from seqlab.commands import AsOption, Command, UsageError
from seqlab.data.column import in_batches
from seqlab.inference.files import BUFFER_LINES, output_stream, refuse_same_file
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, EngineOptions, File, given
from seqlab.job import joined
from seqlab.progress import progress_bar
from seqlab.tasks.language_modelling.commands import load_language_models
from seqlab.tasks.translation.commands import load_named_runs
from seqlab.world import OnRows, World

if TYPE_CHECKING:
    from seqlab.data.column import Column
    from seqlab.inference.engine import PairScore
    from seqlab.tasks.language_modelling.line_score import LineScore

Score = Callable[[Sequence[str] | None, Sequence[str], Sequence[str], OnRows | None], "Sequence[LineScore | PairScore]"]
"""(sources or prompts, targets, locations, on_progress) -> scores."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScoreOptions(EngineOptions):
    """Log-probability of given lines under a model, in nats: higher is more probable.

    Of a translator, each target (--tgt) given its source (--src). Of a language model, each line (--tgt) by itself, or
    as what goes on after its prompt (--src). One number per line, in order, the end of line counted: to rescore or to
    filter.

    With several files of targets, --likeliest tells for each line in which of them it is likelier: 1 for the first.
    """

    src: File | None = None
    """sources, or prompts: FILE or FILE#COLUMN"""
    tgt: Annotated[list[File], AsOption]
    """targets, or lines: FILE or FILE#COLUMN"""
    likeliest: bool = False
    """of several files, the number of the likeliest line's"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """one JSON object per line: also tokens and their scores"""
    buffer_lines: Count = BUFFER_LINES
    """lines that are read, sorted and answered together"""


def run(options: ScoreOptions) -> None:
    """Score block by block; under torchrun every rank its part of each block."""
    from seqlab.data.columns import parse_column
    from seqlab.runs.use import is_a
    from seqlab.tasks.language_modelling.config import LANGUAGE_MODEL

    with joined() as world:
        if options.likeliest != (len(options.tgt) > 1):
            raise UsageError("`--likeliest` and several files after `--tgt` are given together, or neither is")
        for name, specs in (("--src", [options.src]), ("--tgt", options.tgt)):
            for spec in specs:
                refuse_same_file("--output", options.output, {name: spec})
        src = parse_column(options.src) if options.src else None
        score = (_language_model if is_a(LANGUAGE_MODEL, options.runs[0]) else _translator)(options, world)
        blocks = _blocks(src, [parse_column(spec) for spec in options.tgt], options.buffer_lines)
        with (
            output_stream(options.output if world.is_main else os.devnull) as output,
            world.only_main(progress_bar(None, output)) as advance,
        ):
            for columns, places in world.from_main(blocks):
                src_lines = None if src is None else columns.pop(0)
                found = [score(src_lines, *target, advance) for target in zip(columns, places, strict=True)]
                write_lines(output, (_shown(each, options) for each in zip(*found, strict=True)))


def _blocks(
    src: "Column | None", targets: "Sequence[Column]", size: int
) -> Iterator[tuple[list[list[str]], list[list[str]]]]:
    """Yield some lines of all files at a time, the sources first, and where those of each file of targets stand."""
    from seqlab.data.corpus import Corpus

    start, sources = 0, () if src is None else (src,)
    for rows in in_batches(Corpus((*sources, *targets)).rows(), size):
        places = [Corpus((*sources, tgt)).places(start, len(rows)) for tgt in targets]
        yield [list(column) for column in zip(*rows, strict=True)], places
        start += len(rows)


def _translator(options: ScoreOptions, world: World) -> Score:
    trained = load_named_runs(options, world)
    if options.src is None:
        raise UsageError(f"{options.runs[0]} translates: name the sources of its targets with `--src`")

    def score(
        src_lines: Sequence[str] | None, tgt_lines: Sequence[str], places: Sequence[str], advance: OnRows | None
    ) -> "list[PairScore]":
        assert src_lines is not None
        return trained.score(src_lines, tgt_lines, progress=advance, places=places, batch_tokens=options.batch_tokens)

    return score


def _language_model(options: ScoreOptions, world: World) -> Score:
    for name, is_given in (
        ("engine", options.engine != "torch"),
        ("quantization", options.quantization is not None),
        ("processes", options.processes is not None),
    ):
        if is_given:
            raise UsageError(f"{options.runs[0]} is a language model, for which there is no `--{name}`")
    precision = "fp32" if options.precision == "auto" else options.precision  # figures are compared
    model = load_language_models(options, world, precision=precision)

    def score(
        prompts: Sequence[str] | None, lines: Sequence[str], places: Sequence[str], advance: OnRows | None
    ) -> "list[LineScore]":
        before = [""] * len(lines) if prompts is None else prompts
        if options.likeliest:  # whole lines are what can be compared, see `LanguageModel.score`
            lines, before = [prompt + line for prompt, line in zip(before, lines, strict=True)], [""] * len(lines)

        def compute(own: list[int], on_rows: OnRows | None) -> "list[LineScore]":
            scores = model.score([lines[i] for i in own], [before[i] for i in own], **given(options, "batch_tokens"))
            if on_rows is not None:
                on_rows(len(own))
            return scores

        return world.spread([len(line) for line in lines], compute, advance)

    return score


def _shown(scores: "Sequence[LineScore | PairScore]", options: ScoreOptions) -> str:
    """Write what belongs to one line: its score, or which of several targets is the likeliest."""
    log_probs = [score.log_prob for score in scores]
    if not options.likeliest:
        return json_line(asdict(scores[0])) if options.json else _or_na(log_probs[0], ".6f")
    known = [log_prob for log_prob in log_probs if log_prob is not None]
    is_decided = len(known) == len(log_probs) and max(known) > -math.inf
    likeliest = log_probs.index(max(known)) + 1 if is_decided else None
    return json_line({"likeliest": likeliest, "log_probs": log_probs}) if options.json else _or_na(likeliest, "d")


def _or_na(value: float | None, style: str) -> str:
    return "n/a" if value is None else f"{value:{style}}"


SCORE = Command(ScoreOptions, run)
