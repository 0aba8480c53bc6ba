"""seqlab generate: how a text goes on, by a language model.

Samples unless told otherwise: the same seed gives the same text, however many prompts and samples are asked for with
it. With --beam_size it searches the likeliest continuations instead, up to the end of the line.

A model of single lines gives a line for each continuation; continuations of a model of running text, which may hold
newlines, have a line --- between them.
"""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from seqlab.cli.files import all_lines, output_stream
from seqlab.cli.inference_options import add_run_options, load_language_models
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.search_options import add_fields, given_fields

if TYPE_CHECKING:
    from seqlab.search.config import SearchConfig
    from seqlab.search.sampling_config import SamplingConfig

SUMMARY = "continue a text with a language model"
SEPARATOR = "---"
"""Stands between texts that may hold newlines."""
NEEDS_SOURCE = ("max_length_ratio", "max_length_offset", "min_length_ratio")
"""Fields of a search that are relative to a source, which a prompt is not."""


def make_parser() -> Parser:
    """Name the runs, the prompts and the sampling."""
    from seqlab.search.config import SearchConfig
    from seqlab.search.sampling_config import SamplingConfig

    parser = Parser("seqlab generate", __doc__)
    add_run_options(parser, precision="auto")
    parser.add_argument("--prompt", nargs="+", metavar="TEXT", help="what to continue (default: nothing)")
    parser.add_argument(
        "--prompts", metavar="FILE", help="what to continue, a prompt in each line (- is standard input)"
    )
    parser.add_argument("--num_samples", type=int, default=1, metavar="N", help="continuations of each (default: 1)")
    parser.add_argument("--stop", nargs="+", default=[], metavar="TEXT", help="texts that end a continuation")
    parser.add_argument("--batch_rows", type=int, default=64, metavar="N", help="continuations computed together")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object per continuation, with its log-probability"
    )
    add_fields(parser, "sampling", SamplingConfig)
    known = (*SamplingConfig.__pydantic_fields__, *NEEDS_SOURCE)  # type: ignore[attr-defined]
    add_fields(parser, "beam search instead", SearchConfig, known)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Continue every prompt; on a terminal a single continuation is shown as it comes."""
    search = _search(arguments)
    prompts = _prompts(arguments)
    model = load_language_models(arguments.runs, arguments)
    options = {"num_samples": arguments.num_samples, "stop": arguments.stop, "batch_rows": arguments.batch_rows}
    is_live = arguments.output is None and sys.stdout.isatty() and not arguments.json and arguments.beam_size is None
    if is_live and len(prompts) * arguments.num_samples == 1:
        print(prompts[0], end="", flush=True)
        model.generate(prompts, search=search, on_text=lambda text: print(text, end="", flush=True), **options)
        print()
        return 0
    with output_stream(arguments.output) as output:
        found = model.generate(prompts, search=search, **options)
        texts = []
        for prompt, continuations in zip(prompts, found, strict=True):
            for each in continuations:
                shown = json.dumps({"prompt": prompt, **asdict(each)}, ensure_ascii=False)
                texts.append(shown if arguments.json else prompt + each.text)
        between = "\n" if arguments.json or not model.is_continuous else f"\n{SEPARATOR}\n"
        output.write((between.join(texts) + "\n").encode("utf-8"))
        output.flush()
    return 0


def _search(arguments: argparse.Namespace) -> "SamplingConfig | SearchConfig":
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig
    from seqlab.search.sampling_config import SamplingConfig

    sampling = given_fields(arguments, SamplingConfig)
    searching = {name: value for name, value in given_fields(arguments, SearchConfig).items() if name not in sampling}
    if not searching:
        return build(SamplingConfig, sampling)
    if "beam_size" not in searching:
        raise UsageError(f"`--{next(iter(searching))}` is for beam search: give `--beam_size` too")
    shared = {name: value for name, value in sampling.items() if name in SearchConfig.__pydantic_fields__}  # type: ignore[attr-defined]
    other = [name for name in sampling if name not in shared]
    if other:
        raise UsageError(f"`--{other[0]}` is for sampling, but `--beam_size` searches: leave one of them out")
    return build(SearchConfig, searching | shared)


def _prompts(arguments: argparse.Namespace) -> list[str]:
    if arguments.prompt and arguments.prompts:
        raise UsageError("give `--prompt` or `--prompts`, not both")
    if arguments.prompts:
        prompts = all_lines(arguments.prompts)
        if not prompts:
            raise ValueError(f"{arguments.prompts} is empty: it holds no prompt.")
        return prompts
    prompts = arguments.prompt or [""]
    try:
        "".join(prompts).encode("utf-8")
    except UnicodeEncodeError:  # how Python keeps other bytes of the command line
        raise UsageError("`--prompt` holds bytes that are not UTF-8") from None
    return prompts
