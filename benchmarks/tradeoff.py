"""`python -m benchmarks tradeoff`: quality against speed of runs and search configurations.

Each system is a run folder with fields of a search, and optionally a run for rescoring (`rescore=RUN`) or a language
model for shallow fusion (`lm=RUN lm_weight=0.5`): `--system "CTC, greedy" runs/nat beam_size=1`. One by one: one call
per line, with all threads. In batches: one call for all lines, divided among processes as in `seqlab translate`.
"""

import argparse
import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import measure_machine
from benchmarks.options import refuse_missing_folder
from benchmarks.processes import run_worker
from benchmarks.records import HELPER_RUN_FIELDS, LM_FIELDS, Json, TradeoffJob
from benchmarks.report import Report, Row
from benchmarks.scale import Scale

logger = logging.getLogger(__name__)
BATCHES = (640, 2560, 10_240)
"""Batch sizes to try, in padded source tokens times beam size."""
QUICK_LINES = 20
METRICS = ("bleu", "chrf", "wer", "cer", "exact_match")
"""Choices of `--metric`."""
COLORS = [f"C{i}" for i in range(10)] + ["black", "gold", "navy", "lime", "magenta", "peru"]
"""Colors of the systems in a plot."""
ERROR_METRICS = ("repeated", "length_error")
"""Metrics that are computed for every system."""


@dataclass(frozen=True)
class System:
    """A run with a search configuration."""

    name: str
    run: Path
    search: Mapping[str, Any]
    """Fields by name, with strings as values: those of `SearchConfig`, `HELPER_RUN_FIELDS` and `LM_FIELDS`."""


@dataclass
class Measurements:
    """Measurements of a system."""

    hypotheses: list[str]
    parameters: int
    """Parameters of the run and its helper runs; each n-gram counts as one."""
    dtype: str
    best_batch: int
    one_by_one: list[float]
    """Sentences per second, by repetition."""
    in_batches: list[float]
    stages: Json
    """Milliseconds per line by stage, one by one; empty without `--stages`."""


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Find each system's best batch size on all lines, then measure one by one and in batches, in turns."""
    systems = [read_system(words) for words in arguments.system]
    if len({system.name for system in systems}) < len(systems):
        raise SystemExit("`--system`: each system needs a unique name.")
    src, references = map(_lines, arguments.pairs)
    if len(src) != len(references):
        raise SystemExit(f"`--pairs`: both files must have as many lines, but have {len(src)} and {len(references)}.")
    if arguments.lines < 1:
        raise SystemExit(f"`--lines` must be at least 1, but is {arguments.lines}.")
    if arguments.quick:
        src, references = src[:QUICK_LINES], references[:QUICK_LINES]
    single_lines = src[: arguments.lines]
    report = Report(
        "tradeoff", measure_machine(arguments), more={"lines": len(src), "lines_one_by_one": len(single_lines)}
    )
    base = TradeoffJob("", {}, [], [], arguments.precision, arguments.device)
    found: dict[str, Measurements] = {}
    for system in systems:
        logger.info("trying the batch sizes of %s", system.name)
        trial = _measure(system, list(BATCHES), src, base, arguments.threads)
        best = BATCHES[trial["seconds"].index(min(trial["seconds"]))]
        named = {name: trial[name] for name in ("hypotheses", "parameters", "dtype")}
        found[system.name] = Measurements(**named, best_batch=best, one_by_one=[], in_batches=[], stages={})
        if arguments.stages:
            found[system.name].stages = _measure_stages(system, single_lines, base, arguments.threads)
    for repetition in range(scale.repetitions):
        for system in systems:
            results = found[system.name]
            [single_seconds] = _measure(system, [], single_lines, base, arguments.threads)["seconds"]
            [batch_seconds] = _measure(system, [results.best_batch], src, base, arguments.threads)["seconds"]
            results.one_by_one.append(len(single_lines) / single_seconds)
            results.in_batches.append(len(src) / batch_seconds)
            logger.info("%d/%d %s", repetition + 1, scale.repetitions, system.name)
    first = statistics.median(found[systems[0].name].one_by_one)
    metric = arguments.metric
    report.rows += [_row(system, found[system.name], references, metric, first) for system in systems]
    if arguments.plot is not None:
        save_plot(arguments.plot, report.rows, metric)
    return report


