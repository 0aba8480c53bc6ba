"""Values learned by temporal differences against dynamic programming; replay buffer; gradient of DDPG's actor."""

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference.toy_environments import ACYCLIC, CYCLIC, FINAL, NUM_ACTIONS, NUM_STATES, action_values, state_values
from torch import Tensor

from seqlab.data.batch import ValueBatch
from seqlab.models import (
    CnnConfig,
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.models.table import TableConfig
from seqlab.objectives import ModelFactory, StepContext
from seqlab.objectives.replay_buffer import ReplayBuffer
from seqlab.tasks.control.config import EnvironmentSpec
from seqlab.tasks.control.ddpg import DdpgConfig
from seqlab.tasks.control.environment import Environment
from seqlab.tasks.control.episodes import EpisodeBatch, Episodes, Transitions
from seqlab.tasks.control.values import QLearningConfig, SarsaConfig, TdConfig

DISCOUNT = 0.9


def learn(config: Any, spec: EnvironmentSpec, num_steps: int, lr: float, episodes: int = 64) -> NDArray[Any]:
    """Train a table as a run does: play episodes, then update with them; the rate falls to 0. Return the table."""
    environment = Environment(spec)
    factory = ModelFactory(TableConfig(), environment.observations, config.target(environment.actions))
    model = factory.build()
    objective = config.build_for(model, factory)
    optimizer = torch.optim.SGD(model.parameters())
    for step in range(num_steps):
        batch = EpisodeBatch(torch.arange(step * episodes, (step + 1) * episodes), episodes)
        collected = objective.collect(model, batch, StepContext(step))
        optimizer.param_groups[0]["lr"] = lr * (1 - step / num_steps)
        for number in range(objective.passes):
            loss = objective(model, batch, StepContext(step, collected=collected, number_of_pass=number))
            optimizer.zero_grad()
            (loss.total / loss.count).backward()
            optimizer.step()
    table: NDArray[Any] = model.weight.detach().numpy()
    return table


TOYS = {"acyclic": ([], ACYCLIC, 10), "cyclic": (["cyclic=true"], CYCLIC, 60)}


@pytest.mark.parametrize(("name", "target_decay"), [("acyclic", 0.8), ("cyclic", 0.0)])
def test_q_learning_finds_the_values_of_dynamic_programming(name: str, target_decay: float) -> None:
    options, transitions, limit = TOYS[name]
    config = QLearningConfig(
        discount=DISCOUNT,
        epsilon_end=1.0,
        target_decay=target_decay,
        passes=40,
        batch_transitions=256,
        replay_size=20_000,
    )
    table = learn(config, EnvironmentSpec("Toy-v0", options, limit), 25, 1.0)
    np.testing.assert_allclose(
        table[:FINAL], action_values(transitions, DISCOUNT)[:FINAL], atol=0.25 if name == "cyclic" else 0.08
    )


@pytest.mark.parametrize("epsilon", [1.0, 0.5])
def test_sarsa_finds_the_values_of_its_exploring_behavior(epsilon: float) -> None:
    config = SarsaConfig(discount=DISCOUNT, epsilon_start=epsilon, epsilon_end=epsilon)
    table = learn(config, EnvironmentSpec("Toy-v0", [], 10), 150, 3.0)
    expected = action_values(ACYCLIC, DISCOUNT, epsilon)
    np.testing.assert_allclose(table[:FINAL], expected[:FINAL], atol=0.1)


def test_sarsa_without_exploration_in_the_end_finds_the_best_values() -> None:
    config = SarsaConfig(discount=DISCOUNT, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=100)
    table = learn(config, EnvironmentSpec("Toy-v0", [], 10), 150, 3.0)
    best = action_values(ACYCLIC, DISCOUNT)
    np.testing.assert_allclose(table[0].max(), best[0].max(), atol=0.1)
    assert (table[:FINAL].argmax(1) == best[:FINAL].argmax(1)).all()


@pytest.mark.parametrize("trace_decay", [0.0, 1.0])
@pytest.mark.parametrize("limit", [60, 3])
def test_td_finds_the_values_of_random_actions(trace_decay: float, limit: int) -> None:
    config = TdConfig(discount=DISCOUNT, trace_decay=trace_decay)
    table = learn(config, EnvironmentSpec("Toy-v0", ["cyclic=true"], limit), 80, 1.5)
    uniform = np.full((NUM_STATES, NUM_ACTIONS), 1 / NUM_ACTIONS)
    expected = state_values(CYCLIC, uniform, DISCOUNT)
    np.testing.assert_allclose(table[:FINAL, 0], expected[:FINAL], atol=0.12)


def two_episodes() -> Episodes:
    """Return an episode of two actions that ended in a final state, and one of three that was cut."""
    return Episodes(
        observations=torch.nn.functional.one_hot(torch.tensor([[0, 1, 3, 3], [0, 2, 1, 0]]), 4)[:, :, None].float(),
        actions=torch.tensor([[0, 1, 0], [1, 0, 1]]),
        rewards=torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 4.0]]),
        terminated=torch.tensor([[False, True, False], [False, False, False]]),
        mask=torch.tensor([[True, True, False], [True, True, True]]),
    )


