"""Exposure bias: next-token accuracy after the model's own prefixes and after those of the reference.

A model that is trained on true prefixes only may fail after its own mistakes (Ranzato et al. 2016). After both kinds of
prefixes, its next token is compared with the correct tokens (`Oracle`). As there is only one reference, predictions may
count as wrong after a good output that differs from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import ProgressCallback
from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.data.sampler import collate_rows
from seqlab.inference.engine import length_batches
from seqlab.search.config import SearchConfig
from seqlab.search.length import length_limits
from seqlab.search.protocols import Stepper
from seqlab.search.search import evaluation_mode
from seqlab.tasks.translation.encoded_pairs import comparable_references, encode_for_stepper
from seqlab.tasks.translation.run import Run
from seqlab.text import Tokenizer, banned_ids

EXPOSURE_BATCH_TOKENS = 4096
"""Default number of padded source tokens per batch."""


@dataclass(frozen=True)
class Oracle:
    """Correct next tokens after a prefix of a hypothesis: those that minimize the edits to the reference.

    After a prefix h, some prefixes y[:i] of the reference have the minimum edit distance to h. Continuing with y[i] for
    one of these i keeps the minimum edit distance of the complete output (Sabour et al. 2019, Optimal Completion
    Distillation, arXiv:1810.01398). After a true prefix, only the next token of the reference is correct.
    """

    reference: tuple[int, ...]
    """Ids of the reference, eos last."""
    costs: np.ndarray
    """(len(reference),): edit distance of the prefix to each prefix of the reference, without eos."""

    @classmethod
    def of_empty_prefix(cls, reference: Sequence[int]) -> "Oracle":
        """Return the oracle of the empty prefix; `reference` ends with eos."""
        return cls(tuple(reference), np.arange(len(reference)))

    def extended(self, token: int) -> "Oracle":
        """Return the oracle of the prefix extended by a token other than eos."""
        positions = np.arange(len(self.costs))
        row = self.costs + 1
        differs = np.array([reference_token != token for reference_token in self.reference[:-1]], dtype=np.int64)
        np.minimum(row[1:], self.costs[:-1] + differs, out=row[1:])
        return Oracle(self.reference, np.minimum.accumulate(row - positions) + positions)

    def correct_tokens(self) -> set[int]:
        """Return the correct next tokens, including eos if the output may end here."""
        return {self.reference[position] for position in np.flatnonzero(self.costs == self.costs.min())}

    @property
    def has_error(self) -> bool:
        """Whether the prefix is not a prefix of the reference."""
        return bool(self.costs.min() > 0)


@dataclass
class PredictionCounts:
    """Counts and sums over predictions of the next token."""

    count: int = 0
    correct: int = 0
    """Number of predictions with a correct most probable token."""
    probability: float = 0.0
    """Total probability of the correct tokens, summed over the predictions."""
    choices: int = 0
    """Number of correct tokens, summed over the predictions; there is one after a true prefix."""

    def add(self, is_correct: bool, probability: float, choices: int = 1) -> None:
        """Add a prediction."""
        self.count, self.correct = self.count + 1, self.correct + is_correct
        self.probability += probability
        self.choices += choices

    @property
    def accuracy(self) -> float | None:
        """Share of correct predictions; None without predictions."""
        return self.correct / self.count if self.count else None

    @property
    def mean_probability(self) -> float | None:
        """Mean total probability of the correct tokens; None without predictions."""
        return self.probability / self.count if self.count else None

    @property
    def mean_choices(self) -> float | None:
        """Mean number of correct tokens; None without predictions."""
        return self.choices / self.count if self.count else None


@dataclass
class Exposure:
    """Predictions after true prefixes and after the model's own prefixes, by position."""

    true: list[PredictionCounts] = field(default_factory=list)
    """After prefixes of the reference; the index is the length of the prefix."""
    own: list[PredictionCounts] = field(default_factory=list)
    """After the model's own prefixes; the index is the length of the prefix."""
    shared_true: PredictionCounts = field(default_factory=PredictionCounts)
    """Predictions after true prefixes, at the positions of a pair that have a prediction after both kinds."""
    shared_own: PredictionCounts = field(default_factory=PredictionCounts)
    """Predictions after the model's own prefixes, at the same positions."""
    after_error: PredictionCounts = field(default_factory=PredictionCounts)
    """Predictions after the model's own prefixes, if these differ from the reference."""

    @property
    def bias(self) -> float:
        """Accuracy after true prefixes minus accuracy after the model's own prefixes, over the same positions.

        Lengths differ: positions that have only one kind of prefix are left out.
        """
        return (self.shared_true.correct - self.shared_own.correct) / self.shared_true.count

    def add(
        self, counts: list[PredictionCounts], position: int, is_correct: bool, probability: float, choices: int = 1
    ) -> None:
        """Add a prediction at a position to `counts`, which is `true` or `own`."""
        while len(counts) <= position:
            counts.append(PredictionCounts())
        counts[position].add(is_correct, probability, choices)


