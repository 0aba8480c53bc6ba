"""The command `seqlab generate`."""

import logging
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from seqlab.base.progress import line_progress
from seqlab.commands import Command, UsageError
from seqlab.inference.files import open_input, output_stream, refuse_same_file
from seqlab.inference.lines import exit_status, is_discarded, json_line
from seqlab.inference.options import SETTINGS, Count, DiscardLongLines, File, RunOptions, Text, given_options
from seqlab.runs.fields import fields_of
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.tasks.language_modelling.commands import load_language_models

if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit
    from seqlab.tasks.language_modelling.generator import Continuation
    from seqlab.tasks.language_modelling.language_model import LanguageModel

logger = logging.getLogger(__name__)
BUFFER_LINES = 1024
SEPARATOR = "---"
"""Stands between texts that may hold newlines."""
NEEDS_SOURCE = ("max_length_ratio", "max_length_offset", "min_length_ratio", "coverage_penalty")
"""Fields of a search that are relative to a source, which a prompt is not."""
NEEDS_POSITIONS = ("iterations", "pseudo_likelihood", "revise")
"""Fields for non-autoregressive models."""


def left_open(config: type, title: str, leave_out: Container[str] = ()) -> type:
    """Make options of the fields of a config, each None unless given: which are given tells sampling from search."""
    members: dict[str, Any] = {"__doc__": title, "__annotations__": {}}
    for name, field in fields_of(config).items():
        if name not in leave_out:
            default = "" if field.default is None else f" (default: {field.default})"
            plain: Any = field.annotation
            for bound in field.metadata:
                plain = Annotated[plain, bound]
            members["__annotations__"][name] = plain | None
            members[name] = Field(default=None, description=f"{field.description}{default}")
    return dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(type(config.__name__, (), members))


_Sampling: Any = left_open(SamplingConfig, "Sampling.")
_Search: Any = left_open(
    SearchConfig, "Beam search (instead of sampling).", (*fields_of(SamplingConfig), *NEEDS_SOURCE, *NEEDS_POSITIONS)
)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GenerateOptions(_Search, _Sampling, RunOptions, DiscardLongLines):
    """Continue a text with a language model.

    Samples unless told otherwise: the same seed gives the same text, however many prompts and samples are asked for
    with it. With --beam_size it searches the likeliest continuations instead, up to the end of the line. Blocks of
    prompts are read, continued and written before the next is read.

    A model of single lines gives a line for each continuation; continuations of a model of running text, which may hold
    newlines, have a line --- between them. Several for each line of a file need --json.
    """

    prompt: list[Text] | None = None
    """what to continue (default: nothing)"""
    prompts: File | None = None
    """what to continue, a prompt in each line, or FILE#COLUMN (- is standard input)"""
    num_samples: Count = 1
    """continuations of each"""
    stop: tuple[Text, ...] = ()
    """texts that end a continuation"""
    buffer_lines: Count | None = None
    """prompts in a block (default: 1024; 1 on a terminal)"""
    batch_rows: Count = 64
    """continuations computed together"""
    output: File | None = None
    """where to write (default: standard output)"""
    json: bool = False
    """one JSON object per continuation, with its log-probability"""


def run(options: GenerateOptions) -> int:
    """Continue prompts block by block; on a terminal a single continuation is shown as it comes."""
    from seqlab.tasks.language_modelling.generator import choose_search

    refuse_same_file("--output", options.output, {"--prompts": options.prompts})
    search, prompts = given_options(options, *fields_of(_Sampling), *fields_of(_Search)), _given_prompts(options)
    choose_search(search)  # which checks it, before a model is loaded
    several = max(options.num_samples, search.get("num_hypotheses", 1)) > 1
    if several and options.prompts and not options.json:
        raise UsageError("more than one continuation for each line of `--prompts` needs --json")
    model = load_language_models(options)
    limit = options.line_limit()
    search |= {"num_samples": options.num_samples, "stop": options.stop, "batch_rows": options.batch_rows}
    is_shown = options.output is None and sys.stdout.isatty() and not options.json and "beam_size" not in search
    if is_shown and not options.prompts and len(prompts) == options.num_samples == 1:
        cut, total = _show(model, prompts, search), 1
    else:
        cut, total = _write(model, prompts, options, search, limit)
    if cut and not model.is_continuous and "max_length" not in search:  # running text has no end to miss
        text = "%s of %s continuations are cut: they reached `max_length` before the line ended"
        logger.warning(text, f"{cut:,}", f"{total:,}")
    return exit_status(limit)


def _show(model: "LanguageModel", prompts: list[str], search: dict[str, Any]) -> int:
    """Print a continuation as it comes; return how many were cut by the length limit."""
    print(prompts[0], end="", flush=True)
    [found] = model.generate(prompts, **search, on_text=lambda text: print(text, end="", flush=True))
    print()
    return sum(not each.finished for each in found)


def _write(
    model: "LanguageModel",
    own_prompts: list[str],
    options: GenerateOptions,
    search: dict[str, Any],
    limit: "LineLimit",
) -> tuple[int, int]:
    """Write the continuations block by block; return how many were cut by the length limit, and how many there are."""
    between = "" if options.json or not model.is_continuous else f"{SEPARATOR}\n"
    done = replaced = cut = total = 0
    with (
        _prompt_blocks(options, own_prompts, limit) as (stream, blocks),
        output_stream(options.output) as output,
        line_progress(stream, output) as advance,
    ):
        for prompts in blocks:
            found = model.generate(prompts, **search, first_prompt=done)
            pairs = [(prompt, each) for prompt, some in zip(prompts, found, strict=True) for each in some]
            texts = (_as_json(*pair) if options.json else _as_text(*pair) for pair in pairs)
            output.write(((between if done else "") + between.join(f"{text}\n" for text in texts)).encode())
            output.flush()
            done += len(prompts)
            replaced += sum(each.control_characters for _, each in pairs)
            cut, total = cut + sum(not each.finished for _, each in pairs), total + len(pairs)
            advance(len(prompts))
    if replaced:
        logger.warning("control characters in the continuations: %d became spaces", replaced)
    return cut, total


def _as_json(prompt: str, continuation: "Continuation") -> str:
    if is_discarded(prompt):
        nothing = {"text": "", "log_prob": None, "num_tokens": 0, "control_characters": 0, "truncated": True}
        return json_line({"prompt": prompt, **asdict(continuation), **nothing})
    return json_line({"prompt": prompt, **asdict(continuation)})


def _as_text(prompt: str, continuation: "Continuation") -> str:
    return "" if is_discarded(prompt) else prompt + continuation.text


def _given_prompts(options: GenerateOptions) -> list[str]:
    """Give the prompts of the command line, an empty one where it has none and names no file of them."""
    if options.prompt and options.prompts:
        raise UsageError("give `--prompt` or `--prompts`, not both")
    return options.prompt or [""]


@contextmanager
def _prompt_blocks(
    options: GenerateOptions, given: list[str], limit: "LineLimit"
) -> Iterator[tuple[BinaryIO | None, Iterator[list[str]]]]:
    """Give the prompts in blocks, of a file as they are read, and its stream; raises ValueError for an empty file."""
    if not options.prompts:
        yield None, iter([given])
        return
    with open_input(options.prompts, limit=limit) as source:
        blocks = source.blocks(options.buffer_lines, BUFFER_LINES)
        first = next(blocks, None)
        if first is None:
            raise ValueError(f"{source.name} is empty: it holds no prompt.")
        yield source.stream, chain([first], blocks)


GENERATE = Command(GenerateOptions, run, single_process=True)
