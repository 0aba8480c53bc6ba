"""The command `seqlab perplexity`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass

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
    from seqlab.tasks.language_modelling.text_scorer import Reading

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PerplexityOptions(RunOptions):
    """Measure the perplexity of a text under language models, in figures that can be compared.

    Nats and perplexity per token of the models' tokenizer compare models that share it; perplexity per word and bits
    per byte of the text as it is compare any models. An unknown item costs its spelling.

    The text is read in blocks of the training's length (data.block_length). --context changes the length, --stride
    makes it a sliding window, and --context all gives each token everything before it, for models that remember it.
    Standard error reports which context was used.
    """

    file: File
    """text to score: plain, .gz, `table#column` or `hub:NAME:SPLIT#COLUMN` (- is stdin)"""
    precision: Name = "fp32"
    """bf16, fp32 or auto"""
    context: Annotated[str, "N"] | None = None
    """tokens read at once, or `all` (default: data.block_length)"""
    stride: Count | None = None
    """tokens that a window moves on by (default: N of --context)"""
    batch_tokens: Count | None = None
    """tokens computed together: speed, not the answer"""
    per_line: bool = False
    """for each line its nats and its number of tokens"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """JSON, values unrounded"""


def run(options: PerplexityOptions) -> None:
    """Score the text, then say how it was read and what its figures leave out."""
    refuse_same_file("--output", options.output, {"the text": options.file})
    model = load_language_models(options)
    context = options.context
    reading = model.reading(int(context) if context and context.isdecimal() else context, options.stride)
    with (
        output_stream(options.output) as output,
        _blocks(options.file, split_records=model.is_continuous) as blocks,
    ):
        # Lines that come on a terminal show themselves how far it is.
        bar = nullcontext() if options.per_line and output.isatty() else count_progress("tokens")
        with bar as progress:
            found = model.measure(
                blocks,
                reading,
                progress=progress,
                on_line=(lambda line: output.write(_line(line, options))) if options.per_line else None,
                **given_options(options, "batch_tokens"),
            )
        if not options.per_line:
            figures = {**found.as_dict(), "reading": str(reading)}
            write_lines(output, [json_line(figures)] if options.json else found.lines())
    _explain(found, reading)


@contextmanager
def _blocks(spec: str, *, split_records: bool) -> "Iterator[Iterator[Text]]":
    """Open what a path spec names, to be read in blocks; raises ValueError or OSError naming it."""
    from seqlab.data.columns import parse_column
    from seqlab.tasks.language_modelling.text import Text

    column = None if spec == "-" else parse_column(spec)
    if column is not None and column.column is not None:
        yield Text.of_records(column, split_records=split_records)
        return
    with input_stream(spec) as (stream, name):
        yield Text.blocks(stream, name)


def _explain(likelihood: "TextLikelihood", reading: "Reading") -> None:
    """Log what the figures depend on."""
    logger.info("%s", reading)
    if likelihood.unknown:
        cost = "each costs its spelling" if likelihood.nll is not None else "the run cannot spell them: n/a"
        logger.warning("%d of %d tokens are unknown: %s", likelihood.unknown, likelihood.tokens, cost)
    if likelihood.dropped_bytes:
        logger.warning(
            "%d of %d bytes are left out of the text when it is read and normalised: they cost nothing here",
            likelihood.dropped_bytes,
            likelihood.bytes,
        )


def _line(line: "LineScore", options: PerplexityOptions) -> bytes:
    """Write the figures of a line, with its end."""
    if options.json:
        return f"{json_line(asdict(line))}\n".encode()
    return f"{'n/a' if line.log_prob is None else f'{-line.log_prob:.6f}'}\t{line.num_tokens}\n".encode()


PERPLEXITY = Command(PerplexityOptions, run, single_process=True)
