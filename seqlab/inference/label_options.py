"""The options of `seqlab label`, which the tasks that give labels serve."""

from typing import Annotated

from pydantic.dataclasses import dataclass

from seqlab.inference.options import SETTINGS, Count, DiscardLongLines, File, RunOptions


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
