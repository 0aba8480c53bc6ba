"""Batched beam search over any autoregressive model.

At each step the 2K best continuations of a sentence's K rows are found. Those of the best K that end with eos are added
to the sentence's pool of finished hypotheses. The best K that do not end are the rows of the next step. So a finished
hypothesis occupies no row. The first step has one row per sentence; after it, each active sentence has exactly K
contiguous rows. If there are fewer than K hypotheses, the other rows have log-probability -inf.

**Stopping.** With `early_stopping` a sentence stops when `beam_size` of its hypotheses have finished and no unfinished
one has a better score than the best of them. (Most toolkits omit the second condition. If a model predicts each token
with high confidence, as in spelling, the other rows of the beam soon end as hypotheses of very low probability. Without
the second condition these would stop the search before the correct hypothesis has ended.)

Without `early_stopping` a sentence is searched until no better hypothesis is possible. With step scores of at most 0,
no continuation of a row of log-probability p can score more than p / max(penalty(l)), over the lengths l that are still
allowed. (The length reward of a fusion raises this bound; a coverage penalty, which is at most 0, lowers the scores.)
With either setting a sentence stops as soon as this bound of its best row is not above the score of its
`num_hypotheses`-th best finished hypothesis. Then no later step can change the result, because an equal score found
later would lose the tie. This is the rule of Huang et al. 2017 (arXiv:1809.00069) for bounded lengths.

A sentence stops at its maximum length at the latest. If fewer than `num_hypotheses` hypotheses have finished then, the
best unfinished ones are returned after them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF
from seqlab.search.config import SearchConfig
from seqlab.search.coverage import AttentionCoverage
from seqlab.search.cuda_graph import cuda_graph_step
from seqlab.search.fusion import Fusion
from seqlab.search.greedy import greedy_search
from seqlab.search.history import EndedHypotheses, History
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.pool import Pool
from seqlab.search.protocols import Stepper
from seqlab.search.rules import Rules, make_rules, nan_message
from seqlab.search.search import SearchRequest
from seqlab.search.top import Candidates, best_candidates


@dataclass
class _Beam:
    """Unfinished hypotheses: R rows for each of A active sentences, N = A * R."""

    active: Tensor
    """(A,) int64: sentences of the batch that are still searched, ascending."""
    log_probs: Tensor
    """(A, R), best first."""
    last_ids: Tensor
    """(N,)"""
    ids: Tensor
    """(N, t): all ids so far, kept only for `no_repeat_ngram_size`; (N, 0) otherwise."""
    coverage: AttentionCoverage | None = None
    """Attention so far, kept only for the coverage penalty."""

    def sentences(self) -> Tensor:
        """Return the sentence of each row: (N,)."""
        return self.active.repeat_interleave(self.log_probs.shape[1])


class BeamSearch:
    """Greedy or beam search with any `Stepper`; see `beam_search`."""

    def fits(self, model: Any) -> bool:
        """Return whether the model is autoregressive."""
        return isinstance(model, Stepper)

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Decode a batch, with the scores of a language model added if the request has one."""
        return beam_search(
            model if request.lm is None else Fusion(model, request.lm),
            request.batch,
            config,
            prefixes=request.prefixes,
            banned_ids=request.banned_ids,
            need_attention=request.need_attention,
        )


