"""`seqlab label` for text."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from seqlab.base.progress import progress_bar
from seqlab.base.raw_lines import LineLimit
from seqlab.commands import UsageError
from seqlab.data.blocks import in_batches
from seqlab.data.conllu import FORM, Sentence, column_number, read_sentences
from seqlab.inference.files import Input, open_input, output_stream
from seqlab.inference.label_options import LabelOptions
from seqlab.inference.lines import is_discarded, json_line, status_of, write_lines
from seqlab.inference.options import given, set_threads

if TYPE_CHECKING:
    from seqlab.tasks.labelling.labeller import Labelling


class _Lines(NamedTuple):
    """Lines of text, to be answered by lines."""

    locations: list[str]
    """Where they stand."""
    texts: list[str]
    as_json: bool

    def written(self, found: "Sequence[Labelling]") -> Iterator[str]:
        """Give the lines of the answer."""
        return map(_as_json, found, self.texts) if self.as_json else (each.text for each in found)


class _Sentences(NamedTuple):
    """Sentences of CoNLL-U, to be answered by the same with labels in a column."""

    sentences: Sequence[Sentence]
    column: int

    @property
    def locations(self) -> list[str]:
        """Where they begin."""
        return [sentence.place for sentence in self.sentences]

    @property
    def texts(self) -> list[str]:
        """The words, with spaces between."""
        return [" ".join(sentence.column(FORM)) for sentence in self.sentences]

    def written(self, found: "Sequence[Labelling]") -> Iterator[str]:
        """Give the lines of the answer."""
        for sentence, labelling in zip(self.sentences, found, strict=True):
            yield from sentence.with_column(self.column, labelling.labels)
            yield ""


def label_text(options: LabelOptions) -> int:
    """Label block by block."""
    from seqlab.tasks.labelling.labeller import load_labeller

    _check(options)
    set_threads(options.threads)
    labeller = load_labeller(options.runs, options.checkpoint, options.device, options.precision)
    if options.conllu is not None and labeller.labels_lines:
        raise UsageError(f"{options.runs[0]} labels lines, but a column of CoNLL-U has the labels of words")
    how = given(options, "num_labels", "batch_tokens")
    # An empty line ends a sentence of CoNLL-U, so that none can stand for another there.
    limit = options.line_limit() if options.conllu is None else LineLimit(options.max_line_bytes)
    with (
        open_input(options.input, whole_tables=options.conllu is not None, limit=limit) as source,
        output_stream(options.output) as output,
        progress_bar(source.stream, output) as advance,
    ):
        for block in _blocks(options, source):
            found = labeller.label_detailed(block.texts, progress=advance, locations=block.locations, **how)
            write_lines(output, block.written(found))
    return status_of(limit)


def _check(options: LabelOptions) -> None:
    """Raise UsageError or ValueError where options do not fit each other."""
    if options.conllu is not None:
        if column_number(options.conllu, "--conllu") <= FORM:
            raise UsageError("--conllu names the column that the labels go to, but `id` and `form` are the words")
        if "#" in (options.input or ""):
            raise UsageError("--conllu reads whole sentences and writes them back: name the file without #COLUMN")
        if options.json:
            raise UsageError("--conllu and --json both say what is written: give one of them")
    if options.num_labels > 1 and not options.json:
        raise UsageError("more than one label for each word or line needs --json")


def _blocks(options: LabelOptions, source: Input) -> Iterator[_Lines | _Sentences]:
    """Read what is to be labelled, some of it at a time."""
    size = source.block_size(options.buffer_lines)
    if options.conllu is None:
        start = 0
        for block in source.blocks(size):
            yield _Lines(source.locations(start, len(block)), block, options.json)
            start += len(block)
        return
    column = column_number(options.conllu, "--conllu")
    for sentences in in_batches(read_sentences(source.lines, source.name), size):
        yield _Sentences(sentences, column)


def _as_json(labelling: "Labelling", line: str) -> str:
    truncated = labelling.truncated or is_discarded(line)
    return json_line({"labels": labelling.labels, "truncated": truncated, **asdict(labelling)})
