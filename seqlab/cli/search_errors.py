"""seqlab search-errors: whose fault wrong translations are, the search's or the model's, by beam size.

A search error: the model gives the reference a higher score than the answer that was found. A model error: the answer
is not the reference, and the model prefers it. With --exact also the best answers that there are, for short outputs,
and how many answers of each beam they beat; all figures are then of the sentences on which that search came to its
end. References that a search may not say, by its limits of length or as they repeat what it must not, or cannot, as the
vocabulary lacks something of them, are counted apart (`out of reach`), pairs with an empty side are left out.
"""

import argparse
import json
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from seqlab.cli.pairs import add_pair_options, load_one_process, read_pairs
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import counting
from seqlab.cli.search_options import add_search_options, search_values
from seqlab.world import refuse_ranks

if TYPE_CHECKING:
    from seqlab.tasks.translation.search_errors import SearchErrors

logger = logging.getLogger(__name__)

BEAM_SIZES = [1, 2, 5, 10]


def make_parser() -> Parser:
    """Name the run, the pairs and the searches."""
    parser = Parser("seqlab search-errors", __doc__)
    add_pair_options(parser, precision="fp32")
    parser.add_argument("--beam_sizes", type=int, nargs="+", default=BEAM_SIZES, metavar="K", help="default: 1 2 5 10")
    parser.add_argument("--exact", action="store_true", help="also search exactly: for short outputs")
    parser.add_argument("--max_steps", type=int, metavar="N", help="steps for a sentence's exact search (10,000)")
    add_search_options(parser, known=("beam_size", "num_hypotheses", "coverage_penalty"))
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a line for each search."""
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig
    from seqlab.search.exact import MAX_STEPS
    from seqlab.tasks.translation.search_errors import search_errors

    refuse_ranks("search-errors")
    config = SearchConfig(**search_values(arguments))
    sizes = list(dict.fromkeys(arguments.beam_sizes))
    for size in sizes:
        build(SearchConfig, {"beam_size": size})
    if arguments.max_steps is not None and arguments.max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, but is {arguments.max_steps} instead.")
    if arguments.max_steps is not None and not arguments.exact:
        raise UsageError("--max_steps limits exact search: it needs --exact")
    src_lines, tgt_lines, places = read_pairs(arguments)
    trained = load_one_process(arguments)
    most = MAX_STEPS if arguments.max_steps is None else arguments.max_steps
    if arguments.exact:
        logger.info("exact search: up to %s steps of the model for each sentence (--max_steps)", f"{most:,}")
    with counting("sentences", (len(sizes) + arguments.exact) * len(src_lines)) as advance:
        found = search_errors(
            trained,
            src_lines,
            tgt_lines,
            sizes,
            config,
            exact=arguments.exact,
            max_steps=most,
            places=places,
            progress=advance,
        )
    _warn(found)
    print(json.dumps([asdict(each) for each in found]) if arguments.json else "\n".join(lines_of(found)))
    return 0


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
