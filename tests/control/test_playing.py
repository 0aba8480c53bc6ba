"""Episodes that are played side by side, and the encoding of observations and actions."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from reference.toy_environments import ACTIONS, OBSERVATIONS, Odd
from torch import Tensor

from seqlab.models import (
    EncoderPredictorConfig,
    LinearEncoderConfig,
)
from seqlab.tasks.control.config import EnvironmentSpec
from seqlab.tasks.control.environment import Environment
from seqlab.tasks.control.episodes import (
    Behavior,
    Episodes,
    EpsilonGreedy,
    Greedy,
    Player,
    Softmax,
    Uniform,
    repeats_itself,
)

POLE = EnvironmentSpec("CartPole-v1")


def behaviors() -> list[Behavior]:
    environment = Environment(POLE)
    model = EncoderPredictorConfig(encoder=LinearEncoderConfig()).build(environment.observations, environment.actions)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.head.project.weight)
    return [Softmax(model), EpsilonGreedy(model, environment.actions, 0.5), Uniform(environment.actions)]


def episode(episodes: Episodes, row: int) -> list[Any]:
    """Return the observations, actions, rewards and ends of an episode, without padding."""
    length = int(episodes.lengths[row])
    values = (episodes.observations[row, : length + 1], episodes.actions[row, :length], episodes.rewards[row, :length])
    return [*(each.tolist() for each in values), episodes.terminated[row, :length].tolist()]


@pytest.mark.parametrize("behavior", behaviors())
def test_an_episode_does_not_depend_on_the_others(behavior: Behavior) -> None:
    player = Player(POLE)
    together = player.play(behavior, range(6), seed=5)
    assert len(set(together.lengths.tolist())) > 1
    shuffled = player.play(behavior, [4, 0, 2], seed=5)
    for row, number in enumerate([4, 0, 2]):
        assert episode(shuffled, row) == episode(together, number)
    assert episode(Player(POLE).play(behavior, [3], seed=5), 0) == episode(together, 3)
    assert episode(player.play(behavior, [3], seed=6), 0) != episode(together, 3)


def test_what_follows_an_episode_is_padding() -> None:
    episodes = Player(POLE).play(behaviors()[2], range(4), seed=1)
    after = ~episodes.mask
    assert after.any()
    assert not episodes.rewards[after].any()
    assert not episodes.terminated[after].any()
    assert episodes.terminated.sum(1).tolist() == [1] * 4
    assert episodes.last_rows.equal(episodes.terminated)
    assert episodes.returns.tolist() == episodes.lengths.tolist()


def test_a_played_episode_is_that_of_gymnasium() -> None:
    played = Player(POLE).play(behaviors()[0], [0], seed=1)
    environment = gymnasium.make("CartPole-v1")
    from seqlab.data.epoch import derive_seed

    observation, _ = environment.reset(seed=derive_seed(1, 0))
    for t, action in enumerate(played.actions[0].tolist()):
        np.testing.assert_array_equal(played.observations[0, t, 0].numpy(), observation)
        observation, _, terminated, truncated, _ = environment.step(action)
    assert terminated
    assert not truncated


def test_a_cut_episode_is_not_terminated() -> None:
    spec = EnvironmentSpec("CartPole-v1", max_episode_steps=5)
    episodes = Player(spec).play(behaviors()[0], range(3), seed=1)
    assert episodes.lengths.tolist() == [5, 5, 5]
    assert not episodes.terminated.any()
    assert episodes.last_rows.nonzero()[:, 1].tolist() == [4, 4, 4]


def test_windows_repeat_the_first_observation() -> None:
    plain = Player(POLE).play(behaviors()[2], range(2), seed=1)
    windows = Player(EnvironmentSpec("CartPole-v1", window=3)).play(behaviors()[2], range(2), seed=1)
    for row, length in enumerate(plain.lengths.tolist()):
        for t in range(length + 1):
            expected = [plain.observations[row, max(0, t - back), 0].tolist() for back in (2, 1, 0)]
            assert windows.observations[row, t].tolist() == expected


def test_windows_of_images_follow_one_another_in_the_channels() -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", ["observation=image"], window=2))
    assert environment.observations.shape == (6, 12, 10)
    first = environment.reset(1)
    np.testing.assert_array_equal(first[:3], first[3:])
    second, _, _, _ = environment.step(np.array(0))
    np.testing.assert_array_equal(second[:3], first[3:])
    assert (second[3:] != first[3:]).any()


FLAT = [name for name, space in OBSERVATIONS.items() if "image" not in name and name not in ("no values", "sequence")]


@pytest.mark.parametrize("name", FLAT)
def test_observations_are_flat_vectors(name: str) -> None:
    environment, space = Environment(EnvironmentSpec("Odd-v0", [f"observation={name}"])), OBSERVATIONS[name]
    encoded = environment.reset(7)
    plain = gymnasium.make("Odd-v0", observation=name)
    observation, _ = plain.reset(seed=7)
    if isinstance(space, spaces.Discrete):
        expected = np.eye(4)[observation - 2]
    elif isinstance(space, spaces.Tuple):
        expected = np.concatenate([np.eye(3)[observation[0] - 1], observation[1]])
    elif isinstance(space, spaces.Dict):
        expected = np.concatenate([np.eye(2)[observation["a"]], observation["b"].ravel()])
    elif isinstance(space, spaces.MultiDiscrete):
        expected = np.concatenate([np.eye(3)[observation[0]], np.eye(2)[observation[1]]])
    else:
        expected = np.ravel(observation)
    np.testing.assert_array_equal(encoded, expected[None].astype(np.float32))
    assert encoded.dtype == np.float32
    assert environment.observations.shape == encoded.shape
    assert environment.observations.num_states == (4 if name == "discrete" else None)


@pytest.mark.parametrize(
    ("name", "axes"), [("image", (2, 0, 1)), ("image, channels first", (0, 1, 2)), ("image, gray", None)]
)
def test_images_have_channels_first_and_values_up_to_1(name: str, axes: tuple[int, ...] | None) -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", [f"observation={name}"]))
    encoded = environment.reset(7)
    observation, _ = gymnasium.make("Odd-v0", observation=name).reset(seed=7)
    expected = observation[None] if axes is None else observation.transpose(axes)
    np.testing.assert_allclose(encoded, expected / 255, rtol=1e-6)
    assert environment.observations.shape == (3 if axes else 1, 12, 10)


class Taken(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Note the actions that the environment receives."""

    def step(self, action: Any) -> Any:
        self.action = action
        return super().step(action)


