"""Base classes of objectives that play episodes with the model in training, and learn from them.

A step first plays episodes (`collect`), then updates the weights `passes` times: with these episodes, or with
transitions from a replay buffer, which checkpoints contain (Mnih et al. 2015).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.data.epoch import seeded_generator
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, ObjectiveConfig, StepContext
from seqlab.objectives.replay_buffer import ReplayBuffer
from seqlab.search.search import evaluation_mode
from seqlab.tasks.control.environment import ActionCodec, ObservationCodec
from seqlab.tasks.control.episodes import Behavior, EpisodeBatch, Episodes, Greedy, Player, Transitions

DRAW_STREAM = 2
"""Seed component of the random numbers that draw transitions."""
Settings = Mapping[str, Any]
"""Values of fields by dotted key."""
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ControlObjectiveConfig(ObjectiveConfig):
    """Common fields of objectives that learn from episodes."""

    tasks: ClassVar[tuple[str, ...]] = ("control",)
    outputs: ClassVar[str | tuple[str, ...]] = "scores"
    shown_logs: ClassVar[tuple[str, ...]] = ("return",)
    is_on_policy: ClassVar[bool] = True
    """Whether the objective learns only from episodes of the current weights."""
    needs_discrete: ClassVar[bool | None] = None
    """Whether the objective needs discrete actions (True) or continuous ones (False)."""
    zero_config: ClassVar[Settings] = {}
    """Fields of all sections that zero config sets with this objective."""
    discount: Share = 0.99
    """Factor of the reward of each later step."""

    def check_division(self, ranks: int, episodes: int) -> None:
        """Raise ValueError if the episodes of a step cannot be divided among this number of processes."""
        if ranks > 1 and not self.is_on_policy:
            raise ValueError(f"`objective.family: {self.family}` has one replay buffer: train with one process.")
        if episodes < ranks:
            raise ValueError(f"`data.episodes_per_step` must be at least {ranks}, but is {episodes} instead.")

    def check_actions(self, actions: ActionCodec) -> None:
        """Raise ValueError if the objective does not support the actions."""
        if self.needs_discrete not in (None, actions.is_discrete):
            family, kind = f"`objective.family: {self.family}`", "discrete" if self.needs_discrete else "continuous"
            raise ValueError(f"{family} needs {kind} actions: `episode_policy_gradient` supports both kinds.")

    def target(self, actions: ActionCodec) -> Any:
        """Return the target side: `size` outputs for observations, and the codec of the `actions`."""
        return actions

    def valid_behavior(self, model: Any, actions: ActionCodec) -> Behavior:
        """Return the behavior that validation and `seqlab play` measure: without exploration."""
        return Greedy(model, actions)

    def exploration(self, model: Any, actions: ActionCodec, step: int) -> Behavior:
        """Return the behavior that plays the episodes of a step; that of validation unless overridden."""
        return self.valid_behavior(model, actions)

    def value_error(self, model: Any, episodes: Episodes) -> Tensor | None:
        """Return the loss of the model on validation episodes, (), if it is not their negative return."""
        return None


class ControlObjective(nn.Module):
    """Objective that plays episodes with the current model."""

    passes = 1

    def __init__(self, config: Any, factory: ModelFactory | None) -> None:
        super().__init__()
        if factory is None:
            raise ValueError("An objective on episodes needs the sides of a training run: pass a `ModelFactory`.")
        self.config, self.factory = config, factory
        self.observations: ObservationCodec = factory.src
        self.actions: ActionCodec = factory.tgt.actions
        self.player = Player(self.observations.environment)

    def exploration(self, model: Any, step: int) -> Behavior:
        """Return the behavior that plays the episodes of a step."""
        return self.config.exploration(model, self.actions, step)

    def collect(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Episodes:
        """Play the episodes of a batch."""
        with evaluation_mode(model):
            behavior, indices = self.exploration(model, context.step), batch.indices.tolist()
            return self.player.play(behavior, indices, context.seed, batch.indices.device)

    def forward(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Loss:
        """Compute the loss of a pass over the collected episodes; 0 over no units for a batch without targets."""
        loss = self.loss(model, context.collected or self.collect(model, batch, context), context)
        if batch.num_targets:
            return loss
        return Loss(0.0 * torch.stack([term.total for term in loss.terms]).sum(), 0.0 * loss.count)

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Compute the loss of a pass, with the logs of `episode_logs`."""
        raise NotImplementedError

    def episode_logs(self, episodes: Episodes) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        """Return the sums over episodes of their returns and lengths, and the number of episodes."""
        count = episodes.returns.new_tensor(len(episodes.lengths))
        return {"return": (episodes.returns.sum(), count), "episode_length": (episodes.lengths.sum().to(count), count)}


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ReplayConfig(ControlObjectiveConfig):
    """Common fields of objectives that learn from a replay buffer (off-policy)."""

    is_on_policy: ClassVar[bool] = False
    replay_size: Count = 50_000
    """Number of last transitions in the replay buffer, which is part of each checkpoint: two observations each."""
    batch_transitions: Count = 64
    """Transitions per update, drawn from the replay buffer with replacement."""
    passes: Count = 64
    """Updates per training step."""
    target_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Share of the target network that each update keeps; the rest is the current network. With 0 they are equal."""


class ReplayObjective(ControlObjective):
    """Objective that learns from the transitions of a replay buffer."""

    def __init__(self, config: Any, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        self.passes = config.passes
        size, actions = config.replay_size, self.actions
        states = torch.zeros(size, *self.observations.shape, dtype=torch.uint8 if self.observations.is_image else None)
        taken = torch.zeros(size, dtype=torch.int64) if actions.is_discrete else torch.zeros(size, actions.size)
        empty = Transitions(states, taken, torch.zeros(size), states.clone(), torch.zeros(size).bool())
        self.replay = ReplayBuffer(empty._asdict())

    def draw(self, context: StepContext) -> Transitions:
        """Draw transitions; they depend on the seed, the step and the pass."""
        rng = seeded_generator(context.seed, context.step, context.number_of_pass, DRAW_STREAM)
        return Transitions(**self.replay.draw(self.config.batch_transitions, rng))

    def collect(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Episodes:
        """Play the episodes of a batch, and add their transitions to the replay buffer."""
        episodes = super().collect(model, batch, context)
        self.replay.add(episodes.transitions()._asdict())
        return episodes
