"""seqlab score: for each given pair the log-probability of the target under a model, in nats: higher is more probable.

To rescore or to filter: one number per pair, in order, the end of sentence counted.
"""

import argparse
import json
import os
from dataclasses import asdict

from seqlab.cli.files import output_stream
from seqlab.cli.inference_options import add_inference_options, load_named_runs
from seqlab.cli.parser import Parser
from seqlab.cli.progress import progress_bar
from seqlab.world import joined

SUMMARY = "score given pairs: how probable each target is"
BUFFER_LINES = 4096


def make_parser() -> Parser:
    """Name the run and the pairs."""
    parser = Parser("seqlab score", __doc__)
    add_inference_options(parser)
    parser.add_argument("--src", required=True, metavar="FILE", help="sources: FILE or FILE#COLUMN")
    parser.add_argument("--tgt", required=True, metavar="FILE", help="targets, as many: FILE or FILE#COLUMN")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--json", action="store_true", help="one JSON object per pair: also tokens and their scores")
    parser.add_argument(
        "--buffer_lines",
        type=int,
        default=BUFFER_LINES,
        metavar="N",
        help=f"pairs that are read, sorted and answered together (default: {BUFFER_LINES})",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Score block by block; under torchrun every rank its part of each block."""
    from seqlab.data.columns import in_batches
    from seqlab.data.parallel import ParallelCorpus
    from seqlab.inference.lines import write_lines

    options = {} if arguments.batch_tokens is None else {"batch_tokens": arguments.batch_tokens}
    with joined() as world:
        if arguments.buffer_lines < 1:
            raise ValueError(f"`buffer_lines` must be at least 1, but is {arguments.buffer_lines} instead.")
        corpus = ParallelCorpus.from_specs(arguments.src, arguments.tgt, read_once=True)
        trained = load_named_runs(arguments, world)
        blocks = in_batches(corpus.pairs(), arguments.buffer_lines)
        with (
            output_stream(arguments.output if world.is_main else os.devnull) as output,
            world.only_main(progress_bar(None, output)) as advance,
        ):
            first_line = 1
            for pairs in world.from_main(blocks):
                src_lines, tgt_lines = zip(*pairs, strict=True)
                scores = trained.score(src_lines, tgt_lines, progress=advance, first_line=first_line, **options)
                first_line += len(pairs)
                write_lines(output, (json.dumps(asdict(s)) if arguments.json else f"{s.log_prob:.6f}" for s in scores))
    return 0
