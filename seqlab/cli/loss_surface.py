"""Command `seqlab loss-surface`: the curvature of the loss at a run, slices, and the path to another run."""

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from seqlab.base.bounds import Count, Threads
from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.progress import count_progress
from seqlab.commands import AsArgument, Command, UsageError
from seqlab.inference.options import SETTINGS, File, RunPath, set_threads

if TYPE_CHECKING:
    from seqlab.diagnosis.curvature import MeanLoss
    from seqlab.diagnosis.loss_surface import PointAnalysis
    from seqlab.diagnosis.spectrum import Spectrum
    from seqlab.diagnosis.workbench import Workbench

Part = Literal["point", "lines", "plane", "path"]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LossSurfaceOptions:
    """Compute the shape of the training loss at the last checkpoint of a run. The run is not changed.

    Is it a minimum, a saddle or a slope? Its gradient, the eigenvalues of the Hessian, and the step along the lowest
    eigenvector that lowers the loss the most. Slices along random directions and eigenvectors. With a second run of
    the same model: the loss on the straight line between both.
    """

    run_dir: RunPath
    """run folder"""
    other_run: Annotated[RunPath | None, AsArgument, "RUN2"] = None
    """second run, to which the path leads"""
    compute: tuple[Part, ...] = ()
    """point: gradient, eigenvalues, steps; lines: slices along two random directions and two eigenvectors; plane: a
    slice along two directions; path: to the second run (default: point and lines; with a second run, path)"""
    directions: Literal["random", "eigenvectors"] = "random"
    """directions of the plane"""
    rows: Count = 256
    """number of training rows whose mean loss is the surface; as many others check it (of fewer rows, half each)"""
    lanczos_steps: Count = 30
    """Hessian products of each starting vector, for models of more than 2,000 weights"""
    starts: Count = 3
    """random starting vectors"""
    points: Annotated[Count, "N"] = 21
    """points of a line, of the path, and of each side of the plane"""
    seed: Count = 1
    """seed of rows, starting vectors and directions"""
    threads: Threads | None = None
    """number of CPU threads (default: that of the run)"""
    out: File | None = None
    """figure: a .png or .svg file"""
    json: bool = False
    """print one JSON object"""


def run(options: LossSurfaceOptions) -> None:
    """Compute the chosen parts and print them."""
    from seqlab.diagnosis.workbench import open_run

    parts = chosen_parts(options)
    with TemporaryDirectory() as scratch:
        bench = open_run(options.run_dir, Path(scratch))
        bench.device_context = replace(bench.device_context, is_compiled=False)  # has no second derivatives
        set_threads(options.threads)
        result = compute(bench, options, parts)
    print(json_text(result) if options.json else "\n".join(text_lines(result)))
    if options.out is not None:
        from seqlab.reports.loss_surface_figure import save_loss_surface

        save_loss_surface(options.out, result)


def chosen_parts(options: LossSurfaceOptions) -> tuple[Part, ...]:
    """Return the parts to compute; raise UsageError if they do not fit the number of runs."""
    parts = options.compute or (("path",) if options.other_run else ("point", "lines"))
    if "path" in parts and options.other_run is None:
        raise UsageError("`--compute path` needs a second run: `seqlab loss-surface RUN RUN2`")
    if options.other_run is not None and "path" not in parts:
        raise UsageError("the second run is for `--compute path` only: add it, or leave the run out")
    if options.points < 2:
        raise UsageError("`--points` must be at least 2: the ends of a line")
    return parts


def compute(bench: "Workbench", options: LossSurfaceOptions, parts: tuple[Part, ...]) -> dict[str, Any]:
    """Compute the parts: an object for JSON."""
    from seqlab.diagnosis.curvature import MeanLoss
    from seqlab.diagnosis.loss_surface import two_samples

    learner = bench.learner(weights=bench.weights)
    rows, other_rows = two_samples(bench.train_rows, options.rows, options.seed)
    loss = MeanLoss(learner, rows)
    result: dict[str, Any] = {
        "run": options.run_dir,
        "step": bench.step,
        "rows": sum(len(batch.indices) for batch in rows),
        "weights": loss.num_weights,
        "loss": loss.losses().mean,
    }
    spectrum = None
    if "point" in parts:
        point = analyze(loss, MeanLoss(learner, other_rows) if other_rows else None, options)
        result["point"], spectrum = point.to_json(), point.spectrum
    if "lines" in parts or "plane" in parts:
        result |= compute_slices(loss, spectrum, options, parts)
    if "path" in parts:
        result["path"] = compute_paths(loss, options)
    return result


def analyze(loss: "MeanLoss", other: "MeanLoss | None", options: LossSurfaceOptions) -> "PointAnalysis":
    """Analyze the point with a progress bar."""
    from seqlab.diagnosis.loss_surface import analyze_point

    with count_progress("Hessian products and losses") as advance:
        return analyze_point(loss, other, options.lanczos_steps, options.starts, options.seed, advance)


def compute_slices(
    loss: "MeanLoss", spectrum: "Spectrum | None", options: LossSurfaceOptions, parts: tuple[Part, ...]
) -> dict[str, Any]:
    """Compute the slices along lines and in a plane; along eigenvectors only if the spectrum is known or needed."""
    from seqlab.diagnosis import slices
    from seqlab.diagnosis.loss_surface import find_spectrum

    needs_eigenvectors = "plane" in parts and options.directions == "eigenvectors"
    if spectrum is None and needs_eigenvectors:
        with count_progress("Hessian products") as advance:
            spectrum = find_spectrum(loss, options.lanczos_steps, options.starts, options.seed, advance)
    random = slices.random_directions(loss, 2, options.seed)
    eigenvectors = [] if spectrum is None else slices.eigenvector_directions(loss, spectrum)
    drawn: dict[str, Any] = {}
    if "lines" in parts:
        lines = [*random, *eigenvectors]
        with count_progress("losses", options.points * len(lines)) as advance:
            drawn["lines"] = [asdict(slices.slice_line(loss, line, options.points, advance)) for line in lines]
    if "plane" in parts:
        x, y = eigenvectors if needs_eigenvectors else random
        with count_progress("losses", options.points**2) as advance:
            drawn["plane"] = asdict(slices.slice_plane(loss, x, y, options.points, advance))
    return drawn


