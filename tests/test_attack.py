"""A few tries of each attack (`python -m tests.attack`), and many in the slow part."""

import random
from itertools import islice

import pytest
from attack.__main__ import CLASSES
from attack.workspace import Workspace

OF_MINUTES = ("streams", "interrupts", "kills", "memory")
"""Attacks whose tries take seconds each, as they start Python anew or read many lines."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Unpack the stored runs."""
    return Workspace.make(tmp_path_factory.mktemp("attack"))


def attack(workspace: Workspace, name: str, count: int, seed: int, most: int | None = None) -> None:
    """Run a class of attacks, `most` of its tries if given, and report those that did not hold."""
    found = islice(CLASSES[name](workspace, random.Random(f"{name} {seed}"), count), most)
    faults = [f"{what}\n    {fault}" for what, fault in found if fault is not None]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", [name for name in CLASSES if name not in OF_MINUTES])
def test_a_few_tries(workspace: Workspace, name: str) -> None:
    attack(workspace, name, 4, seed=1)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_lines(workspace: Workspace) -> None:
    """Three commands drawn by lot: 900,000 lines and 300,000, at which the heap has its gaps already."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    attack(workspace, "memory", 900, seed, most=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CLASSES if name != "memory"])
def test_many_tries(workspace: Workspace, name: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    attack(workspace, name, 60, seed)
