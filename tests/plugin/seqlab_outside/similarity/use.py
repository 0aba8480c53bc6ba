"""A trained run in use: from Python, and as `seqlab similarity RUN LEFT RIGHT`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from seqlab.commands import Command


class Similarity:
    """What `seqlab.load` gives for a run: how similar texts are."""

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
        """Give the cosine of the vectors of each pair, between -1 and 1; of an empty text 0."""
        import torch

        from seqlab.inference.lines import refuse_newlines
        from seqlab_outside.similarity.model import Bags

        refuse_newlines(left, "left")
        refuse_newlines(right, "right")
        if len(left) != len(right):
            raise ValueError(f"There must be as many texts left as right, but there are {len(left)} and {len(right)}.")
        ones, others = (Bags.of(codec.encode(side)) for codec, side in zip(self.run.codecs, (left, right), strict=True))
        with torch.inference_mode():
            vectors = self.model.encode_left(ones.to(self.device)), self.model.encode_right(others.to(self.device))
            return [float(each) for each in (vectors[0] * vectors[1]).sum(1)]


def load_similarity(
    run: str | Path | Sequence[str | Path], checkpoint: str = "best", device: str = "auto", precision: str = "auto"
) -> Similarity:
    """Load a run; raises ValueError for several, and as `load_run`."""
    if not isinstance(run, str | Path):
        raise ValueError("Measures of similarity decide alone: name one run.")
    return Similarity(run, checkpoint, device, precision)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Options:
    """Tell how similar the texts of two files are, line by line."""

    run: str
    """A run folder."""
    left: str
    """Texts, one a line, or FILE#COLUMN."""
    right: str
    """What they are compared with."""
    device: str = "auto"
    """cpu, cuda, cuda:1 or auto."""


def run(options: Options) -> None:
    """Print a number for each line; nothing on the line of an empty text."""
    from seqlab.data.corpus import Corpus
    from seqlab.inference.lines import write_lines

    found = load_similarity(options.run, device=options.device)
    for block in Corpus.from_specs(options.left, options.right).blocks():
        write_lines(sys.stdout.buffer, _lines(found, *block.lines()))


def _lines(found: Similarity, left: list[str], right: list[str]) -> Iterator[str]:
    cosines = found.similarity(left, right)
    for cosine, *texts in zip(cosines, left, right, strict=True):
        yield f"{cosine:.6f}" if all(text.strip() for text in texts) else ""


SIMILARITY = Command(Options, run)
