"""Options, input and output of `seqlab score`, which several tasks share."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

from seqlab.base.config_class import dataclass
from seqlab.base.progress import line_progress
from seqlab.base.raw_lines import LineLimit
from seqlab.base.world import ProgressCallback, World
from seqlab.commands import AsOption
from seqlab.data.blocks import in_batches
from seqlab.inference.files import BUFFER_LINES, MAX_BUFFER_CHARS, output_stream
from seqlab.inference.lines import is_discarded, json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, DiscardLongLines, EngineOptions, File


class LineLogProb(Protocol):
    """Dataclass with the log-probability of a line; `--json` prints its fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def log_prob(self) -> float | None:
        """Log-probability in nats; None if it is undefined."""
        ...


ScoreLines = Callable[
    [Sequence[Any] | None, Sequence[str], Sequence[str], ProgressCallback | None], Sequence[LineLogProb]
]
"""Function of a task: (sources or prompts, targets, locations, progress) -> one score per target."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScoreOptions(EngineOptions, DiscardLongLines):
    """Compute the log-probability of given lines under a model, in nats: higher is more probable.

    Translators score each target (--tgt) given its source (--src), speech recognizers each text (--tgt) given its
    recording (--src, a list of paths), language models each line (--tgt) by itself or as the continuation of its prompt
    (--src). The output is one number per line, in order, for rescoring or filtering. It includes the end of the line.

    With several target files, --likeliest prints for each line the number of the file with the most probable target,
    counted from 1.

    Scores are computed in fp32 unless --precision is given.
    """

    src: File | None = None
    """sources, recordings or prompts: FILE or FILE#COLUMN"""
    tgt: Annotated[list[File], AsOption]
    """targets to score: FILE or FILE#COLUMN; several with --likeliest"""
    likeliest: bool = False
    """with several target files, print the number of the file with the most probable target"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """write one JSON object per line, with tokens and their scores"""
    buffer_lines: Count | None = None
    """lines per block (default: 4096; 64 for recordings)"""

    def in_fp32(self) -> "ScoreOptions":
        """Return the options with fp32 if no precision is given: bf16 has errors of about 1% in log-probabilities."""
        is_open = self.precision == "auto" and self.engine == "torch"
        return replace(self, precision="fp32") if is_open else self


class ScoreInput(NamedTuple):
    """A block of lines of the source file and of all target files."""

    src: Sequence[Any] | None
    """Sources, prompts or recordings."""
    targets: Sequence[Sequence[str]]
    """Lines of each target file."""
    locations: Sequence[Sequence[str]]
    """Locations of the lines of each target file and of their sources."""


def read_score_inputs(options: ScoreOptions, limit: LineLimit) -> Iterator[ScoreInput]:
    """Read the source and target files in blocks of lines; raise ValueError if their numbers of lines differ."""
    from seqlab.data.columns import parse_column
    from seqlab.data.corpus import Corpus

    sources = () if options.src is None else (parse_column(options.src, limit, options.reading),)
    targets = [parse_column(spec, limit, options.reading) for spec in options.tgt]
    start = 0
    all_rows, size = Corpus((*sources, *targets)).rows(), options.buffer_lines or BUFFER_LINES
    for rows in in_batches(all_rows, size, weight=lambda row: sum(map(len, row)), max_weight=MAX_BUFFER_CHARS):
        columns = list(zip(*rows, strict=True))
        locations = [Corpus((*sources, tgt)).locations(start, len(rows)) for tgt in targets]
        yield ScoreInput(columns[0] if sources else None, columns[len(sources) :], locations)
        start += len(rows)


def write_scores(options: ScoreOptions, world: World, scorer: ScoreLines, blocks: Iterator[ScoreInput]) -> None:
    """Score and write block by block; under torchrun, each rank scores a part of each block."""
    with (
        output_stream(options.output if world.is_main else os.devnull) as output,
        world.enter_on_main(line_progress(None, output)) as advance,
    ):
        for block in world.broadcast_items(blocks):
            targets = zip(block.targets, block.locations, strict=True)
            scores = [scorer(block.src, *target, advance) for target in targets]
            inputs = zip(*([] if block.src is None else [block.src]), *block.targets, strict=True)
            pairs = zip(zip(*scores, strict=True), inputs, strict=True)
            write_lines(output, (_output_line(options, *pair) for pair in pairs))


def _output_line(options: ScoreOptions, scores: Sequence[LineLogProb], inputs: Sequence[Any]) -> str:
    """Format the output for a line: its score, or with `--likeliest` the number of the file with the best score."""
    is_truncated = any(map(is_discarded, inputs))
    log_probs = [None if is_truncated else score.log_prob for score in scores]
    if not options.likeliest:
        fields = {"log_prob": None, "truncated": True} if is_truncated else {}
        return json_line(asdict(scores[0]) | fields) if options.json else _or_na(log_probs[0])
    defined = [log_prob for log_prob in log_probs if log_prob is not None]
    has_best = len(defined) == len(log_probs) and max(defined) > -math.inf
    best = log_probs.index(max(defined)) + 1 if has_best else None
    return json_line({"likeliest": best, "log_probs": log_probs}) if options.json else _or_na(best)


def _or_na(value: float | None) -> str:
    """Format a number with the fewest digits that give it back exactly, or `n/a`."""
    return "n/a" if value is None else repr(value)
