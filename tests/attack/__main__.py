"""Attack the commands, and print how often they held: `python -m tests.attack [CLASS ...]`.

Each class tries one kind of damage so many times, drawn by `--seed`. A try holds if the command ends with a documented
exit status, in bounded memory, without a traceback, and with a message unless the status is 0. The exit status of this
program is 1 unless all tries hold.
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

from attack.files import edited_files, flipped_bits  # noqa: E402
from attack.kills import interrupts, kills  # noqa: E402
from attack.lines import corpora, lines  # noqa: E402
from attack.memory import memory  # noqa: E402
from attack.options import fields, options  # noqa: E402
from attack.pipes import piped_inputs, special_files, standard_streams  # noqa: E402
from attack.workspace import Workspace  # noqa: E402

CLASSES = {
    "files": edited_files,
    "bits": flipped_bits,
    "options": options,
    "fields": fields,
    "lines": lines,
    "corpora": corpora,
    "special": special_files,
    "pipes": piped_inputs,
    "streams": standard_streams,
    "interrupts": interrupts,
    "kills": kills,
    "memory": memory,
}


def main() -> int:
    """Run the classes and print a row for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("classes", nargs="*", choices=[*CLASSES, []], metavar="CLASS", help=f"of {', '.join(CLASSES)}")
    parser.add_argument(
        "--count", type=int, default=100, help="tries of each class (default: 100); of memory 1,000 lines"
    )
    parser.add_argument("--all", action="store_true", help="print all tries, not only what did not hold")
    parser.add_argument("--seed", type=int, default=None, help="of all draws (default: another each time)")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    faults = 0
    with tempfile.TemporaryDirectory(prefix="attack_") as folder:
        workspace = Workspace.make(Path(folder))
        for name in arguments.classes or CLASSES:
            started, tried, held = time.monotonic(), 0, 0
            for what, fault in CLASSES[name](workspace, random.Random(f"{name} {seed}"), arguments.count):
                tried, held = tried + 1, held + (fault is None)
                if fault is not None or arguments.all:
                    print(f"  {what}\n    {fault or 'held'}", flush=True)
            faults += tried - held
            print(f"{name}: {held} of {tried} held, {time.monotonic() - started:.0f} s", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
