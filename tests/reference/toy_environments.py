"""Environments whose episodes can be enumerated, and environments with any spaces and faults."""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from seqlab.tasks.control.episodes import Episodes

NUM_STATES, NUM_ACTIONS, FINAL = 4, 2, 3
REWARDS = np.array([[0.3, 1.0], [-0.5, 0.8], [1.5, -1.0], [0.0, 0.0]])
"""(S, A): reward of an action."""
ACYCLIC = np.array(
    [
        [[0, 0.7, 0.3, 0], [0, 0, 0.6, 0.4]],
        [[0, 0, 0.5, 0.5], [0, 0, 0.2, 0.8]],
        [[0, 0, 0, 1], [0, 0, 0, 1]],
        [[0, 0, 0, 1], [0, 0, 0, 1]],
    ]
)
"""(S, A, S): probability of the next state. Episodes have at most 3 actions."""
CYCLIC = np.array(
    [
        [[0.2, 0.5, 0.3, 0], [0, 0, 0.6, 0.4]],
        [[0.5, 0, 0.5, 0], [0, 0.4, 0.2, 0.4]],
        [[0.7, 0, 0, 0.3], [0, 0.9, 0, 0.1]],
        [[0, 0, 0, 1], [0, 0, 0, 1]],
    ]
)


class Toy(gymnasium.Env[int, int]):
    """Three states and a final one, with random transitions."""

    observation_space = spaces.Discrete(NUM_STATES)
    action_space = spaces.Discrete(NUM_ACTIONS)

    def __init__(self, cyclic: bool = False) -> None:
        self.transitions, self.state = CYCLIC if cyclic else ACYCLIC, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        reward = float(REWARDS[self.state, action])
        self.state = int(self.np_random.choice(NUM_STATES, p=self.transitions[self.state, action]))
        return self.state, reward, self.state == FINAL, False, {}


class Path(NamedTuple):
    """One possible episode of the acyclic toy."""

    probability: Tensor
    """(), differentiable with respect to the policy."""
    states: list[int]
    """One more than actions."""
    actions: list[int]

    @property
    def rewards(self) -> list[float]:
        return [float(REWARDS[s, a]) for s, a in zip(self.states, self.actions, strict=False)]


def all_paths(policy: Tensor, path: Path | None = None) -> Iterator[Path]:
    """Yield each possible episode, given the probabilities of actions (S, A)."""
    path = path or Path(torch.ones((), dtype=torch.float64), [0], [])
    state = path.states[-1]
    if state == FINAL:
        yield path
        return
    for action in range(NUM_ACTIONS):
        for following in np.flatnonzero(ACYCLIC[state, action]).tolist():
            probability = path.probability * policy[state, action] * ACYCLIC[state, action, following]
            yield from all_paths(policy, Path(probability, [*path.states, following], [*path.actions, action]))


def episodes_of(paths: list[Path]) -> Episodes:
    """Return episodes as the player stores them; what follows an end repeats the last state and action 0."""
    length = max(len(path.actions) for path in paths)
    states = torch.tensor([path.states + [FINAL] * (length + 1 - len(path.states)) for path in paths])
    observations = torch.nn.functional.one_hot(states, NUM_STATES)[:, :, None].float()
    actions = torch.tensor([path.actions + [0] * (length - len(path.actions)) for path in paths])
    rewards = torch.tensor([path.rewards + [0.0] * (length - len(path.actions)) for path in paths])
    steps = torch.arange(length)
    lengths = torch.tensor([len(path.actions) for path in paths])[:, None]
    return Episodes(observations, actions, rewards, steps == lengths - 1, steps < lengths)


def state_values(transitions: NDArray[Any], policy: NDArray[Any], discount: float) -> NDArray[Any]:
    """Solve the linear equations of the values (S,) of states under a policy (S, A)."""
    matrix = np.einsum("sa,sat->st", policy, transitions)
    matrix[:, FINAL] = 0
    return np.linalg.solve(np.eye(NUM_STATES) - discount * matrix, (policy * REWARDS).sum(1))


