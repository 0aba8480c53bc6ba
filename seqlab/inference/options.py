"""Options of the commands that load trained runs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, SkipValidation

from seqlab.audio.channel_names import Channel
from seqlab.base.bounds import Count, Threads
from seqlab.base.config_class import dataclass
from seqlab.base.raw_lines import MAX_LINE_BYTES
from seqlab.commands import UsageError

if TYPE_CHECKING:
    from seqlab.base.raw_lines import LineLimit


def _as_utf8(argument: Any) -> Any:
    """Decode a command-line argument as UTF-8 in any locale; raise ValueError for invalid UTF-8."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("contains bytes that are not UTF-8") from None


def _not_empty(path: str) -> str:
    """Raise ValueError for an empty path, which would mean the working directory."""
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
    """best (default), last or a step number; several are an ensemble"""
    device: Name = "auto"
    """cpu, cuda, cuda:1 or auto (default): CUDA if available"""
    precision: Name = "auto"
    """dtype of matrix products: bf16, fp32 or auto (default)"""
    threads: Threads | None = None
    """number of CPU threads (default: all cores)"""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RefuseLongLines:
    """Maximum length of a line."""

    max_line_bytes: Count = MAX_LINE_BYTES
    """maximum bytes of a line; a longer line is an error"""

    def line_limit(self) -> "LineLimit":
        """Return the limit of input lines; a longer line raises an error."""
        from seqlab.base.raw_lines import LineLimit

        return LineLimit(self.max_line_bytes)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscardLongLines:
    """Maximum length of a line."""

    max_line_bytes: Count = MAX_LINE_BYTES
    """maximum bytes of a line; a longer line gives an empty line, and exit status 3"""
    strict: bool = False
    """stop at a line that is too long"""

    def line_limit(self) -> "LineLimit":
        """Return the limit of input lines; `exit_status` reports the lines that it discards."""
        from seqlab.base.raw_lines import DiscardedLines, LineLimit

        return LineLimit(self.max_line_bytes, None if self.strict else DiscardedLines())


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RunOptions(DeviceOptions):
    """Run folders, checkpoint and device."""

    runs: list[RunPath]
    """run folder; several are an ensemble"""

    @property
    def reading(self) -> int:
        """Version of the reading of files that the first run was trained with."""
        from seqlab.runs.folder import RunFolder

        return RunFolder(Path(self.runs[0])).reading


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EngineOptions(RunOptions):
    """Inference engine, mostly for translators."""

    engine: Name = "torch"
    """torch (default), or ctranslate2: the run is exported once"""
    quantization: Name | None = None
    """weight type of ctranslate2: float32 (default), int8, ..."""
    processes: Count | None = None
    """worker processes of torch on the CPU (default: one per thread, 8 at most)"""
    batch_tokens: Count | None = None
    """batch size in padded tokens; affects speed and memory, but with torch not the output"""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LabelOptions(RunOptions, DiscardLongLines):
    """Label lines, their words, or recordings: one line of output for each line of input, in order.

    A run that labels words prints the labels of the words of each line, which are separated by spaces; a run that
    labels lines prints one label. With --conllu, input and output are CoNLL-U, with the labels in one of its columns. A
    run that labels recordings reads the path of a recording from each line. The command reads standard input and writes
    standard output unless files are named. Lines are read, labeled and written in blocks.
    """

    input: File | None = None
    """text or list of recordings, or FILE#COLUMN (default: standard input)"""
    output: File | None = None
    """output file (default: standard output)"""
    conllu: Annotated[str, "COLUMN"] | None = None
    """read and write CoNLL-U, with the labels in this column: upos, xpos, ..."""
    json: bool = False
    """write one JSON object per line: labels with log-probabilities; for recordings, probabilities"""
    num_labels: Count = 1
    """number of most probable labels, with --json"""
    channel: Annotated[Channel, "N"] | None = None
    """channel of recordings without a column `channel`: number, left, right, mean (default: as in training)"""
    batch_tokens: Count | None = None
    """batch size of text in padded tokens; affects speed and memory"""
    buffer_lines: Count | None = None
    """lines per block (default: 4096; 64 for recordings, 1 on a terminal)"""


def refuse_text_for_runs(runs: Sequence[str], source: str) -> None:
    """Raise UsageError if one of several runs does not exist: it is probably text, which is read from `source`."""
    for path in runs[1:]:
        if not Path(path).is_dir():
            raise UsageError(
                f"{path!r} is not a run folder: several runs form an ensemble, and text is read from {source}"
            )


def given_options(options: object, *names: str) -> dict[str, Any]:
    """Return those of the named options that are not None, as keyword arguments."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def set_threads(threads: int | None) -> None:
    """Set the number of torch's CPU threads; None leaves it unchanged."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
