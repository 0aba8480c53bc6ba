"""Mask-predict: all positions at once, then again those that the model is least sure of (Ghazvininejad et al. 2019,
arXiv:1904.09324), or all of them anew while those are hidden (Ghazvininejad et al. 2020, arXiv:2001.08785).

Several lengths of a target are tried beside each other: they are the hypotheses of a sentence.

Shapes: B sentences, K lengths, N rows (hypotheses), P positions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.models.interfaces import IGNORE, NEG_INF, FrameOutput, PositionModel, TargetLengths, padding_mask
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import NOT_FORCED, prefix_table
from seqlab.search.fusion import WeightedLm, lm_token_scores
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.search.position_beam import predict_with_lm
from seqlab.search.rules import refuse_nan
from seqlab.search.search import SearchRequest

UNLIMITED = 1 << 30
"""Positions: more than any target has."""
Choice = Callable[[FrameOutput, Tensor], tuple[Tensor, Tensor]]


class MaskPredict:
    """Search with any `PositionModel`; see `mask_predict`."""

    def fits(self, model: Any) -> bool:
        """Tell whether the model predicts all positions at once."""
        return isinstance(model, PositionModel)

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Search a batch."""
        return mask_predict(
            model,
            request.batch,
            config,
            prefixes=request.prefixes,
            banned_ids=request.banned_ids,
            lm=request.lm,
            need_attention=request.need_attention,
        )


