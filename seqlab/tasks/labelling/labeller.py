"""Text in, labels out: of each line, or of each of its words."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import OnRows
from seqlab.data.batch import IGNORE, LabelledBatch, collate_labelled
from seqlab.inference.batches import length_batches
from seqlab.inference.lines import locations_or_numbers, refuse_newlines
from seqlab.inference.splitting import cut, cut_words
from seqlab.inference.torch_engine import longest_source
from seqlab.models.interfaces import Labeller
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.ensemble import mean_log_probs
from seqlab.tasks.labelling.config import LABELLER
from seqlab.text import label_names

_log = logging.getLogger(__name__)
BATCH_TOKENS = 4096
"""Padded tokens that are labelled together unless the caller says otherwise."""
SHOWN_LABELS = 5
"""Labels named that one run of an ensemble lacks."""


MAX_WORDS = 1 << 14
"""Of a line that a recurrent model reads at once, which has no limit of its own: memory grows with them."""


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
    """How many pieces the line was read in: 0 for an empty one, 1 unless it was too long for the model; of an ensemble
    the most that one of its runs needed."""

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


@dataclass(frozen=True)
class _Reading:
    """What one run says of one line."""

    scores: Tensor
    """(units, L): log-probabilities in nats of all labels, of each word or of the line."""
    num_pieces: int
    """0 for a line that it reads nothing of."""


class _Member:
    """A run between its own tokenizer and the labels in the order of the ensemble's."""

    def __init__(self, run: LoadedRun, names: Sequence[str], device: torch.device) -> None:
        self.run, self.device = run, device
        self.tokenizer, self.model = run.src_tokenizer, cast(Labeller, run.model)
        own_names = label_names(run.tgt_tokenizer)
        self.order = torch.tensor([own_names.index(name) for name in names])
        self.max_src_tokens = MAX_WORDS if run.context_limit is None else longest_source(run)
        """A longer line is read in pieces."""

    def read(self, lines: Sequence[str], batch_tokens: int, progress: OnRows | None) -> list[_Reading]:
        """Read lines, pieces of similar length together."""
        normalized = [self.tokenizer.normalize(line) for line in lines]
        pieces = [self._cut(*each) for each in zip(normalized, self.tokenizer.encode(normalized), strict=True)]
        scores = iter(self._scores([piece for parts in pieces for piece in parts], batch_tokens, progress))
        return [_Reading(self._joined(parts, [next(scores) for _ in parts]), len(parts)) for parts in pieces]

    def _cut(self, line: str, ids: list[int]) -> list[_Piece]:
        """Cut what is too long; a blank line has no piece, whatever the tokenizer makes of spaces."""
        if not line.strip():
            return []
        if len(ids) <= self.max_src_tokens:
            return [_Piece(ids, _bytes(line))] if ids else []
        if not self.tokenizer.has_words:
            parts = cut(line, ids, self.max_src_tokens, self.tokenizer.encode)
            return [_Piece(part.ids, _bytes("")) for part in parts]
        words = line.split(" ")
        pieces = (slice(each.start, each.stop) for each in cut_words(words, self.max_src_tokens))
        return [_Piece(ids[piece], _bytes(" ".join(words[piece]))) for piece in pieces]

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
            scores.update(zip(indices, scores_by_line(self.model, batch), strict=True))
            if progress is not None:
                progress(len(indices))
        return [scores[i][:, self.order] for i in range(len(pieces))]

    def _joined(self, parts: Sequence[_Piece], scores: Sequence[Tensor]) -> Tensor:
        """Put together what the pieces of a line have; the scores of a line are the mean of its pieces' by length."""
        if not parts:
            return torch.zeros(0, len(self.order))
        joined = torch.cat(list(scores))
        if self.model.labels_lines and len(parts) > 1:
            weights = torch.tensor([float(len(piece.ids)) for piece in parts])
            joined = (joined + (weights / weights.sum()).log()[:, None]).logsumexp(0, keepdim=True)
        return joined