def action_values(transitions: NDArray[Any], discount: float, epsilon: float = 0.0) -> NDArray[Any]:
    """Compute the values (S, A) of the best epsilon-greedy policy by dynamic programming."""
    values = np.zeros((NUM_STATES, NUM_ACTIONS))
    for _ in range(1000):
        following = (1 - epsilon) * values.max(1) + epsilon * values.mean(1)
        following[FINAL] = 0
        values = REWARDS + discount * transitions @ following
    values[FINAL] = 0
    return values


BYTES = spaces.Box(0, 255, (12, 10, 3), np.uint8)
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "box of float64": spaces.Box(-1, 1, (2, 2), np.float64),
    "box of integers": spaces.Box(0, 9, (3,), np.int64),
    "scalar": spaces.Box(-1, 1, ()),
    "discrete": spaces.Discrete(4, start=2),
    "tuple": spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(-1, 1, (2,)))),
    "dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2, 2))}),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(4),
    "image": BYTES,
    "image, channels first": spaces.Box(0, 255, (3, 12, 10), np.uint8),
    "image, gray": spaces.Box(0, 255, (12, 10), np.uint8),
    "no values": spaces.Box(-1, 1, (0,)),
    "sequence": spaces.Sequence(spaces.Discrete(3)),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(3, start=1),
    "box": spaces.Box(np.array([[-2, 0], [1, -1]], np.float32), np.array([[2, 1], [3, 1]], np.float32)),
    "multi-binary": spaces.MultiBinary(2),
    "unbounded": spaces.Box(-np.inf, np.inf, (1,)),
    "empty range": spaces.Box(np.array([0, 1], np.float32), np.array([1, 1], np.float32)),
    "integers": spaces.Box(0, 5, (1,), np.int64),
}


class Odd(gymnasium.Env[Any, Any]):
    """Environment with random observations of a space, integer rewards, numpy flags, and one fault."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(
        self, observation: str = "box", action: str = "discrete", fault: str = "", render_mode: str | None = None
    ) -> None:
        self.observation_space, self.action_space = OBSERVATIONS[observation], ACTIONS[action]
        self.fault, self.render_mode, self.own_rng = fault, render_mode, np.random.default_rng(0)
        if fault == "made":
            raise RuntimeError("no license")

    def _observe(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(1 << 30)))
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        if self.fault == "reset":
            raise KeyError("level")
        return np.full(3, np.nan) if self.fault == "first observation NaN" else self._observe(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        self.steps += 1
        if self.fault == "step" and self.steps == 3:
            raise ZeroDivisionError("division by zero")
        observation, reward = self._observe(), int(self.np_random.integers(3))
        outcomes: dict[str, Any] = {
            "reward NaN": (observation, np.nan),
            "reward too large": (observation, 1e39),
            "no reward": (observation, None),
            "observation NaN": (np.full(3, np.nan), reward),
            "shape": (np.zeros(5), reward),
            "unseeded": (observation, random.random()),
            "own generator": (observation, self.own_rng.random()),
        }
        if self.fault == "old interface":
            return observation, reward, False, {}
        return *outcomes.get(self.fault, (observation, reward)), np.bool_(self.steps > 4), np.bool_(False), {}

    def render(self) -> Any:
        if self.fault == "render":
            raise RuntimeError("no display")
        return None if self.fault == "no frame" else np.full((8, 6, 3), self.steps, np.uint8)


def register_environments() -> None:
    """Register the environments, once per process."""
    if "Toy-v0" not in gymnasium.registry:
        gymnasium.register("Toy-v0", Toy, max_episode_steps=10)
        gymnasium.register("Odd-v0", Odd, max_episode_steps=20)
        gymnasium.register("Endless-v0", Odd)
