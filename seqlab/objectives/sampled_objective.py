"""Base of objectives that draw samples from the model and train on their rewards.

Shapes: B rows of a batch, K samples of each row, N = B * K samples, T actions.
"""

import copy
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import Count, CountOrZero, NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, DecoderBatch
from seqlab.objectives.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqlab.objectives.ctc import Ctc, CtcConfig
from seqlab.objectives.loss import COUNT_OF, SETTINGS, Loss, Objective, ObjectiveConfig, StepContext, TextSide
from seqlab.objectives.sampled import Actions, RewardComputer, Samples, policy_for, sampling_seed
from seqlab.registry import Parts
from seqlab.search.config import SamplingConfig
from seqlab.search.protocols import FrameModel, Stepper
from seqlab.search.search import evaluation_mode

logger = logging.getLogger(__name__)
TIMED_STEPS = 20
"""Number of first steps after which the shares of a step are logged."""
EARLY_STEPS = 3
"""Number of first steps whose means are compared with those of later steps."""
MIN_ENTROPY_SHARE, MAX_LENGTH_FACTOR, MAX_REPEATED_INCREASE, MAX_START_DISTANCE = 0.1, 2.0, 0.3, 1.0
"""Limits of a collapse: entropy, length ratio and increase of repeated ids, relative to the first steps; distance
to the start in nats per id."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SampledConfig(ObjectiveConfig):
    """Fields of objectives that train on the rewards of samples."""

    reward: str = "bleu"
    """Reward of a sample, given its reference: `bleu` (BLEU+1), `chrf`, `wer`, `cer`, `edit_distance`, `exact_match`,
    or one that a plugin registers as a `reward`."""
    num_samples: Count = 5
    """Number of samples of each source."""
    max_length_ratio: Positive = 2.0
    """Maximum length of a sample in ids per source id, plus `max_length_offset`; not for language models and CTC."""
    max_length_offset: CountOrZero = 10
    """Number of ids added to `max_length_ratio` times the source length."""
    max_length: Count = 200
    """Maximum length of a sample in ids, for any source."""
    cross_entropy: NonNegative = 0.0
    """Weight of the cross entropy of the reference per token (for CTC models of the CTC loss), which is added to the
    loss of the samples per row."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Label smoothing of the added cross entropy."""
    start_penalty: NonNegative = 0.0
    """Penalty for the distance to the model at the start of training: the reward of each action is reduced by this
    number times the difference of its log-probabilities, whose mean is the KL divergence. Needs memory for a copy of
    the weights."""

    outputs: ClassVar[tuple[str, ...]] = ("tokens", "frames")
    tasks: ClassVar[tuple[str, ...]] = ("translation", "language_modelling", "transcription")
    needs: ClassVar[tuple[type, ...]] = (Stepper,)
    shown_logs: ClassVar[tuple[str, ...]] = ("reward",)
    part_names: ClassVar[Mapping[str, str]] = {"reward": "reward"}

    def check(self, config: Any) -> None:
        """Raise ValueError if the reward is unknown, or the config does not allow to sample from the model."""
        super().check(config)
        if self.reward not in Parts("reward"):
            raise ValueError(
                f"`objective.reward` must be one of {', '.join(Parts('reward'))}, but is `{self.reward}` instead."
            )
        if config.data.is_continuous:
            raise ValueError(
                f"`objective.family: {self.family}` compares samples with lines: set `data.documents` to `lines`."
            )
        if not self.cross_entropy and self.label_smoothing != type(self).label_smoothing:
            raise ValueError(
                "`objective.label_smoothing` needs `objective.cross_entropy` above 0: set it, or leave it out."
            )
        limit = config.model.context_limit
        if limit is not None and self.max_length > limit:
            raise ValueError(
                f"`objective.max_length` must be at most the context of the model ({limit}), but is {self.max_length}."
            )
        if config.training.parallel == "fsdp":
            raise ValueError(
                f"`objective.family: {self.family}` samples from the model, which needs all weights: set "
                "`training.parallel` to `ddp`."
            )

    def unused_fields(self, model: Any) -> tuple[str, ...]:
        """Return the fields that have no effect for a model: the output of a CTC model is at most one id per frame."""
        unused = ("max_length_ratio", "max_length_offset", "max_length", "label_smoothing")
        return unused if model.outputs == "frames" else ()


