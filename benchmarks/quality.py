"""`python -m benchmarks quality`: minutes of training until a validation BLEU is reached."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median

from benchmarks.machine import measure_machine
from benchmarks.options import refuse_unknown_systems
from benchmarks.processes import KEEP_PAGES, run_worker
from benchmarks.records import Json, Point, QualityJob, Unavailable
from benchmarks.report import Report, Row
from benchmarks.scale import Scale

logger = logging.getLogger(__name__)
THRESHOLDS = (20.0, 30.0, 35.0)
DEFAULT_RECIPE = "multi30k_en_de"


@dataclass(frozen=True)
class System:
    """A system and its training settings."""

    name: str
    worker: str
    size_index: int
    """Index of the scale's micro-step size: the default of seqlab, or the fastest one of another system."""
    recipe: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


def systems(recipe: str) -> list[System]:
    """List the systems to measure."""
    return [
        System("seqlab", "quality_seqlab", 1),
        System("transformers", "quality_marian", 0),
        System("transformers, malloc keeps pages", "quality_marian", 2, environment=tuple(KEEP_PAGES.items())),
        System(f"seqlab, {recipe}", "quality_seqlab", 1, recipe),
    ]


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Train the systems one by one, each until the time limit or the last threshold is reached."""
    recipe = arguments.recipe or ("number_words" if arguments.quick else DEFAULT_RECIPE)
    refuse_unknown_systems(arguments.systems, (system.name for system in systems(recipe)))
    machine = measure_machine(arguments)
    thresholds = tuple(arguments.thresholds)
    report = Report("quality", machine, more={"curves": {}, "thresholds": thresholds})
    folder = arguments.work_dir / f"quality-{scale.corpus}-{scale.model.name}"
    for system in systems(recipe):
        if arguments.systems is not None and system.name not in arguments.systems:
            continue
        found: list[Json] = []
        size = scale.micro_batch_tokens[min(system.size_index, len(scale.micro_batch_tokens) - 1)]
        for seed in range(1, scale.repetitions + 1):
            job = QualityJob(
                folder=str(folder.resolve()),
                name="own_recipe" if system.recipe else "same_schedule",
                scale=asdict(replace(scale, micro_batch_tokens=(size,))),
                recipe=system.recipe,
                dtype=arguments.dtype,
                minutes=arguments.minutes,
                valid_every=arguments.valid_every,
                lr_warmup_steps=arguments.lr_warmup_steps,
                target_bleu=max(thresholds),
                seed=seed,
                threads=arguments.threads,
                device=arguments.device,
            )
            logger.info("training %s, seed %d, for %g minutes at most", system.name, seed, arguments.minutes)
            try:
                found.append(run_worker(system.worker, asdict(job), arguments.threads, dict(system.environment)))
            except Unavailable as unavailable:
                report.rows.append(Row(system.name, "quality", arguments.dtype, "", note=str(unavailable)))
                break
        if found:
            report.more["curves"][system.name] = [each["curve"] for each in found]
            report.rows.append(summarize(system, found, arguments.dtype, thresholds))
    add_ratios(report.rows, thresholds)
    return report


def minutes_to(curve: Sequence[Point], bleu: float) -> float | None:
    """Return the minutes until the first validation with at least this BLEU, or None; nothing is interpolated."""
    return next((point.minutes for point in curve if point.bleu >= bleu), None)


def column_of(threshold: float) -> str:
    """Return the column name of a threshold."""
    return f"minutes_to_{threshold:g}"


def summarize(system: System, found: list[Json], dtype: str, thresholds: Sequence[float]) -> Row:
    """Summarize the curves of one system, one per seed, in a row; a threshold counts only if all seeds reached it."""
    curves = [[Point(**point) for point in each["curve"]] for each in found]
    more: Json = {}
    for threshold in thresholds:
        minutes = [minutes_to(curve, threshold) for curve in curves]
        reached = [each for each in minutes if each is not None]
        more[column_of(threshold)] = median(reached) if len(reached) == len(minutes) else None
    more["best_bleu"] = median(max(point.bleu for point in curve) for curve in curves)
    more["minutes"] = median(curve[-1].minutes for curve in curves)
    rates = [each["tokens_per_second"] for each in found if each["tokens_per_second"] is not None]
    return Row(
        system=system.name,
        task="quality",
        dtype=dtype,
        setting="its own recipe" if system.recipe else "same model and schedule",
        tokens_per_second=median(rates) if rates else None,
        min=min(rates, default=None),
        max=max(rates, default=None),
        peak_memory_mb=max(each["peak_memory_mb"] for each in found),
        more=more,
    )


def add_ratios(rows: list[Row], thresholds: Sequence[float]) -> None:
    """Divide each row's minutes to the highest threshold that both reached by seqlab's with the same schedule."""
    seqlab_row = next((row for row in rows if row.system == "seqlab"), None)
    for row in rows:
        for threshold in sorted(thresholds) if seqlab_row is not None else ():
            minutes = row.more.get(column_of(threshold))
            seqlab_minutes = seqlab_row.more.get(column_of(threshold)) if seqlab_row else None
            if minutes is not None and seqlab_minutes:
                row.ratio = minutes / seqlab_minutes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--minutes", type=float, default=40.0, help="training time of each system (default: 40)")
    parser.add_argument("--thresholds", nargs="+", type=float, default=list(THRESHOLDS), metavar="BLEU")
    parser.add_argument("--valid_every", type=int, default=100, help="updates between validations (default: 100)")
    parser.add_argument(
        "--lr_warmup_steps", type=int, default=800, help="warmup steps of the common schedule (default: 800)"
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument(
        "--recipe", metavar="RECIPE", help=f"a recipe or config of seqlab for the third row (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="systems to measure; default: all")
    parser.add_argument("--repetitions", type=int, default=1, help="number of seeds (default: 1)")
