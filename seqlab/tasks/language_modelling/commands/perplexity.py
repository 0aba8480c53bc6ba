"""The command `seqlab perplexity`."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from pydantic.dataclasses import dataclass

from seqlab.commands import Command
from seqlab.inference.files import input_stream, output_stream, refuse_same_file
from seqlab.inference.lines import json_line, write_lines
from seqlab.inference.options import SETTINGS, Count, File, Name, RunOptions, given
from seqlab.progress import counting
from seqlab.tasks.language_modelling.commands import load_language_models

if TYPE_CHECKING:
    from seqlab.tasks.language_modelling.language_model import Perplexity
    from seqlab.tasks.language_modelling.text import Text

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
    text = _read(options.file, split_records=model.is_continuous)
    context = options.context
    with counting("tokens") as progress:
        found = model.perplexity(
            text,
            context=int(context) if context and context.isdecimal() else context,
            stride=options.stride,
            progress=progress,
            **given(options, "batch_tokens"),
        )
    _explain(found)
    with output_stream(options.output) as output:
        write_lines(output, _lines(found, options))


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


def _lines(found: "Perplexity", options: PerplexityOptions) -> list[str]:
    """Write the figures of the whole text, or of each line."""
    if not options.per_line:
        figures = {**found.likelihood.as_dict(), "reading": str(found.reading)}
        return [json_line(figures)] if options.json else found.likelihood.lines()
    if options.json:
        return [json_line(asdict(line)) for line in found.lines]
    nats = ("n/a" if line.log_prob is None else f"{-line.log_prob:.6f}" for line in found.lines)
    return [f"{each}\t{line.num_tokens}" for each, line in zip(nats, found.lines, strict=True)]


PERPLEXITY = Command(PerplexityOptions, run, in_one_process=True)