class TextLabeller:
    """What `seqlab.load` gives for a run that labels; several runs are an ensemble, each with its own tokenizer."""

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Prepare models to label; raises ValueError where they do not have the same labels of the same things."""
        if not runs:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        units = {cast(Labeller, run.model).labels_lines for run in runs}
        if len(units) > 1:
            raise ValueError("The models of an ensemble must all label lines, or all words (`data.labels_of`).")
        (self.labels_lines,) = units
        self.names = label_names(runs[0].tgt_tokenizer)
        for run in runs[1:]:
            _refuse_different_labels(runs[0], run)
        self.members = [_Member(run, self.names, device) for run in runs]
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        units = "lines" if self.labels_lines else "words"
        return f"TextLabeller({[member.run for member in self.members]}, {len(self.names):,} labels of {units})"

    def label(
        self,
        lines: Sequence[str],
        *,
        batch_tokens: int = BATCH_TOKENS,
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[str]:
        """Label lines and return the labels of each, with spaces between; the arguments are as in `label_detailed`."""
        found = self.label_detailed(lines, batch_tokens=batch_tokens, progress=progress, locations=locations)
        return [labelling.text for labelling in found]

    @torch.inference_mode()
    def label_detailed(
        self,
        lines: Sequence[str],
        *,
        num_labels: int = 1,
        batch_tokens: int = BATCH_TOKENS,
        progress: OnRows | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[Labelling]:
        """Label lines, or their words, which spaces divide.

        The probabilities of an ensemble are the mean of those of its runs that read anything of a line.

        Args:
            lines: text without newlines.
            num_labels: how many of the likeliest labels are given, for each word or line.
            batch_tokens: padded tokens that are labelled together: speed and memory, never the answer.
            progress: called after each batch of the last run with its number of lines (pieces of lines that were cut).
            locations: where each line stands, for messages; `line 1` and so on unless given.

        Raises:
            ValueError: a line holds a newline, the runs of an ensemble read different words of one, or a number is
                below 1.
        """
        refuse_newlines(lines, "lines")
        if num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, but is {num_labels} instead.")
        last = self.members[-1]
        readings = [member.read(lines, batch_tokens, progress if member is last else None) for member in self.members]
        return [
            self._labelling(of_line, num_labels, place)
            for place, of_line in zip(
                locations_or_numbers(locations, len(lines)), zip(*readings, strict=True), strict=True
            )
        ]

    def _labelling(self, readings: Sequence[_Reading], num_labels: int, place: str) -> Labelling:
        """Decide on the labels of one line."""
        read = [(member, each) for member, each in zip(self.members, readings, strict=True) if each.num_pieces]
        if not read:
            return Labelling([], 0)
        (first, reading), *_ = read
        for member, other in read[1:]:
            if len(other.scores) != len(reading.scores):
                raise ValueError(
                    f"{place}: {first.run.folder.path} reads {len(reading.scores)} words, but {member.run.folder.path} "
                    f"{len(other.scores)}: their tokenizers normalise text differently, so that they cannot label it "
                    "together."
                )
        member, longest = max(read, key=lambda each: each[1].num_pieces)
        if longest.num_pieces > 1:
            name = "the model" if len(self.members) == 1 else member.run.folder.path
            text = "%s is too long for %s, which reads %d tokens at most: labelled in %d pieces"
            _log.warning(text, place, name, member.max_src_tokens, longest.num_pieces)
        scores = mean_log_probs([each.scores for _, each in read])
        return Labelling(self._choices(scores, num_labels), longest.num_pieces)

    def _choices(self, scores: Tensor, num_labels: int) -> list[list[ScoredLabel]]:
        """Choose the labels of units by scores (units, L)."""
        # Of labels that are equally likely, which products in bf16 make often, the first, as in validation.
        best = scores.sort(dim=1, descending=True, stable=True)
        return [
            [ScoredLabel(self.names[number], value) for number, value in zip(numbers, values, strict=True)]
            for numbers, values in zip(
                best.indices[:, :num_labels].tolist(), best.values[:, :num_labels].tolist(), strict=True
            )
        ]


def _refuse_different_labels(first: LoadedRun, other: LoadedRun) -> None:
    names, others = (set(label_names(run.tgt_tokenizer)) for run in (first, other))
    if alone := sorted(names ^ others):
        raise ValueError(
            f"{first.folder.path} and {other.folder.path} have different labels, so that they cannot decide together: "
            f"one alone has `{'`, `'.join(alone[:SHOWN_LABELS])}`."
        )


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def load_labeller(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> TextLabeller:
    """Load a run that labels; several runs or checkpoints become an ensemble, which averages probabilities.

    Args:
        run: a run folder, or several that have the same labels; each reads text with its own tokenizer.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA where there is one.
        precision: dtype of matrix products: `bf16`, `fp32` or `auto`: bf16 where the device computes in it.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is no run that labels, is damaged or has another format version; labels differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen = choose_device(device)
    members = [load_run(path, step, product=LABELLER) for path in runs for step in checkpoints]
    return TextLabeller(members, chosen, choose_dtype(precision, chosen))


def scores_by_line(model: Labeller, batch: LabelledBatch) -> list[Tensor]:
    """Give the log-probabilities of all labels for each line: of each of its words (S, L), or of itself (1, L)."""
    return list(model.label(batch).cpu().split(_units(model, batch)))


def label_and_score(model: Labeller, batch: LabelledBatch, names: Sequence[str]) -> tuple[list[str], float]:
    """Give each line its labels as one line of text, and the log-probability in nats of all that the batch has.

    `names`: the labels by number. Both come from one pass.
    """
    assert batch.tgt_out is not None, "scoring needs labels"
    scores, units = model.label(batch), _units(model, batch)
    there = torch.cat([row[:count] for row, count in zip(batch.tgt_out, units, strict=True)])
    found = scores.gather(1, there.clamp(min=0)[:, None])[:, 0].masked_fill(there == IGNORE, 0)
    lines = scores.argmax(1).cpu().split(units)
    return [" ".join(names[number] for number in line.tolist()) for line in lines], float(found.double().sum())


def _units(model: Labeller, batch: LabelledBatch) -> list[int]:
    """Tell how many labels each line has."""
    return [1] * len(batch) if model.labels_lines else batch.src_lengths.tolist()
