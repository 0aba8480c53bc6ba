"""Mask-predict: non-autoregressive decoding that re-predicts the least confident tokens.

All positions are predicted in parallel. Each further pass masks the tokens of the lowest probability and re-predicts
them (Ghazvininejad et al. 2019, arXiv:1904.09324), or re-predicts all tokens (Ghazvininejad et al. 2020,
arXiv:2001.08785). The hypotheses of a sentence have different target lengths and are decoded in parallel.

Shapes: B sentences, K lengths, N rows (hypotheses), P positions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import NEG_INF, FrameOutput, TargetLengths
from seqlab.nn.masks import padding_mask
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import NOT_FORCED, prefix_table
from seqlab.search.fusion import WeightedLm, lm_token_scores
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.length import length_limits, length_penalty
from seqlab.search.position_beam import predict_with_lm
from seqlab.search.protocols import PositionModel
from seqlab.search.rules import refuse_nan
from seqlab.search.search import SearchRequest

UNLIMITED_LENGTH = 1 << 30
"""Upper bound of target lengths that never applies."""
ChooseIds = Callable[[FrameOutput, Tensor], tuple[Tensor, Tensor]]
"""(output of the model, fixed ids (A, P) with IGNORE for free positions) -> ids and log-probabilities, (A, P) each."""


class MaskPredict:
    """Search with any `PositionModel`; see `mask_predict`."""

    def fits(self, model: Any) -> bool:
        """Return whether the model is non-autoregressive."""
        return isinstance(model, PositionModel)

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Decode a batch."""
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
    """Decode targets of the `beam_size` most probable lengths of each sentence; return the best hypotheses, best first.

    Each pass after the first masks the positions of the lowest probabilities, fewer in each pass, and re-predicts them.
    With `revise` it re-predicts all positions, and the model observes the tokens that are not masked. With
    `early_stopping` a hypothesis is done when a pass changes none of its tokens.

    The log-probability of a hypothesis is a sum over its tokens and its length (or eos, if eos ends targets). The term
    of a token is the log-probability of its last prediction. (With `revise` the model observes most tokens in their
    last prediction. Tokens of a forced prefix are scored given only the source.) With `pseudo_likelihood` and several
    passes and lengths, the term of a token is its log-probability given the half of the tokens that it is not in (cf.
    Salazar et al. 2020, arXiv:1910.14659, who mask one token at a time). Then hypotheses are not penalized for tokens
    that were predicted in an early pass, given few other tokens.

    A hypothesis of the maximum length is not finished if the most probable length is longer. If lengths are predicted,
    a hypothesis has at least one token, regardless of the limits.

    With a language model each pass maximizes the sum of both models' scores, by a beam search over the positions with
    `beam_size` prefixes; log-probabilities then include the language model's scores.

    Args:
        model: a model that predicts target lengths, and tokens given other tokens.
        batch: input of the model.
        config: `beam_size`, `iterations` (None: the model's default), `early_stopping`, `pseudo_likelihood`,
            `revise`, length limits and length penalty.
        prefixes: forced prefix of each sentence, as ids.
        banned_ids: ids that no hypothesis may contain.
        lm: a `FixedContextModel` for shallow fusion, for models whose targets do not end at eos.
        need_attention: also return the attention of each token in its last prediction.

    Raises:
        ValueError: a field of `config` does not apply to such a model; a prefix is invalid; the model gives NaN.
    """
    config.check_non_autoregressive(model.ends_at_eos, model.iterations)
    min_lengths, max_lengths = length_limits(batch.src_lengths.tolist(), len(batch.src_lengths), config)
    forced = prefix_table(prefixes, max_lengths, model.vocab_size, model.eos_id).to(batch.src_lengths.device)
    source = model.encode(batch)
    predicted, is_cut = _predict_lengths(
        model, source, batch.src_lengths, forced, config.beam_size, min_lengths, max_lengths
    )
    refuse_nan(predicted.log_probs, "for the lengths")
    sentences, ranks = (predicted.log_probs > NEG_INF).nonzero(as_tuple=True)
    if len(sentences) > len(batch.src_lengths):
        source = source.select(sentences)
    targets = PartialTargets(predicted.lengths[sentences, ranks], forced[sentences], need_attention)
    limits = [max_lengths[sentence] for sentence in sentences.tolist()]
    excluded = sorted({*banned_ids} - {model.eos_id} if model.ends_at_eos else {*banned_ids, model.eos_id})
    iterations = config.iterations or model.iterations

    def choose(output: FrameOutput, fixed: Tensor) -> tuple[Tensor, Tensor]:
        if lm is None:
            return output.most_probable(excluded)
        return predict_with_lm(output, fixed, lm, config.beam_size, excluded)

    predict_positions(model, source, targets, iterations, choose, bool(config.early_stopping), config.revise)
    if config.pseudo_likelihood and min(iterations, config.beam_size) > 1:
        score_by_halves(model, source, targets)
    length_log_probs = predicted.log_probs[sentences, ranks]
    if lm is not None:
        lm_scores, eos_scores = lm_token_scores(lm, targets.ids, targets.lengths)
        targets.log_probs, length_log_probs = targets.log_probs + lm_scores, length_log_probs + eos_scores
    by_sentence: list[list[Hypothesis]] = [[] for _ in max_lengths]
    end_id = model.eos_id if model.ends_at_eos else None
    hypotheses = targets.hypotheses(length_log_probs, is_cut[sentences, ranks], limits, end_id, config)
    for sentence, hypothesis in zip(sentences.tolist(), hypotheses, strict=True):
        by_sentence[sentence].append(hypothesis)
    return [sorted(outputs, key=lambda h: -h.score)[: config.num_hypotheses] for outputs in by_sentence]


