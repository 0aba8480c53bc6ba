"""Environments of gymnasium by name, with observations and actions as arrays, and errors that name what failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.base.atomic_io import write_json
from seqlab.base.bounds import MAX_NUMBER
from seqlab.base.parsing import read_json, validate_type
from seqlab.data.images import channels_first
from seqlab.runs.yaml_parser import parse_value
from seqlab.tasks.control.config import EnvironmentSpec

FloatArray = NDArray[np.float32]
VALUES_FILE = "codec.values.json"


Outcome = tuple[FloatArray, float, bool, bool]
"""Observation, reward, whether the episode ended in a final state, and whether it was cut (at its maximum length)."""


class _Codec:
    """Base class of codecs whose fields are saved as JSON."""

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_json(folder / VALUES_FILE, asdict(self))  # type: ignore[call-overload]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Load the codec from a folder; raises ValueError if its file is missing or damaged."""
        file = folder / VALUES_FILE
        try:
            return validate_type(read_json(file), cls)
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is missing or damaged: {error}.") from None


@dataclass(frozen=True)
class ObservationCodec(_Codec):
    """The source side: observations of an environment as float32 arrays."""

    codec: ClassVar[str] = "observation"
    environment: EnvironmentSpec
    shape: tuple[int, ...]
    """(F, D): the last F observations of D numbers; or (C, H, W): images, with all F in the channels."""
    num_states: int | None
    """Number of states, if an observation is the number of one; it is then one-hot encoded."""

    @property
    def is_image(self) -> bool:
        """Whether an observation is an image, with values from 0 to 1."""
        return len(self.shape) == 3