@torch.inference_mode()
def beam_search(
    stepper: Stepper,
    batch: Any,
    config: SearchConfig,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    banned_ids: Sequence[int] = (),
    need_attention: bool = False,
) -> list[list[Hypothesis]]:
    """Find the best hypotheses of each sentence: at least one, at most `config.num_hypotheses`, best first.

    Finished hypotheses come before unfinished ones. There are fewer than `num_hypotheses` if the constraints or the
    beam size do not allow more. If all continuations of a sentence are forbidden (-inf), its hypotheses so far are
    returned, unfinished. Ties go to the hypothesis that ended earlier, then to the lower rank, then to the lower id.
    The result does not depend on the other sentences of the batch. With a `config.beam_size` of 1 the search is greedy.

    Args:
        stepper: the model. The stopping rule assumes step scores of at most 0, plus the length reward of a `Fusion`.
        batch: input of `stepper.start`; the length limits use its `src_lengths` (B,) if it has them.
        config: beam, length penalty and limits.
        prefixes: forced prefix of each sentence, ids without eos; may be empty. Prefixes are part of the scores and
            override all other constraints.
        banned_ids: ids that no hypothesis may contain, for example padding.
        need_attention: also return the attention of each hypothesis.

    Raises:
        ValueError: a prefix or a banned id is invalid, or the model's scores are NaN.
    """
    if config.beam_size == 1:
        hypotheses = greedy_search(
            stepper, batch, config, prefixes=prefixes, banned_ids=banned_ids, need_attention=need_attention
        )
        return [[hypothesis] for hypothesis in hypotheses]
    last_ids, state = stepper.start(batch, need_attention or config.coverage_penalty > 0)
    rules = make_rules(stepper, batch, config, last_ids, prefixes, banned_ids)
    take_step, state = cuda_graph_step(stepper, state, last_ids.device, config.beam_size, rules.max_length)
    pool = Pool(len(last_ids), config.num_hypotheses, last_ids.device)
    history = History()
    beam = _first_beam(last_ids)
    for position in range(rules.max_length):
        step = take_step(beam.last_ids, state)
        if step.attention is not None and need_attention:
            history.attention.append(step.attention)
        if config.coverage_penalty > 0:
            beam.coverage = _add_coverage(beam.coverage, step.attention, config.coverage_penalty, batch, rules)
        scores = rules.apply(step.scores.float(), beam.sentences(), beam.ids, position)
        candidates = best_candidates(scores, beam.log_probs, 2 * config.beam_size)
        best = Candidates(*(field[:, : config.beam_size] for field in candidates))
        ended = (best.ids == rules.eos_id) & (best.log_probs > NEG_INF)
        # Read both flags at once, because the host waits for each value from a GPU.
        has_nan, has_ended = torch.stack((candidates.log_probs.isnan().any(), ended.any())).tolist()
        if has_nan:
            raise ValueError(nan_message(f"at position {position}"))
        if has_ended:
            best = best._replace(log_probs=best.log_probs.masked_fill(~ended, NEG_INF))
            pool.add_finished(beam.active, _end_hypotheses(best, beam, rules, position + 1, finished=True))
        live = _unfinished(candidates, rules.eos_id, config.beam_size)
        done = _is_done(pool, live, beam, rules, position + 1)
        if config.early_stopping is not False:
            done |= _can_stop_early(pool, live, beam, rules, position + 1, config.beam_size)
        parents = live.parents.flatten()
        in_order = (parents == torch.arange(len(parents), device=parents.device)).all()
        any_done, all_done, in_order = torch.stack((done.any(), done.all(), in_order)).tolist()
        if any_done:
            _collect_unfinished(pool, live, beam, rules, done.nonzero()[:, 0], history)
            if all_done:
                break
            staying = (~done).nonzero()[:, 0]
            beam.active, live = beam.active[staying], Candidates(*(field[staying] for field in live))
        beam = _advance(beam, live, history, keep_ids=rules.no_repeat_ngram_size > 0)
        state = step.state if in_order and not any_done else step.state.select(history.parents[-1])
    return pool.hypotheses(history)


def _first_beam(last_ids: Tensor) -> _Beam:
    """Make the rows of the first step, one per sentence. last_ids: (B,)."""
    count, device = len(last_ids), last_ids.device
    return _Beam(
        active=torch.arange(count, device=device),
        log_probs=torch.zeros(count, 1, device=device),
        last_ids=last_ids,
        ids=last_ids.new_zeros(count, 0),
    )


def _unfinished(candidates: Candidates, eos_id: int, beam_size: int) -> Candidates:
    """Return the best `beam_size` candidates that do not end with eos; -inf if there are fewer."""
    log_probs = candidates.log_probs.masked_fill(candidates.ids == eos_id, NEG_INF)
    log_probs, order = log_probs.sort(dim=1, descending=True, stable=True)
    return candidates.reorder(order[:, :beam_size])._replace(log_probs=log_probs[:, :beam_size])


