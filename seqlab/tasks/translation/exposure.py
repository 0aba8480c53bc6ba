"""Exposure bias, measured: how well a model predicts behind what it has said itself, and behind the truth.

A model that was only ever told true prefixes may go astray behind its own mistakes (Ranzato et al. 2016). Behind both
kinds of prefixes, its next token is compared with the tokens that should come there (`.oracle`). The
figures know one answer: a model that says another one, as good, is told by them that it is lost, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from seqlab.base.world import OnRows
from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.data.sampler import collate_rows
from seqlab.inference.decode import evaluation_mode
from seqlab.inference.engine import length_batches
from seqlab.models.interfaces import Stepper
from seqlab.search.config import SearchConfig
from seqlab.search.length import length_limits
from seqlab.tasks.translation.pairs import comparable, measured_pairs
from seqlab.tasks.translation.run import Run
from seqlab.text import Tokenizer, banned_ids

EXPOSURE_BATCH_TOKENS = 4096
"""Padded source tokens that are read together."""


@dataclass(frozen=True)
class Oracle:
    """A reference and a prefix of a hypothesis."""

    reference: tuple[int, ...]
    """Ids, eos last."""
    costs: np.ndarray
    """Edit distances of the prefix to each beginning of the reference without eos: (len(reference),)."""

    @classmethod
    def begin(cls, reference: Sequence[int]) -> "Oracle":
        """Start with the empty prefix; `reference` ends with eos."""
        return cls(tuple(reference), np.arange(len(reference)))

    def read(self, token: int) -> "Oracle":
        """Give the oracle of the prefix that is longer by a token, which is not eos."""
        places = np.arange(len(self.costs))
        row = self.costs + 1
        differs = np.array([each != token for each in self.reference[:-1]], dtype=np.int64)
        np.minimum(row[1:], self.costs[:-1] + differs, out=row[1:])
        return Oracle(self.reference, np.minimum.accumulate(row - places) + places)

    def best(self) -> set[int]:
        """Give the tokens that should come next, eos among them where the reference may be at its end."""
        return {self.reference[place] for place in np.flatnonzero(self.costs == self.costs.min())}

    @property
    def has_error(self) -> bool:
        """Whether the prefix is no beginning of the reference."""
        return bool(self.costs.min() > 0)


@dataclass
class Quality:
    """How good some predictions are."""

    count: int = 0
    right: int = 0
    """Where the likeliest token is one that should come next."""
    probability: float = 0.0
    """Summed over the predictions: of all tokens that should come next."""
    choices: int = 0
    """Summed over the predictions: how many tokens should come next, one behind a true prefix."""

    def add(self, is_right: bool, probability: float, choices: int = 1) -> None:
        """Count a prediction."""
        self.count, self.right = self.count + 1, self.right + is_right
        self.probability += probability
        self.choices += choices

    @property
    def accuracy(self) -> float | None:
        """The share of right predictions; None without any."""
        return self.right / self.count if self.count else None

    @property
    def mean_probability(self) -> float | None:
        """The mean probability of what should come next; None without any prediction."""
        return self.probability / self.count if self.count else None

    @property
    def mean_choices(self) -> float | None:
        """How many tokens should come next in the mean; None without any prediction."""
        return self.choices / self.count if self.count else None


@dataclass
class Exposure:
    """Predictions behind true prefixes and behind the model's own, position by position."""

    true: list[Quality] = field(default_factory=list)
    """By the length of the prefix, from 0."""
    own: list[Quality] = field(default_factory=list)
    shared_true: Quality = field(default_factory=Quality)
    """Of the predictions behind true prefixes those for which the same pair has a prefix of its own of that length."""
    shared_own: Quality = field(default_factory=Quality)
    """The predictions behind these, as many."""
    after_error: Quality = field(default_factory=Quality)
    """Of the model's own prefixes those that are not how the reference begins."""

    @property
    def bias(self) -> float:
        """How much less often a prediction is right behind the model's own prefix, of the same pairs and positions.

        So an answer that ends early, or goes on behind the end of the reference, does not change which positions count.
        """
        return (self.shared_true.right - self.shared_own.right) / self.shared_true.count

    def add(self, kind: list[Quality], position: int, is_right: bool, probability: float, choices: int = 1) -> None:
        """Count a prediction of one kind."""
        while len(kind) <= position:
            kind.append(Quality())
        kind[position].add(is_right, probability, choices)


def exposure_of(
    run: Run,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    *,
    batch_tokens: int = EXPOSURE_BATCH_TOKENS,
    locations: Sequence[str] | None = None,
    progress: OnRows | None = None,
) -> Exposure:
    """Measure a run that `load` gave; pairs with an empty side are left out.

    `locations`: where each pair stands, for messages; the other arguments are those of `measure_exposure`.

    Raises:
        ValueError: errors of `measured_pairs`.
    """
    pairs = measured_pairs(run, src_lines, tgt_lines, locations)
    if progress is not None:
        progress(pairs.left_out)
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