def _predict_lengths(
    model: PositionModel,
    source: Any,
    src_lengths: Tensor,
    forced: Tensor,
    count: int,
    min_lengths: Sequence[int],
    max_lengths: Sequence[int],
) -> tuple[TargetLengths, Tensor]:
    """Predict the numbers of positions of the hypotheses of each sentence.

    If targets end at eos, the numbers are those of training, regardless of the limits, and at least one more than the
    length of the prefix. Otherwise eos has no position, and the numbers are within the limits, which include eos.

    Returns:
        The lengths, and a mask (B, K) of those that are cut: equal to the maximum while the most probable length is
        above it.
    """
    prefix_lengths = (forced != NOT_FORCED).sum(1)
    unlimited = torch.full_like(src_lengths, UNLIMITED_LENGTH)
    if model.ends_at_eos:
        predicted = model.target_lengths(source, count, prefix_lengths + 1, unlimited)
        return predicted, torch.zeros_like(predicted.lengths, dtype=torch.bool)
    longest = (src_lengths.new_tensor(max_lengths) - 1).clamp_min(1)
    shortest = torch.maximum(src_lengths.new_tensor(min_lengths) - 1, prefix_lengths).clamp_min(1)
    shortest = torch.minimum(shortest, longest)
    predicted = model.target_lengths(source, count, shortest, longest)
    most_probable = model.target_lengths(source, 1, shortest, unlimited).lengths
    return predicted, (predicted.lengths == longest[:, None]) & (most_probable > longest[:, None])


