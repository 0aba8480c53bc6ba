"""Trained agents: the class that `seqlab.load` returns for runs of the control task."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.epoch import derive_seed
from seqlab.nn.precision import choose_device, choose_dtype, prepare_inference
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.control.config import AGENT
from seqlab.tasks.control.episodes import Behavior, Episodes, Player, values_of

Paths = str | Path | Sequence[str | Path]
PLAY_STREAM = 4
"""Seed component of played episodes: they differ from those of training and of validation."""
EPISODES_AT_ONCE = 64
"""Episodes that are played side by side."""


class Played(NamedTuple):
    """One episode."""

    total: float
    """Sum of its rewards."""
    length: int
    """Number of actions."""


class Agent:
    """A trained agent without exploration."""

    def __init__(self, run: LoadedRun, device: torch.device, dtype: torch.dtype) -> None:
        """Move the model to a device, and make the environment."""
        self.run, self.device = run, device
        self.observations, target = run.codecs
        self.actions = target.actions
        objective: Any = run.config.objective
        self.behavior: Behavior = objective.valid_behavior(run.model, self.actions)
        self._player = Player(self.observations.environment)
        prepare_inference(run.model, device, dtype)

    @torch.inference_mode()
    def values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Compute the outputs of the model (B, O) for observations (B, *S) in the shape of the run's codec.

        Images are bytes, or numbers from 0 to 1.

        They are the values of the actions (`q_learning`, `sarsa`), the logits of the actions or their unscaled mean
        (`episode_policy_gradient`, `ddpg`), or the values of the states (`td`).
        """
        return values_of(self.run.model, self._inputs(observations)).cpu().numpy()

    @torch.inference_mode()
    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Choose the actions (B,) or (B, A) of the environment for observations (B, *S), as `values` does.

        Raises:
            ValueError: the run has learned the values of random actions (`td`), or as `values`.
        """
        inputs = self._inputs(observations)
        if self.behavior.num_uniforms:
            raise ValueError("The run has learned the values of random actions, and chooses none: use `values`.")
        return self.behavior(inputs, inputs).cpu().numpy() + self.actions.start

    def play(self, episodes: int = 1, *, seed: int = 1) -> list[Played]:
        """Play episodes; episode i depends only on the seed and i.

        Raises:
            ValueError: `episodes` is below 1 or `seed` below 0, or the environment failed.
        """
        if episodes < 1 or seed < 0:
            raise ValueError(f"`episodes` must be at least 1 and `seed` at least 0, but are {episodes} and {seed}.")
        played: list[Played] = []
        for first in range(0, episodes, EPISODES_AT_ONCE):
            results = self._play(self._player, range(first, min(first + EPISODES_AT_ONCE, episodes)), seed)
            played += map(Played, results.returns.tolist(), results.lengths.tolist())
        return played

    def frames(self, episode: int = 0, *, seed: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Play an episode of `play`, and yield a frame (height, width, 3) of each state."""
        player = Player(self.observations.environment, render=True)
        self._play(player, [episode], seed)
        yield from player.environments[0].frames

    def _play(self, player: Player, indices: Sequence[int], seed: int) -> Episodes:
        with torch.inference_mode():
            return player.play(self.behavior, indices, derive_seed(seed, PLAY_STREAM), self.device)

    def _inputs(self, observations: NDArray[Any]) -> Tensor:
        raw, codec = np.asarray(observations), self.observations
        array = raw.astype(np.float32) / (255 if raw.dtype == np.uint8 and codec.is_image else 1)
        if array.shape[1:] != codec.shape or not np.isfinite(array).all():
            raise ValueError(f"`observations` must be finite, of shape (B, *{codec.shape}): these are {array.shape}.")
        return torch.from_numpy(array).to(self.device)


def load_agent(
    run: Paths, checkpoint: str | Sequence[str] = "best", device: str = "auto", precision: str = "auto"
) -> Agent:
    """Load an agent.

    Args:
        run: a run folder.
        checkpoint: `best` (in validation), `last` or a step number.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: CUDA if available, else the CPU.
        precision: dtype of matrix products: `bf16`, `fp32`, or `auto`, which is fp32 for agents.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the run is not an agent, is damaged or has another format version; several runs are given; its
            environment is not registered.
    """
    runs = [run] if isinstance(run, str | Path) else list(run)
    checkpoints = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    if len(runs) != 1 or len(checkpoints) != 1:
        raise ValueError("Agents cannot form an ensemble: name one run and one checkpoint.")
    chosen_device = choose_device(device)
    loaded = load_run(runs[0], checkpoints[0], model_noun=AGENT)
    return Agent(loaded, chosen_device, choose_dtype("fp32" if precision == "auto" else precision, chosen_device))
