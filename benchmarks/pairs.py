"""`python -m benchmarks pairs BEFORE AFTER`: compare the speed of two checkouts of seqlab in interleaved pairs.

Each measurement runs in its own process with `PYTHONPATH` set to one of the checkouts. The order alternates: before,
after, after, before. A small Transformer is trained on generated number phrases, and lines of them are translated.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.machine import measure_machine
from benchmarks.processes import ROOT
from benchmarks.records import Json
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from seqlab.corpora import number_words
from seqlab.data.readers import read_lines

logger = logging.getLogger(__name__)
MIN_PAIRS = 10
"""Minimum for a reliable interval: the speed of a shared machine varies by several percent between processes."""
HELP_CALLS = 3
"""Calls of each command per measurement; the median is used."""
RESAMPLES = 10_000
BEAM_SIZE = 5
VALID_LINES = 16
LOG_EVERY = 5


@dataclass(frozen=True)
class Workload:
    """Sizes of the measured work."""

    pairs: int
    """Pairs of the training corpus."""
    steps: int
    """Training steps of a measurement."""
    warmup_steps: int
    """Number of first steps that are not timed."""
    run_steps: int
    """Training steps of the run for translation, which is trained once."""
    lines: int
    """Lines of the translated file."""


FULL = Workload(pairs=22_000, steps=100, warmup_steps=20, run_steps=400, lines=1000)
QUICK = Workload(pairs=2_000, steps=20, warmup_steps=10, run_steps=20, lines=32)


@dataclass(frozen=True)
class Checkout:
    """One of the two checkouts, and the working folder of its processes."""

    path: Path
    folder: Path
    """Folder of the corpus, the config and the run for translation."""
    threads: int

    def run_python(self, *command: str) -> str:
        """Run Python with this checkout's package; return standard output, or raise RuntimeError if it fails."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.path), "OMP_NUM_THREADS": str(self.threads)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-15:])
            raise RuntimeError(f"`{' '.join(command)}` of {self.path} ended with {done.returncode}:\n{tail}")
        return done.stdout

    def time_call(self, *command: str) -> float:
        """Return the seconds of a call, from the start of its process to its end."""
        started = time.perf_counter()
        self.run_python(*command)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Turn:
    """Measurements of one checkout, made once."""

    values: dict[str, float]
    """Rates or seconds by name of the measure."""
    losses: list[float]
    translations: list[str]


@dataclass(frozen=True)
class Measure:
    """A measure: a rate (higher is better) or a time."""

    name: str
    unit: str
    is_rate: bool

    def ratio(self, before: float, after: float) -> float:
        """Return the ratio of two values, above 1 if `after` is faster."""
        return after / before if self.is_rate else before / after


MEASURES = (
    Measure("training", "target tokens/s", is_rate=True),
    Measure("decoding, beam 5", "lines/s", is_rate=True),
    Measure("seqlab --help", "seconds", is_rate=False),
    Measure("seqlab translate --help", "seconds", is_rate=False),
    Measure("first translation", "seconds", is_rate=False),
)


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Measure both checkouts in turns, and compare their losses and translations."""
    for option, path in (("BEFORE", arguments.before), ("AFTER", arguments.after)):
        if not (path / "seqlab").is_dir():
            raise SystemExit(f"`{option}`: {path} is not a checkout of seqlab.")
    repetitions = arguments.repetitions or (1 if arguments.quick else MIN_PAIRS)
    workload = QUICK if arguments.quick else FULL
    folder = arguments.work_dir.resolve() / f"pairs{'-quick' if arguments.quick else ''}"
    report = Report("pairs", measure_machine(arguments))
    write_corpus(folder, workload)
    checkouts = [Checkout(path.resolve(), folder, arguments.threads) for path in (arguments.before, arguments.after)]
    for checkout in checkouts:
        _refuse_other_package(checkout)
    train(checkouts[0], workload.run_steps, workload.run_steps, folder / "run")
    pairs = measure_pairs(checkouts, repetitions, lambda checkout: measure_turn(checkout, workload))
    report.rows = [row_of(measure, pairs) for measure in MEASURES]
    _check_results(report, pairs)
    report.more = {
        "turns": [[before.values, after.values] for before, after in pairs],
        "ratios": {each.name: summarize_ratios(each, pairs) for each in MEASURES},
    }
    report.notes.append(f"{repetitions} pairs; a ratio above 1: the second checkout is faster; 95% bootstrap interval")
    if repetitions < MIN_PAIRS:
        report.notes.append(f"fewer than {MIN_PAIRS} pairs: the intervals are not reliable")
    return report


def write_corpus(folder: Path, workload: Workload) -> None:
    """Write number phrases for training, validation and translation, the same for both checkouts."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as generated:
        number_words.write(Path(generated))
        for name, count in (("train", workload.pairs), ("valid", VALID_LINES), ("test", workload.lines)):
            for language in ("en", "de"):
                lines = islice(read_lines(Path(generated) / f"{name}.{language}"), count)
                text = "".join(f"{line}\n" for line in lines)
                (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
    first, *_ = (folder / "test.en").read_text(encoding="utf-8").splitlines()
    (folder / "first.en").write_text(f"{first}\n", encoding="utf-8")


def config_of(steps: int, log_every: int) -> Json:
    """Return a training config with few fields, which any version of seqlab can read."""
    return {
        "data": {
            **{"train_src": ["train.en"], "train_tgt": ["train.de"]},
            **{"valid_src": "valid.en", "valid_tgt": ["valid.de"]},
            "tokenizer": {"kind": "sentencepiece_bpe", "vocab_size": 600},
            **{"batch_tokens": 1024, "micro_batch_tokens": 1600},
        },
        "model": {
            **{"family": "transformer", "d_model": 128, "d_ff": 512, "num_heads": 8},
            **{"num_encoder_layers": 2, "num_decoder_layers": 2},
        },
        "objective": {"family": "cross_entropy", "label_smoothing": 0.1},
        "optim": {
            "optimizer": {"family": "adam", "lr": 0.002},
            "schedule": {"family": "linear", "warmup_steps": 150},
        },
        "training": {"max_steps": steps, "log_every": log_every, "save_every": steps, "valid_every": steps},
    }


def train(checkout: Checkout, steps: int, log_every: int, run_dir: Path) -> list[Json]:
    """Train a run unless it is finished; return the training lines of its metrics log."""
    config = checkout.folder / f"train_{steps}.yaml"  # JSON is YAML
    config.write_text(json.dumps(config_of(steps, log_every)), encoding="utf-8")
    options = ("--run_dir", str(run_dir), "--threads", str(checkout.threads), "--device", "cpu")
    checkout.run_python("-m", "seqlab", "train", str(config), *options)
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "train"]


