"""The command `seqlab search-errors`."""

import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import BeamSize
from seqlab.base.progress import count_progress
from seqlab.commands import Command, UsageError
from seqlab.inference.options import SETTINGS, Count, Name
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import search_values
from seqlab.tasks.translation.commands.pairs import PairOptions, load_one_process, read_pairs

if TYPE_CHECKING:
    from seqlab.tasks.translation.search_errors import SearchErrors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SearchErrorsOptions(SearchConfig, PairOptions):
    """Count search errors and model errors for each beam size.

    A search error: the model gives the reference a higher score than the answer that was found. A model error: the
    answer is not the reference, and the model prefers it. With --exact also the best answers that there are, for short
    outputs, and how many answers of each beam they beat; all figures are then of the sentences on which that search
    came to its end. References that the search cannot produce, by its limits of length, its limits of repetition or
    for lack of a token, are counted apart (`out of reach`); pairs with an empty side are left out.
    """

    precision: Name = "fp32"
    """bf16, fp32 or auto"""
    beam_sizes: Annotated[tuple[BeamSize, ...], "K"] = (1, 2, 5, 10)
    """of the searches that are compared"""
    exact: bool = False
    """also search exactly: for short outputs"""
    max_steps: Count | None = None
    """steps for a sentence's exact search (default: 10,000)"""
    beam_size: int = Field(default=5, init=False)
    num_hypotheses: int = Field(default=1, init=False)
    coverage_penalty: float = Field(default=0.0, init=False)


def run(options: SearchErrorsOptions) -> None:
    """Measure and print a line for each search."""
    from seqlab.search.exact import MAX_STEPS_PER_SENTENCE
    from seqlab.tasks.translation.search_errors import search_errors

    sizes = list(dict.fromkeys(options.beam_sizes))
    if options.max_steps is not None and not options.exact:
        raise UsageError("--max_steps limits exact search: it needs --exact")
    src_lines, tgt_lines, locations = read_pairs(options)
    trained = load_one_process(options)
    most = MAX_STEPS_PER_SENTENCE if options.max_steps is None else options.max_steps
    if options.exact:
        logger.info("exact search: up to %s steps of the model for each sentence (--max_steps)", f"{most:,}")
    with count_progress("sentences", (len(sizes) + options.exact) * len(src_lines)) as advance:
        found = search_errors(
            trained,
            src_lines,
            tgt_lines,
            sizes,
            SearchConfig(**search_values(options)),
            exact=options.exact,
            max_steps=most,
            locations=locations,
            progress=advance,
        )
    _warn(found)
    print(json.dumps([asdict(each) for each in found]) if options.json else "\n".join(lines_of(found)))


def _warn(found: "list[SearchErrors]") -> None:
    """Say what the table does not count as one may think."""
    if given_up := found[-1].unknown:
        logger.warning(
            "exact search did not end on %d of %d pairs within `--max_steps` steps: all rows are of the others",
            given_up,
            found[-1].num_pairs,
        )
    for each in found:
        if each.unfinished:
            logger.warning(
                "beam %s: a limit cut %d answers off: they count as search errors, as whatever has an end is better",
                each.beam_size,
                each.unfinished,
            )


def lines_of(found: "list[SearchErrors]") -> list[str]:
    """Write a table: a line for each search."""
    titles = ("pairs", "right", "search errors", "model errors", "beaten by exact", "not known", "out of reach")
    widths = (8, 10, 16, 16, 18, 12, 15)
    lines = [f"{'beam':<8}" + "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))]
    for each in found:
        counts = (each.right, each.search_errors, each.model_errors)
        shares = [f"{100 * count / sum(counts):.2f}%" if sum(counts) else "n/a" for count in counts]
        name = "exact" if each.beam_size is None else str(each.beam_size)
        lines.append(
            f"{name:<8}{sum(counts):>8,}{shares[0]:>10}{shares[1]:>16}{shares[2]:>16}{each.beaten:>18,}{each.unknown:>12,}{each.out_of_reach:>15,}"
        )
    return lines


SEARCH_ERRORS = Command(SearchErrorsOptions, run, single_process=True)
