"""`python -m benchmarks training`: target tokens per second, from the same weights on the same batches."""

import argparse
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.machine import measure_machine, measure_peak_again
from benchmarks.options import missing_toolkit_note, refuse_unknown_systems
from benchmarks.processes import KEEP_PAGES, run_worker
from benchmarks.records import Json, TrainingJob, TrainingResult, Unavailable
from benchmarks.report import Report, Row
from benchmarks.scale import MODELS, Family, Scale

logger = logging.getLogger(__name__)
CHECKED_STEPS = 10
LOSS_TOLERANCE = 1e-3
"""Largest relative difference of the first losses in fp32; the first steps of Adam amplify rounding errors."""


@dataclass(frozen=True)
class System:
    """A system, its worker and its environment."""

    name: str
    worker: str
    environment: tuple[tuple[str, str], ...] = ()


KEEP_PAGES_VARIANT = "malloc keeps pages"
SYSTEMS: dict[Family, tuple[System, ...]] = {
    "transformer": (
        System("seqlab", "train_seqlab"),
        System("transformers", "train_marian"),
        System(f"transformers, {KEEP_PAGES_VARIANT}", "train_marian", tuple(KEEP_PAGES.items())),
        System("torch.nn.Transformer", "train_torch"),
        System(f"torch.nn.Transformer, {KEEP_PAGES_VARIANT}", "train_torch", tuple(KEEP_PAGES.items())),
    ),
    "lstm": (
        System("seqlab", "train_seqlab"),
        System("torch.nn.LSTM", "train_plain_translator"),
        System(f"torch.nn.LSTM, {KEEP_PAGES_VARIANT}", "train_plain_translator", tuple(KEEP_PAGES.items())),
    ),
}


TOOLKITS = {"joeynmt": "JoeyNMT", "sockeye": "Sockeye"}
TOOLKITS_OF: dict[Family, tuple[str, ...]] = {"transformer": ("joeynmt", "sockeye"), "lstm": ("joeynmt",)}


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    system: System
    dtype: str
    micro_batch_tokens: int


def run(arguments: argparse.Namespace, scale: Scale, known_machine: Json | None = None) -> Report:
    """Prepare the workload, check that all systems do the same work, and measure them in turns.

    `known_machine` is the result of `measure_machine`; None measures the machine before and after.
    """
    family = scale.model.family
    refuse_unknown_systems(arguments.systems, (system.name.partition(",")[0] for system in SYSTEMS[family]))
    pythons = toolkit_pythons(arguments, family)
    machine = known_machine or measure_machine(arguments)
    workload = arguments.work_dir / f"training-{scale.corpus}-{scale.model.name}"
    steps = max(scale.warmup_steps + scale.steps, CHECKED_STEPS)
    logger.info("preparing %s", workload)
    job = {"workload": str(workload.resolve()), "scale": asdict(scale), "steps": steps, "threads": arguments.threads}
    prepared = run_worker("prepare_training", job, arguments.threads)
    report = Report("training", machine, more={"sizes": prepared["sizes"], "parameters": prepared["parameters"]})
    base = TrainingJob(
        workload=job["workload"],
        micro_batch_tokens=scale.micro_batch_tokens[0],
        dtype="fp32",
        dropout=0.0,
        steps=CHECKED_STEPS,
        threads=arguments.threads,
        device=arguments.device,
    )
    wanted = [each for each in SYSTEMS[family] if _is_wanted(each, arguments)]
    available = check_padding_and_losses(wanted, base, prepared, report)
    timed = replace(base, dropout=0.1, steps=scale.warmup_steps + scale.steps)
    cases = [
        Case(system, dtype, size)
        for dtype in arguments.dtypes
        for size in scale.micro_batch_tokens
        for system in available
    ]
    results = measure(cases, timed, scale.repetitions)
    if known_machine is None:
        measure_peak_again(machine, arguments)
    report.rows += [summarize(case, results[case], prepared, scale.warmup_steps, machine) for case in cases]
    report.rows += measure_toolkits(pythons, timed, scale, prepared, machine)
    add_ratios(report.rows)
    return report


def toolkit_pythons(arguments: argparse.Namespace, family: Family) -> dict[str, str | None]:
    """Return the Python of each toolkit for a family; raises SystemExit for a toolkit without this family."""
    for name in TOOLKITS:
        if getattr(arguments, name) is not None and name not in TOOLKITS_OF[family]:
            raise SystemExit(f"`--{name}`: {TOOLKITS[name]} has no {family}.")
    return {name: getattr(arguments, name) for name in TOOLKITS_OF[family]}


def check_padding_and_losses(
    systems: Sequence[System], base: TrainingJob, prepared: Json, report: Report
) -> list[System]:
    """Compare padding and losses of the first updates without dropout; return the available systems.

    Padding shares must equal those of the planned batches, so that all systems read the same tokens.
    """
    plan = prepared["plans"][str(base.micro_batch_tokens)]
    reference: tuple[str, TrainingResult] | None = None
    missing: dict[str, str] = {}
    for system in systems:
        if system.environment or system.worker in missing:
            continue
        logger.info("checking %s", system.name)
        try:
            found = TrainingResult(**run_worker(system.worker, asdict(base), base.threads))
        except Unavailable as unavailable:
            missing[system.worker] = str(unavailable)
            report.rows.append(Row(system.name, "training", "", "", note=str(unavailable)))
            continue
        max_difference = max(
            abs(a - b)
            for side in ("src_padding", "tgt_padding")
            for a, b in zip(getattr(found, side), plan[side], strict=False)
        )
        _verify(
            report,
            max_difference < 1e-9,
            f"{system.name} reads the planned tokens (padding shares differ by {max_difference:.1g})",
        )
        if reference is None:
            reference = system.name, found
            continue
        difference = max(abs(a - b) / b for a, b in zip(found.losses, reference[1].losses, strict=True))
        text = f"{system.name}: {len(found.losses)} losses from the same weights differ from those of {reference[0]}"
        text = f"{text} by at most {difference:.1e} of their value (last loss: {found.losses[-1]:.4f})"
        _verify(report, difference <= LOSS_TOLERANCE, text)
    return [system for system in systems if system.worker not in missing]