class StepTimer:
    """Shares of the time of a step that samples and rewards take, logged once."""

    def __init__(self) -> None:
        self._started, self._first_rewards, self._num_steps = 0.0, 0.0, 0
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the duration of the context to a part of the step."""
        started = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - started

    def end_step(self, reward_seconds: float) -> None:
        """Log the shares after `TIMED_STEPS` steps; the first step, which is slower, is left out.

        `reward_seconds` is the time of the thread that computes rewards, so far.
        """
        self._num_steps += 1
        if self._num_steps == 1:
            self._started, self._first_rewards = time.perf_counter(), reward_seconds
            self._seconds.clear()
        if self._num_steps == TIMED_STEPS:
            total = time.perf_counter() - self._started
            parts = self._seconds | {"update and data": total - sum(self._seconds.values())}
            shares = ", ".join(f"{name} {100 * value / total:.0f}%" for name, value in parts.items())
            logger.info(
                "of the time of a step (%.2f s): %s; rewards take %.0f%%, in a thread beside it",
                total / (TIMED_STEPS - 1),
                shares,
                100 * (reward_seconds - self._first_rewards) / total,
            )


class TargetRows(NamedTuple):
    """The rows of a batch that have a target."""

    num_rows: Tensor
    """(): their number."""
    has_action: Tensor
    """(N, T) bool: the actions of their samples."""


class SampledObjective(nn.Module):
    """Base of objectives on samples: it draws them, computes rewards, and adds the cross entropy of the reference."""

    passes = 1
    early_entropy: Tensor
    early_length: Tensor
    early_repeated: Tensor
    num_observed: Tensor
    has_warned: Tensor
    has_differences: Tensor

    def __init__(self, config: Any, model: Any, *, needs_prefixes: bool = False, needs_greedy: bool = False) -> None:
        super().__init__()
        self.config, self.needs_greedy = config, needs_greedy
        self.policy, self.computer = policy_for(model), RewardComputer(config.reward, needs_prefixes)
        self.reference_loss: Objective = (
            Ctc(CtcConfig())
            if isinstance(model, FrameModel)
            else CrossEntropy(CrossEntropyConfig(label_smoothing=config.label_smoothing))
        )
        self.timer = StepTimer()
        self.start = copy.deepcopy(model).requires_grad_(False).eval() if config.start_penalty else None
        for name in ("early_entropy", "early_length", "early_repeated"):  # means over the first steps
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))
        self.register_buffer("num_observed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("has_warned", torch.zeros((), dtype=torch.bool))
        self.register_buffer("has_differences", torch.zeros((), dtype=torch.bool))

    def collect(self, model: Any, batch: DecoderBatch, context: StepContext) -> Samples:
        """Draw samples with the current weights and without dropout, and start to compute their rewards."""
        assert batch.tgt_out is not None, "a reward needs a reference"
        side = _target_side(context)
        with self.timer.measure("sampling"), evaluation_mode(model):
            limits = sampling_config(self.config, batch, context)
            # A rank that has fewer micro-steps than others repeats one without targets: nothing is drawn for it.
            empty = None if batch.num_targets else [[model.eos_id]] * len(batch.tgt_out)
            references = None if empty else side.to_texts(batch.tgt_out.tolist())
            ids = empty * self.config.num_samples if empty else self.draw(model, batch, limits)
            samples = Samples(ids, self.computer.start(ids, references, side))
            if self.needs_greedy:
                outputs = empty or self.policy.most_probable(model, batch, limits)
                samples.greedy_rewards = self.computer.start(outputs, references, side)
            if self.start is not None:
                with torch.no_grad():
                    now, before = (
                        self.policy.actions(network, batch, ids, side.pad_id) for network in (model, self.start)
                    )
                samples.start_ratios = now.log_probs - before.log_probs
        return samples

    def draw(self, model: Any, batch: DecoderBatch, config: SamplingConfig) -> list[list[int]]:
        """Draw the samples of each row."""
        return self.policy.draw(model, batch, config, self.config.num_samples)

    def forward(self, model: Any, batch: DecoderBatch, context: StepContext) -> Loss:
        """Compute the loss of a batch: that of its samples, with a row as unit, and that of its references per token.

        Logs: `reward`, its mean over samples; `reward_range`, the difference between the highest and the lowest reward
        of the samples of a source; `length_ratio`, the length of samples divided by that of the
        references; `sample_entropy`, the negative log-probability per id in nats by the weights with dropout,
        as an estimate of the entropy; `repeated`, the share of ids that a sample has already; with
        `start_penalty` `start_distance`, the KL divergence per id from the start. Further logs are those of the
        objective.
        """
        assert batch.tgt_out is not None, "a reward needs a reference"
        samples = context.collected or self.collect(model, batch, context)
        actions = self.policy.actions(model, batch, samples.ids, _target_side(context).pad_id)
        if samples.old_log_probs is None:
            samples.old_log_probs = actions.log_probs.detach()
        has_target = (batch.tgt_out != IGNORE).any(1)  # (B,)
        is_used = actions.mask & has_target.repeat_interleave(len(samples.ids) // len(has_target))[:, None]
        rows = TargetRows(has_target.sum().to(actions.log_probs), is_used)
        with self.timer.measure("waiting for rewards"):
            for rewards in (samples.rewards, samples.greedy_rewards):
                if rewards is not None:
                    rewards.result()
        loss = self.sample_loss(actions, self._shaped_rewards(samples), samples, rows)
        loss = replace(loss, logs={**self._logs(samples, is_used, batch.num_targets), **loss.logs})
        if self.config.cross_entropy:
            loss = loss + self.config.cross_entropy * self.reference_loss(model, batch, context)
        return loss

    def sample_loss(self, actions: Actions, rewards: Tensor, samples: Samples, rows: "TargetRows") -> Loss:
        """Compute the sum of the loss over rows, from the rewards of actions (N, T)."""
        raise NotImplementedError

    def _shaped_rewards(self, samples: Samples) -> Tensor:
        """Return the rewards of actions (N, T), minus the penalty for the distance to the start."""
        assert samples.old_log_probs is not None
        rewards = fit_actions(samples.rewards.result().by_token, samples.old_log_probs)
        return rewards if samples.start_ratios is None else rewards - self.config.start_penalty * samples.start_ratios

    def _logs(self, samples: Samples, is_used: Tensor, num_targets: int) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        assert samples.old_log_probs is not None
        rewards, old = samples.rewards.result(), samples.old_log_probs
        used_samples = is_used.any(1)
        num_samples = used_samples.sum().to(old)
        totals = rewards.totals.to(old) * used_samples
        by_source = totals.unflatten(0, (-1, self.config.num_samples))
        ranges = by_source.amax(1) - by_source.amin(1)
        repeated = old.new_tensor([len(row) - len(set(row)) for row in samples.ids])
        lengths = old.new_tensor([len(row) for row in samples.ids])
        num_ids = (lengths * used_samples).sum()  # the output of a CTC model is one action of several ids
        logs: dict[str, Tensor | tuple[Tensor, Tensor]] = {
            "reward": (totals.sum(), num_samples),
            "length_ratio": ((lengths * used_samples).sum() / self.config.num_samples, old.new_tensor(num_targets)),
            "reward_range": (ranges.sum(), num_samples / self.config.num_samples),
            "sample_entropy": (-(old * is_used).sum(), num_ids),
            "repeated": ((repeated * used_samples).sum(), num_ids),
        }
        if samples.start_ratios is not None:
            logs["start_distance"] = ((samples.start_ratios * is_used).sum(), num_ids)
        return logs

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Compare the samples of a step with those of the first steps, and warn once if they collapse."""
        self.num_observed += 1
        self.timer.end_step(self.computer.seconds)
        self._warn_without_differences(sums)
        entropy, length, repeated = (mean_of(sums, name) for name in ("sample_entropy", "length_ratio", "repeated"))
        if self.num_observed <= EARLY_STEPS:
            self.early_entropy += entropy / EARLY_STEPS
            self.early_length += length / EARLY_STEPS
            self.early_repeated += repeated / EARLY_STEPS
            return
        if self.has_warned:
            return
        signs = []
        if entropy < MIN_ENTROPY_SHARE * self.early_entropy:
            signs.append(f"their entropy fell from {self.early_entropy:.3g} to {entropy:.3g} nats per id")
        if not 1 / MAX_LENGTH_FACTOR < length / self.early_length.clamp_min(1e-9) < MAX_LENGTH_FACTOR:
            change = f"{self.early_length:.3g} to {length:.3g}"
            signs.append(f"their length changed from {change} times that of the references")
        if repeated > self.early_repeated + MAX_REPEATED_INCREASE:
            signs.append(
                f"{100 * repeated:.0f}% of their ids are repeated, instead of {100 * self.early_repeated:.0f}%"
            )
        if "start_distance" in sums and (distance := mean_of(sums, "start_distance")) > MAX_START_DISTANCE:
            signs.append(f"their distance to the model at the start is {distance:.3g} nats per id")
        if signs:
            self.has_warned.fill_(True)
            logger.warning(
                "the samples collapse: %s. Lower `optim.optimizer.lr`, or set `objective.cross_entropy` or "
                "`objective.start_penalty` above 0",
                "; ".join(signs),
            )

    def _warn_without_differences(self, sums: dict[str, Tensor]) -> None:
        """Warn once if all samples of each source have had the same reward, from which nothing is learned."""
        if self.num_observed > TIMED_STEPS or self.config.num_samples == 1:
            return
        self.has_differences |= sums["reward_range"] > 0
        if self.num_observed == TIMED_STEPS and not self.has_differences:
            logger.warning(
                "the samples of each source have had equal rewards for %d steps, from which nothing is learned: choose "
                "another `objective.reward`, or start from a better model (`init_from`)",
                TIMED_STEPS,
            )


