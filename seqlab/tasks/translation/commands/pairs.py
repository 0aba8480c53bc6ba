"""Commands on parallel text: `seqlab score` for translators, and options that the diagnosis commands share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from seqlab.base.config_class import dataclass
from seqlab.base.world import ProgressCallback, World
from seqlab.commands import AsOption, UsageError
from seqlab.inference.lines import TextCounts, exit_status
from seqlab.inference.options import SETTINGS, File, RefuseLongLines, RunOptions, set_threads
from seqlab.inference.score_command import ScoreOptions, read_score_inputs, write_scores
from seqlab.tasks.translation.commands import load_named_runs

if TYPE_CHECKING:
    from seqlab.inference.engine import PairScore
    from seqlab.tasks.translation.run import Run


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PairOptions(RunOptions, RefuseLongLines):
    """Parallel text."""

    src: Annotated[File, AsOption]
    """source lines: FILE or FILE#COLUMN"""
    tgt: Annotated[File, AsOption]
    """reference lines: FILE or FILE#COLUMN"""
    json: bool = False
    """print JSON"""


def read_pairs(options: PairOptions) -> tuple[list[str], list[str], list[str]]:
    """Read the source lines, the references, and the location of each pair.

    Raises ValueError if the files are empty or have different numbers of lines.
    """
    from seqlab.data.corpus import Corpus

    limit, reading = options.line_limit(), options.reading
    corpus = Corpus.from_specs(options.src, options.tgt, read_once=True, limit=limit, reading=reading)
    rows = list(corpus.rows())
    if not rows:
        raise ValueError(f"{options.src} is empty: there are no pairs to measure.")
    return [row[0] for row in rows], [row[1] for row in rows], corpus.locations(0, len(rows))


def load_single_process(options: PairOptions) -> "Run":
    """Load the runs with the torch engine in this process, for step-by-step computation."""
    from seqlab.tasks.translation.load_with_torch import load_with_torch

    set_threads(options.threads)
    return load_with_torch(
        options.runs, checkpoint=options.checkpoint, device=options.device, precision=options.precision
    )


def score_pairs(options: ScoreOptions, world: World) -> int:
    """Score each target line given its source line; return the exit status."""
    translator = load_named_runs(options.in_fp32(), world)
    if options.src is None:
        raise UsageError(f"{options.runs[0]} is a translator: give its source lines with `--src`")

    counts = TextCounts("scores")

    def score(
        src_lines: Sequence[str] | None,
        tgt_lines: Sequence[str],
        locations: Sequence[str],
        advance: ProgressCallback | None,
    ) -> "list[PairScore]":
        assert src_lines is not None
        if not translator.translator.has_copied_unknowns:
            counts.add_inputs(translator.src_tokenizer, src_lines)
            counts.add_inputs(translator.tgt_tokenizer, tgt_lines)
        return translator.score(
            src_lines, tgt_lines, progress=advance, locations=locations, batch_tokens=options.batch_tokens
        )

    limit = options.line_limit()
    write_scores(options, world, score, read_score_inputs(options, limit))
    if world.is_main:
        counts.warn()
    return world.broadcast(exit_status(limit))