def exposure_of(
    run: Run,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    *,
    batch_tokens: int = EXPOSURE_BATCH_TOKENS,
    locations: Sequence[str] | None = None,
    progress: ProgressCallback | None = None,
) -> Exposure:
    """Measure the exposure bias of a loaded run; leave out pairs with an empty side.

    `locations`: source location of each pair, for messages. The other arguments are those of `measure_exposure`.

    Raises:
        ValueError: `encode_for_stepper` raises it.
    """
    pairs = encode_for_stepper(run, src_lines, tgt_lines, locations)
    if progress is not None:
        progress(pairs.num_left_out)
    config = SearchConfig(beam_size=1).with_limits(run.translator.output_limits)
    return measure_exposure(
        pairs.stepper,
        pairs.src_rows,
        pairs.tgt_rows,
        pairs.engine.tokenizer,
        config,
        batch_tokens=batch_tokens,
        device=pairs.engine.device,
        progress=progress,
    )


def total(counts: Sequence[PredictionCounts]) -> PredictionCounts:
    """Sum the counts over all positions."""
    return PredictionCounts(
        sum(part.count for part in counts),
        sum(part.correct for part in counts),
        sum(part.probability for part in counts),
        sum(part.choices for part in counts),
    )


@torch.inference_mode()
def measure_exposure(
    model: Stepper,
    src_rows: Sequence[Sequence[int]],
    tgt_rows: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    config: SearchConfig,
    *,
    batch_tokens: int = EXPOSURE_BATCH_TOKENS,
    device: torch.device | str = "cpu",
    progress: ProgressCallback | None = None,
) -> Exposure:
    """Measure next-token predictions after each prefix of the targets and of the model's own greedy outputs.

    Args:
        model: a `Stepper` on `device`.
        src_rows: source ids without special ids.
        tgt_rows: as many rows of target ids without special ids.
        tokenizer: target tokenizer.
        config: limits of the output length; an output may always be as long as its reference.
        batch_tokens: padded source tokens per batch.
        device: device of the model.
        progress: called after each batch with its number of pairs.
    """
    exposure, banned, references = Exposure(), banned_ids(tokenizer), comparable_references(tgt_rows, tokenizer)
    with evaluation_mode(model):
        for indices in length_batches([len(row) + 1 for row in src_rows], batch_tokens):
            batch = collate_rows(src_rows, tgt_rows, indices, tokenizer).to(device)
            oracles = [Oracle.of_empty_prefix([*references[i], tokenizer.eos_id]) for i in indices]
            _, limits = length_limits(batch.src_lengths.tolist(), len(indices), config)
            # Outputs may be as long as their references, so that all positions of the references are compared.
            limits = [max(limit, len(tgt_rows[i]) + 1) for limit, i in zip(limits, indices, strict=True)]
            num_own = _add_own(model, batch, banned, oracles, limits, exposure)
            _add_true(model, batch, tokenizer, num_own, exposure)
            if progress is not None:
                progress(len(indices))
    return exposure


