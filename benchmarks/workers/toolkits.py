"""JoeyNMT and Sockeye in separate environments: input files with ids written as words, and speeds parsed from logs."""

import json
import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import harmonic_mean

from benchmarks.records import Json, Unavailable
from benchmarks.scale import Sizes, sizes_from_json
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.ragged import RaggedArray

VALID_LINES = 16


@dataclass(frozen=True)
class ToolkitResult:
    """Measurements from the log of a toolkit."""

    tokens_per_second: float
    """Target tokens per second, with ends of sentence, without padding."""
    peak_memory_mb: float


@dataclass(frozen=True)
class Corpus:
    """Corpus with lines such as `w17 w4`, one word per id, so that every toolkit reads the same tokens."""

    folder: Path
    tgt_tokens_per_pair: float

    def path(self, split: str, side: str) -> Path:
        return self.folder / f"{split}.{side}"


def write_corpus(workload: Path, folder: Path) -> Corpus:
    """Write the encoded training corpus of a workload, and its first lines as the required validation set."""
    pairs = EncodedCorpus.open(workload / "start" / "cache" / "train")
    for side, rows in (("src", pairs.src), ("tgt", pairs.tgt)):
        for split, count in (("train", len(rows)), ("valid", VALID_LINES)):
            (folder / f"{split}.{side}").write_text("".join(islice(_lines(rows), count)), encoding="utf-8")
    return Corpus(folder, len(pairs.tgt.values) / len(pairs) + 1)


def _lines(rows: RaggedArray) -> list[str]:
    return [to_line(row.tolist()) for row in rows]


def to_line(row: Sequence[int]) -> str:
    """Convert ids to a line of words."""
    return " ".join(map(to_word, row)) + "\n"


def to_word(index: int) -> str:
    """Convert an id to a word."""
    return f"w{index}"


def sizes_of(workload: Path) -> Sizes:
    """Read the sizes of the model."""
    return sizes_from_json(json.loads((workload / "workload.json").read_text(encoding="utf-8"))["sizes"])


def require_toolkit(python: str, module: str, dtype: str = "fp32") -> None:
    """Raise Unavailable if an environment lacks a toolkit, or if the dtype is not fp32."""
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
        raise Unavailable(f"not installed: {python} cannot import {module}")
    if dtype != "fp32":
        raise Unavailable(f"{module} trains in fp32 on the CPU")


def run_command(command: list[str], folder: Path, text: str = "") -> str:
    """Run a command of a toolkit on a text; return its standard error (the log), followed by its standard output.

    Raises RuntimeError with the last lines of both if the command fails.
    """
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True)
    output = done.stderr + done.stdout
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ...:\n" + "\n".join(output.splitlines()[-15:]))
    return output


def summarize(log: str, pattern: str, factor: float = 1.0) -> Json:
    """Return the mean of the rates that match a pattern in a log; the first one, a warmup, does not count.

    The mean is harmonic, because each rate covers the same number of updates.
    """
    rates = [float(rate) * factor for rate in re.findall(pattern, log)][1:]
    if not rates:
        raise RuntimeError(f"The log has fewer than two lines with {pattern}:\n{log[-2000:]}")
    return asdict(ToolkitResult(harmonic_mean(rates), peak_memory_mb()))


def peak_memory_mb() -> float:
    """Return the peak resident set of the finished commands."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
