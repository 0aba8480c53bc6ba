"""Control task: each training step plays episodes of the environment; validation plays others without exploration.

`from_environment` is its zero config.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqlab.base.world import World
from seqlab.data.epoch import derive_seed
from seqlab.data.step import Position, TrainingStep
from seqlab.data.survey import PreparationProgress
from seqlab.evaluation import Score
from seqlab.objectives.prediction_losses import Predictor
from seqlab.registry import Parts
from seqlab.runs.codecs import save_codec
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import Override, override
from seqlab.tasks.control.config import ControlConfig
from seqlab.tasks.control.environment import read_spaces
from seqlab.tasks.control.episodes import EpisodeBatch, Player, repeats_itself
from seqlab.tasks.control.objective import ControlObjectiveConfig
from seqlab.training.config_builder import ConfigBuilder, choose_intervals
from seqlab.training.task import Codecs, Task
from seqlab.training.validation import RunInTraining, Validation, inference_model

logger = logging.getLogger(__name__)
VALID_STREAM = 3
"""Seed component of the episodes of validation."""


@dataclass
class PreparedEnvironment:
    """The result of `ControlTask.prepare`; it is also the report."""

    name: str
    is_repeatable: bool
    limit: int
    player: Player
    """Environments of validation."""
    content_hashes: dict[str, str] = field(default_factory=dict)

    @property
    def report(self) -> "PreparedEnvironment":
        """The report: the data are the environment."""
        return self

    def lines(self) -> list[str]:
        """Return lines for the log."""
        return [f"environment {self.name}: at most {self.limit:,} steps per episode"]

    def to_json(self) -> dict[str, Any]:
        """Return entries for run.json."""
        return {"environment": self.name, "is_repeatable": self.is_repeatable, "gymnasium": version("gymnasium")}


def _sections(config: Config) -> tuple[ControlConfig, ControlObjectiveConfig]:
    assert isinstance(config.data, ControlConfig)
    assert isinstance(config.objective, ControlObjectiveConfig), "only these objectives fit `data.kind: control`"
    return config.data, config.objective


class ControlTask(Task):
    """Control of an environment: the rows are its episodes, which the objective plays with the current model."""

    batch_type = EpisodeBatch
    unit = "episodes"
    needs = (Predictor,)

    def write_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> dict[str, int]:
        """Leave it to `complete_codecs`, which also replaces codecs copied from a run with another environment."""
        return {}

    def complete_codecs(self, config: Config, folder: RunFolder, on_progress: PreparationProgress) -> None:
        """Save the shapes of the observations and the actions."""
        data, objective = _sections(config)
        environment = read_spaces(data.spec)
        objective.check_actions(environment.actions)
        save_codec(environment.observations, folder, "src")
        save_codec(objective.target(environment.actions), folder, "tgt")

    def prepare(
        self, config: Config, codecs: Codecs, cache: Path, on_progress: PreparationProgress | None
    ) -> PreparedEnvironment:
        """Compare the environment with the codecs, and check whether it repeats itself from its seed."""
        data, _ = _sections(config)
        config.model.check_sides(*codecs)
        environment = read_spaces(data.spec)
        if (environment.observations.shape, environment.actions) != (codecs[0].shape, codecs[1].actions):
            raise ValueError(f"{data.environment} has other observations or actions than when the run was set up.")
        is_repeatable = repeats_itself(environment, config.seed)
        if not is_repeatable and on_progress is not None:
            logger.warning("%s does not repeat itself: this training cannot be repeated or resumed", data.environment)
        return PreparedEnvironment(data.environment, is_repeatable, environment.limit, Player(data.spec))

    def steps(
        self, data: PreparedEnvironment, config: Config, codecs: Codecs, world: World, after: Position | None
    ) -> Iterator[TrainingStep[EpisodeBatch]]:
        """Yield the numbers of the episodes of each step: a step, and so a checkpoint, is at the end of episodes.

        `TrainingStep.epoch` is the number of episodes after a step.

        Raises:
            ValueError: the environment does not repeat itself, and the run would be resumed; or the ranks are too many.
        """
        settings, objective = _sections(config)
        ranks, per_step = world.world_size, settings.episodes_per_step
        if after is not None and not data.is_repeatable:
            raise ValueError(f"{data.name} does not repeat itself from its seed: do not resume, use `--init_from`.")
        objective.check_division(ranks, per_step)
        for number in count(0 if after is None else after.epoch + 1):
            end = (number + 1) * per_step
            indices = torch.arange(number * per_step, end).tensor_split(ranks)[world.rank]
            yield TrainingStep(Position(number, 0, 0), float(end), [EpisodeBatch(indices, len(indices))])

    def validate(self, run: RunInTraining, weights: dict[str, Tensor]) -> Validation:
        """Play the validation episodes without exploration; they are the same in each validation."""
        data, objective = _sections(run.config)
        model, seed = inference_model(run, weights), derive_seed(run.config.seed, VALID_STREAM)
        behavior = objective.valid_behavior(model, run.codecs[1].actions)
        with torch.inference_mode():
            episodes = run.data.player.play(behavior, range(data.valid_episodes), seed, run.device_context.device)
            error = objective.value_error(model, episodes)
        mean, length = float(episodes.returns.mean()), float(episodes.lengths.float().mean())
        scores = {"return": Score("return", mean, f"episodes:{data.valid_episodes}")}
        return Validation(scores, 0.0 - mean if error is None else float(error), "cost", {"episode_length": length})

    def locate(self, data: PreparedEnvironment, index: int) -> str:
        """Return the name of the environment and the number of an episode."""
        return f"{data.name}, episode {index}"


def from_environment(overrides: Sequence[Override]) -> Config:
    """Choose every field that is not in `overrides` by the spaces of the environment; log each choice.

    Raises:
        ConfigError: an unknown key or an invalid value.
        ValueError: the environment cannot be made.
    """
    overridden = dict(overrides)
    base = {"data.kind": "control", "model.family": "predictor", "objective.family": "q_learning"}
    of_data = {key: value for key, value in overrides if key.startswith("data.")}
    data: Any = override(None, [*(base | of_data).items()]).data
    environment = read_spaces(data.spec)
    family, objective, reason = "predictor", "episode_policy_gradient", "the actions are discrete"
    if not environment.actions.is_discrete:
        objective, reason = "ddpg", "the actions are continuous"
    elif environment.observations.num_states is not None and data.window == 1:
        family, objective, reason = "table", "q_learning", f"there are {environment.observations.num_states} states"
    elif len(environment.observations.shape) == 3:
        family, reason = "cnn", "the observations are images"
    if any(key.startswith("model.encoder.") for key in overridden):
        family = "predictor"
    settings = base | {"model.family": family, "objective.family": objective, "optim.schedule.family": "linear"}
    shown = ", ".join(f"{key} {value}" for key, value in settings.items() if key not in overridden)
    logger.info("%s: %s; chosen (give an option to override one): %s", data.environment, reason, shown)
    builder = ConfigBuilder(override(None, [*(settings | overridden).items()]), list(overridden))
    if not {"model.family", "objective.family"} & overridden.keys():
        for key, value in Parts("objective")[objective].zero_config.items():
            builder.set(key, value, reason)
        if not {"objective.baseline", "objective.returns"} & overridden.keys():
            builder.set("objective.trace_decay", 0.95, reason)
    builder.set("training.precision", "fp32", "bf16 does not speed up small models, and is less precise")
    choose_intervals(builder, builder.set_steps(1000, "change it if the return still grows at the end"))
    return builder.config()
