"""Count the search errors and model errors of beam search (`seqlab search-errors`)."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from seqlab.base.bounds import BeamSize
from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.progress import count_progress
from seqlab.commands import Command, UsageError
from seqlab.inference.options import SETTINGS, Count, Name
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import search_values
from seqlab.tasks.translation.commands.pairs import PairOptions, load_single_process, read_pairs

if TYPE_CHECKING:
    from seqlab.tasks.translation.search_errors import SearchErrors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SearchErrorsOptions(SearchConfig, PairOptions):
    """Count search errors and model errors for each beam size.

    A search error: the reference has a higher model score than the output of the search. A model error: the output
    differs from the reference and has the higher model score. --exact also finds the output with the highest score, for
    short outputs, and counts the outputs of each beam size with a lower score. All figures then refer to the sentences
    for which exact search completed. References that the search cannot produce, because of its length limits, its
    repetition limits or a token that is not in the vocabulary, are counted separately (`unreachable`). Pairs with an
    empty side are left out.
    """

    precision: Name = "fp32"
    """bf16, fp32 or auto"""
    beam_sizes: Annotated[tuple[BeamSize, ...], "K"] = (1, 2, 5, 10)
    """beam sizes to compare"""
    exact: bool = False
    """also run exact search; for short outputs"""
    max_steps: Count | None = None
    """maximum steps of exact search per sentence (default: 10,000)"""
    beam_size: int = Field(default=5, init=False)
    num_hypotheses: int = Field(default=1, init=False)
    coverage_penalty: float = Field(default=0.0, init=False)


def run(options: SearchErrorsOptions) -> None:
    """Count search errors and print a line for each search."""
    from seqlab.search.exact import MAX_STEPS_PER_SENTENCE
    from seqlab.tasks.translation.search_errors import search_errors

    sizes = list(dict.fromkeys(options.beam_sizes))
    if options.max_steps is not None and not options.exact:
        raise UsageError("--max_steps limits exact search: it needs --exact")
    src_lines, tgt_lines, locations = read_pairs(options)
    translator = load_single_process(options)
    max_steps = MAX_STEPS_PER_SENTENCE if options.max_steps is None else options.max_steps
    if options.exact:
        logger.info("exact search: at most %s model steps per sentence (--max_steps)", f"{max_steps:,}")
    with count_progress("sentences", (len(sizes) + options.exact) * len(src_lines)) as advance:
        results = search_errors(
            translator,
            src_lines,
            tgt_lines,
            sizes,
            SearchConfig(**search_values(options)),
            exact=options.exact,
            max_steps=max_steps,
            locations=locations,
            progress=advance,
        )
    _warn(results)
    print(json_text([asdict(result) for result in results]) if options.json else "\n".join(table_lines(results)))


def _warn(results: "list[SearchErrors]") -> None:
    """Warn of pairs for which exact search did not complete, and of outputs that were cut at a length limit."""
    if num_incomplete := results[-1].unknown:
        logger.warning(
            "exact search did not complete for %d of %d pairs within --max_steps: all rows refer to the other pairs",
            num_incomplete,
            results[-1].num_pairs,
        )
    for result in results:
        if result.unfinished:
            logger.warning(
                "beam %s: %d outputs were cut at a length limit: they count as search errors",
                result.beam_size,
                result.unfinished,
            )


def table_lines(results: "list[SearchErrors]") -> list[str]:
    """Format a table: a line for each search."""
    titles = ("pairs", "correct", "search errors", "model errors", "worse than exact", "unknown", "unreachable")
    widths = (8, 10, 16, 16, 18, 12, 15)
    lines = [f"{'beam':<8}" + "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))]
    for result in results:
        counts = (result.right, result.search_errors, result.model_errors)
        shares = [f"{100 * count / sum(counts):.2f}%" if sum(counts) else "n/a" for count in counts]
        name = "exact" if result.beam_size is None else str(result.beam_size)
        lines.append(
            f"{name:<8}{sum(counts):>8,}{shares[0]:>10}{shares[1]:>16}{shares[2]:>16}{result.beaten:>18,}{result.unknown:>12,}{result.out_of_reach:>15,}"
        )
    return lines


SEARCH_ERRORS = Command(SearchErrorsOptions, run, single_process=True)