def _is_wanted(system: System, arguments: argparse.Namespace) -> bool:
    if system.environment and arguments.device != "cpu":  # environments set the allocator of the host
        return False
    return arguments.systems is None or system.name.partition(",")[0] in arguments.systems


def _verify(report: Report, is_passed: bool, text: str) -> None:
    (report.checks if is_passed else report.failed_checks).append(text)


def measure(cases: list[Case], timed: TrainingJob, repetitions: int) -> dict[Case, list[TrainingResult]]:
    """Measure all cases in turns, `repetitions` times, so that load on the machine affects all alike."""
    results: dict[Case, list[TrainingResult]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        for case in cases:
            job = replace(timed, dtype=case.dtype, micro_batch_tokens=case.micro_batch_tokens)
            found = run_worker(case.system.worker, asdict(job), timed.threads, dict(case.system.environment))
            results[case].append(TrainingResult(**found))
            logger.info(
                "%d/%d %s, %s, %d padded tokens: %.1f s for %d steps",
                *(repetition + 1, repetitions, case.system.name, case.dtype, case.micro_batch_tokens),
                *(sum(found["seconds"]), len(found["seconds"])),
            )
    return results


def summarize(case: Case, results: list[TrainingResult], prepared: Json, warmup_steps: int, machine: Json) -> Row:
    """Summarize the repetitions of one case in a row, without the warmup steps of each."""
    plan = prepared["plans"][str(case.micro_batch_tokens)]
    last = len(results[0].seconds)
    tokens, flops = sum(plan["tgt_tokens"][warmup_steps:last]), sum(plan["flops"][warmup_steps:last])
    rates = [tokens / sum(result.seconds[warmup_steps:]) for result in results]
    peak = machine["peak_gflops"][case.dtype]
    median = statistics.median(rates)
    return Row(
        system=case.system.name,
        task="training",
        dtype=case.dtype,
        setting=f"{case.micro_batch_tokens} padded tokens at most",
        tokens_per_second=median,
        min=min(rates),
        max=max(rates),
        share_of_peak=median * flops / tokens / 1e9 / peak,
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        src_padding=statistics.mean(results[0].src_padding[warmup_steps:]),
        tgt_padding=statistics.mean(results[0].tgt_padding[warmup_steps:]),
        more={
            "tokens_per_micro_step": statistics.mean(plan["tgt_tokens"]) / statistics.mean(plan["micro_steps"]),
            "mflop_per_token": flops / tokens / 1e6,
            "repetitions": len(rates),
        },
    )


def measure_toolkits(
    pythons: Mapping[str, str | None], timed: TrainingJob, scale: Scale, prepared: Json, machine: Json
) -> list[Row]:
    """Measure toolkits in other environments on the same ids, in their own batches: one micro-step per update."""
    size = scale.batch_tokens
    plan = prepared["plans"][str(max(scale.micro_batch_tokens))]
    flops = sum(plan["flops"]) / sum(plan["tgt_tokens"])
    rows = []
    for name, python in pythons.items():
        job = {**asdict(replace(timed, micro_batch_tokens=size, dtype="fp32")), "python": python}
        row = Row(TOOLKITS[name], "training", "fp32", f"{size} padded tokens", note="its own batches")
        rows.append(row)
        if python is None:
            row.note = missing_toolkit_note(f"--{name}")
            continue
        try:
            found = [run_worker(f"train_{name}", job, timed.threads) for _ in range(scale.repetitions)]
        except (Unavailable, RuntimeError) as error:  # a failure must not lose what was measured before
            row.note = str(error)
            continue
        rates = [each["tokens_per_second"] for each in found]
        row.tokens_per_second, row.min, row.max = statistics.median(rates), min(rates), max(rates)
        row.share_of_peak = row.tokens_per_second * flops / 1e9 / machine["peak_gflops"]["fp32"]
        row.peak_memory_mb = max(each["peak_memory_mb"] for each in found)
    return rows


def add_ratios(rows: list[Row]) -> None:
    """Divide seqlab's best rate of a task and dtype by each row's rate."""
    for row in rows:
        seqlab_rates = [
            other.tokens_per_second
            for other in rows
            if other.system == "seqlab"
            and (other.task, other.dtype) == (row.task, row.dtype)
            and other.tokens_per_second
        ]
        if seqlab_rates and row.tokens_per_second:
            row.ratio = max(seqlab_rates) / row.tokens_per_second


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="default: transformer")
    parser.add_argument(
        "--norm", choices=("post", "pre"), help="position of layer norms; default: post, the only one of Marian"
    )
    parser.add_argument("--dtypes", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="systems to measure; default: all")
    parser.add_argument(
        "--micro_batch_tokens", nargs="+", type=int, metavar="N", help="micro-step sizes to try with each system"
    )
    for name, title in TOOLKITS.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"Python of an environment with {title}")
    parser.add_argument("--steps", type=int, help="number of timed updates")
    parser.add_argument("--repetitions", type=int, help="number of measurements of each system")