@pytest.mark.parametrize("trace_decay", [0.0, 0.3, 1.0])
def test_only_the_end_of_a_cut_episode_has_a_value(trace_decay: float) -> None:
    values = torch.tensor([[0.1, 0.2, 7.0, 9.0], [0.4, 0.5, 0.6, 0.7]])
    returns = two_episodes().lambda_returns(values, DISCOUNT, trace_decay)
    expected = np.zeros((2, 3))
    for row, (length, last) in enumerate([(2, 0.0), (3, 0.7)]):
        following = last
        for t in reversed(range(length)):  # Sutton and Barto 2018, equation 12.18
            next_value = last if t == length - 1 else float(values[row, t + 1])
            mixed = (1 - trace_decay) * next_value + trace_decay * following
            following = expected[row, t] = float(two_episodes().rewards[row, t]) + DISCOUNT * mixed
    mask = two_episodes().mask.numpy()
    np.testing.assert_allclose(returns.numpy()[mask], expected[mask], rtol=1e-5)


def test_transitions_know_final_states() -> None:
    transitions = two_episodes().transitions()
    assert transitions.observations[:, 0].argmax(1).tolist() == [0, 1, 0, 2, 1]
    assert transitions.next_observations[:, 0].argmax(1).tolist() == [1, 3, 2, 1, 0]
    assert transitions.terminated.tolist() == [False, True, False, False, False]
    assert transitions.rewards.tolist() == [1, 2, 0.5, -1, 4]


def test_sarsa_after_the_last_action() -> None:
    environment = Environment(EnvironmentSpec("Toy-v0"))
    factory = ModelFactory(TableConfig(), environment.observations, environment.actions)
    model = factory.build()
    model.weight.data.copy_(torch.tensor([[1.0, 2.0], [3.0, 5.0], [6.0, 4.0], [50.0, 60.0]]))
    loss = (
        SarsaConfig(discount=DISCOUNT, epsilon_start=0.25)
        .build_for(model, factory)
        .loss(model, two_episodes(), StepContext(0))
    )
    errors = [
        *(1 - (1 + DISCOUNT * 5), 5 - 2),  # state 0 action 0, then state 1 action 1, then the end
        *(2 - (0.5 + DISCOUNT * 6), 6 - (-1 + DISCOUNT * 5), 5 - (4 + DISCOUNT * 1.875)),  # cut: the mean over actions
    ]
    assert loss.total.item() == pytest.approx(sum(error**2 for error in errors), rel=1e-5)
    assert float(loss.count) == 5


def numbered_rows(first: int, count: int) -> dict[str, Tensor]:
    numbers = torch.arange(first, first + count)
    return {"number": numbers, "vector": torch.stack([numbers, numbers + 1], 1).float(), "end": numbers % 3 == 0}


def buffer_of(size: int) -> ReplayBuffer:
    return ReplayBuffer({name: torch.zeros_like(rows) for name, rows in numbered_rows(0, size).items()})


def test_the_replay_buffer_is_a_ring() -> None:
    buffer, reference, first = buffer_of(7), deque[int](maxlen=7), 0
    for count in (3, 3, 4, 1, 7, 20, 2, 15):
        buffer.add(numbered_rows(first, count))
        reference.extend(range(first, first + count))
        first += count
        slots = {number % 7: number for number in reference}
        kept = [slots[slot] for slot in range(min(first, 7))]
        assert buffer.number[: len(kept)].tolist() == kept
        assert buffer.vector[: len(kept)].tolist() == [[number, number + 1] for number in kept]
        assert buffer.end[: len(kept)].tolist() == [number % 3 == 0 for number in kept]
        drawn = buffer.draw(200, np.random.default_rng(1))
        assert set(drawn["number"].tolist()) == set(reference)
        assert drawn["vector"][:, 0].tolist() == drawn["number"].tolist()


