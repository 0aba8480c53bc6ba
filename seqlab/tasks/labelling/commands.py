"""Label text (`seqlab label` for labeling runs)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from seqlab.base.progress import line_progress
from seqlab.base.raw_lines import LineLimit
from seqlab.commands import UsageError
from seqlab.data.blocks import in_batches
from seqlab.data.conll import first_gap_between_tokens
from seqlab.data.conllu import COLUMNS, FORM, Sentence, column_number, read_sentences
from seqlab.inference.files import Input, open_input, output_stream
from seqlab.inference.lines import TextCounts, exit_status, is_discarded, json_line, write_lines
from seqlab.inference.options import LabelOptions, given_options, set_threads

if TYPE_CHECKING:
    from seqlab.tasks.labelling.text_labeler import Labeling

logger = logging.getLogger(__name__)


class _Lines(NamedTuple):
    """A block of plain lines; the output is a line of labels or of JSON for each."""

    locations: list[str]
    """Source location of each line, for messages."""
    texts: list[str]
    as_json: bool

    def output_lines(self, labelings: "Sequence[Labeling]") -> Iterator[str]:
        """Format one output line per input line."""
        return map(_as_json, labelings, self.texts) if self.as_json else (labeling.text for labeling in labelings)


class _Sentences(NamedTuple):
    """A block of CoNLL-U sentences; the output is the same sentences with the labels in one of the columns."""

    sentences: Sequence[Sentence]
    column: str

    @property
    def locations(self) -> list[str]:
        """Source location of the first line of each sentence, for messages."""
        return [sentence.location for sentence in self.sentences]

    @property
    def texts(self) -> list[str]:
        """The words of each sentence, joined by spaces."""
        return [" ".join(sentence.column(sentence.columns.index("form"))) for sentence in self.sentences]

    def output_lines(self, labelings: "Sequence[Labeling]") -> Iterator[str]:
        """Format the lines of each sentence, with an empty line after it."""
        for sentence, labeling in zip(self.sentences, labelings, strict=True):
            number = column_number(self.column, "--conllu", sentence.columns)
            yield from sentence.with_column(number, labeling.labels)
            yield ""


def label_text(options: LabelOptions) -> int:
    """Read, label and write lines block by block; return the exit status."""
    from seqlab.tasks.labelling.text_labeler import load_labeler

    _check(options)
    set_threads(options.threads)
    labeler = load_labeler(options.runs, options.checkpoint, options.device, options.precision)
    if options.conllu is not None and labeler.labels_lines:
        raise UsageError(f"{options.runs[0]} labels lines, but --conllu needs a run that labels words")
    settings = given_options(options, "num_labels", "batch_tokens")
    # An empty line ends a sentence in CoNLL-U, so it cannot replace a line above the limit.
    limit = options.line_limit() if options.conllu is None else LineLimit(options.max_line_bytes)
    with (
        open_input(
            options.input, tables_as_text=options.conllu is not None, limit=limit, reading=options.reading
        ) as source,
        output_stream(options.output) as output,
        line_progress(source.stream, output) as advance,
    ):
        counts = TextCounts("labels")
        for block in _blocks(options, source):
            counts.add_inputs(labeler.members[0].tokenizer, block.texts)
            if not labeler.labels_lines:
                _warn_of_tokens(block.texts, block.locations)
            labelings = labeler.label_detailed(block.texts, progress=advance, locations=block.locations, **settings)
            write_lines(output, block.output_lines(labelings))
    counts.warn(logging.INFO if labeler.reads_spelling else logging.WARNING)
    return exit_status(limit)


def _check(options: LabelOptions) -> None:
    """Raise UsageError or ValueError for options that cannot be combined."""
    if options.channel is not None:
        raise UsageError(f"--channel is for recordings, but {options.runs[0]} labels text")
    if options.conllu is not None:
        if options.conllu.lower() in COLUMNS[: FORM + 1]:
            raise UsageError("--conllu names the column to write labels to: it cannot be `id` or `form`")
        if "#" in (options.input or ""):
            raise UsageError("--conllu reads and writes all columns: name the input file without #COLUMN")
        if options.json:
            raise UsageError("--conllu and --json are different output formats: give only one of them")
    if options.num_labels > 1 and not options.json:
        raise UsageError("--num_labels above 1 needs --json")


def _blocks(options: LabelOptions, source: Input) -> Iterator[_Lines | _Sentences]:
    """Read the input in blocks of lines or of CoNLL-U sentences."""
    size = source.buffer_size(options.buffer_lines)
    if options.conllu is None:
        start = 0
        for block in source.blocks(size):
            yield _Lines(source.locations(start, len(block)), block, options.json)
            start += len(block)
        return
    for sentences in in_batches(read_sentences(source.lines, source.name), size):
        for sentence in sentences[:1]:
            column_number(options.conllu, "--conllu", sentence.columns)
        yield _Sentences(sentences, options.conllu)


def _warn_of_tokens(lines: Sequence[str], locations: Sequence[str]) -> None:
    """Warn of a block of lines that are the tokens of sentences, with empty lines between sentences."""
    gap = first_gap_between_tokens([line] for line in lines)
    if gap is not None:
        logger.warning(
            "%s is empty, and each line before it has one word: words that are labeled alone have no context. Give a "
            "sentence per line, or the column of a file with one token per line, for example `--input FILE.conll#0`",
            locations[gap],
        )


def _as_json(labeling: "Labeling", line: str) -> str:
    """Format the labels of a line as JSON."""
    truncated = labeling.truncated or is_discarded(line)
    return json_line({"labels": labeling.labels, "truncated": truncated, **asdict(labeling)})
