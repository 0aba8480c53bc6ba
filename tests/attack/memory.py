"""Many lines through each family's commands: memory must not grow with them."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attack.files import Finding
from attack.trial import Outcome, run
from attack.workspace import Workspace

LINES_PER_TRY = 1000
"""Lines for each try that is asked for: `--count 1000` streams a million of them through each command."""
MOST_GROWTH = 64 << 20
"""Bytes that three times as many lines may take more: gaps in the heap, but no line that is kept."""
MOST_SECONDS = 7200.0
WORDS = ("eins", "zwei", "drei", "hundert", "und", "zwanzig", "the", "old")
COMMANDS = {
    "translate": ("--input", "{}", "--beam_size", "1"),
    "label": ("--input", "{}"),
    "score": ("--tgt", "{}"),
    "perplexity": ("{}",),
    "generate": ("--prompts", "{}", "--max_length", "2", "--top_k", "1"),
}
"""Commands that read lines -> their arguments."""


def memory(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Stream `count` thousand lines through each family, and a third as many: the peaks are about the same."""
    commands = sorted({(name, argv[0]) for name, uses in workspace.uses.items() for argv in uses})
    rng.shuffle(commands)
    for name, command in commands:
        if command not in COMMANDS or "_recording" in name or (command == "score" and "_lm" not in name):
            continue  # what reads recordings, or two files
        with tempfile.TemporaryDirectory() as folder:
            peaks = []
            for size in (count * LINES_PER_TRY // 3, count * LINES_PER_TRY):
                path = Path(folder) / "lines.txt"
                write_lines(path, size, rng)
                outcome = answered(workspace, name, command, path)
                peaks.append(outcome.peak_memory)
                if outcome.fault is not None:
                    break
        fault = outcome.fault
        if fault is None and peaks[1] > peaks[0] + MOST_GROWTH:
            fault = "memory grows"
        shown = " and ".join(f"{peak / 1e6:.0f} MB" for peak in peaks)
        yield f"{command} runs/{name}: {shown}, {outcome.seconds:.0f} s", fault


def write_lines(path: Path, size: int, rng: random.Random) -> None:
    """Write lines of one to seven words."""
    with path.open("w", encoding="utf-8") as file:
        for _ in range(size):
            file.write(" ".join(rng.choices(WORDS, k=rng.randrange(1, 8))) + "\n")


def answered(workspace: Workspace, name: str, command: str, path: Path) -> Outcome:
    """Run a command on lines, whose answers go to a file."""
    arguments = [each.format(path) for each in COMMANDS[command]]
    argv = [command, f"runs/{name}", *arguments, "--output", str(path.with_suffix(".out")), "--threads", "1"]
    return run(argv, folder=workspace.folder, seconds=MOST_SECONDS)