class PartialTargets:
    """Targets of N rows while their positions are predicted, pass by pass."""

    def __init__(self, lengths: Tensor, prefixes: Tensor, need_attention: bool) -> None:
        """lengths (N,): positions of each row; prefixes (N, P'): forced ids, padded with `NOT_FORCED`."""
        self.lengths, self.need_attention = lengths, need_attention
        shape = (len(lengths), int(lengths.max()))
        forced = F.pad(prefixes, (0, max(0, shape[1] - prefixes.size(1))), value=NOT_FORCED)[:, : shape[1]]
        self.forced = forced.masked_fill(forced == NOT_FORCED, IGNORE)
        self.ids = lengths.new_full(shape, IGNORE)
        """(N, P): ids, IGNORE at positions that have not been predicted yet."""
        self.log_probs = torch.zeros(shape, device=lengths.device)
        """(N, P): log-probability of each id in its last prediction."""
        self.attention: Tensor | None = None
        """(N, P, S): attention of each id in its last prediction; None if it is not needed."""
        self.is_free = ~padding_mask(lengths, shape[1]) & (self.forced == IGNORE)

    def least_confident(self, count: Tensor) -> Tensor:
        """Return a mask (N, P) of the `count` (N,) free positions of each row with the lowest log-probabilities."""
        values = self.log_probs.masked_fill(~self.is_free, torch.inf)
        ranks = values.argsort(dim=1, stable=True).argsort(dim=1)
        return ranks < count[:, None]

    def set_ids(self, rows: Tensor, is_new: Tensor, ids: Tensor, log_probs: Tensor) -> Tensor:
        """Set the ids (A, P') of some rows (A,) where `is_new` (A, P); return a mask (A,) of the rows that changed."""
        before = self.ids[rows]
        padding = (0, before.size(1) - ids.size(1))
        self.ids[rows] = F.pad(ids, padding).where(is_new, before)
        self.log_probs[rows] = F.pad(log_probs, padding).where(is_new, self.log_probs[rows])
        return (self.ids[rows] != before).any(1)

    def set_attention(self, rows: Tensor, is_new: Tensor, attention: Tensor | None) -> None:
        """Set the attention (A, P', S) of some rows (A,) where `is_new` (A, P), if it is needed."""
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
        """Convert the rows to hypotheses.

        Args:
            length_log_probs: (N,), used as the log-probability of eos if `end_id` is None.
            is_cut: (N,), rows that are not finished.
            limits: (N), maximum lengths; a row without `end_id` within its limit is cut at the limit and not finished.
            end_id: the id that ends a row; None if the number of positions does.
            config: length penalty.
        """
        hypotheses = []
        lengths = zip(self.lengths.tolist(), limits, is_cut.tolist(), length_log_probs.tolist(), strict=True)
        filled = zip(self.ids.tolist(), self.log_probs.tolist(), lengths, strict=True)
        attention = [None] * len(limits) if self.attention is None else list(self.attention.cpu())
        for row_attention, (ids, log_probs, (length, limit, cut, length_log_prob)) in zip(
            attention, filled, strict=True
        ):
            size, finished = length, not cut
            token_log_probs = [*log_probs[:length], length_log_prob][: size + finished]
            if end_id is not None:
                allowed = ids[: min(length, limit)]
                finished = end_id in allowed
                size = allowed.index(end_id) if finished else len(allowed)
                token_log_probs = log_probs[: size + finished]
            log_prob = sum(token_log_probs)
            score = log_prob / length_penalty(size + finished, config)
            cropped = None if row_attention is None else row_attention[: size + (finished and end_id is not None)]
            hypotheses.append(Hypothesis(ids[:size], score, log_prob, finished, token_log_probs, cropped))
        return hypotheses


def predict_positions(
    model: PositionModel,
    source: Any,
    targets: PartialTargets,
    iterations: int,
    choose: ChooseIds,
    early_stopping: bool,
    revise: bool,
) -> None:
    """Predict all free positions, then re-predict masked ones; their number decreases linearly from pass to pass.

    `choose` selects the ids from the model's output, given the fixed ids: those that the model observes, or with
    `revise` only the forced ones. A row is done when no position is left to mask, with `early_stopping` also when a
    pass changes none of its tokens.
    """
    active, num_free = torch.arange(len(targets.lengths), device=targets.lengths.device), targets.is_free.sum(1)
    is_forced = targets.forced != IGNORE
    if is_forced.any():
        output = model.predict(source, targets.lengths, None, targets.need_attention)
        targets.set_ids(active, is_forced, *output.most_probable((), targets.forced))
        targets.set_attention(active, is_forced, output.attention)
    is_active = num_free > 0
    for iteration in range(iterations):
        is_active &= num_free[active] * (iterations - iteration) // iterations > 0
        if not is_active.all():
            remaining = is_active.nonzero()[:, 0]
            active, source = active[remaining], source.select(remaining)
        if not len(active):
            return
        is_masked = targets.least_confident(num_free * (iterations - iteration) // iterations)[active]
        size = int(targets.lengths[active].max())
        shown = targets.ids[active].masked_fill(is_masked, IGNORE)[:, :size]
        is_any_shown = iteration > 0 or bool(is_forced.any())
        output = model.predict(source, targets.lengths[active], shown if is_any_shown else None, targets.need_attention)
        fixed, is_new = (targets.forced[active, :size], targets.is_free[active]) if revise else (shown, is_masked)
        ids, log_probs = choose(output, fixed)
        refuse_nan(log_probs.masked_fill(~is_new[:, :size], 0.0), f"in pass {iteration + 1}")
        is_changed = targets.set_ids(active, is_new, ids, log_probs)
        targets.set_attention(active, is_new, output.attention)
        is_active = is_changed if early_stopping else torch.ones_like(is_changed)


def score_by_halves(model: PositionModel, source: Any, targets: PartialTargets) -> None:
    """Set the log-probabilities of the tokens at even positions given those at odd positions, and vice versa."""
    is_even = torch.arange(targets.ids.size(1), device=targets.ids.device) % 2 == 0
    for is_masked in (is_even, ~is_even):
        output = model.predict(source, targets.lengths, targets.ids.masked_fill(is_masked, IGNORE))
        _, log_probs = output.most_probable((), targets.ids)
        targets.log_probs = log_probs.where(is_masked, targets.log_probs)