def _add_true(
    model: Stepper, batch: Seq2SeqBatch, tokenizer: Tokenizer, num_own: Sequence[int], exposure: Exposure
) -> None:
    """Add the predictions after the prefixes of the targets; `num_own`: number of results of `_add_own` per row."""
    assert batch.tgt_out is not None, "pairs have targets"
    banned = banned_ids(tokenizer)
    references = batch.tgt_out.masked_fill(
        batch.tgt_out == tokenizer.unk_id, tokenizer.pad_id
    )  # as in `comparable_references`
    last_ids, state = model.start(batch)
    for position, (inputs, targets) in enumerate(zip(batch.tgt_out.unbind(1), references.unbind(1), strict=True)):
        step = model.step(last_ids, state)
        probs, best_ids = _predictions(step.scores, banned)
        last_ids, state = inputs.clamp_min(0), step.state
        target_probs = probs.gather(1, targets.clamp_min(0)[:, None])[:, 0].tolist()
        rows = zip(targets.tolist(), best_ids.tolist(), target_probs, num_own, strict=True)
        for target, best, probability, count in rows:
            if target != IGNORE:
                exposure.add(exposure.true, position, best == target, probability)
                if position < count:
                    exposure.shared_true.add(best == target, probability)


def _add_own(
    model: Stepper,
    batch: Seq2SeqBatch,
    banned: Sequence[int],
    oracles: list[Oracle],
    limits: Sequence[int],
    exposure: Exposure,
) -> list[int]:
    """Add the predictions after the model's own greedy prefixes, up to eos or the length limit (eos counted).

    Returns:
        The number of predictions for each row.
    """
    last_ids, state = model.start(batch)
    active, num_own = list(range(len(oracles))), [0] * len(oracles)
    for position in range(max(limits)):
        step = model.step(last_ids, state)
        probs, last_ids = _predictions(step.scores, banned)
        predicted, correct = last_ids.tolist(), [oracles[sentence].correct_tokens() for sentence in active]
        kept = []
        for row, (sentence, probability) in enumerate(zip(active, _sum_probs(correct, probs), strict=True)):
            oracle, is_correct, choices = oracles[sentence], predicted[row] in correct[row], len(correct[row])
            exposure.add(exposure.own, position, is_correct, probability, choices)
            num_own[sentence] += 1
            if position < len(oracle.reference):
                exposure.shared_own.add(is_correct, probability, choices)
            if oracle.has_error:
                exposure.after_error.add(is_correct, probability, choices)
            if predicted[row] != model.eos_id and position + 1 < limits[sentence]:
                oracles[sentence] = oracle.extended(predicted[row])
                kept.append(row)
        if not kept:
            break
        state, active = step.state, [active[row] for row in kept]
        if len(kept) < len(predicted):
            rows = torch.tensor(kept, device=last_ids.device)
            last_ids, state = last_ids[rows], state.select(rows)
    return num_own


def _sum_probs(tokens: Sequence[set[int]], probs: Tensor) -> list[float]:
    """Sum the probabilities (N, W) of the given tokens of each row, with one transfer from the device."""
    entries = [(row, token) for row, row_tokens in enumerate(tokens) for token in sorted(row_tokens)]
    rows, columns = torch.tensor(entries, device=probs.device).unbind(1)
    sums = [0.0] * len(tokens)
    for (row, _), value in zip(entries, probs[rows, columns].tolist(), strict=True):
        sums[row] += value
    return sums


def _predictions(scores: Tensor, banned: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the probabilities (N, W), 0 for banned ids, and the most probable ids (N,)."""
    probs = scores.float().exp()
    probs[:, list(banned)] = 0.0
    return probs, probs.argmax(1)
