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
SLIPPERY_LAKE, CLIFF = "frozen_lake", "cliff_walking"
TABLES = (SLIPPERY_LAKE, CLIFF)
ARROWS = "↑→↓←"
CLIFF_SHAPE = (4, 12)
MAX_SWEEPS = 10_000
SARSA: dict[str, Any] = {"objective.family": "sarsa"}
CLIFF_SARSA = SARSA | {"objective.discount": 1.0, "objective.epsilon_start": 0.1}


@dataclass(frozen=True)
class Agent:
    """A recipe with a method."""

    recipe: str
    method: str
    goal: float | None
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
    Agent(
        "cliff_walking",
        "SARSA, exploring less and less",
        -13,
        CLIFF_SARSA
        | {"objective.epsilon_end": 0.0, "objective.epsilon_steps": 3000, "data.episodes_per_step": 4}
        | {"optim.optimizer.lr": 0.5, "training.max_steps": 4000},
    ),
    Agent(
        "cliff_walking",
        "SARSA, always exploring",
        None,
        CLIFF_SARSA
        | {"objective.epsilon_end": 0.1, "data.episodes_per_step": 16, "optim.optimizer.lr": 0.3}
        | {"training.max_steps": 1500},
    ),
    Agent("acrobot", "PPO", -100, {}),
    Agent("pendulum", "DDPG", -250, {}),
)


def run(folder: Path, quick: bool) -> Study:
    """Train each agent with each seed, and play episodes without exploration."""
    rows: list[list[Any]] = []
    paths: list[str] = []
    for number, agent in enumerate(AGENTS):
        returns, minutes, errors = [], [], []
        for seed in SEEDS[: 1 if quick else None]:
            run_dir = folder / f"{number}-{agent.recipe}-seed{seed}"
            limits = {"training.max_steps": 2} if quick else {}
            settings = {**agent.settings, **limits, "seed": seed, "training.threads": 1}
            seqlab.train(seqlab.recipe(agent.recipe, run_dir, settings), run_dir)
            # A table is complete at the end, when its learning rate is 0.
            played = seqlab.load(run_dir, checkpoint="last" if agent.recipe in TABLES else "best")
            returns.append(np.mean([each.total for each in played.play(2 if quick else NUM_EPISODES)]))
            minutes.append(max(line.get("minutes", 0.0) for line in RunFolder(run_dir).read_metrics()))
            if agent.recipe == SLIPPERY_LAKE:
                errors.append(np.abs(values_of(played) - optimal_values(played.run.config.objective.discount)).max())
            if agent.recipe == CLIFF and seed == SEEDS[0]:
                paths.append(f"{agent.method}:\n\n```text\n{path_of(played)}\n```")
        shown = ", ".join(f"{value:.2f}" for value in errors)
        of_seeds = ", ".join(f"{value:.2f}" for value in returns)
        goal, mean = "" if agent.goal is None else agent.goal, f"{np.mean(returns):.2f}"
        rows.append([agent.recipe, agent.method, goal, of_seeds, mean, f"{max(minutes):.1f}", shown])
    header = ["recipe", "method", "goal", "return of each seed", "mean", "minutes at most", "error of the values"]
    return Study([table(header, rows), *paths])


def path_of(agent: Any) -> str:
    """Draw the path of an agent along the cliff without exploration: an arrow for each action, `.` elsewhere."""
    states = np.eye(agent.observations.num_states, dtype=np.float32)[:, None]
    actions = agent.act(states)
    height, width = CLIFF_SHAPE
    drawn, row, column = [["."] * width for _ in range(height)], height - 1, 0
    while drawn[row][column] == "." and (row, column) != (height - 1, width - 1):
        action = int(actions[row * width + column])
        drawn[row][column] = ARROWS[action]
        row = min(max(row + (-1, 0, 1, 0)[action], 0), height - 1)
        column = min(max(column + (0, 1, 0, -1)[action], 0), width - 1)
    return "\n".join("".join(line) for line in drawn)


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
