"""seqlab perplexity: how likely language models find a text, in figures that can be compared.

Per token of the model's own tokenizer, per word and per byte of the text as it is. An unknown item costs its spelling.
A continuous text is read in blocks of the training's length; `--stride` slides a window of that length, `--context`
changes it, and `--context all` gives each token everything before it, for models that remember it.
"""

import argparse
import json
import logging

from seqlab.cli.files import input_stream, output_stream
from seqlab.cli.inference_options import add_run_options, load_language_models
from seqlab.cli.parser import Parser, UsageError

logger = logging.getLogger(__name__)
SUMMARY = "measure how likely a text is to language models"


def make_parser() -> Parser:
    """Name the runs, the text and how it is read."""
    parser = Parser("seqlab perplexity", __doc__)
    add_run_options(parser, precision="fp32")
    parser.add_argument("--context", metavar="N", help="tokens read at once, or `all` (default: data.block_length)")
    parser.add_argument("--stride", type=int, metavar="N", help="tokens scored of each window (default: all of them)")
    parser.add_argument("--batch_tokens", type=int, metavar="N", help="tokens computed together: speed, not the answer")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--per_line", action="store_true", help="nats and tokens of each line instead of all together")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="JSON, values unrounded")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Score the text, which is the last of the names on the command line."""
    from dataclasses import asdict

    from seqlab.inference.lines import write_lines
    from seqlab.inference.text import Text

    *runs, path = arguments.runs
    if not runs:
        raise UsageError("name a run and a text: `seqlab perplexity RUN FILE` (- is standard input)")
    with input_stream(path) as (stream, name):
        text = Text.read(stream, name)
    model = load_language_models(runs, arguments)
    context = arguments.context
    options = {} if arguments.batch_tokens is None else {"batch_tokens": arguments.batch_tokens}
    found = model.perplexity(
        text, context=int(context) if context and context.isdecimal() else context, stride=arguments.stride, **options
    )
    likelihood = found.likelihood
    if arguments.per_line:
        lines = [
            json.dumps(asdict(line), ensure_ascii=False)
            if arguments.json
            else f"{-line.log_prob:.6f}\t{line.num_tokens}"
            for line in found.lines
        ]
    elif arguments.json:
        lines = [json.dumps({**likelihood.as_dict(), "reading": str(found.reading)})]
    else:
        lines = likelihood.lines()
    logger.info("%s", found.reading)
    if likelihood.unknown:
        cost = (
            "each costs its spelling" if likelihood.nll is not None else "the run cannot spell them: no figure is given"
        )
        logger.warning("%d of %d tokens are unknown: %s", likelihood.unknown, likelihood.tokens, cost)
    if likelihood.dropped_bytes:
        logger.warning(
            "normalisation changes the text: what the models see has %d bytes fewer, which cost nothing here",
            likelihood.dropped_bytes,
        )
    with output_stream(arguments.output) as output:
        write_lines(output, lines)
    return 0
