"""Samples of a model and their rewards, for objectives that train on a metric.

Shapes: B rows of a batch, K samples of each row, N = B * K samples row after row, T actions: the ids of a sample with
its eos, or the whole output of a CTC model as a single action.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqlab.base.bounds import MAX_NUMBER
from seqlab.data.batch import IGNORE, DecoderBatch
from seqlab.evaluation.rewards import Reward, prefix_rewards
from seqlab.models.outputs import FrameLogProbs
from seqlab.objectives.ctc import BLANK, CtcTargets
from seqlab.objectives.loss import StepContext, TextSide
from seqlab.registry import Parts
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.ctc import best_path_search, sample_outputs
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import FrameModel, Stepper
from seqlab.search.sampling import sample
from seqlab.search.search import SearchRequest, select_search


class Rewards(NamedTuple):
    """Rewards of samples, on the CPU."""

    totals: Tensor
    """(N,) fp32: reward of each sample."""
    by_token: Tensor
    """(N, T) fp32: increase of the reward by each id, or all of the reward at the last id; 0 after it."""


@dataclass
class Samples:
    """Samples of the rows of a batch, and their rewards."""

    ids: list[list[int]]
    """Ids of each of the N samples, with eos where it was drawn."""
    rewards: "Future[Rewards]"
    greedy_rewards: "Future[Rewards] | None" = None
    """Rewards of the greedy output of each of the B rows."""
    start_ratios: Tensor | None = None
    """(N, T): log-probabilities of the actions minus those by the weights at the start of training, without dropout."""
    old_log_probs: Tensor | None = None
    """(N, T): log-probabilities of the actions in the first pass over these samples."""


class Actions(NamedTuple):
    """Log-probabilities of the actions of samples, differentiable."""

    log_probs: Tensor
    """(N, T) fp32, in nats; 0 after the last action."""
    mask: Tensor
    """(N, T) bool: whether there is an action."""
    hidden: Tensor | None
    """(N, T, D): hidden state before each action; None for CTC."""


class Policy(Protocol):
    """A model as a policy: it draws samples, and computes their log-probabilities."""

    def draw(self, model: Any, batch: DecoderBatch, config: SamplingConfig, num_samples: int) -> list[list[int]]:
        """Draw samples without a gradient."""
        ...

    def most_probable(
        self, model: Any, batch: DecoderBatch, config: SamplingConfig, num_outputs: int = 1
    ) -> list[list[int]]:
        """Return the most probable outputs of each row: the greedy one, or several by beam search."""
        ...

    def actions(self, model: Any, batch: DecoderBatch, ids: Sequence[Sequence[int]], pad_id: int) -> Actions:
        """Compute the log-probabilities of samples, K for each row of the batch."""
        ...


class TokenPolicy:
    """Policy of an autoregressive model: each id of a sample is an action."""

    def draw(self, model: Stepper, batch: Any, config: SamplingConfig, num_samples: int) -> list[list[int]]:
        """Draw samples; the source of a row is encoded once."""
        rows = batch.indices.tolist()
        hypotheses = sample(model, _prompts(batch), config, row_numbers=rows, num_samples=num_samples)
        return [[*hypothesis.ids, *[model.eos_id] * hypothesis.finished] for hypothesis in hypotheses]

    def most_probable(
        self, model: Stepper, batch: Any, config: SamplingConfig, num_outputs: int = 1
    ) -> list[list[int]]:
        """Return the output with the most probable id at each step, or several of a beam search."""
        if num_outputs == 1:
            return self.draw(model, batch, replace(config, top_k=1), 1)
        limits = SearchConfig(
            max_length=config.max_length,
            max_length_ratio=config.max_length_ratio,
            max_length_offset=config.max_length_offset,
        )
        hypotheses = _beam_search(model, _prompts(batch), limits, num_outputs)
        return [[*hypothesis.ids, *[model.eos_id] * hypothesis.finished] for hypothesis in hypotheses]

    def actions(self, model: Any, batch: DecoderBatch, ids: Sequence[Sequence[int]], pad_id: int) -> Actions:
        """Compute the log-probabilities of all ids in a teacher-forced pass."""
        repeated = repeat_with_targets(batch, ids, pad_id)
        assert repeated.tgt_out is not None
        output, mask = model(repeated), repeated.tgt_out != IGNORE
        log_probs = output.target_log_probs(repeated.tgt_out).float()
        return Actions(log_probs.new_zeros(mask.shape).masked_scatter(mask, log_probs), mask, output.hidden)


class FramePolicy:
    """Policy of a CTC model: the output of a random path is one action, with the probability of all of its paths."""

    def draw(self, model: FrameModel, batch: Any, config: SamplingConfig, num_samples: int) -> list[list[int]]:
        """Draw the outputs of random paths."""
        outputs = sample_outputs(model, batch, config.seed, batch.indices.tolist(), num_samples)
        return [[*output, model.eos_id] for output in outputs]

    def most_probable(
        self, model: FrameModel, batch: Any, config: SamplingConfig, num_outputs: int = 1
    ) -> list[list[int]]:
        """Return the output of the path with the most probable id in each frame, or several of a beam search."""
        with torch.no_grad():
            outputs = (
                best_path_search(model, batch, SearchConfig(beam_size=1), need_scores=False)
                if num_outputs == 1
                else _beam_search(model, batch, SearchConfig(), num_outputs)
            )
        return [[*output.ids, model.eos_id] for output in outputs]

    def actions(self, model: FrameModel, batch: DecoderBatch, ids: Sequence[Sequence[int]], pad_id: int) -> Actions:
        """Compute the log-probability of each output, summed over its paths: (N, 1)."""
        count = len(ids) // len(batch.indices)
        assert batch.tgt_out is not None
        tgt_out = repeat_with_targets(batch, ids, pad_id).tgt_out
        assert tgt_out is not None
        targets = CtcTargets.of(tgt_out, model.blank_id)
        output = model(batch)
        # The columns of a row are those of all of its samples, so that the vocabulary is normalized once per frame.
        columns = targets.ids.unflatten(0, (-1, count)).flatten(1)  # (B, K * (1 + T))
        by_row, _ = output.selected_log_probs(columns)
        by_sample = by_row.unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1)  # (N, F, 1 + T)
        frames = FrameLogProbs(by_sample, output.lengths.repeat_interleave(count))
        log_probs = -frames.nll(targets.columns, targets.lengths, targets.tokens > 0, BLANK)
        return Actions(log_probs[:, None].float(), torch.ones_like(log_probs, dtype=torch.bool)[:, None], None)


def repeat_with_targets(batch: DecoderBatch, rows: Sequence[Sequence[int]], pad_id: int) -> DecoderBatch:
    """Repeat each row of a batch for several targets, and replace the targets.

    Args:
        batch: B rows with targets.
        rows: the ids of B * K targets, K for each row of the batch in order, with eos where they end.
        pad_id: padding id of the target side.
    """
    assert batch.tgt_in is not None, "the first input id of a row is that of its targets"
    count, device = len(rows) // len(batch.tgt_in), batch.tgt_in.device
    tgt_out = pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], True, IGNORE).to(device)
    inputs = tgt_out[:, :-1].masked_fill(tgt_out[:, 1:] == IGNORE, pad_id)
    repeated = {
        item.name: value.repeat_interleave(count, 0)
        for item in fields(batch)  # type: ignore[arg-type]
        if isinstance(value := getattr(batch, item.name), Tensor)
    }
    changes = {
        "tgt_in": torch.cat([repeated["tgt_in"][:, :1], inputs], dim=1),
        "tgt_out": tgt_out,
        "num_tgt_tokens": sum(map(len, rows)),
    }
    return replace(batch, **(repeated | changes))  # type: ignore[type-var]


def policy_for(model: Any) -> Policy:
    """Return the policy of a model: CTC models have a state for each frame, others are autoregressive."""
    return FramePolicy() if isinstance(model, FrameModel) else TokenPolicy()


def _prompts(batch: Any) -> Any:
    """Return the input of a search: the sources, or of a batch of text the first input id of each row."""
    if hasattr(batch, "src_lengths"):
        return batch
    return replace(batch, tgt_in=batch.tgt_in[:, :1], tgt_out=batch.tgt_out[:, :1])


@torch.no_grad()
def _beam_search(model: Any, batch: Any, limits: SearchConfig, num_outputs: int) -> list[Hypothesis]:
    """Return the hypotheses of all rows, the same number for each; if there are fewer, they repeat."""
    config = replace(limits, beam_size=num_outputs, num_hypotheses=num_outputs)
    by_row = select_search(model, config)(model, config, SearchRequest(batch))
    return [(hypotheses * num_outputs)[index] for hypotheses in by_row for index in range(num_outputs)]


class RewardComputer:
    """Computes rewards of samples in a thread, while the model computes their log-probabilities."""

    def __init__(self, name: str, needs_prefixes: bool) -> None:
        self.name, self.needs_prefixes = name, needs_prefixes
        self.reward: Reward = Parts("reward")[name]
        self.seconds = 0.0
        """Time of the thread so far."""
        self._executor: ThreadPoolExecutor | None = None

    def start(
        self, ids: Sequence[Sequence[int]], references: Sequence[str] | None, side: TextSide
    ) -> "Future[Rewards]":
        """Start to compute the rewards of samples, K for each reference; without references they are 0."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="rewards")
        return self._executor.submit(self._compute, ids, references, side)

    def _reward(self, hypothesis: str, reference: str) -> float:
        """Compute a reward; raise ValueError with the texts if it fails or is not finite."""
        texts = f"for the hypothesis {hypothesis!r} and the reference {reference!r}"
        try:
            value = float(self.reward(hypothesis, reference))
        except Exception as error:  # of a plugin
            failure = f"{type(error).__name__}: {error}"
            raise ValueError(f"The reward `{self.name}` failed {texts}: {failure}.") from error
        if not abs(value) <= MAX_NUMBER:
            bound = f"must be finite and at most {MAX_NUMBER:g}"
            raise ValueError(f"The reward `{self.name}` {bound}, but is {value} {texts}.")
        return value

    def _compute(self, ids: Sequence[Sequence[int]], references: Sequence[str] | None, side: TextSide) -> Rewards:
        started = time.thread_time()
        rewards = self._compute_rewards(ids, references, side)
        self.seconds += time.thread_time() - started
        return rewards

    def _compute_rewards(
        self, ids: Sequence[Sequence[int]], references: Sequence[str] | None, side: TextSide
    ) -> Rewards:
        by_token = torch.zeros(len(ids), max(map(len, ids), default=0))
        if references is None:
            return Rewards(torch.zeros(len(ids)), by_token)
        count = len(ids) // max(1, len(references))
        repeated = [reference for reference in references for _ in range(count)]
        texts = [] if self.needs_prefixes else side.to_texts(ids)
        for row, sequence in enumerate(ids if self.needs_prefixes else ()):
            prefixes = side.to_texts([sequence[:end] for end in range(len(sequence) + 1)])
            by_token[row, : len(sequence)] = torch.tensor(prefix_rewards(self._reward, prefixes, repeated[row]))
            texts.append(prefixes[-1])
        totals = [self._reward(text, reference) for text, reference in zip(texts, repeated, strict=True)]
        if not self.needs_prefixes:
            for row, (sequence, total) in enumerate(zip(ids, totals, strict=True)):
                by_token[row, len(sequence) - 1 : len(sequence)] = total
        return Rewards(torch.tensor(totals), by_token)


def sampling_seed(context: StepContext) -> int:
    """Return the seed of the samples of a step, derived from the run's seed."""
    return int(np.random.SeedSequence((context.seed, context.step)).generate_state(1, np.uint64)[0])
