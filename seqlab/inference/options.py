"""Options that commands share which load trained runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, SkipValidation
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import Count, Threads
from seqlab.base.raw_lines import MAX_LINE_BYTES
from seqlab.commands import UsageError

if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit


def _as_utf8(argument: Any) -> Any:
    """Read an argument of the command line as UTF-8, whatever the locale; raise ValueError where it is not."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("holds bytes that are not UTF-8") from None


def _not_empty(path: str) -> str:
    """Raise ValueError for an empty name, which would mean the working directory."""
    if not path:
        raise ValueError("names no file: it is empty")
    return path


SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
Name = Annotated[str, "NAME"]
File = Annotated[str, SkipValidation(), AfterValidator(_not_empty), "FILE"]
"""A path may hold bytes that are not UTF-8, which pydantic would refuse."""
RunPath = Annotated[str, SkipValidation(), AfterValidator(_not_empty), "RUN"]
Text = Annotated[str, BeforeValidator(_as_utf8), "TEXT"]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DeviceOptions:
    """Checkpoint and device."""

    checkpoint: Annotated[tuple[str, ...], "NAME"] = ("best",)
    """best (default), last or a step; several too"""
    device: Name = "auto"
    """cpu, cuda, cuda:1 or auto"""
    precision: Name = "auto"
    """bf16, fp32 or auto"""
    threads: Threads | None = None
    """CPU threads (default: all cores)"""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RefuseLongLines:
    """Limit of a line."""

    max_line_bytes: Count = MAX_LINE_BYTES
    """bytes of a line; a longer one is refused, as memory grows with it"""

    def line_limit(self) -> "LineLimit":
        """Return the limit of the lines that are read; a longer one is refused."""
        from seqlab.base.raw_lines import LineLimit

        return LineLimit(self.max_line_bytes)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscardLongLines:
    """Limit of a line."""

    max_line_bytes: Count = MAX_LINE_BYTES
    """bytes of a line; a longer one is answered by an empty line, and the exit status is 3"""
    strict: bool = False
    """stop at a longer line"""

    def line_limit(self) -> "LineLimit":
        """Return the limit of the lines that are read; what it discards, `exit_status` reports."""
        from seqlab.base.raw_lines import DiscardedLines, LineLimit

        return LineLimit(self.max_line_bytes, None if self.strict else DiscardedLines())


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RunOptions(DeviceOptions):
    """Runs."""

    runs: list[RunPath]
    """run folder; several are an ensemble"""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EngineOptions(RunOptions):
    """Inference engine, mostly for translators."""

    engine: Name = "torch"
    """torch (default), or ctranslate2: the run is exported once"""
    quantization: Name | None = None
    """of ctranslate2: float32 (default), int8, ..."""
    processes: Count | None = None
    """of torch on the CPU: processes that share the lines (default: one per thread, 8 at most)"""
    batch_tokens: Count | None = None
    """padded tokens computed together: speed and memory, with torch never the answer"""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LabelOptions(RunOptions, DiscardLongLines):
    """Lines in, labels out, in order and one line for each line.

    A run that labels words gives each line the labels of its words, which spaces divide; one that labels lines gives a
    label each. With --conllu, CoNLL-U in is CoNLL-U out, with the labels of the words in one of its columns. A run that
    labels recordings reads the path of a recording on each line. Reads standard input and writes standard output unless
    files are named. Blocks of lines are read, sorted by length, labelled and written before the next is read.
    """

    input: File | None = None
    """text or list of recordings, or FILE#COLUMN (default: standard input)"""
    output: File | None = None
    """where to write (default: standard output)"""
    conllu: Annotated[str, "COLUMN"] | None = None
    """read and write CoNLL-U, with the labels in this column: upos, xpos, ..."""
    json: bool = False
    """one JSON object per line: labels, and their log-probabilities or, of recordings, probabilities"""
    num_labels: Count = 1
    """likeliest labels of each, with --json"""
    batch_tokens: Count | None = None
    """of text, padded tokens computed together: speed, memory"""
    buffer_lines: Count | None = None
    """lines in a block (default: 4096, of recordings 64; 1 on a terminal)"""


def refuse_text_for_runs(runs: Sequence[str], source: str) -> None:
    """Raise UsageError if one of several runs does not exist: it is probably text, which is read from `source`."""
    for path in runs[1:]:
        if not Path(path).exists():
            raise UsageError(
                f"{path!r} is not a run folder: further runs form an ensemble, and text is read from {source}"
            )


def given_options(options: object, *names: str) -> dict[str, Any]:
    """Return the options of these names that are not None."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def set_threads(threads: int | None) -> None:
    """Compute with so many threads; None leaves them as they are."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