def compute_paths(loss: "MeanLoss", options: LossSurfaceOptions) -> dict[str, Any]:
    """Compute the loss of training rows, and of validation rows if there are any, on the line to the second run."""
    from seqlab.diagnosis.curvature import MeanLoss
    from seqlab.diagnosis.loss_surface import two_samples
    from seqlab.diagnosis.slices import interpolate
    from seqlab.runs.load import load_run, named_buffers, named_weights

    learner, bench = loss.learner, loss.learner.bench
    assert options.other_run is not None, "`chosen_parts` requires a second run"
    loaded = load_run(options.other_run, checkpoint="last")
    hashes = [folder.read_description().get("tokenizer_sha256") for folder in (bench.folder, loaded.folder)]
    if hashes[0] != hashes[1]:
        raise ValueError(
            f"{options.run_dir} and {options.other_run} have different vocabularies or encoders of their data: the "
            "loss between them has no meaning. Train the second run on the same data."
        )
    weights = named_weights(loaded.model) | named_buffers(loaded.model)
    valid, _ = two_samples(bench.valid_rows, options.rows, options.seed)
    splits = {"train": loss} | ({"valid": MeanLoss(learner, valid)} if valid else {})
    with count_progress("losses", options.points * len(splits)) as advance:
        paths = {
            name: asdict(interpolate(learner, weights, split, options.points, advance))
            for name, split in splits.items()
        }
    return {"run": options.other_run, "step": loaded.step, **paths}


def text_lines(result: dict[str, Any]) -> list[str]:
    """Render the result for people."""
    lines = [
        f"{result['run']}, step {result['step']}: {result['weights']:,} weights, loss {result['loss']:.4g} "
        f"on {result['rows']} training rows"
    ]
    if "point" in result:
        lines += point_lines(result["point"])
    for line in result.get("lines", ()):
        middle, ends = min(line["losses"]), (line["losses"][0], line["losses"][-1])
        lines.append(
            f"{line['name']}: lowest loss {middle:.4g}, {ends[0]:.4g} and {ends[1]:.4g} at a distance of "
            f"{line['length']:.3g}"
        )
    if "plane" in result:
        losses = [loss for row in result["plane"]["losses"] for loss in row]
        lines.append(f"plane of {' and '.join(result['plane']['names'])}: loss {min(losses):.4g} to {max(losses):.4g}")
    for split, path in result.get("path", {}).items():
        if split in ("train", "valid"):
            lines.append(
                f"path to {result['path']['run']}, {split} rows: loss {path['losses'][0]:.4g} to "
                f"{path['losses'][-1]:.4g}, barrier {path['barrier']:.4g} ± {path['barrier_standard_error']:.2g} at "
                f"{path['barrier_position']:.2f}"
            )
    return lines


KINDS = {
    "slope": "a slope: a step against the gradient lowers the loss by more than 1%",
    "saddle": "a saddle: small gradient, and directions in which the loss curves downwards",
    "minimum": "a minimum, or a flat region: small gradient, and no direction in which the loss curves downwards",
    "unresolved": "unresolved: small gradient, but the sign of the lowest eigenvalue is not certain, or it differs on "
    "other rows: increase --rows and --lanczos_steps",
}


def point_lines(point: dict[str, Any]) -> list[str]:
    """Render the analysis of the point for people."""
    spectrum, other = point["spectrum"], point["lowest_on_other_rows"]
    lowest, highest, negative = spectrum["lowest"], spectrum["highest"], spectrum["negative"]
    on_others = "" if other is None else f"; on other rows {other['value']:.3g} ± {other['standard_error']:.2g}"
    error = f" ± {negative['standard_error']:.2%}" if negative["standard_error"] else ""
    return [
        f"kind of point: {KINDS[point['kind']]}",
        f"gradient norm: {point['gradient_norm']:.3g} ± {point['gradient_standard_error']:.2g}",
        f"lowest eigenvalue: {lowest['value']:.4g} (residual {lowest['residual']:.1g}){on_others}",
        f"highest eigenvalue: {highest['value']:.4g} (residual {highest['residual']:.1g})",
        f"minimum ratio: {spectrum['minimum_ratio']:.2%}{error} of the eigenvalues are not below "
        f"-{spectrum['tolerance']:.2g}; {spectrum['positive']:.2%} are above {spectrum['tolerance']:.2g}",
        f"step against the gradient: {step_text(point['descent'])}",
        f"step along the lowest eigenvector: {step_text(point['escape'])}",
    ]


def step_text(step: dict[str, Any]) -> str:
    """Render a step for people."""
    if not step["relative_length"]:
        return "none lowers the loss"
    text = (
        f"the loss falls by {step['decrease']:.3g} ± {step['standard_error']:.2g} after "
        f"{step['relative_length']:.2%} of the norm of the weights"
    )
    if step["other_decrease"] is None:
        return text
    return f"{text}; on other rows by {step['other_decrease']:.3g} ± {step['other_standard_error']:.2g}"


LOSS_SURFACE = Command(LossSurfaceOptions, run)
