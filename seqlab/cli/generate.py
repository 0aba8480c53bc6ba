"""seqlab generate: how a text goes on, by a language model.

Samples unless told otherwise: the same seed gives the same text, however many prompts and samples are asked for with
it. With --beam_size it searches the likeliest continuations instead, up to the end of the line. Blocks of prompts are
read, continued and written before the next is read.

A model of single lines gives a line for each continuation; continuations of a model of running text, which may hold
newlines, have a line --- between them. Several for each line of a file need --json.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from seqlab.cli.files import open_input, output_stream, refuse_same_file
from seqlab.cli.inference_options import add_run_options, load_language_models
from seqlab.cli.json_lines import json_line
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import progress_bar
from seqlab.cli.search_options import add_fields, given_fields
from seqlab.world import refuse_ranks

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.generator import Continuation
    from seqlab.tasks.language_modelling.language_model import LanguageModel

logger = logging.getLogger(__name__)
BUFFER_LINES = 1024
SEPARATOR = "---"
"""Stands between texts that may hold newlines."""
NEEDS_SOURCE = ("max_length_ratio", "max_length_offset", "min_length_ratio", "coverage_penalty")
"""Fields of a search that are relative to a source, which a prompt is not."""
NEEDS_POSITIONS = ("iterations", "pseudo_likelihood", "revise")
"""Fields for models that predict all symbols at once."""


def make_parser() -> Parser:
    """Name the runs, the prompts and the sampling."""
    from seqlab.search.config import SearchConfig
    from seqlab.search.sampling_config import SamplingConfig

    parser = Parser("seqlab generate", __doc__)
    add_run_options(parser, precision="auto")
    parser.add_argument("--prompt", nargs="+", metavar="TEXT", help="what to continue (default: nothing)")
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="what to continue, a prompt in each line, or FILE#COLUMN (- is standard input)",
    )
    parser.add_argument("--num_samples", type=int, default=1, metavar="N", help="continuations of each (default: 1)")
    parser.add_argument("--stop", nargs="+", default=[], metavar="TEXT", help="texts that end a continuation")
    parser.add_argument(
        "--buffer_lines", type=int, metavar="N", help=f"prompts in a block (default: {BUFFER_LINES}; 1 on a terminal)"
    )
    parser.add_argument("--batch_rows", type=int, default=64, metavar="N", help="continuations computed together")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object per continuation, with its log-probability"
    )
    add_fields(parser, "sampling", SamplingConfig)
    known = (*SamplingConfig.__pydantic_fields__, *NEEDS_SOURCE, *NEEDS_POSITIONS)  # type: ignore[attr-defined]
    add_fields(parser, "beam search instead", SearchConfig, known)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Continue prompts block by block; on a terminal a single continuation is shown as it comes."""
    refuse_ranks("generate")
    refuse_same_file("--output", arguments.output, {"--prompts": arguments.prompts})
    search, given = _search(arguments), _given_prompts(arguments)
    several = max(arguments.num_samples, int(search.get("num_hypotheses", 1))) > 1
    if several and arguments.prompts and not arguments.json:
        raise UsageError("more than one continuation for each line of `--prompts` needs --json")
    model = load_language_models(arguments.runs, arguments)
    options: dict[str, Any] = {
        "num_samples": arguments.num_samples,
        "stop": arguments.stop,
        "batch_rows": arguments.batch_rows,
    }
    is_live = arguments.output is None and sys.stdout.isatty() and not arguments.json and arguments.beam_size is None
    if is_live and not arguments.prompts and len(given) == arguments.num_samples == 1:
        print(given[0], end="", flush=True)
        found = model.generate(given, **options, **search, on_text=lambda text: print(text, end="", flush=True))
        print()
        _warn_of_cut(model, search, sum(not each.finished for each in found[0]), 1)
        return 0
    between = "" if arguments.json or not model.is_continuous else f"{SEPARATOR}\n"
    done = replaced = cut = total = 0
    with (
        _prompt_blocks(arguments, given) as (stream, blocks),
        output_stream(arguments.output) as output,
        progress_bar(stream, output) as advance,
    ):
        for prompts in blocks:
            found = model.generate(prompts, **options, **search, first_prompt=done)
            pairs = [(prompt, each) for prompt, some in zip(prompts, found, strict=True) for each in some]
            texts = (_as_json(*pair) if arguments.json else pair[0] + pair[1].text for pair in pairs)
            output.write(((between if done else "") + between.join(f"{text}\n" for text in texts)).encode())
            output.flush()
            done += len(prompts)
            replaced += sum(each.control_characters for _, each in pairs)
            cut, total = cut + sum(not each.finished for _, each in pairs), total + len(pairs)
            advance(len(prompts))
    if replaced:
        logger.warning("control characters in the continuations: %d became spaces", replaced)
    _warn_of_cut(model, search, cut, total)
    return 0


def _warn_of_cut(model: "LanguageModel", search: dict[str, Any], cut: int, total: int) -> None:
    """Warn of lines that the length limit ended, unless the caller chose it; running text has no end to miss."""
    if cut and not model.is_continuous and "max_length" not in search:
        text = "%s of %s continuations are cut: they reached `max_length` before the line ended"
        logger.warning(text, f"{cut:,}", f"{total:,}")


def _as_json(prompt: str, continuation: "Continuation") -> str:
    return json_line({"prompt": prompt, **asdict(continuation)})


def _search(arguments: argparse.Namespace) -> dict[str, Any]:
    """Give the fields of sampling or search that the command line names, checked before a model is loaded."""
    from seqlab.search.config import SearchConfig
    from seqlab.search.sampling_config import SamplingConfig
    from seqlab.tasks.language_modelling.generator import choose_search

    fields = given_fields(arguments, SamplingConfig) | given_fields(arguments, SearchConfig)
    choose_search(fields)
    return fields


def _given_prompts(arguments: argparse.Namespace) -> list[str]:
    """Give the prompts of the command line, an empty one where it has none and names no file of them."""
    if arguments.prompt and arguments.prompts:
        raise UsageError("give `--prompt` or `--prompts`, not both")
    prompts = arguments.prompt or [""]
    try:
        "".join(prompts).encode("utf-8")
    except UnicodeEncodeError:  # how Python keeps other bytes of the command line
        raise UsageError("`--prompt` holds bytes that are not UTF-8") from None
    return prompts


@contextmanager
def _prompt_blocks(
    arguments: argparse.Namespace, given: list[str]
) -> Iterator[tuple[BinaryIO | None, Iterator[list[str]]]]:
    """Give the prompts in blocks, of a file as they are read, and its stream; raises ValueError for an empty file."""
    if not arguments.prompts:
        yield None, iter([given])
        return
    with open_input(arguments.prompts) as source:
        blocks = source.blocks(arguments.buffer_lines, BUFFER_LINES)
        first = next(blocks, None)
        if first is None:
            raise ValueError(f"{source.name} is empty: it holds no prompt.")
        yield source.stream, chain([first], blocks)
