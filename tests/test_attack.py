"""Attacks on the commands (`python -m tests.attack`): four trials of each class, and a dozen marked `learning`."""

import random
from itertools import islice

import pytest
from attack.__main__ import ATTACK_CLASSES
from attack.workspace import Workspace

SLOW_CLASSES = ("streams", "interrupts", "kills", "memory")
"""Classes whose trials take seconds each, since they start new Python processes or read many lines."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Unpack the stored runs."""
    return Workspace.make(tmp_path_factory.mktemp("attack"))


def attack(workspace: Workspace, name: str, count: int, seed: int, max_trials: int | None = None) -> None:
    """Run at most `max_trials` trials of an attack class (default: all), and fail with a list of the faults."""
    trials = islice(ATTACK_CLASSES[name](workspace, random.Random(f"{name} {seed}"), count), max_trials)
    faults = [f"{description}\n    {fault}" for description, fault in trials if fault is not None]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", [name for name in ATTACK_CLASSES if name not in SLOW_CLASSES])
def test_four_trials(workspace: Workspace, name: str) -> None:
    attack(workspace, name, 4, seed=1)


@pytest.mark.learning
def test_memory_does_not_grow_with_the_number_of_lines(workspace: Workspace) -> None:
    """A random command, 300,000 and 900,000 lines: fragmentation of the heap has ended by 300,000 lines."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    attack(workspace, "memory", 900, seed, max_trials=1)


@pytest.mark.learning
@pytest.mark.parametrize("name", [name for name in ATTACK_CLASSES if name != "memory"])
def test_a_dozen_trials(workspace: Workspace, name: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    attack(workspace, name, 12, seed)
