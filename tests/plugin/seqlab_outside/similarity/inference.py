"""Inference with a trained run: the Python class, and the command `seqlab similarity RUN LEFT RIGHT`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from seqlab.commands import Command


class Similarity:
    """A trained measure of similarity, as `seqlab.load` returns it."""

    def __init__(self, path: str | Path, checkpoint: str, device: str, precision: str) -> None:
        from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
        from seqlab.runs.load import load_run
        from seqlab_outside.similarity.config import SimilarityConfig

        self.run, self.device = load_run(path, checkpoint, SimilarityConfig.model_noun), choose_device(device)
        self.model: Any = self.run.model
        prepare_inference(self.model, self.device, choose_dtype(precision, self.device))

    def __repr__(self) -> str:
        return f"Similarity({self.run})"

    def similarity(self, left: Sequence[str], right: Sequence[str]) -> list[float]:
        """Return the cosine similarity of each pair, between -1 and 1; 0 for an empty text."""
        import torch

        from seqlab.inference.lines import refuse_newlines
        from seqlab_outside.similarity.model import TokenBags

        refuse_newlines(left, "left")
        refuse_newlines(right, "right")
        if len(left) != len(right):
            raise ValueError(f"There must be as many texts left as right, but there are {len(left)} and {len(right)}.")
        ones, others = (
            TokenBags.of(codec.encode(side)) for codec, side in zip(self.run.codecs, (left, right), strict=True)
        )
        with torch.inference_mode():
            vectors = self.model.encode_left(ones.to(self.device)), self.model.encode_right(others.to(self.device))
            return [float(each) for each in (vectors[0] * vectors[1]).sum(1)]


def load_similarity(
    run: str | Path | Sequence[str | Path], checkpoint: str = "best", device: str = "auto", precision: str = "auto"
) -> Similarity:
    """Load a run; raises ValueError for several runs, and the errors of `load_run`."""
    if not isinstance(run, str | Path):
        raise ValueError("Measures of similarity do not support ensembles: name one run.")
    return Similarity(run, checkpoint, device, precision)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SimilarityOptions:
    """Compute the similarity of the texts of two files, line by line."""

    run: str
    """A run folder."""
    left: str
    """A file with one text per line, or FILE#COLUMN."""
    right: str
    """The texts to compare with, in the same order."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or auto."""


def run(options: SimilarityOptions) -> None:
    """Print a similarity for each pair of lines, and an empty line if one of the texts is empty."""
    from seqlab.data.corpus import Corpus
    from seqlab.inference.lines import write_lines

    measure = load_similarity(options.run, device=options.device)
    for block in Corpus.from_specs(options.left, options.right).blocks():
        write_lines(sys.stdout.buffer, _lines(measure, *block.lines()))


def _lines(measure: Similarity, left: list[str], right: list[str]) -> Iterator[str]:
    cosines = measure.similarity(left, right)
    for cosine, *texts in zip(cosines, left, right, strict=True):
        yield f"{cosine:.6f}" if all(text.strip() for text in texts) else ""


SIMILARITY = Command(SimilarityOptions, run)
