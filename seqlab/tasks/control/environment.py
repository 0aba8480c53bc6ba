"""Environments of gymnasium by name, with observations and actions as arrays, and errors that name what failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type
from seqlab.data.epoch import derive_seed
from seqlab.tasks.control.config import EnvironmentSpec

CodecT = TypeVar("CodecT")
FloatArray = NDArray[np.float32]
MAX_IMAGE_CHANNELS = 4
"""Maximum size of the last axis of an observation of bytes with three axes that is read as an image."""
MAX_STEPS_COMPARED = 200
"""Steps after which an environment counts as one that repeats itself from its seed."""
VALUES_FILE = "codec.values.json"


class Outcome(NamedTuple):
    """The result of an action."""

    observation: FloatArray
    reward: float
    terminated: bool
    """Whether the episode ended in a final state, after which there is no reward."""
    truncated: bool
    """Whether the episode was cut, for example at its maximum length."""


@dataclass(frozen=True)
class ObservationCodec:
    """The source side: observations of an environment as float32 arrays."""

    codec: ClassVar[str] = "observation"
    environment: EnvironmentSpec
    shape: tuple[int, ...]
    """(F, D): the last F observations of D numbers; or (C, H, W): images, with all F in the channels."""
    num_states: int | None
    """Number of states, if an observation is the number of one; it is then one-hot encoded."""

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_json(folder / VALUES_FILE, asdict(self))


@dataclass(frozen=True)
class ActionCodec:
    """The target side: actions as numbers from 0, or vectors between two bounds."""

    codec: ClassVar[str] = "action"
    size: int
    """Number of actions, or of values of an action."""
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
        """Whether actions are numbered."""
        return self.low is None

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_json(folder / VALUES_FILE, asdict(self))


@dataclass(frozen=True)
class StateValueCodec:
    """The target side of a model that estimates the value of a state under a given behavior."""

    codec: ClassVar[str] = "state_value"
    actions: ActionCodec
    size: int = 1

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_json(folder / VALUES_FILE, asdict(self))


def load_observation_codec(folder: Path) -> ObservationCodec:
    """Load a codec of observations; raises ValueError if its file is missing or damaged."""
    return _load(folder, ObservationCodec)


def load_action_codec(folder: Path) -> ActionCodec:
    """Load a codec of actions; raises ValueError if its file is missing or damaged."""
    return _load(folder, ActionCodec)


def load_state_value_codec(folder: Path) -> StateValueCodec:
    """Load a codec of the values of states; raises ValueError if its file is missing or damaged."""
    return _load(folder, StateValueCodec)


def _load(folder: Path, codec: type[CodecT]) -> CodecT:
    file = folder / VALUES_FILE
    try:
        return validate_type(read_json(file), codec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged: {error}.") from None


class Environment:
    """One environment, whose episodes depend only on their seeds and the actions."""

    def __init__(self, spec: EnvironmentSpec, render: bool = False) -> None:
        """Make the environment; with `render`, it can draw frames.

        Raises:
            ValueError: the name is unknown, an option or a space is not supported, or an episode may never end.
        """
        try:
            import gymnasium
        except ImportError:
            raise ValueError("Environments need an extra: pip install 'seqlab[control]'.") from None
        self.spec, self.name = spec, spec.name
        try:
            self._env = gymnasium.make(
                spec.name,
                max_episode_steps=spec.max_episode_steps,
                disable_env_checker=True,
                **spec.arguments(),
                **({"render_mode": "rgb_array"} if render else {}),
            )
        except (gymnasium.error.Error, ImportError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"`data.environment: {self.name}` cannot be made: {error}") from error
        self.limit = None if self._env.spec is None else self._env.spec.max_episode_steps
        if self.limit is None:
            raise ValueError(f"An episode of {self.name} may never end: set `data.max_episode_steps`.")
        self.observations, self.actions = self._observation_codec(), self._action_codec()

    def _observation_codec(self) -> ObservationCodec:
        from gymnasium import spaces

        space = self._env.observation_space
        self._is_image = (
            isinstance(space, spaces.Box)
            and len(space.shape) == 3
            and space.dtype == np.uint8
            and space.shape[2] <= MAX_IMAGE_CHANNELS
        )
        if self._is_image:
            height, width, channels = space.shape or ()
            return ObservationCodec(self.spec, (self.spec.window * channels, height, width), None)
        if not spaces.utils.is_space_dtype_shape_equiv(space, space) or not space.is_np_flattenable:
            raise ValueError(f"Observations of {self.name} have no fixed size ({space}): they are not supported.")
        flat = spaces.utils.flatten_space(space)
        states = int(space.n) if isinstance(space, spaces.Discrete) else None
        return ObservationCodec(self.spec, (self.spec.window, prod(flat.shape or ())), states)

    def _action_codec(self) -> ActionCodec:
        from gymnasium import spaces

        space = self._env.action_space
        if isinstance(space, spaces.Discrete):
            return ActionCodec(int(space.n))
        if isinstance(space, spaces.Box) and np.isfinite(space.low).all() and np.isfinite(space.high).all():
            low, high = (tuple(map(float, bound.ravel())) for bound in (space.low, space.high))
            return ActionCodec(len(low), low, high)
        raise ValueError(
            f"Actions of {self.name} must be numbered (Discrete) or have finite bounds (Box), but are {space} instead."
        )

    def reset(self, seed: int) -> FloatArray:
        """Start an episode; return the first observation in the shape of the codec."""
        self._steps = 0
        try:
            first, _ = self._env.reset(seed=seed)
            encoded = self._encode(first)
        except Exception as error:
            raise ValueError(f"{self.name} could not start an episode (seed {seed}): {error!r}") from error
        self._last = np.concatenate([encoded] * self.spec.window)
        return self._last

    def step(self, action: NDArray[Any]) -> Outcome:
        """Act; return the outcome. A vector is cut at the bounds of its values.

        Raises:
            ValueError: the environment failed, or its reward or observation is not finite.
        """
        self._steps += 1
        space = self._env.action_space
        try:
            if self.actions.is_discrete:
                done = self._env.step(int(action) + int(space.start))  # type: ignore[attr-defined]
            else:
                done = self._env.step(np.clip(action.reshape(space.shape), space.low, space.high).astype(space.dtype))  # type: ignore[attr-defined]
            observation, reward, terminated, truncated, _ = done
            encoded, reward = self._encode(observation), float(reward)
        except Exception as error:
            raise ValueError(f"{self.name} failed in step {self._steps} of an episode: {error!r}") from error
        if not (np.isfinite(reward) and np.isfinite(encoded).all()):
            value = f"reward {reward}" if not np.isfinite(reward) else "observation that is not finite"
            raise ValueError(f"{self.name} returned a {value} in step {self._steps} of an episode.")
        self._last = np.concatenate([self._last[len(encoded) :], encoded])
        return Outcome(self._last, reward, bool(terminated), bool(truncated))

    def frame(self) -> NDArray[np.uint8]:
        """Draw the current state: (height, width, 3)."""
        frame = self._env.render()
        if not isinstance(frame, np.ndarray):
            raise ValueError(f"{self.name} cannot draw frames.")
        return frame

    def close(self) -> None:
        """Free the environment."""
        self._env.close()

    def _encode(self, observation: Any) -> FloatArray:
        """Encode one observation: (1, D), or (C, H, W) with values from 0 to 1."""
        from gymnasium import spaces

        if self._is_image:
            return np.moveaxis(np.asarray(observation, np.float32) / np.float32(255), 2, 0)
        return np.asarray(spaces.utils.flatten(self._env.observation_space, observation), np.float32)[None]


def repeats_itself(spec: EnvironmentSpec, seed: int) -> bool:
    """Return whether two episodes with the same seed and the same random actions are equal."""
    first, second = Environment(spec), Environment(spec)
    rng = np.random.default_rng(seed)
    codec, episode_seed = first.actions, derive_seed(seed)
    are_equal = bool((first.reset(episode_seed) == second.reset(episode_seed)).all())
    for _ in range(MAX_STEPS_COMPARED):
        values = rng.random(codec.size)
        action = np.array(int(values[0] * codec.size)) if codec.low is None else _between(codec, values)
        one, other = first.step(action), second.step(action)
        are_equal = are_equal and bool((one.observation == other.observation).all()) and one[1:] == other[1:]
        if not are_equal or one.terminated or one.truncated:
            break
    first.close()
    second.close()
    return are_equal


def _between(codec: ActionCodec, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = np.array(codec.low), np.array(codec.high)
    return low + shares * (high - low)
