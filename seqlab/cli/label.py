"""seqlab label: lines in, labels out, in order and one line for each line.

A run that labels words gives each line the labels of its words, which spaces divide; one that labels lines gives a
label each. With --conllu, CoNLL-U in is CoNLL-U out, with the labels of the words in one of its columns. Reads standard
input and writes standard output unless files are named. Blocks of lines are read, sorted by length, labelled and
written before the next is read.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from seqlab.cli.files import BUFFER_LINES, Input, open_input, output_stream, refuse_same_file
from seqlab.cli.inference_options import add_run_options, set_threads
from seqlab.cli.json_lines import json_line
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import progress_bar
from seqlab.data.column import in_batches
from seqlab.data.conllu import FORM, Sentence, column_number, read_sentences
from seqlab.world import refuse_ranks

if TYPE_CHECKING:
    from seqlab.tasks.labelling.labeller import Labelling


def make_parser() -> Parser:
    """Name the runs, the files and what is written."""
    parser = Parser("seqlab label", __doc__)
    add_run_options(parser, precision="auto")
    parser.add_argument("--input", metavar="FILE", help="text to label, or FILE#COLUMN (default: standard input)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument(
        "--conllu", metavar="COLUMN", help="read and write CoNLL-U, with the labels in this column: upos, xpos, ..."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line: labels, log-probabilities")
    parser.add_argument("--num_labels", type=int, default=1, metavar="N", help="likeliest labels of each, with --json")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--batch_tokens", type=int, metavar="N", help="padded tokens computed together: speed, memory")
    parser.add_argument(
        "--buffer_lines", type=int, metavar="N", help=f"lines in a block (default: {BUFFER_LINES}; 1 on a terminal)"
    )
    return parser


@dataclass(frozen=True)
class _Lines:
    """Lines of text, to be answered by lines."""

    places: list[str]
    """Where they stand."""
    texts: list[str]
    as_json: bool

    def written(self, found: "Sequence[Labelling]") -> Iterator[str]:
        """Give the lines of the answer."""
        return (_as_json(each) if self.as_json else each.text for each in found)


@dataclass(frozen=True)
class _Sentences:
    """Sentences of CoNLL-U, to be answered by the same with labels in a column."""

    sentences: Sequence[Sentence]
    column: int

    @property
    def places(self) -> list[str]:
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


def run(arguments: argparse.Namespace) -> int:
    """Label block by block."""
    from seqlab.inference.lines import write_lines
    from seqlab.tasks.labelling.labeller import load_labeller

    refuse_ranks("label")
    _check(arguments)
    refuse_same_file("--output", arguments.output, {"the input": arguments.input})
    set_threads(arguments.threads)
    labeller = load_labeller(arguments.runs, arguments.checkpoint, arguments.device, arguments.precision)
    if arguments.conllu is not None and labeller.labels_lines:
        raise UsageError(f"{arguments.runs[0]} labels lines, but a column of CoNLL-U has the labels of words")
    options: dict[str, Any] = {"num_labels": arguments.num_labels}
    if arguments.batch_tokens is not None:
        options["batch_tokens"] = arguments.batch_tokens
    with (
        open_input(arguments.input, whole_tables=arguments.conllu is not None) as source,
        output_stream(arguments.output) as output,
        progress_bar(source.stream, output) as advance,
    ):
        for block in _blocks(arguments, source):
            found = labeller.label_detailed(block.texts, progress=advance, places=block.places, **options)
            write_lines(output, block.written(found))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise UsageError or ValueError where options do not fit each other."""
    if arguments.conllu is not None:
        if column_number(arguments.conllu, "--conllu") <= FORM:
            raise UsageError("--conllu names the column that the labels go to, but `id` and `form` are the words")
        if "#" in (arguments.input or ""):
            raise UsageError("--conllu reads whole sentences and writes them back: name the file without #COLUMN")
        if arguments.json:
            raise UsageError("--conllu and --json both say what is written: give one of them")
    if arguments.num_labels > 1 and not arguments.json:
        raise UsageError("more than one label for each word or line needs --json")


def _blocks(arguments: argparse.Namespace, source: Input) -> Iterator[_Lines | _Sentences]:
    """Read what is to be labelled, some of it at a time."""
    size = source.block_size(arguments.buffer_lines)
    if arguments.conllu is None:
        return (
            _Lines(source.places(start, len(block)), block, arguments.json)
            for start, block in zip(count(0, size), source.blocks(size), strict=False)
        )
    column = column_number(arguments.conllu, "--conllu")
    return (_Sentences(block, column) for block in in_batches(read_sentences(source.lines, source.name), size))


def _as_json(labelling: "Labelling") -> str:
    return json_line({"labels": labelling.labels, "truncated": labelling.truncated, **asdict(labelling)})
