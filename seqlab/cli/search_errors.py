"""seqlab search-errors: whose fault wrong translations are, the search's or the model's, by beam size.

A search error: the model gives the reference a higher score than the answer that was found. A model error: the answer
is not the reference, and the model prefers it. With --exact also the best answers that there are, for short outputs,
and how many answers of each beam they beat. References that are longer than a search may go are counted apart.
"""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from seqlab.cli.files import side_by_side
from seqlab.cli.inference_options import add_run_options, set_threads
from seqlab.cli.parser import Parser
from seqlab.cli.progress import counting
from seqlab.world import refuse_ranks

if TYPE_CHECKING:
    from seqlab.inference.search_errors import SearchErrors

SUMMARY = "tell errors of the search from the model's"
BEAM_SIZES = [1, 2, 5, 10]


def make_parser() -> Parser:
    """Name the run, the pairs and the searches."""
    parser = Parser("seqlab search-errors", __doc__)
    add_run_options(parser, precision="fp32")
    parser.add_argument("--src", required=True, metavar="FILE", help="sources: FILE or FILE#COLUMN")
    parser.add_argument("--tgt", required=True, metavar="FILE", help="references: FILE or FILE#COLUMN")
    parser.add_argument("--beam_sizes", type=int, nargs="+", default=BEAM_SIZES, metavar="K", help="default: 1 2 5 10")
    parser.add_argument("--length_alpha", type=float, default=1.0, metavar="A", help="as of translate (default: 1)")
    parser.add_argument("--exact", action="store_true", help="also search exactly: for short outputs")
    parser.add_argument("--max_steps", type=int, metavar="N", help="steps for a sentence's exact search (10,000)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Measure and print a line for each search."""
    refuse_ranks("search-errors")
    from seqlab.data.columns import parse_column
    from seqlab.inference.search_errors import search_errors
    from seqlab.inference.torch_engine import load
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig

    config = build(SearchConfig, {"length_alpha": arguments.length_alpha, "early_stopping": False})
    for size in arguments.beam_sizes:
        build(SearchConfig, {"beam_size": size})
    if arguments.max_steps is not None and arguments.max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, but is {arguments.max_steps} instead.")
    rows = list(side_by_side([parse_column(arguments.src), parse_column(arguments.tgt)]))
    if not rows:
        raise ValueError(f"{arguments.src} is empty: there is nothing to measure on.")
    set_threads(arguments.threads)
    trained = load(
        arguments.runs, checkpoint=arguments.checkpoint, device=arguments.device, precision=arguments.precision
    )
    src_lines, tgt_lines = zip(*rows, strict=True)
    options = {} if arguments.max_steps is None else {"max_steps": arguments.max_steps}
    with counting("sentences", (len(arguments.beam_sizes) + arguments.exact) * len(rows)) as advance:
        found = search_errors(
            trained,
            src_lines,
            tgt_lines,
            arguments.beam_sizes,
            config,
            exact=arguments.exact,
            progress=advance,
            **options,
        )
    print(json.dumps([asdict(each) for each in found]) if arguments.json else "\n".join(lines_of(found)))
    return 0


def lines_of(found: "list[SearchErrors]") -> list[str]:
    """Write a table: a line for each search."""
    titles = ("right", "search errors", "model errors", "beaten by exact", "not known", "too long")
    widths = (10, 16, 16, 18, 12, 11)
    lines = [f"{'beam':<8}" + "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))]
    for each in found:
        total = max(1, each.right + each.search_errors + each.model_errors)
        shares = [f"{100 * count / total:.2f}%" for count in (each.right, each.search_errors, each.model_errors)]
        name = "exact" if each.beam_size is None else str(each.beam_size)
        lines.append(
            f"{name:<8}{shares[0]:>10}{shares[1]:>16}{shares[2]:>16}{each.beaten:>18,}{each.unknown:>12,}{each.out_of_reach:>11,}"
        )
    return lines
