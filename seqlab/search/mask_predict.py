"""Mask-predict: all positions at once, then again those that the model is least sure of (Ghazvininejad et al. 2019,
arXiv:1904.09324).

Several lengths of a target are tried beside each other: they are the hypotheses of a sentence.

Shapes: B sentences, K lengths, N rows (hypotheses), P positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.models.interfaces import IGNORE, PositionModel
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import NEVER
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty


def mask_predict(
    model: PositionModel,
    batch: Any,
    config: SearchConfig,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    banned_ids: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Fill the positions of the `beam_size` likeliest lengths of each sentence, and give the best answers, best first.

    After each pass but the last a smaller part of the positions, those with the lowest probabilities, is hidden and
    predicted anew; a row in which nothing changes is done. Log-probabilities are those that symbols had when they were
    predicted last, and of the length; where eos ends a target, of eos.

    Args:
        model: predicts lengths, and positions given others.
        batch: what it reads.
        config: `beam_size`, `iterations` (None is the model's own), the limits and the penalty of lengths.
        prefixes: ids that the hypotheses of each sentence must begin with.
        banned_ids: ids that no hypothesis may hold.

    Raises:
        ValueError: `config` asks for what only a search from left to right can do.
    """
    refuse_left_to_right(config, model)
    forced = [()] * len(batch.src_lengths) if prefixes is None else prefixes
    shortest, longest = length_limits(batch.src_lengths.tolist(), len(forced), config)
    least = [max(1, low - 1, len(prefix)) for low, prefix in zip(shortest, forced, strict=True)]
    most = [max(low, high - 1) for low, high in zip(least, longest, strict=True)]  # without eos
    source = model.encode(batch)
    limits = (batch.src_lengths.new_tensor(each) for each in (least, most))
    found = model.target_lengths(source, config.beam_size, *limits)
    sentences, ranks = (found.log_probs > NEVER).nonzero(as_tuple=True)
    rows = Rows(found.lengths[sentences, ranks], [forced[sentence] for sentence in sentences.tolist()])
    never = {*banned_ids} - {model.eos_id} if model.ends_at_eos else {*banned_ids, model.eos_id}
    fill(model, source.select(sentences), rows, config.iterations or model.iterations, sorted(never))
    answers: list[list[Hypothesis]] = [[] for _ in forced]
    end_id = model.eos_id if model.ends_at_eos else None
    for sentence, hypothesis in zip(
        sentences.tolist(), rows.hypotheses(found.log_probs[sentences, ranks], end_id, config), strict=True
    ):
        answers[sentence].append(hypothesis)
    return [sorted(each, key=lambda h: -h.score)[: config.num_hypotheses] for each in answers]


def refuse_left_to_right(config: SearchConfig, model: PositionModel) -> None:
    """Raise ValueError where a field asks for what is not there when all positions are predicted at once."""
    for name in ("no_repeat_ngram_size", "coverage_penalty", *(["min_length_ratio"] if model.ends_at_eos else [])):
        if getattr(config, name):
            raise ValueError(
                f"`{name}` is for models that {'predict lengths' if name == 'min_length_ratio' else 'go left to right'}"
                f", but this one {'cuts at the end mark' if name == 'min_length_ratio' else 'predicts all at once'}: "
                "leave it out."
            )


class Rows:
    """What is filled in so far."""

    def __init__(self, lengths: Tensor, prefixes: Sequence[Sequence[int]]) -> None:
        """lengths (N,): positions of each row, of which its prefix takes the first."""
        self.lengths = lengths
        shape, places = (len(lengths), int(lengths.max())), range(len(lengths))
        self.forced = lengths.new_full(shape, IGNORE)
        for row, prefix in zip(places, prefixes, strict=True):
            self.forced[row, : len(prefix)] = lengths.new_tensor(list(prefix))
        self.ids = lengths.new_full(shape, IGNORE)
        """(N, P), IGNORE where nothing was predicted yet."""
        self.log_probs = torch.zeros(shape, device=lengths.device)
        """(N, P): of these, when they were predicted."""
        is_there = torch.arange(shape[1], device=lengths.device) < lengths[:, None]
        self.is_free = is_there & (self.forced == IGNORE)

    def least_sure(self, count: Tensor) -> Tensor:
        """Mark the `count` (N,) free positions of each row with the lowest log-probabilities: (N, P) bool."""
        values = self.log_probs.masked_fill(~self.is_free, torch.inf)
        ranks = values.argsort(dim=1, stable=True).argsort(dim=1)
        return ranks < count[:, None]

    def hypotheses(self, length_log_probs: Tensor, end_id: int | None, config: SearchConfig) -> list[Hypothesis]:
        """Write out all rows; `length_log_probs` (N,) stand for the end, unless `end_id` is an id that ends them."""
        found = []
        filled = zip(self.ids.tolist(), self.log_probs.tolist(), self.lengths.tolist(), strict=True)
        for (ids, log_probs, length), of_length in zip(filled, length_log_probs.tolist(), strict=True):
            size, finished, shares = length, True, [*log_probs[:length], of_length]
            if end_id is not None:
                finished = end_id in ids[:length]
                size = ids.index(end_id) if finished else length
                shares = log_probs[: size + finished]
            log_prob = sum(shares)
            score = log_prob / length_penalty(size + finished, config)
            found.append(Hypothesis(ids[:size], score, log_prob, finished, shares))
        return found


def fill(model: PositionModel, source: Any, rows: Rows, iterations: int, never: Sequence[int]) -> None:
    """Predict all free positions, then again and again a linearly smaller part of them; rows without a change leave."""
    alive, count = torch.arange(len(rows.lengths), device=rows.lengths.device), rows.is_free.sum(1)
    shown = rows.forced if (rows.forced != IGNORE).any() else None
    for iteration in range(iterations):
        is_hidden = rows.least_sure(count * (iterations - iteration) // iterations)[alive]
        before, size = rows.ids[alive], int(rows.lengths[alive].max())
        if iteration:
            shown = before.masked_fill(is_hidden, IGNORE)
        output = model.predict(source, rows.lengths[alive], None if shown is None else shown[:, :size])
        found = output.likeliest(never, rows.forced[alive, :size])
        ids, log_probs = (F.pad(each, (0, before.size(1) - size)) for each in found)
        is_new = is_hidden if iteration else torch.ones_like(is_hidden)
        rows.ids[alive] = ids.where(is_new, before)
        rows.log_probs[alive] = log_probs.where(is_new, rows.log_probs[alive])
        is_changed = (rows.ids[alive] != before).any(1)
        if not is_changed.all():
            kept = is_changed.nonzero()[:, 0]
            alive, source = alive[kept], source.select(kept)
            if not len(alive):
                return
