"""Generate text with a language model (`seqlab generate`)."""

import logging
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from pydantic import ConfigDict, Field

from seqlab.base.config_class import dataclass
from seqlab.base.progress import line_progress
from seqlab.commands import Command, UsageError
from seqlab.inference.files import open_input, output_stream, refuse_same_file
from seqlab.inference.lines import TextCounts, exit_status, is_discarded, json_line
from seqlab.inference.options import (
    SETTINGS,
    Count,
    DiscardLongLines,
    File,
    RunOptions,
    Text,
    given_options,
    refuse_text_for_runs,
)
from seqlab.runs.fields import fields_of
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.tasks.language_modelling.commands import load_language_models

if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit
    from seqlab.tasks.language_modelling.generator import Continuation
    from seqlab.tasks.language_modelling.language_model import LanguageModel

logger = logging.getLogger(__name__)
BUFFER_PROMPTS = 1024
"""Default number of prompts per block that the command reads before it continues them."""
SEPARATOR = "---"
"""Line between texts that may contain newlines."""
NEEDS_SOURCE = ("max_length_ratio", "max_length_offset", "min_length_ratio", "coverage_penalty")
"""Fields of SearchConfig that need a source sentence."""
NEEDS_POSITIONS = SearchConfig.unsupported_fields(SearchConfig.check_autoregressive)
"""Fields of SearchConfig for non-autoregressive models."""


def optional_fields(config: type, title: str, leave_out: Container[str] = ()) -> type:
    """Make an options class from the fields of a config; options that are not given are None.

    The options that are given choose between sampling and beam search.
    """
    members: dict[str, Any] = {"__doc__": title, "__annotations__": {}}
    for name, field in fields_of(config).items():
        if name not in leave_out:
            default = "" if field.default is None else f" (default: {field.default})"
            annotation: Any = field.annotation
            for bound in field.metadata:
                annotation = Annotated[annotation, bound]
            members["__annotations__"][name] = annotation | None
            members[name] = Field(default=None, description=f"{field.description}{default}")
    return dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(type(config.__name__, (), members))


_Sampling: Any = optional_fields(SamplingConfig, "Sampling.", NEEDS_SOURCE)
_Search: Any = optional_fields(
    SearchConfig, "Beam search (instead of sampling).", (*fields_of(SamplingConfig), *NEEDS_SOURCE, *NEEDS_POSITIONS)
)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GenerateOptions(_Search, _Sampling, RunOptions, DiscardLongLines):
    """Continue a text with a language model.

    By default continuations are sampled: the same seed gives the same text, for any number of prompts and samples. With
    --beam_size, a beam search finds the most probable continuations up to the end of the line. Prompts are read,
    continued and written in blocks.

    For a model of single lines, the output has one line per continuation. Continuations of a model of continuous text
    may contain newlines and are separated by a line `---`. Several continuations per line of --prompts need --json.
    """

    prompt: list[Text] | None = None
    """text to continue (default: empty)"""
    prompts: File | None = None
    """file with one prompt per line, or FILE#COLUMN (- is standard input)"""
    num_samples: Count = 1
    """continuations per prompt"""
    stop: tuple[Text, ...] = ()
    """texts that end a continuation"""
    buffer_lines: Count | None = None
    """prompts per block (default: 1024; 1 on a terminal)"""
    batch_rows: Count = 64
    """continuations per batch"""
    output: File | None = None
    """output file (default: standard output)"""
    json: bool = False
    """write one JSON object per continuation, with its log-probability"""


def run(options: GenerateOptions) -> int:
    """Continue prompts block by block, or print one continuation token by token; return the exit status."""
    from seqlab.tasks.language_modelling.generator import choose_search

    refuse_text_for_runs(options.runs, "--prompt 'TEXT', or from --prompts FILE")
    refuse_same_file("--output", options.output, {"--prompts": options.prompts})
    search, prompts = given_options(options, *fields_of(_Sampling), *fields_of(_Search)), _given_prompts(options)
    choose_search(search)  # checks the fields before a model is loaded
    has_several = max(options.num_samples, search.get("num_hypotheses", 1)) > 1
    if has_several and options.prompts and not options.json:
        raise UsageError("several continuations per line of --prompts need --json")
    model = load_language_models(options)
    limit = options.line_limit()
    search |= {"num_samples": options.num_samples, "stop": options.stop, "batch_rows": options.batch_rows}
    is_streamed = options.output is None and sys.stdout.isatty() and not options.json and "beam_size" not in search
    if is_streamed and not options.prompts and len(prompts) == options.num_samples == 1:
        cut, total = _print_streaming(model, prompts, search), 1
    else:
        cut, total = _write_continuations(model, prompts, options, search, limit)
    if cut and not model.is_continuous and "max_length" not in search:  # continuous text has no end
        text = "%s of %s continuations reached `max_length` before the end of the line"
        logger.warning(text, f"{cut:,}", f"{total:,}")
    return exit_status(limit)