def mask_predict(
    model: PositionModel,
    batch: Any,
    config: SearchConfig,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    banned_ids: Sequence[int] = (),
    lm: WeightedLm | None = None,
    need_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Fill the positions of the `beam_size` likeliest lengths of each sentence, and give the best answers, best first.

    After each pass but the last a smaller part of the positions, those with the lowest probabilities, is hidden and
    predicted anew; with `revise` the others, too, which are shown. With `early_stopping` a row in which a pass changes
    nothing is done. Log-probabilities are those that symbols had when they were predicted last (with `revise` most of
    them while they were shown), those of a prefix where nothing is shown, and that of the length;
    where eos ends a target, of eos. What is as long as the limit allows, but would be longer, has no end. With
    `pseudo_likelihood`, where there is more than one pass and one length, they are those of the symbols at even places
    given the others, and the other way round (cf. Salazar et al. 2020, arXiv:1910.14659, who hide one at a time): what
    was predicted early, given little, is not held against an answer.
    Where lengths are predicted an answer has one symbol at least, whatever the limits are.

    With a language model each pass says what it and the model find likely together, by a beam over the positions that
    is as wide as that over lengths; log-probabilities are then sums with its shares.

    Args:
        model: predicts lengths, and positions given others.
        batch: what it reads.
        config: `beam_size`, `iterations` (None is the model's own), `early_stopping`, `pseudo_likelihood`, `revise`,
            the limits and the penalty of lengths.
        prefixes: ids that the hypotheses of each sentence must begin with.
        banned_ids: ids that no hypothesis may hold.
        lm: a `FixedContextModel` that decides too, where eos does not end targets.
        need_attention: also return what each symbol attended to when it was predicted last.

    Raises:
        ValueError: `config` asks for what such a model cannot do; a prefix cannot be; the model gives NaN.
    """
    config.check_non_autoregressive(model.ends_at_eos, model.iterations)
    shortest, longest = length_limits(batch.src_lengths.tolist(), len(batch.src_lengths), config)
    forced = prefix_table(prefixes, longest, model.vocab_size, model.eos_id).to(batch.src_lengths.device)
    source = model.encode(batch)
    found, is_cut = _lengths(model, source, batch.src_lengths, forced, config.beam_size, shortest, longest)
    refuse_nan(found.log_probs, "for the lengths")
    sentences, ranks = (found.log_probs > NEG_INF).nonzero(as_tuple=True)
    if len(sentences) > len(batch.src_lengths):
        source = source.select(sentences)
    rows = Rows(found.lengths[sentences, ranks], forced[sentences], need_attention)
    limits = [longest[sentence] for sentence in sentences.tolist()]
    never = sorted({*banned_ids} - {model.eos_id} if model.ends_at_eos else {*banned_ids, model.eos_id})
    iterations = config.iterations or model.iterations

    def choose(output: FrameOutput, shown: Tensor) -> tuple[Tensor, Tensor]:
        return output.likeliest(never) if lm is None else predict_with_lm(output, shown, lm, config.beam_size, never)

    fill(model, source, rows, iterations, choose, bool(config.early_stopping), config.revise)
    if config.pseudo_likelihood and min(iterations, config.beam_size) > 1:
        score_by_halves(model, source, rows)
    of_lengths = found.log_probs[sentences, ranks]
    if lm is not None:
        of_symbols, of_ends = lm_token_scores(lm, rows.ids, rows.lengths)
        rows.log_probs, of_lengths = rows.log_probs + of_symbols, of_lengths + of_ends
    answers: list[list[Hypothesis]] = [[] for _ in longest]
    end_id = model.eos_id if model.ends_at_eos else None
    written = rows.hypotheses(of_lengths, is_cut[sentences, ranks], limits, end_id, config)
    for sentence, hypothesis in zip(sentences.tolist(), written, strict=True):
        answers[sentence].append(hypothesis)
    return [sorted(each, key=lambda h: -h.score)[: config.num_hypotheses] for each in answers]


def _lengths(
    model: PositionModel,
    source: Any,
    src_lengths: Tensor,
    forced: Tensor,
    count: int,
    shortest: Sequence[int],
    longest: Sequence[int],
) -> tuple[TargetLengths, Tensor]:
    """Ask for numbers of positions: within the limits, which count eos, where eos has none of its own.

    Where it ends targets there are as many as in training, whatever the limits, and one more than the prefix at least.
    Also tell which of them (B, K) are the longest allowed because a longer one, likelier than all, is not.
    """
    of_prefix = (forced != NOT_FORCED).sum(1)
    unlimited = torch.full_like(src_lengths, UNLIMITED)
    if model.ends_at_eos:
        found = model.target_lengths(source, count, of_prefix + 1, unlimited)
        return found, torch.zeros_like(found.lengths, dtype=torch.bool)
    most = (src_lengths.new_tensor(longest) - 1).clamp_min(1)
    least = torch.maximum(src_lengths.new_tensor(shortest) - 1, of_prefix).clamp_min(1)
    least = torch.minimum(least, most)
    found = model.target_lengths(source, count, least, most)
    likeliest = model.target_lengths(source, 1, least, unlimited).lengths
    return found, (found.lengths == most[:, None]) & (likeliest > most[:, None])


class Rows:
    """What is filled in so far."""

    def __init__(self, lengths: Tensor, prefixes: Tensor, need_attention: bool) -> None:
        """lengths (N,): positions of each row; prefixes (N, any): what its first ones hold, `NOT_FORCED` for none."""
        self.lengths, self.need_attention = lengths, need_attention
        shape = (len(lengths), int(lengths.max()))
        forced = F.pad(prefixes, (0, max(0, shape[1] - prefixes.size(1))), value=NOT_FORCED)[:, : shape[1]]
        self.forced = forced.masked_fill(forced == NOT_FORCED, IGNORE)
        self.ids = lengths.new_full(shape, IGNORE)
        """(N, P), IGNORE where nothing was predicted yet."""
        self.log_probs = torch.zeros(shape, device=lengths.device)
        """(N, P): of these, when they were predicted."""
        self.attention: Tensor | None = None
        """(N, P, S): what they attended to then; None where that is not needed."""
        self.is_free = ~padding_mask(lengths, shape[1]) & (self.forced == IGNORE)

    def least_sure(self, count: Tensor) -> Tensor:
        """Mark the `count` (N,) free positions of each row with the lowest log-probabilities: (N, P) bool."""
        values = self.log_probs.masked_fill(~self.is_free, torch.inf)
        ranks = values.argsort(dim=1, stable=True).argsort(dim=1)
        return ranks < count[:, None]

    def say(self, rows: Tensor, is_new: Tensor, ids: Tensor, log_probs: Tensor) -> Tensor:
        """Put ids (A, P') into some rows (A,) where `is_new` (A, P); tell in which rows that changes any: (A,)."""
        before = self.ids[rows]
        padding = (0, before.size(1) - ids.size(1))
        self.ids[rows] = F.pad(ids, padding).where(is_new, before)
        self.log_probs[rows] = F.pad(log_probs, padding).where(is_new, self.log_probs[rows])
        return (self.ids[rows] != before).any(1)

    def attend(self, rows: Tensor, is_new: Tensor, attention: Tensor | None) -> None:
        """Keep what positions of some rows (A,) attended to (A, P', S), if that is needed, where `is_new` (A, P)."""
        if attention is None:
            return
        if self.attention is None:
            self.attention = torch.zeros(*self.ids.shape, attention.size(2), device=attention.device)
        size = attention.size(1)
        before = self.attention[rows, :size]
        self.attention[rows, :size] = torch.where(is_new[:, :size, None], attention.float(), before)

    def hypotheses(
        self,
        length_log_probs: Tensor,
        is_cut: Tensor,
        limits: Sequence[int],
        end_id: int | None,
        config: SearchConfig,
    ) -> list[Hypothesis]:
        """Write out all rows; `length_log_probs` (N,) stand for the end, unless `end_id` is an id that ends them.

        Those that are cut (N,) have no end, nor have those with no `end_id` within their `limits` (N), where they are
        cut then.
        """
        found = []
        lengths = zip(self.lengths.tolist(), limits, is_cut.tolist(), length_log_probs.tolist(), strict=True)
        filled = zip(self.ids.tolist(), self.log_probs.tolist(), lengths, strict=True)
        attention = [None] * len(limits) if self.attention is None else list(self.attention.cpu())
        for of_row, (ids, log_probs, (length, limit, cut, of_length)) in zip(attention, filled, strict=True):
            size, finished = length, not cut
            shares = [*log_probs[:length], of_length][: size + finished]
            if end_id is not None:
                said = ids[: min(length, limit)]
                finished = end_id in said
                size = said.index(end_id) if finished else len(said)
                shares = log_probs[: size + finished]
            log_prob = sum(shares)
            score = log_prob / length_penalty(size + finished, config)
            looked = None if of_row is None else of_row[: size + (finished and end_id is not None)]
            found.append(Hypothesis(ids[:size], score, log_prob, finished, shares, looked))
        return found


def fill(
    model: PositionModel,
    source: Any,
    rows: Rows,
    iterations: int,
    choose: Choice,
    early_stopping: bool,
    revise: bool,
) -> None:
    """Predict all free positions, then again and again a linearly smaller part of them, which is hidden.

    Of what the model says `choose` takes an id for each, beside what is kept (A, P), and its log-probability: what is
    shown is kept, with `revise` only what is forced. Rows of which nothing is left to be hidden leave, with
    `early_stopping` also those in which nothing has changed.
    """
    alive, free = torch.arange(len(rows.lengths), device=rows.lengths.device), rows.is_free.sum(1)
    is_forced = rows.forced != IGNORE
    if is_forced.any():
        output = model.predict(source, rows.lengths, None, rows.need_attention)
        rows.say(alive, is_forced, *output.likeliest((), rows.forced))
        rows.attend(alive, is_forced, output.attention)
    goes_on = free > 0
    for iteration in range(iterations):
        goes_on &= free[alive] * (iterations - iteration) // iterations > 0
        if not goes_on.all():
            left = goes_on.nonzero()[:, 0]
            alive, source = alive[left], source.select(left)
        if not len(alive):
            return
        is_hidden = rows.least_sure(free * (iterations - iteration) // iterations)[alive]
        size = int(rows.lengths[alive].max())
        shown = rows.ids[alive].masked_fill(is_hidden, IGNORE)[:, :size]
        is_any = iteration > 0 or bool(is_forced.any())
        output = model.predict(source, rows.lengths[alive], shown if is_any else None, rows.need_attention)
        kept, is_new = (rows.forced[alive, :size], rows.is_free[alive]) if revise else (shown, is_hidden)
        ids, log_probs = choose(output, kept)
        refuse_nan(log_probs.masked_fill(~is_new[:, :size], 0.0), f"in pass {iteration + 1}")
        is_changed = rows.say(alive, is_new, ids, log_probs)
        rows.attend(alive, is_new, output.attention)
        goes_on = is_changed if early_stopping else torch.ones_like(is_changed)


def score_by_halves(model: PositionModel, source: Any, rows: Rows) -> None:
    """Give all symbols the log-probabilities that they have when every other place is hidden, theirs included."""
    is_even = torch.arange(rows.ids.size(1), device=rows.ids.device) % 2 == 0
    for is_hidden in (is_even, ~is_even):
        output = model.predict(source, rows.lengths, rows.ids.masked_fill(is_hidden, IGNORE))
        _, log_probs = output.likeliest((), rows.ids)
        rows.log_probs = log_probs.where(is_hidden, rows.log_probs)
