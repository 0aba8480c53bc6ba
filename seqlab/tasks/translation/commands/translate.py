"""Translate text (`seqlab translate`)."""

import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from seqlab.base.bounds import Finite
from seqlab.base.config_class import dataclass
from seqlab.base.progress import line_progress
from seqlab.base.raw_lines import MAX_LINE_BYTES
from seqlab.base.world import join_world
from seqlab.commands import Command, UsageError
from seqlab.inference.files import Input, open_input, output_stream, refuse_same_file
from seqlab.inference.lines import TextCounts, exit_status, is_discarded, json_line, write_lines
from seqlab.inference.options import (
    SETTINGS,
    Count,
    DiscardLongLines,
    EngineOptions,
    File,
    RunPath,
    refuse_text_for_runs,
)
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import load_named_runs, search_values

if TYPE_CHECKING:
    from seqlab.tasks.translation.translator import Translation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TranslateOptions(SearchConfig, EngineOptions, DiscardLongLines):
    """Translate text line by line: one output line per input line, in the same order.

    Reads standard input and writes standard output by default. Lines are read, sorted by length, translated and written
    in blocks.
    """

    input: File | None = None
    """text to translate, or FILE#COLUMN (default: standard input)"""
    output: File | None = None
    """output file (default: standard output)"""
    prefix: File | None = None
    """file with a required prefix of each translation; blank lines have none"""
    lm: RunPath | None = None
    """run of a language model over the target vocabulary, for shallow fusion"""
    lm_weight: Annotated[Finite, "W"] | None = None
    """weight of its log-probabilities (default: 0.1)"""
    length_reward: Annotated[Finite, "R"] | None = None
    """score added per token with --lm (default: 0)"""
    rescore: list[RunPath] | None = None
    """runs with the same vocabularies that rescore the hypotheses of the search"""
    alignment: File | None = None
    """output file for attention weights, one JSON object per line; `seqlab plot` draws them"""
    json: bool = False
    """write one JSON object per line: all hypotheses and their scores"""
    buffer_lines: Count | None = None
    """lines per block (default: 4096; 1 on a terminal)"""


def run(options: TranslateOptions) -> int:
    """Translate block by block; under torchrun, each rank translates a part of each block. Return the exit status."""
    from seqlab.tasks.translation.translator import count_unfinished, warn_of_unfinished

    with join_world() as world:
        _check(options)
        limit = options.line_limit()
        loading = {name: getattr(options, name) for name in ("lm", "lm_weight", "length_reward", "rescore")}
        translator = load_named_runs(options, world, **loading)
        settings = {
            "batch_tokens": options.batch_tokens,
            "need_scores": options.json,
            "need_attention": options.alignment is not None,
            **search_values(options),
        }
        if not world.is_main:  # only the main rank reads and writes files
            options = replace(options, input=os.devnull, output=os.devnull, prefix=None, alignment=os.devnull)
        with (
            open_input(options.input, limit=limit, reading=options.reading) as source,
            output_stream(options.alignment or os.devnull) as alignment,
            output_stream(options.output) as output,
        ):
            prefixes, replaced, done, cut = PrefixReader(options.prefix, options.max_line_bytes), 0, 0, 0
            counts = TextCounts("translations", num_hypotheses=options.num_hypotheses)
            blocks = _blocks(source, prefixes, options.buffer_lines)
            with world.enter_on_main(line_progress(source.stream, output)) as advance:
                for lines, locations, forced in world.broadcast_items(blocks):
                    translations = translator.translate_detailed(
                        lines, prefixes=forced, progress=advance, locations=locations, **settings
                    )
                    write_lines(
                        alignment, (json_line({"pieces": alignments_of(translation)}) for translation in translations)
                    )
                    texts = [translation.text for translation in translations]
                    translator.translator.count_texts(counts, lines, texts)
                    counts.add_empty(lines, texts)
                    counts.add_alternatives(translation.hypotheses for translation in translations)
                    counts.add_hypotheses(
                        translation.hypotheses for translation in translations if translation.num_pieces
                    )
                    write_lines(output, map(as_json, translations, lines) if options.json else texts)
                    replaced += sum(translation.control_characters for translation in translations)
                    done, cut = done + len(translations), cut + count_unfinished(translations)
            prefixes.check_end()
        if replaced:
            logger.warning("%d control characters in the translations were replaced by spaces", replaced)
        if world.is_main:
            warn_of_unfinished(cut, done)
            counts.warn()
        return world.broadcast(exit_status(limit))


def _check(options: TranslateOptions) -> None:
    """Raise UsageError or ValueError for options that cannot be combined."""
    refuse_text_for_runs(options.runs, "standard input, `echo 'TEXT' | seqlab translate RUN`, or from --input FILE")
    if options.alignment == "-":
        raise UsageError("--alignment needs a file, but is - (standard output)")
    input_files = {"the input": options.input, "--prefix": options.prefix}
    refuse_same_file("--alignment", options.alignment, {"--output": options.output})
    refuse_same_file("--output", options.output, input_files)
    refuse_same_file("--alignment", options.alignment, input_files)
    if options.num_hypotheses > 1 and not options.json:
        raise UsageError("--num_hypotheses above 1 needs --json")


def _blocks(
    source: Input, prefixes: "PrefixReader", buffer_lines: int | None
) -> Iterator[tuple[list[str], list[str], list[str] | None]]:
    """Yield blocks of lines with their source locations and the required prefixes of their translations."""
    start = 0
    for lines in source.blocks(buffer_lines):
        yield lines, source.locations(start, len(lines)), prefixes.take(len(lines))
        start += len(lines)


def as_json(translation: "Translation", line: str) -> str:
    """Format the translation of a line as JSON, without attention weights, which are written to another file."""
    values = asdict(translation) | {"truncated": translation.truncated or is_discarded(line)}
    return json_line({name: value for name, value in values.items() if name != "alignments"})


def alignments_of(translation: "Translation") -> list[dict[str, Any]]:
    """Return the attention of each segment of a line; empty for an empty line or if not requested."""
    return [asdict(alignment) for alignment in translation.alignments or []]


class PrefixReader:
    """Read a file of prefixes block by block."""

    def __init__(self, path: str | None, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        from seqlab.base.raw_lines import LineLimit
        from seqlab.data.readers import read_lines

        self.path, self.num_read = path, 0
        self._lines: Iterator[str] = iter(()) if path is None else read_lines(Path(path), LineLimit(max_line_bytes))

    def take(self, count: int) -> list[str] | None:
        """Return the next `count` lines, or None without a file; raise ValueError if the file has fewer."""
        if self.path is None:
            return None
        lines = list(islice(self._lines, count))
        self.num_read += len(lines)
        if len(lines) < count:
            raise ValueError(
                f"{self.path} has {self.num_read} lines, but the input has more: give one prefix per line."
            )
        return lines

    def check_end(self) -> None:
        """Raise ValueError if the file has more lines than were translated."""
        num_left = sum(1 for _ in self._lines)
        if num_left:
            raise ValueError(f"{self.path} has {self.num_read + num_left} lines, but {self.num_read} were translated.")


TRANSLATE = Command(TranslateOptions, run)