@dataclass(frozen=True)
class ActionCodec(_Codec):
    """The target side: actions as numbers from 0, or vectors between two bounds."""

    codec: ClassVar[str] = "action"
    size: int
    """Number of actions, or of values of an action."""
    start: int = 0
    """Number of the first action in the environment; models count from 0."""
    low: tuple[float, ...] | None = None
    """Lower bounds of the values; None for numbered actions."""
    high: tuple[float, ...] | None = None
    """Upper bounds of the values."""

    @property
    def actions(self) -> ActionCodec:
        """The codec of actions."""
        return self

    @property
    def is_discrete(self) -> bool:
        """Whether actions are numbers from 0; otherwise they are vectors between two bounds."""
        return self.low is None

    def bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of the values, both (A,), with the dtype and the device of a tensor."""
        return like.new_tensor(self.low), like.new_tensor(self.high)


@dataclass(frozen=True)
class StateValueCodec(_Codec):
    """The target side of a model that estimates the value of a state under a given behavior."""

    codec: ClassVar[str] = "state_value"
    actions: ActionCodec
    size: int = 1


class Environment:
    """One environment, whose episodes depend only on their seeds and the actions."""

    def __init__(self, spec: EnvironmentSpec, render: bool = False) -> None:
        """Make the environment; with `render`, `frames` has an image (height, width, 3) of each state of an episode.

        Raises:
            ValueError: the name is unknown, an option or a space is not supported, or an episode may never end.
        """
        try:
            import gymnasium
        except ImportError:
            raise ValueError("Environments need an extra: pip install 'seqlab[control]'.") from None
        self.spec, self.name, self._render = spec, spec.name, render
        options = f" with `data.options` {' '.join(spec.options)}" if spec.options else ""
        hint = "" if spec.name in gymnasium.registry else " (if a plugin registers it, name the plugin with `--plugin`)"
        with _named(f"`data.environment: {self.name}`{options} cannot {'draw frames' if render else 'be made'}{hint}"):
            arguments: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
            for name, _, value in (option.partition("=") for option in spec.options):
                arguments[name] = parse_value(value, f"data.options: {name}")
            self._env = gymnasium.make(
                spec.name, max_episode_steps=spec.max_episode_steps, disable_env_checker=True, **arguments
            )
        self.limit: int = (self._env.spec and self._env.spec.max_episode_steps) or 0
        if not self.limit:
            raise ValueError(f"An episode of {self.name} may never end: set `data.max_episode_steps`.")
        self.observations, self.actions = self._observation_codec(), self._action_codec()

    def _observation_codec(self) -> ObservationCodec:
        from gymnasium import spaces

        space = self._env.observation_space
        with _named(f"Observations of {self.name} ({space}) are not supported"):
            size = spaces.flatdim(space)
            if size == 0:
                raise ValueError("they have no values")
        shape = space.shape or ()
        self._is_image = len(shape) in (2, 3) and space == spaces.Box(0, 255, shape, np.uint8)
        self._shape = channels_first(np.empty(shape)).shape if self._is_image else (1, size)
        states = int(space.n) if isinstance(space, spaces.Discrete) else None
        return ObservationCodec(self.spec, (self.spec.window * self._shape[0], *self._shape[1:]), states)

    def _action_codec(self) -> ActionCodec:
        from gymnasium import spaces

        space = self._env.action_space
        if isinstance(space, spaces.Discrete):
            return ActionCodec(int(space.n), int(space.start))
        if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
            low, high = (tuple(map(float, bound.ravel())) for bound in (space.low, space.high))
            if np.isfinite([low, high]).all() and all(a < b for a, b in zip(low, high, strict=True)):
                return ActionCodec(len(low), low=low, high=high)
        raise ValueError(
            f"Actions of {self.name} must be discrete (Discrete), or floating-point numbers between finite bounds "
            f"(Box), but are {space} instead."
        )

    def reset(self, seed: int) -> FloatArray:
        """Start an episode; return the first observation in the shape of the codec.

        Raises:
            ValueError: the environment failed, or its observation has another shape or is not finite.
        """
        self._steps = 0
        with _named(f"{self.name} could not start an episode (seed {seed})"):
            encoded = self._encode(self._env.reset(seed=seed)[0])
        self._last = np.concatenate([encoded] * self.spec.window)
        if self._render:
            self.frames = [self._frame()]
        return self._last

    def step(self, action: NDArray[Any]) -> Outcome:
        """Act; return the outcome. A vector is cut at the bounds of its values.

        Raises:
            ValueError: the environment failed, its observation has another shape, or it or the reward is not finite.
        """
        self._steps += 1
        space: Any = self._env.action_space
        if self.actions.is_discrete:
            native_action: Any = int(action) + self.actions.start
        else:
            native_action = np.clip(action.reshape(space.shape), space.low, space.high).astype(space.dtype)
        with _named(f"{self.name} failed in step {self._steps} of an episode"):
            observation, reward, terminated, truncated, _ = self._env.step(native_action)
            encoded = self._encode(observation)
            if not abs(float(reward)) <= MAX_NUMBER:
                raise ValueError(f"the reward is {reward}")
        self._last = np.concatenate([self._last[len(encoded) :], encoded])
        if self._render:
            self.frames.append(self._frame())
        return self._last, float(reward), bool(terminated), bool(truncated)

    def close(self) -> None:
        """Free the environment."""
        self._env.close()

    def _frame(self) -> NDArray[np.uint8]:
        with _named(f"{self.name} cannot draw frames"):
            frame = self._env.render()
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
                raise ValueError("`render` must return an array of bytes")
        return frame

    def _encode(self, observation: Any) -> FloatArray:
        """Encode one observation: (1, D), or (C, H, W) with values from 0 to 1."""
        from gymnasium import spaces

        space = self._env.observation_space
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and not space.contains(observation):
            raise ValueError(f"the observation {observation} is not in {space}")
        if self._is_image:
            encoded = channels_first(np.asarray(observation, np.float32) / np.float32(255))
        else:
            encoded = np.asarray(spaces.flatten(space, observation), np.float32)[None]
        if encoded.shape != self._shape:
            raise ValueError(f"the observation has shape {encoded.shape[1:]} instead of {self._shape[1:]}")
        if not np.isfinite(encoded).all():
            raise ValueError("the observation is not finite")
        return encoded


def read_spaces(spec: EnvironmentSpec) -> Environment:
    """Make and close an environment: its codecs and limit remain. Raises ValueError as `Environment` does."""
    environment = Environment(spec)
    environment.close()
    return environment


@contextmanager
def _named(failure: str) -> Iterator[None]:
    """Re-raise any exception, of an environment by others, as a ValueError that names what failed."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{failure}: {type(error).__name__}: {error}") from error