@pytest.mark.parametrize(("name", "outside"), [("discrete", 1), ("discrete", 6), ("multi-discrete", np.array([3, 0]))])
def test_observations_outside_of_a_discrete_space_are_refused(
    name: str, outside: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A one-hot encoding would take them for another state."""
    environment = Environment(EnvironmentSpec("Odd-v0", [f"observation={name}"]))
    monkeypatch.setattr(Odd, "_observe", lambda self: outside)
    with pytest.raises(ValueError, match="is not in "):
        environment.reset(seed=1)


def test_numbered_actions_start_where_the_space_does() -> None:
    environment = Environment(EnvironmentSpec("Odd-v0"))
    environment._env = taken = Taken(environment._env)
    environment.reset(1)
    for number in range(3):
        environment.step(np.array(number))
        assert taken.action == number + 1


def test_vectors_are_cut_at_their_bounds() -> None:
    environment, space = Environment(EnvironmentSpec("Odd-v0", ["action=box"])), ACTIONS["box"]
    environment._env = taken = Taken(environment._env)
    environment.reset(1)
    environment.step(np.array([-9, 0.5, 9, 0], np.float32))
    np.testing.assert_array_equal(taken.action, np.array([[-2, 0.5], [3, 0]], np.float32))
    assert space.contains(taken.action)


def test_greedy_and_uniform_vectors_are_within_their_bounds() -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", ["action=box"]))
    model = EncoderPredictorConfig(encoder=LinearEncoderConfig()).build(environment.observations, environment.actions)
    torch.nn.init.normal_(model.head.project.weight, std=5)
    low, high = torch.tensor([-2, 0, 1, -1]), torch.tensor([2, 1, 3, 1])
    numbers = torch.rand(200, 4, dtype=torch.float64)
    for behavior in (Greedy(model, environment.actions), Uniform(environment.actions)):
        actions: Tensor = behavior(torch.randn(200, 1, 3), numbers)
        assert ((actions >= low) & (actions <= high)).all()
        assert (actions.max(0).values - actions.min(0).values > 0.9 * (high - low)).all()


def test_epsilon_is_the_share_of_random_actions() -> None:
    environment = Environment(POLE)
    model = EncoderPredictorConfig(encoder=LinearEncoderConfig()).build(environment.observations, environment.actions)
    torch.nn.init.ones_(model.head.project.weight[1])
    numbers = torch.rand(4000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    actions = EpsilonGreedy(model, environment.actions, 0.3)(torch.ones(4000, 1, 4), numbers)
    assert float(actions.float().mean()) == pytest.approx(1 - 0.3 / 2, abs=0.03)


@pytest.mark.parametrize(("fault", "repeats"), [("", True), ("unseeded", False), ("own generator", False)])
def test_whether_an_environment_repeats_itself(fault: str, repeats: bool) -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", [f"fault={fault}"] if fault else []))
    assert repeats_itself(environment, 1) is repeats
