"""Study of agents: the recipes of control with several methods and seeds, measured without exploration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqlab
from benchmarks.studies.study import Study, table
from seqlab.runs.folder import RunFolder

SEEDS = (1, 2, 3)
NUM_EPISODES = 100
SLIPPERY_LAKE = "frozen_lake"
MAX_SWEEPS = 10_000
SARSA: dict[str, Any] = {"objective.family": "sarsa"}
CLIFF_SARSA = SARSA | {"objective.discount": 1.0, "objective.epsilon_start": 0.1}


@dataclass(frozen=True)
class Agent:
    """A recipe with a method."""

    recipe: str
    method: str
    goal: float
    """Mean return to reach."""
    settings: Mapping[str, Any]
    """Fields that differ from the recipe."""


AGENTS = (
    Agent("cartpole", "policy gradient with a critic as baseline", 475, {}),
    Agent("cartpole", "actor-critic", 475, {"objective.trace_decay": 0.95}),
    Agent("frozen_lake", "Q-learning", 0.70, {}),
    Agent(
        "frozen_lake",
        "SARSA",
        0.70,
        SARSA | {"objective.epsilon_end": 0.0, "objective.epsilon_steps": 2500, "training.max_steps": 3000},
    ),
    Agent("cliff_walking", "Q-learning", -13, {}),
    Agent("cliff_walking", "SARSA, exploring less and less", -13, CLIFF_SARSA | {"objective.epsilon_end": 0.0}),
    Agent("cliff_walking", "SARSA, always exploring", -17, CLIFF_SARSA | {"objective.epsilon_end": 0.1}),
    Agent("acrobot", "PPO", -100, {}),
    Agent("pendulum", "DDPG", -250, {}),
)


def run(folder: Path, quick: bool) -> Study:
    """Train each agent with each seed, and play episodes without exploration."""
    rows = []
    for number, agent in enumerate(AGENTS):
        returns, minutes, errors = [], [], []
        for seed in SEEDS[: 1 if quick else None]:
            run_dir = folder / f"{number}-{agent.recipe}-seed{seed}"
            limits = {"training.max_steps": 2} if quick else {}
            settings = {**agent.settings, **limits, "seed": seed, "training.threads": 1}
            seqlab.train(seqlab.recipe(agent.recipe, run_dir, settings), run_dir)
            played = seqlab.load(run_dir)
            returns.append(np.mean([each.total for each in played.play(2 if quick else NUM_EPISODES)]))
            minutes.append([line["minutes"] for line in RunFolder(run_dir).read_metrics()][-1])
            if agent.recipe == SLIPPERY_LAKE:
                errors.append(np.abs(values_of(played) - optimal_values(played.run.config.objective.discount)).max())
        shown = ", ".join(f"{value:.2f}" for value in errors)
        means = ", ".join(f"{value:.2f}" for value in returns)
        rows.append([agent.recipe, agent.method, agent.goal, means, f"{max(minutes):.1f}", shown])
    header = ["recipe", "method", "goal", "mean return of each seed", "minutes at most", "error of the values"]
    return Study([table(header, rows)])


def values_of(agent: Any) -> NDArray[np.float64]:
    """Return the value of the best action in each state of an agent with numbered states: (states,)."""
    states = np.eye(agent.observations.num_states, dtype=np.float32)[:, None]
    return np.asarray(agent.values(states).max(1), np.float64)


def optimal_values(discount: float) -> NDArray[np.float64]:
    """Compute the value of each state of the slippery FrozenLake by value iteration: (states,)."""
    import gymnasium

    outcomes: Any = gymnasium.make("FrozenLake-v1").unwrapped
    values = np.zeros(len(outcomes.P))
    for _ in range(MAX_SWEEPS):
        values = np.array(
            [
                max(
                    sum(p * (reward + discount * values[after] * (not ends)) for p, after, reward, ends in results)
                    for results in outcomes.P[state].values()
                )
                for state in range(len(values))
            ]
        )
    return values
