"""Zero config for control: choose the objective, the model and their settings by the spaces of the environment."""

import logging
from collections.abc import Sequence
from typing import Any

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.control.config import ControlConfig
from seqlab.tasks.control.environment import read_spaces
from seqlab.training.config_builder import ConfigBuilder, choose_intervals

logger = logging.getLogger(__name__)
SETTINGS: dict[str, dict[str, Any]] = {
    "q_learning": {"data.episodes_per_step": 4, "optim.optimizer.lr": 0.1, "objective.target_decay": 0.0},
    "ddpg": {"data.episodes_per_step": 1, "optim.optimizer.lr": 1e-3, "objective.passes": 200},
    "episode_policy_gradient": {
        **{"data.episodes_per_step": 8, "optim.optimizer.lr": 3e-3, "model.hidden_sizes": [64, 64]},
        **{"model.activation": "tanh", "objective.passes": 10, "objective.entropy": 0.01},
    },
}
"""Settings of Q-learning with a table, DDPG and PPO, unless the family of the model or the objective is given."""


def from_environment(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides` by the spaces of the environment; log each choice.

    Raises:
        ConfigError: an unknown key or an invalid value.
        ValueError: the environment cannot be made.
    """
    given = dict(overrides)
    base = {"data.kind": "control", "model.family": "mlp", "objective.family": "q_learning"}
    data = override(None, [*base.items(), *((key, value) for key, value in overrides if key.startswith("data."))]).data
    assert isinstance(data, ControlConfig)
    environment = read_spaces(data.spec)
    family, objective, reason = "mlp", "episode_policy_gradient", "the actions are numbered"
    if not environment.actions.is_discrete:
        objective, reason = "ddpg", "the actions are vectors"
    elif environment.observations.num_states is not None and data.window == 1:
        family, objective, reason = "table", "q_learning", f"there are {environment.observations.num_states} states"
    elif len(environment.observations.shape) == 3:
        family, reason = "cnn", "the observations are images"
    chosen = {"data.kind": "control", "model.family": family, "objective.family": objective}
    chosen["optim.schedule.family"] = "linear"
    if "td" in given.get("objective.family", ()):  # a text, or a list of one
        chosen["training.valid_metric"] = "nll"
    logger.info("%s: %s; chosen settings (give an option to override one):", data.environment, reason)
    for key, value in chosen.items():
        if key not in given:
            logger.info("  %s %s", key, value)
    builder = ConfigBuilder(override(None, [*(chosen | given).items()]), list(given))
    if not {"model.family", "objective.family"} & given.keys():
        for key, value in SETTINGS[objective].items():
            builder.set(key, value, reason)
        if not {"objective.baseline", "objective.returns"} & given.keys():
            builder.set("objective.trace_decay", 0.95, reason)
    steps = builder.set_steps(1000, "change it if the return still grows at the end")
    builder.set("training.precision", "fp32", "bf16 does not speed up small models, and is less precise")
    choose_intervals(builder, steps)
    return builder.config()
