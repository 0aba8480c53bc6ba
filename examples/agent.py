"""Train an agent in an environment of your own: a heater that should keep a room at 20 degrees for a day.

    python agent.py [RUN_DIR]

The command line takes this file as a plugin:

    seqlab train --plugin agent.py --data.kind control --data.environment Heater-v0
"""

import sys
from typing import Any

import gymnasium
import numpy as np

import seqlab


class Heater(gymnasium.Env):
    """A room that loses heat to the outside; the heater is off, low or high for an hour."""

    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start a day; all random numbers come from `self.np_random`, so that the seed determines the episode."""
        super().reset(seed=seed)
        self.room, self.outside = self.np_random.uniform(10, 20), self.np_random.uniform(-5, 10)
        return self.observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Heat for an hour; the reward is minus the distance from 20 degrees, minus the cost of the heat."""
        self.outside += self.np_random.normal()
        self.room += 0.2 * (self.outside - self.room) + 3 * action
        return self.observation(), -abs(self.room - 20) - 0.1 * action, False, False, {}

    def observation(self) -> np.ndarray:
        """Return both temperatures, scaled to about -1 to 1."""
        return np.array([self.room - 20, self.outside - 5], np.float32) / 10


gymnasium.register("Heater-v0", Heater, max_episode_steps=24)
SETTINGS = {"data.kind": "control", "data.environment": "Heater-v0", "training.max_steps": 60}

if __name__ == "__main__":
    run_dir = sys.argv[1] if len(sys.argv) > 1 else "runs/agent"
    seqlab.train(seqlab.config_for(SETTINGS), run_dir)
    agent = seqlab.load(run_dir)
    returns = [episode.total for episode in agent.play(100)]
    print(f"mean return {np.mean(returns):.1f}")
    for outside in (-8, 5, 16):
        [action] = agent.act(np.array([[[20 - 20, outside - 5]]]) / 10)  # (B, window, numbers of an observation)
        print(f"20 degrees inside, {outside} outside: {('off', 'low', 'high')[action]}")
