"""Test the robustness of the commands against random damage: `python -m tests.attack [CLASS ...]`.

Each class runs `--count` trials of one type of damage, drawn with `--seed`. A trial passes if the command ends with a
documented exit status, in bounded memory, without a traceback, and with a message unless the status is 0. Prints the
number of passed trials by class. The exit status of this program is 0 if all trials pass, and 1 otherwise.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from attack.files import try_edited_files, try_flipped_bits  # noqa: E402
from attack.kills import try_interrupts, try_kills  # noqa: E402
from attack.lines import try_corpora, try_lines  # noqa: E402
from attack.memory import try_memory  # noqa: E402
from attack.options import try_fields, try_options  # noqa: E402
from attack.pipes import try_piped_inputs, try_special_files, try_standard_streams  # noqa: E402
from attack.workspace import Workspace  # noqa: E402

ATTACK_CLASSES = {
    "files": try_edited_files,
    "bits": try_flipped_bits,
    "options": try_options,
    "fields": try_fields,
    "lines": try_lines,
    "corpora": try_corpora,
    "special": try_special_files,
    "pipes": try_piped_inputs,
    "streams": try_standard_streams,
    "interrupts": try_interrupts,
    "kills": try_kills,
    "memory": try_memory,
}


def main() -> int:
    """Run the attack classes and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument(
        "classes",
        nargs="*",
        choices=[*ATTACK_CLASSES, []],
        metavar="CLASS",
        help=f"one or more of {', '.join(ATTACK_CLASSES)} (default: all)",
    )
    parser.add_argument(
        "--count", type=int, default=100, help="trials of each class (default: 100); for `memory`, thousands of lines"
    )
    parser.add_argument("--all", action="store_true", help="print all trials, not only those that failed")
    parser.add_argument("--seed", type=int, default=None, help="seed of all random choices (default: a random one)")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    faults = 0
    with tempfile.TemporaryDirectory(prefix="attack_") as folder:
        workspace = Workspace.make(Path(folder))
        for name in arguments.classes or ATTACK_CLASSES:
            started, num_trials, num_passed = time.monotonic(), 0, 0
            for description, fault in ATTACK_CLASSES[name](workspace, random.Random(f"{name} {seed}"), arguments.count):
                num_trials, num_passed = num_trials + 1, num_passed + (fault is None)
                if fault is not None or arguments.all:
                    print(f"  {description}\n    {fault or 'passed'}", flush=True)
            faults += num_trials - num_passed
            print(f"{name}: {num_passed} of {num_trials} passed, {time.monotonic() - started:.0f} s", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
