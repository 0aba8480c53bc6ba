"""Base classes of objectives that play episodes with the model in training, and learn from them.

A step first plays episodes (`collect`), then updates the weights `passes` times.
"""

from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, ObjectiveConfig, StepContext
from seqlab.search.search import evaluation_mode
from seqlab.tasks.control.behavior import Greedy
from seqlab.tasks.control.environment import ActionCodec, ObservationCodec
from seqlab.tasks.control.episodes import Behavior, EpisodeBatch, Episodes, Player

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ControlObjectiveConfig(ObjectiveConfig):
    """Common fields of objectives that learn from episodes."""

    tasks: ClassVar[tuple[str, ...]] = ("control",)
    outputs: ClassVar[str | tuple[str, ...]] = "scores"
    shown_logs: ClassVar[tuple[str, ...]] = ("return",)
    is_on_policy: ClassVar[bool]
    """Whether the objective learns only from episodes of the current weights."""
    discount: Share = 0.99
    """Factor of the reward of each later step."""

    def check_actions(self, actions: ActionCodec) -> None:
        """Raise ValueError if the objective does not support the actions; all are supported unless overridden."""

    def target(self, actions: ActionCodec) -> Any:
        """Return the target side: `size` outputs for observations, and the codec of the `actions`."""
        return actions

    def valid_behavior(self, model: Any, actions: ActionCodec) -> Behavior:
        """Return the behavior that validation and `seqlab play` measure: without exploration."""
        return Greedy(model, actions)

    def value_error(self, model: Any, episodes: Episodes) -> Tensor | None:
        """Return the loss of the model on validation episodes, (), if it is not their negative return."""
        return None


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExploringConfig(ControlObjectiveConfig):
    """Common fields of objectives that learn the value of each action, and explore with probability epsilon."""

    epsilon_start: Share = 1.0
    """Probability of a random action in the first step."""
    epsilon_end: Share = 0.05
    """Probability of a random action after `epsilon_steps`."""
    epsilon_steps: Count = 500
    """Training steps over which the probability falls linearly."""

    def check_actions(self, actions: ActionCodec) -> None:
        """Raise ValueError for actions that are not numbered."""
        if not actions.is_discrete:
            raise ValueError(
                f"`objective.family: {self.family}` needs numbered actions, but these are vectors: choose `ddpg` or "
                "`episode_policy_gradient`."
            )

    def epsilon(self, step: int) -> float:
        """Return the probability of a random action in a step."""
        done = min(1.0, step / self.epsilon_steps)
        return self.epsilon_start + done * (self.epsilon_end - self.epsilon_start)


class Collected(NamedTuple):
    """Episodes of a step."""

    episodes: Episodes
    fixed: dict[str, Tensor]
    """Tensors that the first pass computes, for the later ones."""


class ControlObjective(nn.Module):
    """Objective that plays episodes with the current model."""

    passes = 1

    def __init__(self, config: Any, factory: ModelFactory | None) -> None:
        super().__init__()
        if factory is None:
            raise ValueError("An objective on episodes needs the sides of a training run: pass a `ModelFactory`.")
        self.config = config
        self.observations: ObservationCodec = factory.src
        self.actions: ActionCodec = factory.tgt.actions
        self.player = Player(self.observations.environment)

    def exploration(self, model: Any, step: int) -> Behavior:
        """Return the behavior that plays the episodes of a step."""
        raise NotImplementedError

    def collect(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Collected:
        """Play the episodes of a batch."""
        with evaluation_mode(model):
            behavior, numbers = self.exploration(model, context.step), batch.indices.tolist()
            return Collected(self.player.play(behavior, numbers, context.seed, batch.indices.device), {})

    def forward(self, model: Any, batch: EpisodeBatch, context: StepContext) -> Loss:
        """Compute the loss of a pass over the collected episodes; 0 over no units for a batch without targets."""
        loss = self.loss(model, context.collected or self.collect(model, batch, context), context)
        if batch.num_targets:
            return loss
        return Loss(0.0 * torch.stack([term.total for term in loss.terms]).sum(), 0.0 * loss.count)

    def loss(self, model: Any, collected: Collected, context: StepContext) -> Loss:
        """Compute the loss of a pass, with the logs of `episode_logs`."""
        raise NotImplementedError

    def episode_logs(self, episodes: Episodes) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        """Return the sums over episodes of their returns and lengths, and the number of episodes."""
        count = episodes.returns.new_tensor(len(episodes.lengths))
        return {"return": (episodes.returns.sum(), count), "episode_length": (episodes.lengths.sum().to(count), count)}