def _refuse_other_package(checkout: Checkout) -> None:
    found = checkout.run_python("-c", "import seqlab; print(seqlab.__file__)").strip()
    if not Path(found).is_relative_to(checkout.path):
        raise SystemExit(f"Python imports {found} instead of the seqlab in {checkout.path}.")


def measure_pairs(
    checkouts: Sequence[Checkout], repetitions: int, measure: Callable[[Checkout], Turn]
) -> list[tuple[Turn, Turn]]:
    """Measure (before, after) `repetitions` times, every second pair in the opposite order."""
    before, after = checkouts
    pairs = []
    for repetition in range(repetitions):
        if repetition % 2 == 0:
            first = measure(before)
            pairs.append((first, measure(after)))
        else:
            second = measure(after)
            pairs.append((measure(before), second))
        ratios = [f"{each.name} {_ratios(each, pairs[-1:])[0]:.3f}" for each in MEASURES]
        logger.info("pair %d of %d: %s", repetition + 1, repetitions, ", ".join(ratios))
    return pairs


def measure_turn(checkout: Checkout, workload: Workload) -> Turn:
    """Measure one checkout once."""
    with tempfile.TemporaryDirectory() as temporary:
        lines = train(checkout, workload.steps, LOG_EVERY, Path(temporary) / "run")
    timed = [line["tgt_tokens_per_second"] for line in lines if line["step"] > workload.warmup_steps]
    script = str(ROOT / "benchmarks" / "workers" / "translate_checkout.py")
    decoded = json.loads(checkout.run_python("-P", script, "run", "test.en", str(BEAM_SIZE)))
    translate = ("-m", "seqlab", "translate")
    values = {
        "training": median(timed),
        "decoding, beam 5": workload.lines / decoded["seconds"],
        "seqlab --help": median(checkout.time_call("-m", "seqlab", "--help") for _ in range(HELP_CALLS)),
        "seqlab translate --help": median(checkout.time_call(*translate, "--help") for _ in range(HELP_CALLS)),
        "first translation": checkout.time_call(*translate, "run", "--device", "cpu", "--input", "first.en"),
    }
    return Turn(values, [line["loss"] for line in lines], decoded["translations"])


def _ratios(measure: Measure, pairs: Sequence[tuple[Turn, Turn]]) -> list[float]:
    return [measure.ratio(before.values[measure.name], after.values[measure.name]) for before, after in pairs]


def median_interval(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """Return the 95% bootstrap percentile interval of the median (Efron and Tibshirani 1993, chapter 13)."""
    resampled = np.random.default_rng(seed).choice(np.asarray(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(resampled, axis=1), [2.5, 97.5])
    return float(low), float(high)


def summarize_ratios(measure: Measure, pairs: Sequence[tuple[Turn, Turn]]) -> dict[str, float]:
    """Return the median of the pairs' ratios and its interval."""
    ratios = _ratios(measure, pairs)
    low, high = median_interval(ratios)
    return {"median": median(ratios), "low": low, "high": high}


def row_of(measure: Measure, pairs: Sequence[tuple[Turn, Turn]]) -> Row:
    """Summarize one measure over all pairs in a row; its ratio has three decimals."""
    ratio = summarize_ratios(measure, pairs)
    before, after = (median(turn.values[measure.name] for turn in turns) for turns in zip(*pairs, strict=True))
    more: Json = {
        "unit": measure.unit,
        "before": before,
        "after": after,
        "median_ratio": f"{ratio['median']:.3f}",
        "interval": f"{ratio['low']:.3f} to {ratio['high']:.3f}",
    }
    return Row("seqlab", "pairs", "", measure.name, more=more)


def _check_results(report: Report, pairs: Sequence[tuple[Turn, Turn]]) -> None:
    """Check that both checkouts have the same losses and translations."""
    for name, are_equal in (
        ("training losses", all(before.losses == after.losses for before, after in pairs)),
        ("translations", all(before.translations == after.translations for before, after in pairs)),
    ):
        (report.checks if are_equal else report.failed_checks).append(f"{name} of both checkouts are the same")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="root of a checkout of seqlab")
    parser.add_argument("after", type=Path, metavar="AFTER", help="root of another checkout")
    parser.add_argument("--repetitions", type=int, help=f"number of pairs; default: {MIN_PAIRS}")