def total(qualities: Sequence[Quality]) -> Quality:
    """Put the predictions at all positions together."""
    return Quality(
        sum(each.count for each in qualities),
        sum(each.right for each in qualities),
        sum(each.probability for each in qualities),
        sum(each.choices for each in qualities),
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
    progress: OnRows | None = None,
) -> Exposure:
    """Let a model read each target, and what it says itself greedily, and judge every next token.

    Args:
        model: a `Stepper` on `device`.
        src_rows: source ids without special ids.
        tgt_rows: target ids without special ids, as many.
        tokenizer: the target's, names the special ids.
        config: how long the model's own targets may become, if no longer than the references.
        batch_tokens: padded source tokens that are read together.
        device: where the model is.
        progress: called after each batch with its number of pairs.
    """
    found, banned, references = Exposure(), banned_ids(tokenizer), comparable(tgt_rows, tokenizer)
    with evaluation_mode(model):
        for indices in length_batches([len(row) + 1 for row in src_rows], batch_tokens):
            batch = collate_rows(src_rows, tgt_rows, indices, tokenizer).to(device)
            oracles = [Oracle.begin([*references[i], tokenizer.eos_id]) for i in indices]
            _, limits = length_limits(batch.src_lengths.tolist(), len(indices), config)
            # A reference is never out of reach: what the model says there is to be compared, too.
            limits = [max(limit, len(tgt_rows[i]) + 1) for limit, i in zip(limits, indices, strict=True)]
            said = _read_own(model, batch, banned, oracles, limits, found)
            _read_truth(model, batch, tokenizer, said, found)
            if progress is not None:
                progress(len(indices))
    return found


def _read_truth(
    model: Stepper, batch: Seq2SeqBatch, tokenizer: Tokenizer, said: Sequence[int], found: Exposure
) -> None:
    """Judge the predictions behind the beginnings of the targets; `said`: how many there are behind the model's own."""
    assert batch.tgt_out is not None, "pairs have targets"
    banned = banned_ids(tokenizer)
    references = batch.tgt_out.masked_fill(batch.tgt_out == tokenizer.unk_id, tokenizer.pad_id)  # as in `comparable`
    last_ids, state = model.start(batch)
    for position, (read, wanted) in enumerate(zip(batch.tgt_out.unbind(1), references.unbind(1), strict=True)):
        step = model.step(last_ids, state)
        probs, likeliest = _predictions(step.scores, banned)
        last_ids, state = read.clamp_min(0), step.state
        given = probs.gather(1, wanted.clamp_min(0)[:, None])[:, 0].tolist()
        for target, word, probability, count in zip(wanted.tolist(), likeliest.tolist(), given, said, strict=True):
            if target != IGNORE:
                found.add(found.true, position, word == target, probability)
                if position < count:
                    found.shared_true.add(word == target, probability)


def _read_own(
    model: Stepper,
    batch: Seq2SeqBatch,
    banned: Sequence[int],
    oracles: list[Oracle],
    limits: Sequence[int],
    found: Exposure,
) -> list[int]:
    """Judge the predictions behind what the model has said greedily, up to its eos or the limit (eos counted).

    Returns how many there are for each row.
    """
    last_ids, state = model.start(batch)
    speaking, said = list(range(len(oracles))), [0] * len(oracles)
    for position in range(max(limits)):
        step = model.step(last_ids, state)
        probs, last_ids = _predictions(step.scores, banned)
        words, best = last_ids.tolist(), [oracles[sentence].best() for sentence in speaking]
        going_on = []
        for row, (sentence, probability) in enumerate(zip(speaking, _probability_of(best, probs), strict=True)):
            oracle, is_right, choices = oracles[sentence], words[row] in best[row], len(best[row])
            found.add(found.own, position, is_right, probability, choices)
            said[sentence] += 1
            if position < len(oracle.reference):
                found.shared_own.add(is_right, probability, choices)
            if oracle.has_error:
                found.after_error.add(is_right, probability, choices)
            if words[row] != model.eos_id and position + 1 < limits[sentence]:
                oracles[sentence] = oracle.read(words[row])
                going_on.append(row)
        if not going_on:
            break
        state, speaking = step.state, [speaking[row] for row in going_on]
        if len(going_on) < len(words):
            rows = torch.tensor(going_on, device=last_ids.device)
            last_ids, state = last_ids[rows], state.select(rows)
    return said


def _probability_of(tokens: Sequence[set[int]], probs: Tensor) -> list[float]:
    """Sum the probabilities (N, W) of the tokens of each row, which are looked up at once."""
    places = [(row, token) for row, of_row in enumerate(tokens) for token in sorted(of_row)]
    rows, columns = torch.tensor(places, device=probs.device).unbind(1)
    sums = [0.0] * len(tokens)
    for (row, _), value in zip(places, probs[rows, columns].tolist(), strict=True):
        sums[row] += value
    return sums


def _predictions(scores: Tensor, banned: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Give all probabilities (N, W) and the likeliest ids (N,), without those that are never said."""
    probs = scores.float().exp()
    probs[:, list(banned)] = 0.0
    return probs, probs.argmax(1)
