"""Measure the perplexity of a text (`seqlab perplexity`)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from seqlab.base.config_class import dataclass
from seqlab.base.parsing import parse_digits
from seqlab.base.progress import count_progress
from seqlab.commands import Command
from seqlab.inference.files import input_stream, output_stream, refuse_same_file
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, File, Name, RunOptions, given_options
from seqlab.tasks.language_modelling.commands import load_language_models

if TYPE_CHECKING:
    from seqlab.evaluation.likelihood import TextLikelihood
    from seqlab.tasks.language_modelling.text import Text
    from seqlab.tasks.language_modelling.text_likelihood import LineScore
    from seqlab.tasks.language_modelling.text_scorer import ContextWindow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PerplexityOptions(RunOptions):
    """Measure the perplexity of a text under a language model or an ensemble.

    Nats and perplexity per token are comparable between models with the same tokenizer. Perplexity per word and bits
    per byte refer to the original text and are comparable between all models. An unknown item is scored by its
    spelling.

    The text is read in blocks of the same length as in training (data.block_length). --context sets another length, and
    --stride makes a sliding window. With --context all, the context of each token is all previous tokens; only models
    that carry a state support it. The context is reported on standard error.
    """

    file: File
    """text to score: plain, .gz, `table#column` or `hub:NAME:SPLIT#COLUMN` (- is stdin)"""
    precision: Name = "fp32"
    """bf16, fp32 or auto"""
    context: Annotated[str, "N"] | None = None
    """length of the window in tokens, or `all` (default: data.block_length)"""
    stride: Count | None = None
    """tokens by which the window moves (default: N of --context)"""
    batch_tokens: Count | None = None
    """tokens per batch; affects speed and memory, not the result"""
    per_line: bool = False
    """print nats and number of tokens of each line"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """print JSON with unrounded values"""


def run(options: PerplexityOptions) -> None:
    """Score the text and print its perplexity; report context, unknown tokens and dropped bytes on standard error."""
    refuse_same_file("--output", options.output, {"the text": options.file})
    model = load_language_models(options)
    number = parse_digits(options.context)
    window = model.choose_window(options.context if number is None else number, options.stride)
    with (
        output_stream(options.output) as output,
        _blocks(options.file, options.reading, split_records=model.is_continuous) as blocks,
    ):
        # Line scores that are printed on a terminal show the progress.
        bar = nullcontext() if options.per_line and output.isatty() else count_progress("tokens")
        with bar as progress:
            likelihood = model.measure(
                blocks,
                window,
                progress=progress,
                on_line=(lambda line: output.write(_line(line, options))) if options.per_line else None,
                **given_options(options, "batch_tokens"),
            )
        if not options.per_line:
            figures = {**likelihood.as_dict(), "reading": str(window)}
            write_lines(output, [json_line(figures)] if options.json else likelihood.lines())
    _log_details(likelihood, window)


@contextmanager
def _blocks(spec: str, reading: int, *, split_records: bool) -> "Iterator[Iterator[Text]]":
    """Open a text file or a column and read it in blocks; the messages of ValueError and OSError name the file."""
    from seqlab.data.columns import parse_column
    from seqlab.tasks.language_modelling.text import Text

    column = None if spec == "-" else parse_column(spec, reading=reading)
    if column is not None and column.column is not None:
        yield Text.of_records(column, split_records=split_records)
        return
    with input_stream(spec) as (stream, name):
        yield Text.blocks(stream, name)


def _log_details(likelihood: "TextLikelihood", window: "ContextWindow") -> None:
    """Log the context, the unknown tokens and the dropped bytes."""
    logger.info("%s", window)
    if likelihood.unknown:
        treatment = (
            "scored by their spelling" if likelihood.nll is not None else "not scored, as the run has no spelling model"
        )
        logger.warning("%d of %d tokens are unknown: %s", likelihood.unknown, likelihood.tokens, treatment)
    if likelihood.dropped_bytes:
        logger.warning(
            "%d of %d bytes are dropped by reading and normalization: they are not scored",
            likelihood.dropped_bytes,
            likelihood.bytes,
        )


def _line(line: "LineScore", options: PerplexityOptions) -> bytes:
    """Format the score of a line."""
    if options.json:
        return f"{json_line(asdict(line))}\n".encode()
    return f"{'n/a' if line.log_prob is None else repr(-line.log_prob)}\t{line.num_tokens}\n".encode()


PERPLEXITY = Command(PerplexityOptions, run, single_process=True)
