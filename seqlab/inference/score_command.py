"""What the tasks that score given lines share: `seqlab score` and its options."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

from pydantic.dataclasses import dataclass

from seqlab.base.progress import line_progress
from seqlab.base.raw_lines import LineLimit
from seqlab.base.world import OnRows, World
from seqlab.commands import AsOption
from seqlab.data.blocks import in_batches
from seqlab.inference.files import BUFFER_LINES, MAX_BUFFER_CHARS, output_stream
from seqlab.inference.lines import is_discarded, json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, DiscardLongLines, EngineOptions, File


class LogProb(Protocol):
    """How probable a line is; a dataclass, whose fields `--json` shows."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def log_prob(self) -> float | None:
        """In nats; None where there is none."""
        ...


ScoreLines = Callable[[Sequence[Any] | None, Sequence[str], Sequence[str], OnRows | None], Sequence[LogProb]]
"""(sources or prompts, targets, locations, on_progress) -> scores."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScoreOptions(EngineOptions, DiscardLongLines):
    """Log-probability of given lines under a model, in nats: higher is more probable.

    Of a translator, each target (--tgt) given its source (--src). Of a recogniser, each text (--tgt) given its
    recording (--src, a list of paths). Of a language model, each line (--tgt) by itself, or as what goes on after its
    prompt (--src). One number per line, in order, the end of line counted: to rescore or to filter.

    With several files of targets, --likeliest tells for each line in which of them it is likelier: 1 for the first.
    """

    src: File | None = None
    """sources, recordings or prompts: FILE or FILE#COLUMN"""
    tgt: Annotated[list[File], AsOption]
    """targets, or lines: FILE or FILE#COLUMN"""
    likeliest: bool = False
    """of several files, the number of the likeliest line's"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """one JSON object per line: also tokens and their scores"""
    buffer_lines: Count | None = None
    """lines that are read, sorted and answered together (default: 4096, of recordings 64)"""


class ScoreInput(NamedTuple):
    """Some lines of all files."""

    src: Sequence[Any] | None
    """Sources or prompts, or recordings on a list."""
    targets: Sequence[Sequence[str]]
    """Of each file of targets."""
    places: Sequence[Sequence[str]]
    """Where the lines of each file of targets, and of their sources, stand."""


def read_score_inputs(options: ScoreOptions, limit: LineLimit) -> Iterator[ScoreInput]:
    """Read text, some lines at a time; raises ValueError where files are not equally long."""
    from seqlab.data.columns import parse_column
    from seqlab.data.corpus import Corpus

    sources = () if options.src is None else (parse_column(options.src, limit),)
    targets = [parse_column(spec, limit) for spec in options.tgt]
    start = 0
    rows_of_all, size = Corpus((*sources, *targets)).rows(), options.buffer_lines or BUFFER_LINES
    for rows in in_batches(rows_of_all, size, weight=lambda row: sum(map(len, row)), max_weight=MAX_BUFFER_CHARS):
        columns = list(zip(*rows, strict=True))
        places = [Corpus((*sources, tgt)).locations(start, len(rows)) for tgt in targets]
        yield ScoreInput(columns[0] if sources else None, columns[len(sources) :], places)
        start += len(rows)


def write_scores(options: ScoreOptions, world: World, scorer: ScoreLines, blocks: Iterator[ScoreInput]) -> None:
    """LogProb block by block; under torchrun every rank its part of each block."""
    with (
        output_stream(options.output if world.is_main else os.devnull) as output,
        world.enter_on_main(line_progress(None, output)) as advance,
    ):
        for block in world.broadcast_items(blocks):
            targets = zip(block.targets, block.places, strict=True)
            found = [scorer(block.src, *target, advance) for target in targets]
            read = zip(*([] if block.src is None else [block.src]), *block.targets, strict=True)
            write_lines(output, (_shown(options, *each) for each in zip(zip(*found, strict=True), read, strict=True)))


def _shown(options: ScoreOptions, scores: Sequence[LogProb], read: Sequence[Any]) -> str:
    """Write what belongs to one line: its score, or which of several targets is the likeliest."""
    is_cut = any(map(is_discarded, read))
    log_probs = [None if is_cut else score.log_prob for score in scores]
    if not options.likeliest:
        cut = {"log_prob": None, "truncated": True} if is_cut else {}
        return json_line(asdict(scores[0]) | cut) if options.json else _or_na(log_probs[0], ".6f")
    known = [log_prob for log_prob in log_probs if log_prob is not None]
    is_decided = len(known) == len(log_probs) and max(known) > -math.inf
    likeliest = log_probs.index(max(known)) + 1 if is_decided else None
    return json_line({"likeliest": likeliest, "log_probs": log_probs}) if options.json else _or_na(likeliest, "d")


def _or_na(value: float | None, style: str) -> str:
    return "n/a" if value is None else f"{value:{style}}"
