"""Cost of the early warnings of a training, as a share of its steps.

    python -m benchmarks.early_warnings number_words --steps 100

Times are those of the processor, so that other programs do not change the share. The share falls with the number of
steps, since gradients and updates are measured at the steps 1, 2, 4, 8 and so on.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import seqlab
from seqlab.training.early_warnings import EarlyWarnings
from seqlab.training.loop import StartedSteps
from seqlab.training.update_sizes import UpdateSizes

WARNINGS = (
    (EarlyWarnings, ("__init__", "before_step", "after_step")),
    (UpdateSizes, ("_before_update", "_after_update")),
)
STEPS = ((StartedSteps, ("start", "finish")),)


class Stopwatch:
    """Processor seconds in the outermost call of some methods."""

    def __init__(self) -> None:
        self.seconds, self._is_running = 0.0, False

    def timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that adds its time."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            if self._is_running:
                return method(*arguments, **keywords)
            self._is_running, started = True, time.process_time()
            try:
                return method(*arguments, **keywords)
            finally:
                self.seconds += time.process_time() - started
                self._is_running = False

        return run


def measure(recipe: str, steps: int) -> tuple[float, float]:
    """Train the first steps of a recipe; return the seconds of its warnings and of its steps."""
    warnings, whole = Stopwatch(), Stopwatch()
    with TemporaryDirectory() as folder:
        limits = dict.fromkeys(("max_steps", "valid_every", "save_every"), steps)
        fields = {f"training.{name}": value for name, value in limits.items()} | {"training.device": "cpu"}
        config = seqlab.recipe(recipe, Path(folder) / "run", fields)
        patches = [
            patch.object(owner, name, watch.timed(getattr(owner, name)))
            for watch, classes in ((warnings, WARNINGS), (whole, STEPS))
            for owner, names in classes
            for name in names
        ]
        for each in patches:
            each.start()
        try:
            seqlab.train(config, Path(folder) / "run")
        finally:
            for each in patches:
                each.stop()
    return warnings.seconds, whole.seconds


def main() -> None:
    """Print the share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    warnings, steps = measure(arguments.recipe, arguments.steps)
    print(
        f"{arguments.recipe}: {1e3 * warnings / arguments.steps:.3f} ms of {1e3 * steps / arguments.steps:.1f} ms per "
        f"step: {100 * warnings / steps:.2f}%"
    )


if __name__ == "__main__":
    main()
