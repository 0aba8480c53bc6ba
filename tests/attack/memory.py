"""Attacks by many lines: the memory of each model family's commands must not grow with the number of lines."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from attack.files import Finding
from attack.trial import Outcome, run
from attack.workspace import Workspace

LINES_PER_COUNT = 1000
"""`--count 1000` streams a million lines through each command."""
MAX_GROWTH_BYTES = 64 << 20
"""Largest growth of the peak memory for three times as many lines: allows fragmentation, but no stored lines."""
MAX_SECONDS_PER_STREAM = 7200.0
WORDS = ("eins", "zwei", "drei", "hundert", "und", "zwanzig", "the", "old")
COMMANDS = {
    "translate": ("--input", "{}", "--beam_size", "1"),
    "label": ("--input", "{}"),
    "score": ("--tgt", "{}"),
    "perplexity": ("{}",),
    "generate": ("--prompts", "{}", "--max_length", "2", "--top_k", "1"),
}
"""Command that reads lines -> its arguments; `{}` is the file."""


def try_memory(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Stream `count` thousand lines, and a third as many, through each family: the memory peaks are about the same."""
    commands = sorted({(name, argv[0]) for name, uses in workspace.uses.items() for argv in uses})
    rng.shuffle(commands)
    for name, command in commands:
        if command not in COMMANDS or "_recording" in name or (command == "score" and "_lm" not in name):
            continue  # reads recordings or two files
        with tempfile.TemporaryDirectory() as folder:
            peaks = []
            for size in (count * LINES_PER_COUNT // 3, count * LINES_PER_COUNT):
                path = Path(folder) / "lines.txt"
                write_lines(path, size, rng)
                outcome = run_on_lines(workspace, name, command, path)
                peaks.append(outcome.peak_memory)
                if outcome.fault is not None:
                    break
        fault = outcome.fault
        if fault is None and peaks[1] > peaks[0] + MAX_GROWTH_BYTES:
            fault = "memory grows"
        peaks_text = " and ".join(f"{peak / 1e6:.0f} MB" for peak in peaks)
        yield f"{command} runs/{name}: {peaks_text}, {outcome.seconds:.0f} s", fault


def write_lines(path: Path, size: int, rng: random.Random) -> None:
    """Write lines of one to seven words."""
    with path.open("w", encoding="utf-8") as file:
        for _ in range(size):
            file.write(" ".join(rng.choices(WORDS, k=rng.randrange(1, 8))) + "\n")


def run_on_lines(workspace: Workspace, name: str, command: str, path: Path) -> Outcome:
    """Run a command on a file of lines, with its output in another file."""
    arguments = [each.format(path) for each in COMMANDS[command]]
    argv = [command, f"runs/{name}", *arguments, "--output", str(path.with_suffix(".out")), "--threads", "1"]
    return run(argv, folder=workspace.folder, seconds=MAX_SECONDS_PER_STREAM)
