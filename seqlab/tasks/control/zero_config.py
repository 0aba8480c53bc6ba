"""Zero config for control: choose the objective, the model and their settings by the spaces of the environment."""

import logging
from collections.abc import Sequence
from typing import Any

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.control.config import ControlConfig
from seqlab.tasks.control.environment import Environment
from seqlab.training.config_builder import ConfigBuilder, choose_intervals

logger = logging.getLogger(__name__)
Fields = dict[str, Any]
TABLE: Fields = {"data.episodes_per_step": 4, "optim.optimizer.lr": 0.1, "objective.target_decay": 0.0}
"""Settings of Q-learning with a table."""
POLICY: Fields = {
    **{"data.episodes_per_step": 8, "optim.optimizer.lr": 3e-3, "model.hidden_sizes": [64, 64]},
    **{"model.activation": "tanh", "objective.passes": 10, "objective.trace_decay": 0.95, "objective.entropy": 0.01},
}
"""Settings of PPO."""
VECTORS: Fields = {"data.episodes_per_step": 1, "optim.optimizer.lr": 1e-3, "objective.passes": 200}
"""Settings of DDPG."""


def from_environment(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides` by the spaces of the environment; log each choice.

    Raises:
        ConfigError: an unknown key or an invalid value.
        ValueError: the environment cannot be made.
    """
    given = [key for key, _ in overrides]
    base = {"data.kind": "control", "model.family": "mlp", "objective.family": "q_learning"}
    data_overrides = [each for each in overrides if each[0].startswith("data.")]
    data = override(None, [*base.items(), *data_overrides]).data
    assert isinstance(data, ControlConfig)
    environment = Environment(data.spec)
    observations, actions = environment.observations, environment.actions
    environment.close()
    family, objective, fields, reason = "mlp", "episode_policy_gradient", POLICY, "the actions are numbered"
    if not actions.is_discrete:
        objective, fields, reason = "ddpg", VECTORS, "the actions are vectors"
    elif observations.num_states is not None and data.window == 1:
        family, objective, fields = "table", "q_learning", TABLE
        reason = f"there are {observations.num_states} states"
    elif len(observations.shape) == 3:
        family, reason = "cnn", "the observations are images"
    chosen = {
        **{"data.kind": "control", "model.family": family, "objective.family": objective},
        "optim.schedule.family": "linear",
    }
    logger.info("%s: %s; chosen settings (give an option to override one):", data.environment, reason)
    for key, value in chosen.items():
        if key not in given:
            logger.info("  %s %s", key, value)
    builder = ConfigBuilder(override(None, [*((k, v) for k, v in chosen.items() if k not in given), *overrides]), given)
    if "model.family" not in given and "objective.family" not in given:
        for key, value in fields.items():
            builder.set(key, value, reason)
    steps = builder.set_steps(1000, "change it if the return still grows at the end")
    builder.set("training.precision", "fp32", "bf16 does not speed up small models, and is less precise")
    choose_intervals(builder, steps)
    return builder.config()
