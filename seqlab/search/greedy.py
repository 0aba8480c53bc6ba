"""Greedy search: the best id at each step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import NEG_INF, Stepper
from seqlab.search.config import SearchConfig
from seqlab.search.cuda_graph import cuda_graph_step
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.rules import Rules, make_rules, nan_message


class _Found:
    """The hypotheses of B sentences as they grow: one row of each tensor per sentence."""

    def __init__(self, num_sentences: int, max_length: int, device: torch.device) -> None:
        self.ids = torch.zeros(num_sentences, max_length, dtype=torch.int64, device=device)
        self.id_log_probs = torch.zeros(num_sentences, max_length, device=device)
        self.log_probs = torch.zeros(num_sentences, device=device)
        self.lengths = torch.zeros(num_sentences, dtype=torch.int64, device=device)
        self.attention: Tensor | None = None  # (B, T, S)

    def append(self, sentences: Tensor, ids: Tensor, id_log_probs: Tensor, attention: Tensor | None) -> None:
        """Add an id to the hypotheses of some sentences (N,) that all have the same length."""
        position = self.lengths[sentences]
        self.ids[sentences, position] = ids
        self.id_log_probs[sentences, position] = id_log_probs
        self.log_probs[sentences] += id_log_probs
        self.lengths[sentences] += 1
        if attention is not None:
            if self.attention is None:
                self.attention = attention.new_zeros(*self.ids.shape, attention.shape[1])
            self.attention[sentences, position] = attention

    def hypotheses(self, rules: Rules) -> list[Hypothesis]:
        """Move the results to Python."""
        scores = (self.log_probs / rules.penalties[self.lengths]).tolist()
        ids, id_log_probs = self.ids.tolist(), self.id_log_probs.tolist()
        log_probs, lengths = self.log_probs.tolist(), self.lengths.tolist()
        attention = None if self.attention is None else self.attention.cpu()
        found = []
        for i, length in enumerate(lengths):
            finished = length > 0 and ids[i][length - 1] == rules.eos_id
            found.append(
                Hypothesis(
                    ids=ids[i][: length - finished],
                    score=scores[i],
                    log_prob=log_probs[i],
                    finished=finished,
                    token_log_probs=id_log_probs[i][:length],
                    attention=None if attention is None else attention[i, :length].clone(),
                )
            )
        return found


@torch.inference_mode()
def greedy_search(
    stepper: Stepper,
    batch: Any,
    config: SearchConfig,
    *,
    prefixes: Sequence[Sequence[int]] | None = None,
    banned_ids: Sequence[int] = (),
    need_attention: bool = False,
) -> list[Hypothesis]:
    """Follow the best id of each step until eos or the maximum length: one hypothesis per sentence.

    Of equal scores the lower id wins. `config.beam_size` and `config.num_hypotheses` are not read. The other arguments
    and what they raise: see `beam_search`.
    """
    last_ids, state = stepper.start(batch, need_attention)
    rules = make_rules(stepper, batch, config, last_ids, prefixes, banned_ids)
    take_step, state = cuda_graph_step(stepper, state, last_ids.device, 1, rules.max_length)
    found = _Found(len(last_ids), rules.max_length, last_ids.device)
    active = torch.arange(len(last_ids), device=last_ids.device)  # (N,) the sentence of each row
    for position in range(rules.max_length):
        step = take_step(last_ids, state)
        scores = rules.apply(step.scores.float(), active, found.ids[active, :position], position)
        last_ids = scores.argmax(dim=1)  # documented to return the first of several maxima
        best = scores.gather(1, last_ids[:, None])[:, 0]
        possible = best > NEG_INF
        goes_on = possible & (last_ids != rules.eos_id) & (position + 1 < rules.longest[active])
        # All at once, as on a GPU the host waits for each answer.
        questions = best.isnan().any(), possible.all(), goes_on.any(), goes_on.all()
        has_nan, all_possible, any_goes_on, all_go_on = torch.stack(questions).tolist()
        if has_nan:
            raise ValueError(nan_message(f"at position {position}"))
        if all_possible:
            found.append(active, last_ids, best, step.attention)
        else:  # where all ids are forbidden the hypothesis stays as it is, unfinished
            rows = possible.nonzero()[:, 0]
            attention = None if step.attention is None else step.attention[rows]
            found.append(active[rows], last_ids[rows], best[rows], attention)
        if not any_goes_on:
            break
        state = step.state
        if not all_go_on:
            rows = goes_on.nonzero()[:, 0]
            active, last_ids, state = active[rows], last_ids[rows], state.select(rows)
    return found.hypotheses(rules)