def _is_done(pool: Pool, live: Candidates, beam: _Beam, rules: Rules, length: int) -> Tensor:
    """Return a mask (A,) of the sentences for which no better hypothesis of more than `length` ids is possible."""
    bound = rules.best_score(live.log_probs[:, 0], beam.active, length)
    # Without an unfinished row the bound is -inf, which is not above the -inf of a free slot.
    can_improve = bound > pool.worst_scores()[beam.active]
    return ~can_improve | (length >= rules.max_lengths[beam.active])


def _can_stop_early(pool: Pool, live: Candidates, beam: _Beam, rules: Rules, length: int, beam_size: int) -> Tensor:
    """Return a mask (A,) of the sentences that `early_stopping` stops after a step, with hypotheses of `length` ids."""
    is_worse = live.log_probs[:, 0] / rules.penalties[length] <= pool.best_scores()[beam.active]
    return (pool.num_finished[beam.active] >= beam_size) & is_worse


def _collect_unfinished(
    pool: Pool, live: Candidates, beam: _Beam, rules: Rules, leaving: Tensor, history: History
) -> None:
    """Fill the pools of the sentences `leaving` (L,) with live candidates, or else with the rows of this step."""
    length = history.num_steps + 1
    ended = _end_hypotheses(live, beam, rules, length, finished=False)
    # A coverage penalty changes their order.
    best_first = ended.scores.sort(dim=1, descending=True, stable=True).indices
    pool.fill(beam.active[leaving], ended.reorder(best_first).select_sentences(leaving))
    if length > 1:
        shape = beam.log_probs.shape
        rows = Candidates(
            beam.log_probs,
            history.parents[-1].view(shape),
            history.ids[-1].view(shape),
            history.id_log_probs[-1].view(shape),
        )
    else:
        nothing = torch.zeros_like(beam.log_probs)
        rows = Candidates(beam.log_probs, nothing.long(), nothing.long(), nothing)
    empty = leaving[pool.is_empty()[beam.active[leaving]]]
    pool.fill(
        beam.active[empty], _end_hypotheses(rows, None, rules, length - 1, finished=False).select_sentences(empty)
    )


def _advance(beam: _Beam, live: Candidates, history: History, *, keep_ids: bool) -> _Beam:
    """Return the live candidates of the remaining sentences as the rows of the next step."""
    parents, ids = live.parents.flatten(), live.ids.flatten()
    history.append(parents, ids, live.id_log_probs.flatten())
    all_ids = torch.cat([beam.ids[parents], ids[:, None]], dim=1) if keep_ids else beam.ids.new_zeros(len(ids), 0)
    coverage = None if beam.coverage is None else beam.coverage.select(parents)
    return _Beam(beam.active, live.log_probs, ids, all_ids, coverage)


def _add_coverage(
    coverage: AttentionCoverage | None, attention: Tensor | None, beta: float, batch: Any, rules: Rules
) -> AttentionCoverage:
    """Add the attention (N, S) of a step to the coverage; raise ValueError if the model has no attention."""
    if attention is None:
        raise ValueError(
            "`coverage_penalty` is for models that attend to a source, in an ensemble for all of them: leave it out."
        )
    if coverage is None:
        return AttentionCoverage.from_first_step(attention, batch.src, batch.src_lengths, beta, rules.banned_ids)
    return coverage.add(attention)


def _end_hypotheses(
    candidates: Candidates, beam: _Beam | None, rules: Rules, length: int, *, finished: bool
) -> EndedHypotheses:
    """Convert candidates of `length` ids, which extend rows of the beam, to ended hypotheses."""
    scores = candidates.log_probs / rules.penalties[length]
    if beam is not None and beam.coverage is not None:
        scores = scores + beam.coverage.penalties(beam.sentences())[candidates.parents]
    return EndedHypotheses(
        scores=scores,
        log_probs=candidates.log_probs,
        lengths=torch.full_like(candidates.ids, length),
        parents=candidates.parents,
        last_ids=candidates.ids,
        last_log_probs=candidates.id_log_probs,
        finished=torch.full_like(candidates.ids, finished, dtype=torch.bool),
    )
