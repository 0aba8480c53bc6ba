"""`python -m benchmarks gpu`: training and decoding on one GPU, compared with `transformers` and cuDNN."""

import argparse
import logging
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import median

from benchmarks import decoding, training
from benchmarks.lm_records import LmTrainingJob, LmTrainingResult
from benchmarks.lm_shapes import QUICK_SHAPES, SHAPES
from benchmarks.machine import measure_machine
from benchmarks.processes import run_worker
from benchmarks.records import Json
from benchmarks.report import Report, Row
from benchmarks.scale import GENERATED, ModelSizes, Scale, with_model

logger = logging.getLogger(__name__)
MODELS = {
    "small": ModelSizes(8000, d_model=256, d_ff=1024, num_heads=4, num_encoder_layers=4, num_decoder_layers=4),
    "base": ModelSizes(8000, d_model=512, d_ff=2048, num_heads=8, num_encoder_layers=6, num_decoder_layers=6),
    "large": ModelSizes(8000, d_model=768, d_ff=3072, num_heads=12, num_encoder_layers=6, num_decoder_layers=6),
}
"""Models with 9, 48 and 105 million parameters."""
DECODING_MODEL = "base"
FULL = Scale(
    corpus=GENERATED,
    model=MODELS["small"],
    batch_tokens=16_384,
    micro_batch_tokens=(20_000,),  # one pass an update
    steps=24,
    warmup_steps=8,
    repetitions=2,
)
RUN_STEPS = 600
"""Training steps of the run for decoding: enough for outputs of realistic lengths."""
SINGLE_LINES = 40


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Measure training and decoding of each model, with the same weights and batches in every system."""
    machine = measure_machine(arguments)
    report = Report("gpu", machine)
    full = scale if arguments.quick else replace(FULL, repetitions=scale.repetitions)
    common = {"joeynmt": None, "sockeye": None, "dtypes": ["bf16"], "run": None}
    with_transformers, with_cudnn = ["seqlab", "transformers"], ["seqlab", "torch.nn.LSTM"]
    parts: list[Part] = []
    for name, sizes in MODELS.items() if not arguments.quick else ():
        parts.append(
            Part(f"{name} Transformer", training.run, replace(full, model=sizes), {"systems": with_transformers})
        )
    for model in ("lstm", "lstm_unfed"):
        values: Json = {"systems": with_cudnn, "model": model}
        parts.append(Part(model, training.run, with_model(full, model), values))
    decoded = full if arguments.quick else replace(full, model=MODELS[DECODING_MODEL])
    steps = 60 if arguments.quick else RUN_STEPS
    decoding_systems = (
        ["seqlab", "seqlab without CUDA graphs", "transformers"] if arguments.device != "cpu" else with_transformers
    )
    values = {"systems": decoding_systems, "beam_sizes": (5,), "lines": SINGLE_LINES, "run_steps": steps}
    parts.append(Part(f"{'tiny' if arguments.quick else DECODING_MODEL} Transformer", decoding.run, decoded, values))
    parts.append(Part("Transformer language model", train_compiled, full, {}))
    for part in parts:
        work_dir = arguments.work_dir / part.name.replace(" ", "_")
        options = Namespace(**{**vars(arguments), **common, **part.values, "work_dir": work_dir})
        try:
            _append(report, part.measure(options, part.scale, machine), part.name)
        except RuntimeError as error:  # a failure must not lose what was measured before
            report.failed_checks.append(f"{part.name}: {error}")
    return report


@dataclass(frozen=True)
class Part:
    """Training or decoding of one model."""

    name: str
    measure: Callable[[Namespace, Scale, Json], Report]
    scale: Scale
    values: Json
    """Options of the benchmark that measures it."""


def _append(report: Report, part: Report, model: str) -> None:
    rows = [row for row in part.rows if row.system not in training.TOOLKITS.values()]
    for row in rows:
        row.more = {"model": model, **row.more}
    report.rows += rows
    report.checks += [f"{model}: {check}" for check in part.checks]
    report.failed_checks += [f"{model}: {check}" for check in part.failed_checks]


def train_compiled(arguments: argparse.Namespace, scale: Scale, machine: Json) -> Report:
    """Time training of nanoGPT's model with and without `torch.compile`, after the first steps, which compile."""
    shape = (QUICK_SHAPES if arguments.quick else SHAPES["nanogpt"])[0]
    steps = scale.warmup_steps + scale.steps
    folder = str((arguments.work_dir / "language_models").resolve())
    preparation = {"workload": folder, "text": "number_words", "shape": asdict(shape), "steps": steps, "run_steps": 0}
    prepared = run_worker("prepare_lm", {**preparation, "threads": arguments.threads}, arguments.threads)
    job = LmTrainingJob(
        workload=prepared["workload"],
        dtype="bf16",
        dropout=0.2,
        is_typical=False,
        steps=steps,
        threads=arguments.threads,
        device=arguments.device,
    )
    report = Report("training")
    rows = report.rows
    for compiled in (False,) if arguments.device == "cpu" else (False, True):
        timed = asdict(replace(job, compiled=compiled))
        results = [
            LmTrainingResult(**run_worker("train_lm_seqlab", timed, arguments.threads))
            for _ in range(scale.repetitions)
        ]
        tokens, flops = (sum(prepared[name][scale.warmup_steps : steps]) for name in ("tokens", "flops"))
        rates = [tokens / sum(result.seconds[scale.warmup_steps :]) for result in results]
        rows.append(
            Row(
                system="seqlab, compiled" if compiled else "seqlab",
                task="training",
                dtype="bf16",
                setting=f"{shape.rows} rows of {shape.block_length}",
                tokens_per_second=median(rates),
                min=min(rates),
                max=max(rates),
                ratio=rows[0].tokens_per_second / median(rates) if rows and rows[0].tokens_per_second else 1.0,
                share_of_peak=median(rates) * flops / tokens / 1e9 / machine["peak_gflops"]["bf16"],
                peak_memory_mb=max(result.peak_memory_mb for result in results),
            )
        )
    return report


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark; `--device cpu --quick` tests the program without a GPU."""
    parser.set_defaults(device="cuda")
    parser.add_argument(
        "--repetitions", type=int, default=FULL.repetitions, help="number of measurements of each system"
    )