def read_system(words: Sequence[str]) -> System:
    """Parse `NAME RUN [field=value ...]`; raises SystemExit if it is invalid."""
    from seqlab.runs.validate import build
    from seqlab.search.config import SearchConfig

    if len(words) < 2:
        raise SystemExit(f"`--system` takes a name, a run folder and fields of a search, not {' '.join(words)!r}.")
    name, folder, *fields = words
    refuse_missing_folder("--system", Path(folder))
    search: dict[str, Any] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals or key in search:
            raise SystemExit(f"`--system {name!r}`: {field!r} must be a field of a search, once, as field=value.")
        search[key] = value
    for helper in search.keys() & HELPER_RUN_FIELDS:
        refuse_missing_folder(f"--system ... {helper}", Path(search[helper]))
        search[helper] = str(Path(search[helper]).resolve())
    if "lm" not in search and search.keys() & LM_FIELDS:
        raise SystemExit(f"`--system {name!r}`: {' and '.join(LM_FIELDS)} need a language model, lm=RUN.")
    try:
        search |= {key: float(search[key]) for key in search.keys() & LM_FIELDS}
        build(
            SearchConfig, {key: value for key, value in search.items() if key not in (*HELPER_RUN_FIELDS, *LM_FIELDS)}
        )
    except ValueError as error:
        raise SystemExit(f"`--system {name!r}`: {error}") from None
    return System(name, Path(folder).resolve(), search)


def _lines(path: Path) -> list[str]:
    from seqlab.inference.files import all_lines

    return all_lines(str(path))


def _measure(system: System, batches: list[int], lines: list[str], base: TradeoffJob, threads: int) -> Json:
    return run_worker("tradeoff", asdict(_job(system, batches, lines, base)), threads)


def _measure_stages(system: System, lines: list[str], base: TradeoffJob, threads: int) -> Json:
    found: Json = run_worker("stages", asdict(_job(system, [], lines, base)), threads)["milliseconds"]
    return found


def _job(system: System, batches: list[int], lines: list[str], base: TradeoffJob) -> TradeoffJob:
    return replace(base, run=str(system.run), search=dict(system.search), batches=batches, lines=lines)


def _row(system: System, found: Measurements, references: list[str], metric: str, first: float) -> Row:
    from seqlab.evaluation import evaluate

    scores = evaluate(found.hypotheses, [references], [metric, *ERROR_METRICS])
    one_by_one, in_batches = statistics.median(found.one_by_one), statistics.median(found.in_batches)
    return Row(
        system=system.name,
        task="tradeoff",
        dtype=found.dtype,
        setting=" ".join(f"{name}={value}" for name, value in system.search.items()),
        more={
            "parameters": f"{found.parameters:,}",
            metric: scores[metric].value,
            "sentences_per_second_one_by_one": one_by_one,
            "min_to_max": f"{min(found.one_by_one):.1f} to {max(found.one_by_one):.1f}",
            "speedup_over_first": one_by_one / first,
            "sentences_per_second_in_batches": in_batches,
            "min_to_max_in_batches": f"{min(found.in_batches):.0f} to {max(found.in_batches):.0f}",
            "best_batch": found.best_batch,
            **{name: scores[name].value for name in ERROR_METRICS},
            **{f"ms_{name.replace(' ', '_')}": each for name, each in found.stages.items()},
        },
    )


def save_plot(path: Path, rows: Sequence[Row], metric: str) -> None:
    """Plot the metric against speed, one by one and in batches; needs matplotlib."""
    from seqlab.reports.figures import save_figure

    def draw(axes: Any) -> None:
        for i, row in enumerate(rows):
            speeds = [row.more[f"sentences_per_second_{kind}"] for kind in ("one_by_one", "in_batches")]
            color = COLORS[i % len(COLORS)]
            axes.plot(speeds, [row.more[metric]] * 2, linewidth=0.6, color=color)
            axes.plot(speeds[0], row.more[metric], "o", color=color, label=row.system)
            axes.plot(speeds[1], row.more[metric], "s", color=color)
        axes.set(xscale="log", ylabel="BLEU" if metric == "bleu" else metric)
        axes.set_xlabel("sentences per second: one by one (circle), in batches of the best size (square)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))

    save_figure(path, (8.4, 4.4), draw)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--system",
        nargs="+",
        action="append",
        required=True,
        metavar="NAME RUN FIELD=VALUE",
        help="a system; repeatable",
    )
    parser.add_argument(
        "--pairs", nargs=2, type=Path, required=True, metavar=("SRC", "REF"), help="sources and references"
    )
    parser.add_argument("--lines", type=int, default=200, help="lines translated one by one (default: 200)")
    parser.add_argument("--metric", choices=METRICS, default="bleu", help="metric of the plot (default: bleu)")
    parser.add_argument("--precision", default="auto", help="fp32, bf16 or auto (default)")
    parser.add_argument("--repetitions", type=int, help="number of measurements of each system")
    parser.add_argument(
        "--stages", action="store_true", help="also measure the milliseconds per line of each stage, one by one"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot the results as PNG or SVG")
