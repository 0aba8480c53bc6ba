"""Deep deterministic policy gradient, for continuous actions (Lillicrap et al. 2016, arXiv:1509.02971).

The critic estimates the value of an action in a state. The actor follows the gradient of this value with respect to its
action.

Shapes: N transitions, A values of an action.
"""

from copy import deepcopy
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqlab.base.bounds import CountOrZero, NonNegative
from seqlab.base.config_class import dataclass
from seqlab.models.predictor import InputShape, TargetSize
from seqlab.objectives.loss import SETTINGS, Loss, ModelFactory, StepContext
from seqlab.objectives.replay_buffer import update_target
from seqlab.tasks.control.environment import ActionCodec
from seqlab.tasks.control.episodes import Behavior, Episodes, Gaussian, Uniform, scale_to_bounds, values_of
from seqlab.tasks.control.objective import ReplayConfig, ReplayObjective, Settings


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DdpgConfig(ReplayConfig):
    """Deep deterministic policy gradient, for continuous actions (arXiv:1509.02971); off-policy."""

    family: Literal["ddpg"] = "ddpg"
    """Name of the objective."""
    zero_config: ClassVar[Settings] = {"data.episodes_per_step": 1, "optim.optimizer.lr": 1e-3, "objective.passes": 200}
    needs_discrete: ClassVar[bool | None] = False
    noise: NonNegative = 0.1
    """Standard deviation of the noise of actions in training, as a share of half the range of a value."""
    random_steps: CountOrZero = 5
    """Training steps at the start with uniformly random actions."""

    def exploration(self, model: Any, actions: ActionCodec, step: int) -> Behavior:
        """Return the actions of the model with noise; uniformly random ones at the start."""
        if step < self.random_steps:
            return Uniform(actions)
        return Gaussian(model, actions, torch.full((actions.size,), self.noise))

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> "Ddpg":
        """Build the objective for a model."""
        return Ddpg(self, model, factory)


class Ddpg(ReplayObjective):
    """Squared error of a critic of actions, and the negative value of the actions of the model."""

    def __init__(self, config: DdpgConfig, model: Any, factory: ModelFactory | None) -> None:
        super().__init__(config, factory)
        if len(self.observations.shape) != 2:
            raise ValueError("`objective.family: ddpg` needs observations of numbers, not images.")
        length, size = self.observations.shape
        self.critic = self.factory.build(InputShape((length, size + self.actions.size)), TargetSize(1))
        copies = (deepcopy(network).requires_grad_(False).eval() for network in (model, self.critic))
        self.target_actor, self.target_critic = copies

    def loss(self, model: Any, episodes: Episodes, context: StepContext) -> Loss:
        """Sum the errors of the critic and the losses of the actor over transitions of the replay buffer.

        The log `value` is the mean value of the actions of the model.
        """
        update_target(self.target_actor, model, self.config.target_decay)
        update_target(self.target_critic, self.critic, self.config.target_decay)
        drawn = self.draw(context)
        with torch.no_grad():
            next_actions = scale_to_bounds(values_of(self.target_actor, drawn.next_observations), self.actions)
            next_values = self._values(self.target_critic, drawn.next_observations, next_actions)
            targets = drawn.rewards + self.config.discount * next_values * ~drawn.terminated
        taken = drawn.actions.clamp(*self.actions.bounds(drawn.actions))
        error = (self._values(self.critic, drawn.observations, taken) - targets).square().sum()
        actions = scale_to_bounds(values_of(model, drawn.observations), self.actions)
        # The gradient of the value with respect to the actions only: the critic must not learn from it.
        fixed = actions.detach().requires_grad_()
        values = self._values(self.critic, drawn.observations, fixed)
        [gradient] = torch.autograd.grad(values.sum(), fixed)
        total = error - (gradient * actions).sum()
        logs = self.episode_logs(episodes) | {"value": values.detach().sum()}
        return Loss(total, total.new_tensor(len(values)), {**logs, "critic_error": error.detach()})

    def _values(self, critic: Any, observations: Tensor, actions: Tensor) -> Tensor:
        """Return the values (N,) of actions (N, A), relative to the middle of their bounds and half their range."""
        low, high = self.actions.bounds(actions)
        scaled = (actions - (low + high) / 2) / ((high - low) / 2)
        inputs = torch.cat([observations, scaled[:, None].expand(-1, observations.size(1), -1)], dim=2)
        return values_of(critic, inputs)[:, 0]