def sampling_config(config: SampledConfig, batch: DecoderBatch, context: StepContext) -> SamplingConfig:
    """Return the config of sampling from the model's distribution in a step."""
    return SamplingConfig(
        max_length=config.max_length,
        max_length_ratio=config.max_length_ratio if hasattr(batch, "src_lengths") else None,
        max_length_offset=config.max_length_offset,
        seed=sampling_seed(context),
    )


def fit_actions(by_token: Tensor, like: Tensor) -> Tensor:
    """Pad or cut rewards (N, t) to the actions (N, T) of `like`; a single action has the sum of the rewards."""
    return pad_or_cut(by_token.sum(1, keepdim=True) if like.size(1) == 1 else by_token, like)


def pad_or_cut(values: Tensor, like: Tensor) -> Tensor:
    """Pad with zeros or cut values (N, t) to the shape (N, T) of `like`."""
    fitted, count = torch.zeros_like(like), min(values.size(1), like.size(1))
    fitted[:, :count] = values[:, :count].to(like)
    return fitted


def mean_of(sums: dict[str, Tensor], name: str) -> Tensor:
    """Return the mean of a log, given the sums of all logs and their counts."""
    return sums[name] / sums[f"{COUNT_OF}{name}"].clamp_min(1.0)


def _target_side(context: StepContext) -> TextSide:
    if context.sides is None:
        raise ValueError("An objective on samples needs the texts of ids: set `sides` of the `StepContext`.")
    return context.sides[1]
