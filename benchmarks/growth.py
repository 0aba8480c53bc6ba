"""`python -m benchmarks growth`: time and memory of seqlab as one size grows, compared with the expected order."""

import argparse
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from benchmarks.flops import decoding_flops, training_flops
from benchmarks.machine import measure_machine
from benchmarks.processes import run_worker
from benchmarks.records import GrowthJob, GrowthWork, Json
from benchmarks.report import Report, Row
from benchmarks.scale import Scale, transformer_sizes

logger = logging.getLogger(__name__)
FITTED_POINTS = 3
"""Number of largest sizes for the fit of the order; at smaller sizes constant costs dominate."""


@dataclass(frozen=True)
class Axis:
    """A size that grows while all others are constant."""

    name: str
    work: GrowthWork
    field: str
    """Name of the field of `GrowthJob` or of its `ModelSizes`."""
    values: tuple[int, ...]
    time_order: str
    memory_order: str


AXES = (
    Axis(
        *("sentence length", "training", "length", (16, 32, 64, 128, 256, 512)),
        time_order="O(n), attention's share O(n^2)",
        memory_order="O(n), attention's share O(n^2)",
    ),
    Axis("batch size", "training", "sentences", (4, 8, 16, 32, 64, 128), "O(n)", "O(n) + the weights"),
    Axis(
        *("beam size", "decoding", "beam_size", (1, 2, 4, 8, 16)),
        time_order="O(n) + the encoder, self-attention's share O(n^2)",
        memory_order="O(n) + the weights",
    ),
    Axis(
        *("vocabulary", "training", "vocab_size", (2000, 4000, 8000, 16_000, 32_000, 64_000)),
        time_order="O(n) + the layers",
        memory_order="O(n) + the layers",
    ),
    Axis(
        *("model width", "training", "d_model", (64, 128, 256, 512, 1024)),
        time_order="O(n^2), vocabulary and attention O(n)",
        memory_order="O(n) activations, O(n^2) weights",
    ),
    Axis(
        *("corpus size", "corpus", "pairs", (4000, 16_000, 64_000, 256_000)),
        time_order="O(n)",
        memory_order="O(n): 16 bytes and more a pair",
    ),
)


