"""Inference for labeling runs: label lines of text or their words, with one run or an ensemble."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import ProgressCallback
from seqlab.data.batch import IGNORE, LabelledBatch, collate_labelled
from seqlab.inference.engine import length_batches
from seqlab.inference.lines import locations_or_numbers, refuse_newlines
from seqlab.inference.splitting import split_line, split_words
from seqlab.inference.torch_engine import max_source_tokens
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.search.ensemble import mean_log_probs
from seqlab.tasks.labelling.config import LABELER
from seqlab.text import label_names

logger = logging.getLogger(__name__)
LABELING_BATCH_TOKENS = 4096
"""Default number of padded tokens per batch."""
MAX_NAMED_LABELS = 5
"""Maximum number of labels in the error about runs with different labels."""

MAX_RECURRENT_TOKENS = 1 << 14
"""Maximum tokens per segment for a recurrent model, which has no length limit: memory grows with the length."""


@dataclass(frozen=True)
class ScoredLabel:
    """A label and its log-probability."""

    label: str
    log_prob: float
    """In nats."""


@dataclass(frozen=True)
class Labeling:
    """The labels of one line."""

    choices: list[list[ScoredLabel]]
    """For each word, or for the line, its most probable labels, best first; an empty list for an empty line."""
    num_pieces: int
    """Number of segments of the line: 0 if it is empty, 1 if it was not split. For an ensemble, the maximum over its
    runs."""

    @property
    def labels(self) -> list[str]:
        """The best label of each word, or of the line."""
        return [best[0].label for best in self.choices]

    @property
    def truncated(self) -> bool:
        """Whether the line was too long for a model and was labeled in segments."""
        return self.num_pieces > 1

    @property
    def text(self) -> str:
        """The labels as one line, separated by spaces."""
        return " ".join(self.labels)


@dataclass(frozen=True)
class _LineSegment:
    """A line, or a segment of a line that is too long for the model."""

    ids: list[int]
    text: np.ndarray
    """UTF-8 bytes of the words."""


@dataclass(frozen=True)
class _LineScores:
    """Log-probabilities of the labels of one line under one run."""

    log_probs: Tensor
    """(units, L): log-probability of each label in nats. A unit is a word, or the line."""
    num_segments: int
    """0 for a line without tokens."""


@runtime_checkable
class Labeller(Protocol):
    """A model that labels each line of a batch, or each word."""

    labels_lines: bool
    """Whether lines are labeled, rather than words."""

    def label(self, batch: Any) -> Tensor:
        """Return the log-probabilities in nats of all labels: of lines (B, L), or of words, row after row (W, L)."""
        ...


class _Member:
    """One run of an ensemble: its tokenizer, its model, and the order of its labels in the ensemble."""

    def __init__(self, run: LoadedRun, names: Sequence[str], device: torch.device) -> None:
        self.run, self.device = run, device
        self.tokenizer, self.model = run.src_tokenizer, cast(Labeller, run.model)
        run_names = label_names(run.tgt_tokenizer)
        self.order = torch.tensor([run_names.index(name) for name in names])
        self.max_src_tokens = MAX_RECURRENT_TOKENS if run.context_limit is None else max_source_tokens(run)
        """A longer line is split into segments."""

    def score(self, lines: Sequence[str], batch_tokens: int, progress: ProgressCallback | None) -> list[_LineScores]:
        """Score the labels of each line, in batches of segments of similar length."""
        normalized = [self.tokenizer.normalize(line) for line in lines]
        by_line = [self._split(*pair) for pair in zip(normalized, self.tokenizer.encode(normalized), strict=True)]
        scores = iter(
            self._score_segments([segment for segments in by_line for segment in segments], batch_tokens, progress)
        )
        return [
            _LineScores(self._join(segments, [next(scores) for _ in segments]), len(segments)) for segments in by_line
        ]

    def _split(self, line: str, ids: list[int]) -> list[_LineSegment]:
        """Split a line into segments that fit the model; a blank line has none, even if spaces are tokens."""
        if not line.strip():
            return []
        if len(ids) <= self.max_src_tokens:
            return [_LineSegment(ids, _bytes(line))] if ids else []
        if not self.tokenizer.has_words:
            segments = split_line(line, ids, self.max_src_tokens, self.tokenizer.encode)
            return [_LineSegment(segment.ids, _bytes("")) for segment in segments]
        words = line.split(" ")
        spans = (slice(part.start, part.stop) for part in split_words(words, self.max_src_tokens))
        return [_LineSegment(ids[span], _bytes(" ".join(words[span]))) for span in spans]

    def _score_segments(
        self, segments: Sequence[_LineSegment], batch_tokens: int, progress: ProgressCallback | None
    ) -> list[Tensor]:
        """Compute the log-probabilities of all labels (units, L) for each segment."""
        scores: dict[int, Tensor] = {}
        for indices in length_batches([len(segment.ids) for segment in segments], batch_tokens):
            batch = collate_labelled(
                [segments[i].ids for i in indices],
                None,
                [segments[i].text for i in indices] if self.tokenizer.has_words else None,
                indices,
                pad_id=self.tokenizer.pad_id,
            ).to(self.device)
            scores.update(zip(indices, scores_by_line(self.model, batch), strict=True))
            if progress is not None:
                progress(len(indices))
        return [scores[i][:, self.order] for i in range(len(segments))]

    def _join(self, segments: Sequence[_LineSegment], scores: Sequence[Tensor]) -> Tensor:
        """Join the log-probabilities of the segments of a line.

        Those of words are concatenated. The probabilities of a line are the mean over its segments, weighted by length.
        """
        if not segments:
            return torch.zeros(0, len(self.order))
        joined = torch.cat(list(scores))
        if self.model.labels_lines and len(segments) > 1:
            weights = torch.tensor([float(len(segment.ids)) for segment in segments])
            joined = (joined + (weights / weights.sum()).log()[:, None]).logsumexp(0, keepdim=True)
        return joined


class TextLabeler:
    """Label lines of text or their words with one run or an ensemble. Returned by `seqlab.load` for labeling runs.

    The runs of an ensemble may have different tokenizers.
    """

    def __init__(self, runs: Sequence[LoadedRun], device: torch.device, dtype: torch.dtype) -> None:
        """Prepare the models for inference; raise ValueError if they do not share their labels and `labels_of`."""
        if not runs:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        units = {cast(Labeller, run.model).labels_lines for run in runs}
        if len(units) > 1:
            raise ValueError("The runs of an ensemble must have the same `data.labels_of`, `lines` or `words`.")
        (self.labels_lines,) = units
        self.names = label_names(runs[0].tgt_tokenizer)
        for run in runs[1:]:
            _refuse_different_labels(runs[0], run)
        self.members = [_Member(run, self.names, device) for run in runs]
        for run in runs:
            prepare_inference(run.model, device, dtype)

    def __repr__(self) -> str:
        units = "lines" if self.labels_lines else "words"
        return f"TextLabeler({[member.run for member in self.members]}, {len(self.names):,} labels of {units})"

    @property
    def reads_spelling(self) -> bool:
        """Whether all models read the spelling of words, also of unknown ones."""
        return all(vars(member.run.config.model).get("spelling_size") for member in self.members)

    def label(
        self,
        lines: Sequence[str],
        *,
        batch_tokens: int = LABELING_BATCH_TOKENS,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[str]:
        """Label lines; return the best labels of each, separated by spaces. Arguments as in `label_detailed`."""
        labelings = self.label_detailed(lines, batch_tokens=batch_tokens, progress=progress, locations=locations)
        return [labeling.text for labeling in labelings]

    @torch.inference_mode()
    def label_detailed(
        self,
        lines: Sequence[str],
        *,
        num_labels: int = 1,
        batch_tokens: int = LABELING_BATCH_TOKENS,
        progress: ProgressCallback | None = None,
        locations: Sequence[str] | None = None,
    ) -> list[Labeling]:
        """Label lines, or their words, with log-probabilities.

        Words are separated by spaces. An ensemble averages the probabilities of its runs; a run for which a line has no
        tokens is left out of the average.

        Args:
            lines: text without newlines.
            num_labels: number of most probable labels returned for each word or line.
            batch_tokens: padded tokens per batch; affects speed and memory, not the result.
            progress: called after each batch of the last run with its number of lines (or segments of split lines).
            locations: source location of each line, for messages; `line 1`, `line 2`, ... by default.

        Raises:
            ValueError: a line contains a newline, the tokenizers of an ensemble split a line into different words, or
                `num_labels` is below 1.
        """
        refuse_newlines(lines, "lines")
        if num_labels < 1:
            raise ValueError(f"`num_labels` must be at least 1, but is {num_labels} instead.")
        last = self.members[-1]
        scores = [member.score(lines, batch_tokens, progress if member is last else None) for member in self.members]
        return [
            self._combine(line_scores, num_labels, location)
            for location, line_scores in zip(
                locations_or_numbers(locations, len(lines)), zip(*scores, strict=True), strict=True
            )
        ]

    def _combine(self, line_scores: Sequence[_LineScores], num_labels: int, location: str) -> Labeling:
        """Average the scores of the runs for one line and choose its labels."""
        scored = [
            (member, score) for member, score in zip(self.members, line_scores, strict=True) if score.num_segments
        ]
        if not scored:
            return Labeling([], 0)
        (first, reference), *_ = scored
        for member, other in scored[1:]:
            if len(other.log_probs) != len(reference.log_probs):
                raise ValueError(
                    f"{location}: {first.run.folder.path} reads {len(reference.log_probs)} words, but "
                    f"{member.run.folder.path} reads {len(other.log_probs)}: their tokenizers normalize text "
                    "differently, so these runs cannot label this line as an ensemble."
                )
        member, longest = max(scored, key=lambda pair: pair[1].num_segments)
        if longest.num_segments > 1:
            name = "the model" if len(self.members) == 1 else member.run.folder.path
            text = "%s is too long for %s, which reads at most %d tokens: labeled in %d segments"
            logger.warning(text, location, name, member.max_src_tokens, longest.num_segments)
        log_probs = mean_log_probs([member_scores.log_probs for _, member_scores in scored])
        return Labeling(self._best_labels(log_probs, num_labels), longest.num_segments)

    def _best_labels(self, log_probs: Tensor, num_labels: int) -> list[list[ScoredLabel]]:
        """Return the most probable labels of each unit, by log-probabilities (units, L)."""
        # A stable sort takes the first of equally probable labels, as validation does; bf16 makes ties frequent.
        best = log_probs.sort(dim=1, descending=True, stable=True)
        return [
            [ScoredLabel(self.names[number], value) for number, value in zip(numbers, values, strict=True)]
            for numbers, values in zip(
                best.indices[:, :num_labels].tolist(), best.values[:, :num_labels].tolist(), strict=True
            )
        ]


def _refuse_different_labels(first: LoadedRun, other: LoadedRun) -> None:
    """Raise ValueError if two runs have different labels."""
    names, other_names = (set(label_names(run.tgt_tokenizer)) for run in (first, other))
    if unshared := sorted(names ^ other_names):
        raise ValueError(
            f"{first.folder.path} and {other.folder.path} have different labels, so they cannot form an ensemble: "
            f"only one of them has `{'`, `'.join(unshared[:MAX_NAMED_LABELS])}`."
        )


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def load_labeler(
    run: str | Path | Sequence[str | Path],
    checkpoint: str | Sequence[str] = "best",
    device: str = "auto",
    precision: str = "auto",
) -> TextLabeler:
    """Load a labeling run; several runs or checkpoints form an ensemble that averages probabilities.

    Args:
        run: a run folder, or several with the same labels; their tokenizers may differ.
        checkpoint: `best` (in validation), `last` or a step number; several for an ensemble of checkpoints.
        device: `cpu`, `cuda`, `cuda:1`, or `auto` (CUDA if available).
        precision: dtype of matrix products: `bf16`, `fp32` or `auto` (bf16 if the device supports it).

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder is not a labeling run, is damaged, or has another format version; or the labels differ.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    chosen_device = choose_device(device)
    members = [load_run(path, step, model_noun=LABELER) for path in runs for step in checkpoints]
    return TextLabeler(members, chosen_device, choose_dtype(precision, chosen_device))


