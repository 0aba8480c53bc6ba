"""`seqlab score` of translators."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqlab.base.world import OnRows, World
from seqlab.commands import UsageError
from seqlab.inference.lines import status_of
from seqlab.inference.scoring import ScoreOptions, read_text, write_scores
from seqlab.tasks.translation.commands import load_named_runs

if TYPE_CHECKING:
    from seqlab.inference.engine import PairScore


def score_pairs(options: ScoreOptions, world: World) -> int:
    """Score each target given its source."""
    trained = load_named_runs(options, world)
    if options.src is None:
        raise UsageError(f"{options.runs[0]} translates: name the sources of its targets with `--src`")

    def score(
        src_lines: Sequence[str] | None, tgt_lines: Sequence[str], places: Sequence[str], advance: OnRows | None
    ) -> "list[PairScore]":
        assert src_lines is not None
        return trained.score(src_lines, tgt_lines, progress=advance, places=places, batch_tokens=options.batch_tokens)

    limit = options.line_limit()
    write_scores(options, world, score, read_text(options, limit))
    return world.broadcast(status_of(limit))
