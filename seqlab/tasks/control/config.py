"""Data config of the control task: the environment, and how many of its episodes a step plays."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from seqlab.base.bounds import Count
from seqlab.base.config_class import dataclass
from seqlab.data.config import SETTINGS, DataConfig, PathSpecs

AGENT = "an agent"
"""`DataConfig.model_noun` of the task."""
RESERVED = {"max_episode_steps": "`data.max_episode_steps`", "render_mode": "`seqlab play RUN --frames`"}
"""Options that gymnasium itself takes, and what to use instead."""


@dataclass(frozen=True, config=SETTINGS)
class EnvironmentSpec:
    """What an environment is made from."""

    name: str
    options: list[str] = Field(default_factory=list)
    max_episode_steps: int | None = None
    window: int = 1


@dataclass(frozen=True, config=SETTINGS, kw_only=True)
class ControlConfig(DataConfig):
    """An environment of gymnasium. The rows of the data are its episodes, which training plays itself."""

    kind: Literal["control"] = "control"
    """Kind of data."""

    defaults: ClassVar[dict[str, str | float]] = {"training.valid_metric": "return"}
    task_name: ClassVar[str] = "seqlab.tasks.control.task:ControlTask"
    loader_name: ClassVar[str] = "seqlab.tasks.control.agent:load_agent"
    zero_config_name: ClassVar[str] = "seqlab.tasks.control.task:from_environment"
    model_noun: ClassVar[str] = AGENT
    usage_hint: ClassVar[str] = "acts in an environment: use `seqlab play`"
    next_command: ClassVar[str] = "seqlab play {} --episodes 10"
    rows_name: ClassVar[str] = "episodes"
    identifying_fields: ClassVar[tuple[str, ...]] = ("environment",)
    task_metrics: ClassVar[tuple[str, ...]] = ("return",)

    environment: str
    """Name of a registered environment, such as `CartPole-v1`. A plugin registers others with `gymnasium.register`."""

    options: PathSpecs = Field(default_factory=list)
    """Arguments of the environment, such as `is_slippery=false`."""

    max_episode_steps: Count | None = None
    """Steps after which an episode is cut; by default the limit of the environment."""

    window: Count = 1
    """Number of successive observations that the model reads: the last ones, and the first one repeated before them."""

    episodes_per_step: Count = 8
    """Episodes that are played for each training step, over all ranks."""

    valid_episodes: Count = 20
    """Episodes of each validation, played without exploration. Their seeds are not those of training."""

    @property
    def tokenizer_folders(self) -> list[str]:
        """Empty: a run has no tokenizer."""
        return []

    @property
    def memory_advice(self) -> str:
        """Advice for a step that runs out of memory."""
        return f"lower `data.episodes_per_step` (now {self.episodes_per_step}) or the model's size"

    def run_name_specs(self) -> tuple[str, ...]:
        """Return the name of the environment: it is the default name of a run."""
        return (self.environment.replace(":", "_").replace("/", "_"),)

    @property
    def spec(self) -> EnvironmentSpec:
        """What the environment is made from."""
        return EnvironmentSpec(self.environment, self.options, self.max_episode_steps, self.window)

    @field_validator("options")
    @classmethod
    def _check_options(cls, options: list[str]) -> list[str]:
        for number, option in enumerate(options):
            name, separator, _ = option.partition("=")
            if not (name.isidentifier() and separator):
                raise ValueError(f"`options` must be of the form NAME=VALUE, but one is {option!r} instead.")
            if name in RESERVED or any(other.startswith(f"{name}=") for other in options[:number]):
                raise ValueError(f"`options` cannot have {name!r}: use {RESERVED.get(name, 'it once')}.")
        return options
