"""Worker for the learning curve of `seqlab train`, with its own validation and metrics log."""

import os
import shutil
import signal
import threading
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.records import Json, Point, QualityJob
from benchmarks.scale import scale_from_json
from benchmarks.workers.memory import peak_memory_mb
from benchmarks.workers.seqlab_runs import benchmark_config
from seqlab.recipes import RECIPES
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.validate import build, read_yaml
from seqlab.search.config import SearchConfig
from seqlab.training import Interrupted, train

POLL_SECONDS = 1.0
UNLIMITED_STEPS = 1_000_000
"""`max_steps` of a run that ends by time or BLEU; the schedule does not depend on it."""


def run(job: Json) -> Json:
    """Run a `QualityJob`."""
    settings = QualityJob(**job)
    folder = Path(settings.folder) / settings.name
    shutil.rmtree(folder, ignore_errors=True)
    config = _config(settings, folder)
    ended = threading.Event()
    watcher = threading.Thread(target=_stop_when_done, args=(settings, RunFolder(folder), ended), daemon=True)
    watcher.start()
    try:
        train(config, folder)
    except Interrupted:
        pass  # raised by the watcher thread
    finally:
        ended.set()
        watcher.join()
    lines = list(RunFolder(folder).read_metrics())
    tokens = [line["tgt_tokens_per_second"] for line in lines if line["kind"] == "train"]
    return {
        "curve": [asdict(point) for point in curve(lines)],
        "tokens_per_second": median(tokens) if tokens else None,
        "peak_memory_mb": peak_memory_mb(settings.device),
    }


def _config(settings: QualityJob, folder: Path) -> Config:
    scale = scale_from_json(settings.scale)
    search = SearchConfig(beam_size=1)
    if settings.recipe is None:
        config = benchmark_config(
            scale,
            Path(settings.folder),
            lr_warmup_steps=settings.lr_warmup_steps,
            max_steps=UNLIMITED_STEPS,
            save_every=settings.valid_every,
        )
    elif settings.recipe in RECIPES:
        config = RECIPES[settings.recipe](folder)
    else:
        config = build(Config, read_yaml(Path(settings.recipe)), source=settings.recipe)
    training = replace(
        config.training,
        log_every=1,
        valid_every=settings.valid_every,
        valid_search=search,
        precision=settings.dtype,
        threads=settings.threads,
        device=settings.device,
    )
    return replace(config, training=training, seed=settings.seed)


def _stop_when_done(settings: QualityJob, folder: RunFolder, ended: threading.Event) -> None:
    """Interrupt this process, as Ctrl-C does, when the time limit or the BLEU is reached."""
    while not ended.wait(POLL_SECONDS):
        points = list(curve(folder.read_metrics()))
        if points and (points[-1].minutes >= settings.minutes or points[-1].bleu >= settings.target_bleu):
            os.kill(os.getpid(), signal.SIGTERM)
            return


def curve(lines: Iterable[Json]) -> list[Point]:
    """Read the validations of a metrics log with one line per step, without the time of evaluations.

    The log's clock includes the validation and the checkpoint in the time of the next step, which is therefore replaced
    by the median of the others.
    """
    steps: list[tuple[int, float]] = [(0, 0.0)]
    found: list[tuple[int, float]] = []
    for line in lines:
        if line["kind"] == "train":
            steps.append((line["step"], line["minutes"]))
        elif line["kind"] == "valid":
            found.append((line["step"], line["bleu"]))
    if not found:
        return []
    validated = {step for step, _ in found}
    durations = {step: after - before for (_, before), (step, after) in pairwise(steps)}
    normal_durations = [duration for step, duration in durations.items() if step - 1 not in validated]
    median_duration = median(normal_durations or durations.values())
    elapsed, clock = 0.0, {}
    for step, duration in durations.items():
        elapsed += median_duration if step - 1 in validated else duration
        clock[step] = elapsed
    return [Point(clock[step], step, bleu) for step, bleu in found]