def scores_by_line(model: Labeller, batch: LabelledBatch) -> list[Tensor]:
    """Compute the log-probabilities of all labels for each line: (S, L) for its words, or (1, L) for the line."""
    return list(model.label(batch).cpu().split(_num_units(model, batch)))


def label_and_score(model: Labeller, batch: LabelledBatch, names: Sequence[str]) -> tuple[list[str], float]:
    """Return the best labels of each line, separated by spaces, and the total log-probability of the target labels.

    Both come from one forward pass. Labels that are not in the training data are left out of the total.

    Args:
        model: a labeler.
        batch: lines with labels.
        names: label strings by label number.

    Returns:
        One string per line, and a sum in nats.
    """
    assert batch.tgt_out is not None, "scoring needs labels"
    scores, units = model.label(batch), _num_units(model, batch)
    targets = torch.cat([row[:count] for row, count in zip(batch.tgt_out, units, strict=True)])
    target_scores = scores.gather(1, targets.clamp(min=0)[:, None])[:, 0].masked_fill(targets == IGNORE, 0)
    lines = scores.argmax(1).cpu().split(units)
    return [" ".join(names[number] for number in line.tolist()) for line in lines], float(target_scores.double().sum())


def _num_units(model: Labeller, batch: LabelledBatch) -> list[int]:
    """Return the number of labels of each line."""
    return [1] * len(batch) if model.labels_lines else batch.src_lengths.tolist()