def test_images_are_replayed_exactly_from_bytes() -> None:
    environment = Environment(EnvironmentSpec("Odd-v0", ["observation=image"]))
    factory = ModelFactory(CnnConfig(channels=(4,)), environment.observations, environment.actions)
    model = factory.build()
    objective = QLearningConfig(replay_size=64, batch_transitions=500).build_for(model, factory)
    batch = EpisodeBatch(torch.arange(3), 3)
    played = objective.collect(model, batch, StepContext(0)).transitions()
    assert objective.replay.observations.dtype == objective.replay.next_observations.dtype == torch.uint8
    drawn = objective.draw(StepContext(0))
    for name in ("observations", "next_observations"):
        expected, actual = ({row.numpy().tobytes() for row in getattr(rows, name)} for rows in (played, drawn))
        assert len(expected) > 5
        assert actual == expected


@pytest.fixture
def ddpg() -> tuple[Any, Any]:
    """Return an actor, and its objective with a filled buffer."""
    environment = Environment(EnvironmentSpec("Odd-v0", ["action=box"], window=2))
    torch.manual_seed(3)
    factory = ModelFactory(
        EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(8,), activation="tanh")),
        environment.observations,
        environment.actions,
    )
    model = factory.build()
    objective = DdpgConfig(replay_size=16, batch_transitions=400, target_decay=0.5).build_for(model, factory)
    actions, ends = torch.randn(16, 4) * 3, torch.arange(16) % 2 == 0
    rows = Transitions(torch.rand(16, 2, 3), actions, torch.rand(16), torch.rand(16, 2, 3), ends)
    objective.replay.add(rows._asdict())
    return model, objective


def test_the_gradient_of_the_actor_is_the_derivative_of_the_critic(ddpg: tuple[Any, Any]) -> None:
    model, objective = ddpg
    parameters = [*model.parameters()]
    loss = objective.loss(model, two_episodes(), StepContext(0))
    gradients = torch.autograd.grad(loss.total, parameters)
    observations = objective.draw(StepContext(0)).observations.double()
    model, critic = model.double(), objective.critic.double()

    def value() -> float:
        """Return the sum of the values of the model's actions, computed without the objective."""
        outputs = run(model, observations).tanh()
        inputs = torch.cat([observations, outputs[:, None].expand(-1, 2, -1)], dim=2)
        return float(run(critic, inputs).sum().detach())

    def run(network: Any, inputs: Tensor) -> Tensor:
        rows = torch.arange(len(inputs))
        outputs: Tensor = network(ValueBatch(inputs, torch.full_like(rows, 2), None, rows, 0))
        return outputs

    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in range(0, parameter.numel(), 5):
            flat = parameter.data.view(-1)
            before = float(flat[index])
            flat[index] = before + 1e-3
            above = value()
            flat[index] = before - 1e-3
            below = value()
            flat[index] = before
            numeric = (above - below) / 2e-3
            assert float(gradient.view(-1)[index]) == pytest.approx(-numeric, rel=5e-3, abs=2e-2)


def test_the_critic_learns_from_its_error_only(ddpg: tuple[Any, Any]) -> None:
    model, objective = ddpg
    critic = [*objective.critic.parameters()]
    gradients = torch.autograd.grad(objective.loss(model, two_episodes(), StepContext(0)).total, critic)
    with torch.no_grad():  # the error does not depend on the weights of the actor, only on its copy
        for parameter in model.parameters():
            parameter.normal_()
    objective.target_actor.requires_grad_(False)
    objective.config = replace(objective.config, target_decay=1 - 1e-9)
    others = torch.autograd.grad(objective.loss(model, two_episodes(), StepContext(0)).total, critic)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other)


def test_draws_depend_on_the_seed_the_step_and_the_pass(ddpg: tuple[Any, Any]) -> None:
    _, objective = ddpg

    def draw(seed: int, step: int, number: int) -> list[float]:
        torch.manual_seed(torch.initial_seed() + 1)
        rewards: list[float] = objective.draw(StepContext(step, seed=seed, number_of_pass=number)).rewards.tolist()
        return rewards

    keys = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    draws = [draw(*key) for key in keys]
    assert draws == [draw(*key) for key in keys]
    assert len({tuple(each) for each in draws}) == 4
    assert len(set(draws[0])) == 16
