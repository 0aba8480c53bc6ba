"""Text in, labels out: of each line, or of each of its words."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from seqlab.data.batch import collate_labelled
from seqlab.inference.batches import length_batches
from seqlab.inference.labels import scores_by_line
from seqlab.inference.lines import place, refuse_newlines
from seqlab.inference.segments import cut, cut_words
from seqlab.inference.torch_engine import longest_source, refuse_different_vocabularies
from seqlab.models import interfaces
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.text import label_names
from seqlab.world import OnRows

_log = logging.getLogger(__name__)
BATCH_TOKENS = 4096
"""Padded tokens that are labelled together unless the caller says otherwise."""
SHOWN_LABELS = 5
"""Labels named that one run of an ensemble lacks."""


@dataclass(frozen=True)
class ScoredLabel:
    """A label that a line or a word may have."""

    label: str
    log_prob: float
    """In nats."""


@dataclass(frozen=True)
class Labelling:
    """What one line was labelled with."""

    choices: list[list[ScoredLabel]]
    """The likeliest labels of each word, or of the line, best first; nothing for an empty line."""
    num_pieces: int
    """How many pieces the line was read in: 0 for an empty one, 1 unless it was too long for the model."""

    @property
    def labels(self) -> list[str]:
        """The best label of each word, or of the line."""
        return [best[0].label for best in self.choices]

    @property
    def truncated(self) -> bool:
        """Whether the line was too long and was labelled in pieces."""
        return self.num_pieces > 1

    @property
    def text(self) -> str:
        """The labels as one line, with spaces between."""
        return " ".join(self.labels)


@dataclass(frozen=True)
class _Piece:
    ids: list[int]
    text: np.ndarray
    """UTF-8 of its words."""


class Labeller:
    """What `seqlab.load` gives for a run that labels; several runs are an ensemble."""

    def __init__(self, members: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Put models between their tokenizer and their labels; raises ValueError where these differ."""
        refuse_different_vocabularies(members, ["src"])
        self.members, self.device = members, device
        self.tokenizer, self.names = members[0].src_tokenizer, label_names(members[0].tgt_tokenizer)
        self.orders = [self._order(member) for member in members]
        self.models = [cast(interfaces.Labeller, member.model) for member in members]
        if len({model.labels_lines for model in self.models}) > 1:
            raise ValueError("The models of an ensemble must all label lines, or all words (`data.labels_of`).")
        self.labels_lines = self.models[0].labels_lines
        limits = [longest_source(member) for member in members if member.context_limit is not None]
        self.max_src_tokens = min(limits) if limits else None
        """A longer line is read in pieces; None for models that read on for ever."""
        for member in members:
            prepare_inference(member.model, device, dtype)

    def label(self, lines: Sequence[str], **options: Any) -> list[str]:
        """Label lines and give the labels of each, with spaces between; the options are those of `label_detailed`."""
        return [labelling.text for labelling in self.label_detailed(lines, **options)]

    @torch.inference_mode()
    def label_detailed(
        self,
        lines: Sequence[str],
        *,
        num_labels: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        progress: OnRows | None = None,
        line_numbers: Sequence[int] | None = None,
        file: str = "",
    ) -> list[Labelling]:
        """Label lines, or their words, which spaces divide.

        Args:
            lines: text without newlines.
            num_labels: how many of the likeliest labels are given, for each word or line.
            batch_tokens: padded tokens that are labelled together: speed and memory, never the answer.
            progress: called after each batch with its number of lines (pieces of lines that were cut).
            line_numbers: where the lines stand in their file, for messages; from 1 unless given.
            file: its name, for messages; may be empty.

        Raises:
            ValueError: a line holds a newline, or a number is below 1.
        """
        refuse_newlines(lines, "lines")
        if num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, but is {num_labels} instead.")
        pieces = self._pieces(lines)
        scores = self._scores([piece for parts in pieces for piece in parts], batch_tokens, progress)
        labellings, done = [], 0
        numbers = range(1, len(lines) + 1) if line_numbers is None else line_numbers
        for number, parts in zip(numbers, pieces, strict=True):
            found = scores[done : done + len(parts)]
            done += len(parts)
            labellings.append(Labelling(self._choices(parts, found, num_labels), len(parts)))
            if len(parts) > 1:
                text = "%s is too long for the model, which reads %d tokens at most: labelled in %d pieces"
                _log.warning(text, place(number, file), self.max_src_tokens, len(parts))
        return labellings

    def _order(self, member: LoadedRun) -> Tensor | None:
        """Give the numbers that a member has for the labels in their order; None where it is its own, too."""
        names = label_names(member.tgt_tokenizer)
        if names == self.names:
            return None
        if others := sorted(set(names) ^ set(self.names)):
            raise ValueError(
                f"{self.members[0].folder.path} and {member.folder.path} have different labels, so that they cannot "
                f"decide together: one alone has `{'`, `'.join(others[:SHOWN_LABELS])}`."
            )
        return torch.tensor([names.index(name) for name in self.names], device=self.device)

    def _scores(self, pieces: Sequence[_Piece], batch_tokens: int, progress: OnRows | None) -> list[Tensor]:
        """Give the log-probabilities of all labels (units, L) for each piece."""
        scores: dict[int, Tensor] = {}
        for indices in length_batches([len(piece.ids) for piece in pieces], batch_tokens):
            batch = collate_labelled(
                [pieces[i].ids for i in indices],
                None,
                [pieces[i].text for i in indices] if self.tokenizer.has_words else None,
                indices,
                pad_id=self.tokenizer.pad_id,
            ).to(self.device)
            scores.update(zip(indices, scores_by_line(self.models, batch, self.orders), strict=True))
            if progress is not None:
                progress(len(indices))
        return [scores[i] for i in range(len(pieces))]

    def _pieces(self, lines: Sequence[str]) -> list[list[_Piece]]:
        """Cut what is too long; an empty line has no piece."""
        normalized = [self.tokenizer.normalize(line) for line in lines]
        rows = self.tokenizer.encode(normalized)
        return [self._cut(*each) for each in zip(normalized, rows, strict=True)]

    def _cut(self, line: str, ids: list[int]) -> list[_Piece]:
        if self.max_src_tokens is None or len(ids) <= self.max_src_tokens:
            return [_Piece(ids, _bytes(line))] if ids else []
        if not self.tokenizer.has_words:
            parts = cut(line, ids, self.max_src_tokens, self.tokenizer.encode)
            return [_Piece(part.ids, _bytes("")) for part in parts]
        words = line.split(" ")
        pieces = (slice(each.start, each.stop) for each in cut_words(words, self.max_src_tokens))
        return [_Piece(ids[piece], _bytes(" ".join(words[piece]))) for piece in pieces]

    def _choices(self, parts: Sequence[_Piece], found: Sequence[Tensor], num_labels: int) -> list[list[ScoredLabel]]:
        """Choose labels by scores (units, L) of each piece; those of a line are the mean of its pieces' by length."""
        if not parts:
            return []
        scores = torch.cat(list(found))
        if self.labels_lines and len(parts) > 1:
            weights = torch.tensor([float(len(piece.ids)) for piece in parts])
            scores = (scores + (weights / weights.sum()).log()[:, None]).logsumexp(0, keepdim=True)
        # Of labels that are equally likely, which products in bf16 make often, the first, as in validation.
        best = scores.sort(dim=1, descending=True, stable=True)
        return [
            [ScoredLabel(self.names[number], value) for number, value in zip(numbers, values, strict=True)]
            for numbers, values in zip(
                best.indices[:, :num_labels].tolist(), best.values[:, :num_labels].tolist(), strict=True
            )
        ]


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def load_labeller(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> Labeller:
    """Load a run that labels; several runs or checkpoints become an ensemble, which averages probabilities.

    Args:
        run: a run folder, or several that share their vocabularies.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products: `bf16`, `fp32` or `auto`: bf16 where the device computes in it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run that labels, is damaged or has another format version; vocabularies or labels differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    members = [load_run(path, step, kind="labelled") for path in runs for step in checkpoints]
    return Labeller(members, chosen, choose_dtype(precision, chosen))
