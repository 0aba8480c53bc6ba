"""`python -m benchmarks language_models`: characters per second in training and generation."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import get_args

from benchmarks import lm_generation, lm_training
from benchmarks.lm_records import LmGenerationJob, LmTrainingJob
from benchmarks.lm_shapes import QUICK_SHAPES, SHAPES, Family, LmShape
from benchmarks.machine import measure_machine, measure_peak_again
from benchmarks.options import refuse_unknown_systems
from benchmarks.processes import run_worker
from benchmarks.records import Json
from benchmarks.report import Report, Row
from benchmarks.scale import Scale

logger = logging.getLogger(__name__)
PHASES = ("training", "generation")
ROWS, QUICK_ROWS = (1, 64), (1, 16)


@dataclass(frozen=True)
class Model:
    """A model and its prepared workload."""

    shape: LmShape
    prepared: Json

    @property
    def length(self) -> int:
        """Return the number of characters to generate: 256, or the number of positions of a Transformer."""
        return self.shape.block_length if self.shape.family == "transformer" else 256


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Prepare each model, check that losses and texts of all systems agree, and measure the systems in turns."""
    names = [each.name for each in lm_training.SYSTEMS] + [each.name for each in lm_generation.SYSTEMS]
    refuse_unknown_systems(arguments.systems, (name.partition(",")[0] for name in names))
    if arguments.profile and arguments.device != "cpu":
        raise SystemExit("`--profile` works on the CPU only: omit `--device`.")
    machine = measure_machine(arguments)
    report = Report("language_models", machine)
    shapes = QUICK_SHAPES if arguments.quick else SHAPES[arguments.shape]
    for shape in shapes:
        if shape.family not in arguments.models:
            continue
        model = Model(shape, _prepare(arguments, scale, shape))
        report.more[shape.family] = {"shape": asdict(shape), **{k: model.prepared[k] for k in ("text", "parameters")}}
        if "training" in arguments.phases:
            report.rows += _train(model, arguments, scale, report)
        if "generation" in arguments.phases:
            report.rows += _generate(model, arguments, scale, report)
    measure_peak_again(machine, arguments)
    add_shares(report.rows, machine)
    add_ratios(report.rows)
    return report


def _prepare(arguments: argparse.Namespace, scale: Scale, shape: LmShape) -> Json:
    logger.info("preparing %s", shape.family)
    job = {
        "workload": str((arguments.work_dir / "language_models").resolve()),
        "text": "number_words" if arguments.quick else None,
        "shape": asdict(shape),
        "steps": max(scale.warmup_steps + scale.steps, lm_training.CHECKED_STEPS),
        "run_steps": arguments.run_steps if "generation" in arguments.phases else 0,
        "threads": arguments.threads,
    }
    return run_worker("prepare_lm", job, arguments.threads)


def _train(model: Model, arguments: argparse.Namespace, scale: Scale, report: Report) -> list[Row]:
    base = LmTrainingJob(
        workload=model.prepared["workload"],
        dtype="fp32",
        dropout=0.0,
        is_typical=False,
        steps=scale.warmup_steps + scale.steps,
        threads=arguments.threads,
        device=arguments.device,
    )
    family = model.shape.family
    available = lm_training.check_losses(family, base, report, arguments.systems)
    cases = lm_training.cases_of(family, available, arguments.dtypes)
    results = lm_training.measure(cases, base, scale.repetitions)
    if arguments.profile:
        lm_training.profile(cases, base, report)
    return [lm_training.summarize(case, results[case], model.prepared, scale.warmup_steps) for case in cases]


def _generate(model: Model, arguments: argparse.Namespace, scale: Scale, report: Report) -> list[Row]:
    base = LmGenerationJob(
        workload=model.prepared["workload"],
        dtype="fp32",
        method="",
        rows=1,
        length=model.length,
        greedy=False,
        seed=1,
        threads=arguments.threads,
        device=arguments.device,
    )
    family = model.shape.family
    available = lm_generation.check_same_text(family, base, report, arguments.systems)
    row_counts = QUICK_ROWS if arguments.quick else ROWS
    cases = lm_generation.cases_of(family, available, arguments.dtypes, row_counts)
    results = lm_generation.measure(cases, base, scale.repetitions)
    lm_generation.check_samples(results, base.workload, base.threads, report)
    shape, vocab_size = model.shape, model.prepared["vocab_size"]
    return [lm_generation.summarize(case, results[case], shape, vocab_size, base.length) for case in cases]


def add_shares(rows: Sequence[Row], machine: Json) -> None:
    """Divide the FLOP/s of each row by the peak rate of matrix products in its dtype."""
    for row in rows:
        if row.tokens_per_second is not None:
            gflops = row.tokens_per_second * row.more["mflop_per_token"] / 1e3
            row.share_of_peak = gflops / machine["peak_gflops"][row.dtype]


def add_ratios(rows: Sequence[Row]) -> None:
    """Divide seqlab's rate in the same setting and dtype by each row's rate."""
    seqlab_rates = {(row.setting, row.dtype): row.tokens_per_second for row in rows if row.system == "seqlab"}
    for row in rows:
        rate = seqlab_rates.get((row.setting, row.dtype))
        if rate is not None and row.tokens_per_second is not None:
            row.ratio = rate / row.tokens_per_second


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    families = get_args(Family)
    parser.add_argument(
        "--models", nargs="+", choices=families, default=families, help="models to measure; default: all"
    )
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES, help="phases to measure; default: both")
    parser.add_argument(
        "--shape",
        choices=SHAPES,
        default="small",
        help="shape of the Transformer: that of nanoGPT, or a smaller one (default)",
    )
    parser.add_argument("--dtypes", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="systems to measure; default: all")
    parser.add_argument("--profile", action="store_true", help="profile the training time by operation; CPU only")
    parser.add_argument(
        "--run_steps",
        type=int,
        default=200,
        metavar="N",
        help="training steps of the runs for generation (default: 200)",
    )
    parser.add_argument("--steps", type=int, help="number of timed updates")
    parser.add_argument("--repetitions", type=int, help="number of measurements of each system")