@dataclass(frozen=True)
class Measurement:
    """One point of a curve."""

    n: int
    seconds: float
    memory_mb: float
    """Peak memory minus that of the process before the work starts."""
    counted: float
    """Expected work: operations of the matrix products, or sentence pairs."""


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Measure each point of each axis in its own process, fit the orders, and plot them if `--plots` is given."""
    if arguments.plots is not None and find_spec("matplotlib") is None:
        raise SystemExit("`--plots` needs matplotlib. Install it (pip install matplotlib), or omit the option.")
    machine = measure_machine(arguments)
    folder = arguments.work_dir / "growth"
    base = GrowthJob(
        work="training",
        sizes=transformer_sizes(scale.model),
        sentences=32,
        length=32,
        beam_size=5,
        pairs=0,
        folder=str(folder.resolve()),
        dtype=arguments.dtype,
        warmups=1,
        repetitions=3,
        threads=arguments.threads,
        device=arguments.device,
    )
    report = Report("growth", machine)
    for axis in select_axes(arguments.axes, arguments.quick):
        points = measure(axis, base)
        report.rows += [_row(axis, point, base.dtype) for point in points]
        report.notes.append(describe(axis, points))
        if arguments.plots is not None:
            plot(axis, points, arguments.plots)
    shutil.rmtree(folder, ignore_errors=True)
    return report


def select_axes(names: Sequence[str] | None, quick: bool) -> list[Axis]:
    """Return the requested axes; in a quick run with their three smallest sizes."""
    chosen = [axis for axis in AXES if names is None or axis.name.replace(" ", "_") in names]
    return [replace(axis, values=axis.values[:FITTED_POINTS]) for axis in chosen] if quick else chosen


def job_of(axis: Axis, value: int, base: GrowthJob) -> GrowthJob:
    """Set the size of an axis in a job; a wider model keeps its proportions and `head_dim`."""
    job = replace(base, work=axis.work)
    if axis.field == "d_model":
        factor = value / base.sizes.d_model
        heads = max(1, round(factor * base.sizes.num_heads))
        return replace(
            job, sizes=replace(base.sizes, d_model=value, d_ff=round(factor * base.sizes.d_ff), num_heads=heads)
        )
    if axis.field == "vocab_size":
        return replace(job, sizes=replace(base.sizes, vocab_size=value))
    if axis.work == "corpus":  # takes long enough for a single measurement
        job = replace(job, warmups=0, repetitions=1)
    grown: Json = {axis.field: value}
    return replace(job, **grown)


def measure(axis: Axis, base: GrowthJob) -> list[Measurement]:
    """Measure all sizes of an axis."""
    if axis.work == "corpus":
        run_worker("growth_corpora", {"folder": base.folder, "sizes": axis.values}, base.threads)
    points = []
    for value in axis.values:
        job = job_of(axis, value, base)
        found = run_worker("growth", asdict(job), base.threads)
        points.append(Measurement(value, found["seconds"], found["memory_mb"], count_work(job)))
        logger.info("%s %d: %.4f s, %.0f MB", axis.name, value, found["seconds"], found["memory_mb"])
    return points


def count_work(job: GrowthJob) -> float:
    """Count the operations of a job's matrix products, or the pairs of its corpus."""
    lengths = [(job.length, job.length)] * job.sentences
    if job.work == "corpus":
        return job.pairs
    if job.work == "decoding":
        return decoding_flops(job.sizes, lengths, job.beam_size)
    return training_flops(job.sizes, lengths)


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Fit k in values ~ sizes^k: the least-squares slope of the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-12)) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def describe(axis: Axis, points: Sequence[Measurement]) -> str:
    """Describe how time and memory grow over the largest sizes, and the expected order."""
    last = points[-FITTED_POINTS:]
    sizes = [point.n for point in last]
    time_k = fit_exponent(sizes, [point.seconds for point in last])
    memory_k = fit_exponent(sizes, [point.memory_mb for point in last])
    counted_k = fit_exponent(sizes, [point.counted for point in last])
    return (
        f"{axis.name}: time n^{time_k:.2f}, expected {axis.time_order} (counted: n^{counted_k:.2f}); "
        f"memory n^{memory_k:.2f}, expected {axis.memory_order}"
    )


def _row(axis: Axis, point: Measurement, dtype: str) -> Row:
    more: Json = {"axis": axis.name, "n": point.n, "seconds": point.seconds, "counted": point.counted}
    return Row("seqlab", "growth", dtype, f"{axis.name} {point.n}", peak_memory_mb=point.memory_mb, more=more)


def plot(axis: Axis, points: Sequence[Measurement], folder: Path) -> None:
    """Plot time and memory on logarithmic axes to NAME.png, with the expected growth through the largest size."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9, 4), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    sizes = [point.n for point in points]
    seconds = [point.seconds for point in points]
    expected = [points[-1].seconds * point.counted / points[-1].counted for point in points]
    memory = [point.memory_mb for point in points]
    linear = [points[-1].memory_mb * size / sizes[-1] for size in sizes]
    time_axes.plot(sizes, expected, "--", color="gray", label=f"expected: {axis.time_order}")
    time_axes.plot(sizes, seconds, "o-", label="measured")
    memory_axes.plot(sizes, linear, "--", color="gray", label="n^1")
    memory_axes.plot(sizes, memory, "o-", label=f"measured; expected {axis.memory_order}")
    for axes, label in ((time_axes, "seconds"), (memory_axes, "MB")):
        axes.set(xscale="log", yscale="log", xlabel=axis.name, ylabel=label)
        axes.minorticks_off()
        axes.set_xticks(sizes, labels=[str(size) for size in sizes])
        axes.legend(fontsize="small")
    figure.savefig(folder / f"{axis.name.replace(' ', '_')}.png", dpi=120)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    names = [axis.name.replace(" ", "_") for axis in AXES]
    parser.add_argument("--axes", nargs="+", choices=names, help="axes to measure; default: all")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write one PNG per axis; needs matplotlib")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
