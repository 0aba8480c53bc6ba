"""`python -m benchmarks tradeoff`: what runs and their searches give for their time: BLEU against sentences a second.

Each system is a run folder with fields of a search, and perhaps a run that rescores what it finds (`rescore=RUN`):
`--system "CTC, greedy" runs/nat beam_size=1`.
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
from benchmarks.records import Json, TradeoffJob
from benchmarks.report import Report, Row
from benchmarks.scale import Scale

logger = logging.getLogger(__name__)
BATCHES = (640, 2560, 10_240)
"""Padded source tokens times beam size: those that are tried for the most sentences a second."""
QUICK_LINES = 20


@dataclass(frozen=True)
class System:
    """One way to translate."""

    name: str
    run: Path
    search: Mapping[str, Any]
    """Fields by name, as text."""


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Find each system's best batch on all lines, then measure both kinds of batches in turns."""
    systems = [read_system(words) for words in arguments.system]
    src, references = (_lines(path)[: QUICK_LINES if arguments.quick else None] for path in arguments.pairs)
    if len(src) != len(references):
        raise SystemExit(f"`--pairs`: the files have {len(src)} and {len(references)} lines.")
    report = Report("tradeoff", measure_machine(arguments), more={"lines": len(src), "single_lines": arguments.lines})
    base = TradeoffJob("", {}, [], [], arguments.precision, arguments.device)
    whole: dict[str, Json] = {}
    for system in systems:
        logger.info("trying the batch sizes of %s", system.name)
        whole[system.name] = _measured(system, list(BATCHES), src, base, arguments.threads)
    singles: dict[str, list[float]] = {system.name: [] for system in systems}
    batched: dict[str, list[float]] = {system.name: [] for system in systems}
    for repetition in range(scale.repetitions):
        for system in systems:
            seconds = whole[system.name]["seconds"]
            best = BATCHES[seconds.index(min(seconds))]
            few = src[: arguments.lines]
            singles[system.name].append(len(few) / _measured(system, [1], few, base, arguments.threads)["seconds"][0])
            batched[system.name].append(
                len(src) / _measured(system, [best], src, base, arguments.threads)["seconds"][0]
            )
            logger.info("%d/%d %s", repetition + 1, scale.repetitions, system.name)
    for system in systems:
        found = whole[system.name]
        speeds = singles[system.name], batched[system.name]
        report.rows.append(_row(system, arguments.precision, found, references, *speeds, singles[systems[0].name]))
    if arguments.plot is not None:
        save_plot(arguments.plot, report.rows)
    return report


def read_system(words: Sequence[str]) -> System:
    """Read `NAME RUN [field=value ...]`; ends the program where that is not what it is."""
    if len(words) < 2:
        raise SystemExit(f"`--system` takes a name, a run folder and fields of a search, not {' '.join(words)!r}.")
    name, folder, *fields = words
    refuse_missing_folder("--system", Path(folder))
    for field in fields:
        if "=" not in field:
            raise SystemExit(f"`--system {name!r}`: {field!r} must be a field of a search and its value, field=value.")
    return System(name, Path(folder).resolve(), dict(field.split("=", 1) for field in fields))


def _lines(path: Path) -> list[str]:
    from seqlab.cli.files import all_lines

    return all_lines(str(path))


def _measured(system: System, batches: list[int], lines: list[str], base: TradeoffJob, threads: int) -> Json:
    job = replace(base, run=str(system.run), search=dict(system.search), batches=batches, lines=lines)
    return run_worker("tradeoff", asdict(job), threads)


def _row(
    system: System,
    dtype: str,
    found: Json,
    references: list[str],
    singles: list[float],
    batched: list[float],
    first: list[float],
) -> Row:
    from seqlab.evaluation import evaluate

    scores = evaluate(found["hypotheses"], [references], ["bleu", "repeated", "length_error"])
    single = statistics.median(singles)
    return Row(
        system=system.name,
        task="tradeoff",
        dtype=dtype,
        setting=" ".join(f"{name}={value}" for name, value in system.search.items()),
        more={
            "parameters": f"{found['parameters']:,}",
            "bleu": scores["bleu"].value,
            "sentences_per_second_one_by_one": single,
            "slowest_and_fastest": f"{min(singles):.1f} to {max(singles):.1f}",
            "times_the_first": single / statistics.median(first),
            "sentences_per_second_in_batches": statistics.median(batched),
            "repeated": scores["repeated"].value,
            "length_error": scores["length_error"].value,
        },
    )


def save_plot(path: Path, rows: Sequence[Row]) -> None:
    """Draw BLEU over speed, a point for each system and kind of batch; needs matplotlib."""
    from seqlab.reports.figures import save_figure

    def draw(axes: Any) -> None:
        for i, row in enumerate(rows):
            speeds = [row.more[f"sentences_per_second_{kind}"] for kind in ("one_by_one", "in_batches")]
            [line] = axes.plot(speeds, [row.more["bleu"]] * 2, linewidth=0.6, color=f"C{i % 10}")
            axes.plot(speeds[0], row.more["bleu"], "o", color=line.get_color(), label=row.system)
            axes.plot(speeds[1], row.more["bleu"], "s", color=line.get_color())
        axes.set(xscale="log", ylabel="BLEU")
        axes.set_xlabel("sentences a second: one by one (round), in the best batch (square)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))

    save_figure(path, (8.4, 4.4), draw)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Name what can be chosen."""
    parser.add_argument(
        "--system", nargs="+", action="append", required=True, metavar="NAME RUN FIELD=VALUE", help="one for each"
    )
    parser.add_argument("--pairs", nargs=2, type=Path, required=True, metavar=("SRC", "REF"), help="what is translated")
    parser.add_argument("--lines", type=int, default=200, help="lines translated one by one (default: 200)")
    parser.add_argument("--precision", default="auto", help="fp32, bf16 or auto (default)")
    parser.add_argument("--repetitions", type=int, help="how often each is measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as PNG or SVG")
