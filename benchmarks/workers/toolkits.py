"""Toolkits that live in environments of their own: the same ids as words, their own batches, their own log."""

import json
import re
import resource
import subprocess
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import harmonic_mean

from benchmarks.records import Json, TrainingJob, Unavailable
from benchmarks.scale import ModelSizes
from seqlab.data.encoded import EncodedPairs
from seqlab.data.rows import Rows

VALIDATION_LINES = 16


@dataclass(frozen=True)
class ToolkitResult:
    """What a toolkit's own log says."""

    tokens_per_second: float
    """Target tokens, ends of sentence counted, padding not."""
    peak_memory_mb: float


@dataclass(frozen=True)
class Corpus:
    """A corpus as lines of `w17 w4 ...`: a word for each id, so that every toolkit reads the same tokens."""

    folder: Path
    tgt_tokens_per_pair: float

    def path(self, split: str, side: str) -> Path:
        return self.folder / f"{split}.{side}"


def write_corpus(workload: Path, folder: Path) -> Corpus:
    """Write the encoded training corpus of a workload, and its first lines again for the validation that they ask."""
    pairs = EncodedPairs.open(workload / "start" / "cache" / "train")
    for side, rows in (("src", pairs.src), ("tgt", pairs.tgt)):
        for split, count in (("train", len(rows)), ("valid", VALIDATION_LINES)):
            (folder / f"{split}.{side}").write_text("".join(islice(_lines(rows), count)), encoding="utf-8")
    return Corpus(folder, len(pairs.tgt.values) / len(pairs) + 1)


def _lines(rows: Rows) -> list[str]:
    return [" ".join(f"w{token}" for token in row.tolist()) + "\n" for row in rows]


def sizes_of(workload: Path) -> ModelSizes:
    """Read the shape of the model."""
    return ModelSizes(**json.loads((workload / "workload.json").read_text(encoding="utf-8"))["sizes"])


def check(python: str, module: str, job: TrainingJob) -> None:
    """Raise Unavailable where an environment lacks a toolkit, or where it is asked for what it cannot do here."""
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
        raise Unavailable(f"not installed: {python} cannot import {module}")
    if job.dtype != "fp32":
        raise Unavailable(f"{module} trains in fp32 on the CPU")


def run_command(command: list[str], folder: Path) -> str:
    """Run one of a toolkit's commands and return all that it wrote; raises RuntimeError with its last lines."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ...:\n" + "\n".join(done.stdout.splitlines()[-15:]))
    return done.stdout


def summarize(log: str, pattern: str, factor: float = 1.0) -> Json:
    """Average the rates that a pattern finds in a log, the first left out; they are over equally many updates."""
    rates = [float(rate) * factor for rate in re.findall(pattern, log)][1:]
    if not rates:
        raise RuntimeError(f"The log has fewer than two lines with {pattern}:\n{log[-2000:]}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return asdict(ToolkitResult(harmonic_mean(rates), peak))
