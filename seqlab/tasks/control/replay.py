"""Replay buffer: the last transitions, as tensors that checkpoints contain (Mnih et al. 2015)."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.data.epoch import seeded_generator
from seqlab.objectives.loss import SETTINGS, ModelFactory, StepContext
from seqlab.tasks.control.environment import ActionCodec, ObservationCodec
from seqlab.tasks.control.episodes import EpisodeBatch, Transitions
from seqlab.tasks.control.objective import Collected, ControlObjective

MINIBATCH_STREAM = 2
"""Seed component of the random numbers that draw transitions."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ReplayConfig:
    """Common fields of objectives that learn from a replay buffer (off-policy)."""

    replay_size: Count = 50_000
    """Number of last transitions in the replay buffer."""
    batch_size: Count = 64
    """Transitions per update, drawn from the replay buffer with replacement."""
    passes: Count = 64
    """Updates per training step."""
    target_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Share of the target network that each update keeps; the rest is the current network. With 0 they are equal."""


class ReplayBuffer(nn.Module):
    """Ring buffer of transitions."""

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor
    num_added: Tensor

    def __init__(self, size: int, observations: ObservationCodec, actions: ActionCodec) -> None:
        super().__init__()
        self.size = size
        values = torch.zeros(size, dtype=torch.int64) if actions.is_discrete else torch.zeros(size, actions.size)
        for name, tensor in {
            "observations": torch.zeros(size, *observations.shape),
            "actions": values,
            "rewards": torch.zeros(size),
            "next_observations": torch.zeros(size, *observations.shape),
            "terminated": torch.zeros(size),
            "num_added": torch.zeros((), dtype=torch.int64),
        }.items():
            self.register_buffer(name, tensor)

    def add(self, transitions: Transitions) -> None:
        """Add transitions in order; the oldest ones are overwritten."""
        new = transitions[torch.arange(len(transitions.rewards), device=transitions.rewards.device)[-self.size :]]
        count = len(transitions.rewards)
        first = int(self.num_added) + count - len(new.rewards)
        rows = (torch.arange(len(new.rewards), device=self.rewards.device) + first) % self.size
        for name, value in vars(new).items():
            getattr(self, name)[rows] = value
        self.num_added += count

    def draw(self, count: int, context: StepContext) -> Transitions:
        """Draw transitions with replacement, depending on the seed, the step and the pass."""
        rng = seeded_generator(context.seed, context.step, context.number_of_pass, MINIBATCH_STREAM)
        rows = torch.from_numpy(rng.integers(min(int(self.num_added), self.size), size=count)).to(self.rewards.device)
        return Transitions(
            self.observations[rows],
            self.actions[rows],
            self.rewards[rows],
            self.next_observations[rows],
            self.terminated[rows],
        )


class ReplayObjective(ControlObjective):
    """Objective that learns from the transitions of a replay buffer."""

    def __init__(self, config: Any, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        self.passes = config.passes
        self.replay = ReplayBuffer(config.replay_size, self.observations, self.actions)

    def collect(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Collected:
        """Play the episodes of a batch, and add their transitions to the replay buffer."""
        collected = super().collect(model, batch, context)
        self.replay.add(collected.episodes.transitions())
        return collected
