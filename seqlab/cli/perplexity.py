"""seqlab perplexity: how likely language models find a text, in figures that can be compared.

Nats and perplexity per token of the models' tokenizer compare models that share it; perplexity per word and bits per
byte of the text as it is compare any models. An unknown item costs its spelling.

The text is read in blocks of the training's length (data.block_length). --context changes the length, --stride makes
it a sliding window, and --context all gives each token everything before it, for models that remember it. Which it was
is told on standard error.
"""

import argparse
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from seqlab.cli.files import input_stream, output_stream, refuse_same_file
from seqlab.cli.inference_options import add_run_options, load_language_models
from seqlab.cli.json_lines import json_line
from seqlab.cli.parser import Parser
from seqlab.cli.progress import counting
from seqlab.world import refuse_ranks

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.language_model import Perplexity
    from seqlab.tasks.language_modelling.text import Text

logger = logging.getLogger(__name__)


def make_parser() -> Parser:
    """Name the runs, the text and how it is read."""
    parser = Parser("seqlab perplexity", __doc__)
    add_run_options(parser, precision="fp32")
    parser.add_argument(
        "file", metavar="FILE", help="text to score: plain, .gz, `table#column` or `hub:NAME:SPLIT#COLUMN` (- is stdin)"
    )
    parser.add_argument("--context", metavar="N", help="tokens read at once, or `all` (default: data.block_length)")
    parser.add_argument(
        "--stride", type=int, metavar="N", help="tokens that a window moves on by (default: N of --context)"
    )
    parser.add_argument("--batch_tokens", type=int, metavar="N", help="tokens computed together: speed, not the answer")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--per_line", action="store_true", help="for each line its nats and its number of tokens")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="JSON, values unrounded")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Score the text, then say how it was read and what its figures leave out."""
    from seqlab.inference.lines import write_lines

    refuse_ranks("perplexity")
    refuse_same_file("--output", arguments.output, {"the text": arguments.file})
    model = load_language_models(arguments.runs, arguments)
    text = _read(arguments.file, split_records=model.is_continuous)
    context = arguments.context
    options = {} if arguments.batch_tokens is None else {"batch_tokens": arguments.batch_tokens}
    with counting("tokens") as progress:
        found = model.perplexity(
            text,
            context=int(context) if context and context.isdecimal() else context,
            stride=arguments.stride,
            progress=progress,
            **options,
        )
    _explain(found)
    with output_stream(arguments.output) as output:
        write_lines(output, _lines(found, arguments))
    return 0


def _read(spec: str, *, split_records: bool) -> "Text":
    """Read a path spec to its end; raises ValueError or OSError naming it."""
    from seqlab.data.columns import parse_column
    from seqlab.tasks.language_modelling.text import Text

    column = None if spec == "-" else parse_column(spec)
    if column is not None and column.column is not None:
        return Text.of_records(column, split_records=split_records)
    with input_stream(spec) as (stream, name):
        return Text.read(stream, name)


def _explain(found: "Perplexity") -> None:
    """Log what the figures depend on."""
    likelihood = found.likelihood
    logger.info("%s", found.reading)
    if likelihood.unknown:
        cost = "each costs its spelling" if likelihood.nll is not None else "the run cannot spell them: n/a"
        logger.warning("%d of %d tokens are unknown: %s", likelihood.unknown, likelihood.tokens, cost)
    if likelihood.dropped_bytes:
        logger.warning(
            "%d of %d bytes are left out of the text when it is read and normalised: they cost nothing here",
            likelihood.dropped_bytes,
            likelihood.bytes,
        )


def _lines(found: "Perplexity", arguments: argparse.Namespace) -> list[str]:
    """Write the figures of the whole text, or of each line."""
    if not arguments.per_line:
        figures = {**found.likelihood.as_dict(), "reading": str(found.reading)}
        return [json_line(figures)] if arguments.json else found.likelihood.lines()
    if arguments.json:
        return [json_line(asdict(line)) for line in found.lines]
    nats = ("n/a" if line.log_prob is None else f"{-line.log_prob:.6f}" for line in found.lines)
    return [f"{each}\t{line.num_tokens}" for each, line in zip(nats, found.lines, strict=True)]