def _print_streaming(model: "LanguageModel", prompts: list[str], search: dict[str, Any]) -> int:
    """Print a continuation token by token; return 1 if it was cut at the length limit, else 0."""
    print(_as_text(model, prompts[0], ""), end="", flush=True)
    [continuations] = model.generate(prompts, **search, on_text=lambda text: print(text, end="", flush=True))
    print()
    counts = TextCounts("continuations")
    counts.add_outputs([continuation.text for continuation in continuations])
    counts.warn()
    return sum(not continuation.finished for continuation in continuations)


def _write_continuations(
    model: "LanguageModel",
    given_prompts: list[str],
    options: GenerateOptions,
    search: dict[str, Any],
    limit: "LineLimit",
) -> tuple[int, int]:
    """Write the continuations block by block.

    Returns:
        The number of continuations that were cut at the length limit, and the number of all continuations.
    """
    separator = "" if options.json or not model.is_continuous else f"{SEPARATOR}\n"
    done = replaced = cut = total = 0
    counts = TextCounts("continuations", num_hypotheses=search.get("num_hypotheses", 1))
    with (
        _prompt_blocks(options, given_prompts, limit) as (stream, blocks),
        output_stream(options.output) as output,
        line_progress(stream, output) as advance,
    ):
        for prompts in blocks:
            continuations = model.generate(prompts, **search, first_prompt=done)
            pairs = [
                (prompt, continuation)
                for prompt, some in zip(prompts, continuations, strict=True)
                for continuation in some
            ]
            counts.add_outputs([continuation.text for _, continuation in pairs])
            counts.add_hypotheses(continuations)
            texts = (_as_json(*pair) if options.json else _as_text(model, pair[0], pair[1].text) for pair in pairs)
            output.write(((separator if done else "") + separator.join(f"{text}\n" for text in texts)).encode())
            output.flush()
            done += len(prompts)
            replaced += sum(continuation.control_characters for _, continuation in pairs)
            cut, total = cut + sum(not continuation.finished for _, continuation in pairs), total + len(pairs)
            advance(len(prompts))
    if replaced:
        logger.warning("%d control characters in the continuations were replaced by spaces", replaced)
    counts.warn()
    return cut, total


def _as_json(prompt: str, continuation: "Continuation") -> str:
    if is_discarded(prompt):
        empty = {"text": "", "log_prob": None, "num_tokens": 0, "control_characters": 0, "truncated": True}
        return json_line({"prompt": prompt, **asdict(continuation), **empty})
    return json_line({"prompt": prompt, **asdict(continuation)})


def _as_text(model: "LanguageModel", prompt: str, continuation: str) -> str:
    """Join a prompt and its continuation, which starts with a space if the tokens are words."""
    if is_discarded(prompt):
        return ""
    return (prompt.rstrip(" ") if model.tokenizer.has_words else prompt) + continuation


def _given_prompts(options: GenerateOptions) -> list[str]:
    """Return the prompts of the command line, by default one empty prompt."""
    if options.prompt and options.prompts:
        raise UsageError("give `--prompt` or `--prompts`, not both")
    return options.prompt or [""]


@contextmanager
def _prompt_blocks(
    options: GenerateOptions, prompts: list[str], limit: "LineLimit"
) -> Iterator[tuple[BinaryIO | None, Iterator[list[str]]]]:
    """Open the prompts: yield the stream of their file, if any, and blocks of prompts.

    Raises ValueError if the file is empty.
    """
    if not options.prompts:
        yield None, iter([prompts])
        return
    with open_input(options.prompts, limit=limit, reading=options.reading) as source:
        blocks = source.blocks(options.buffer_lines, BUFFER_PROMPTS)
        first = next(blocks, None)
        if first is None:
            raise ValueError(f"{source.name} is empty: it has no prompt.")
        yield source.stream, chain([first], blocks)


GENERATE = Command(GenerateOptions, run, single_process=True)
