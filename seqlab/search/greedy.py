"""Batched greedy search: the best id at each step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF
from seqlab.search.config import SearchConfig
from seqlab.search.cuda_graph import cuda_graph_step
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import Stepper
from seqlab.search.rules import Rules, make_rules, nan_message


class _Outputs:
    """Growing hypotheses of B sentences: one row of each tensor per sentence."""

    def __init__(self, num_sentences: int, max_length: int, device: torch.device) -> None:
        self.ids = torch.zeros(num_sentences, max_length, dtype=torch.int64, device=device)
        self.id_log_probs = torch.zeros(num_sentences, max_length, device=device)
        self.log_probs = torch.zeros(num_sentences, device=device)
        self.lengths = torch.zeros(num_sentences, dtype=torch.int64, device=device)
        self.attention: Tensor | None = None  # (B, T, S)

    def append(self, sentences: Tensor, ids: Tensor, id_log_probs: Tensor, attention: Tensor | None) -> None:
        """Append an id to the hypotheses of some sentences (N,), which all have the same length."""
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
        """Convert the hypotheses to Python objects."""
        scores = (self.log_probs / rules.penalties[self.lengths]).tolist()
        ids, id_log_probs = self.ids.tolist(), self.id_log_probs.tolist()
        log_probs, lengths = self.log_probs.tolist(), self.lengths.tolist()
        attention = None if self.attention is None else self.attention.cpu()
        hypotheses = []
        for i, length in enumerate(lengths):
            finished = length > 0 and ids[i][length - 1] == rules.eos_id
            hypotheses.append(
                Hypothesis(
                    ids=ids[i][: length - finished],
                    score=scores[i],
                    log_prob=log_probs[i],
                    finished=finished,
                    token_log_probs=id_log_probs[i][:length],
                    attention=None if attention is None else attention[i, :length].clone(),
                )
            )
        return hypotheses


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
    """Take the best id at each step until eos or the maximum length: one hypothesis per sentence.

    Among equal scores the lowest id is taken. `config.beam_size` and `config.num_hypotheses` are ignored. Arguments and
    errors are those of `beam_search`.
    """
    last_ids, state = stepper.start(batch, need_attention)
    rules = make_rules(stepper, batch, config, last_ids, prefixes, banned_ids)
    take_step, state = cuda_graph_step(stepper, state, last_ids.device, 1, rules.max_length)
    outputs = _Outputs(len(last_ids), rules.max_length, last_ids.device)
    active = torch.arange(len(last_ids), device=last_ids.device)  # (N,) the sentence of each row
    for position in range(rules.max_length):
        step = take_step(last_ids, state)
        scores = rules.apply(step.scores.float(), active, outputs.ids[active, :position], position)
        last_ids = scores.argmax(dim=1)  # of several maxima the first, as torch documents
        best = scores.gather(1, last_ids[:, None])[:, 0]
        is_allowed = best > NEG_INF
        is_unfinished = is_allowed & (last_ids != rules.eos_id) & (position + 1 < rules.max_lengths[active])
        # Read all flags at once, because the host waits for each value from a GPU.
        flags = best.isnan().any(), is_allowed.all(), is_unfinished.any(), is_unfinished.all()
        has_nan, all_allowed, any_unfinished, all_unfinished = torch.stack(flags).tolist()
        if has_nan:
            raise ValueError(nan_message(f"at position {position}"))
        if all_allowed:
            outputs.append(active, last_ids, best, step.attention)
        else:  # a hypothesis for which all ids are forbidden ends unfinished
            rows = is_allowed.nonzero()[:, 0]
            attention = None if step.attention is None else step.attention[rows]
            outputs.append(active[rows], last_ids[rows], best[rows], attention)
        if not any_unfinished:
            break
        state = step.state
        if not all_unfinished:
            rows = is_unfinished.nonzero()[:, 0]
            active, last_ids, state = active[rows], last_ids[rows], state.select(rows)
    return outputs.hypotheses(rules)
