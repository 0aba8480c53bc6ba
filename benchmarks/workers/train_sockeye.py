"""Worker for training with the commands of Sockeye 3 in its own environment."""

import tempfile
from pathlib import Path

from benchmarks.records import Json, TrainingJob
from benchmarks.scale import ModelSizes, transformer_sizes
from benchmarks.workers.toolkits import Corpus, require_toolkit, run_command, sizes_of, summarize, write_corpus

UPDATES = 151
"""Number of updates: Sockeye logs its speed every 50 updates, and the first interval does not count."""


def run(job: Json) -> Json:
    """Run a `TrainingJob` with Sockeye of the environment `python`; return a `ToolkitResult`.

    Its log counts tokens with padding, so the rate is sentences per second times mean target tokens per sentence.
    """
    python = job.pop("python")
    settings = TrainingJob(**job)
    require_toolkit(python, "sockeye", settings.dtype)
    workload = Path(settings.workload)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write_corpus(workload, folder)
        train = ["--source", str(corpus.path("train", "src")), "--target", str(corpus.path("train", "tgt"))]
        run_command([python, "-m", "sockeye.prepare_data", *train, "--shared-vocab", "--output", "prepared"], folder)
        arguments = options(corpus, transformer_sizes(sizes_of(workload)), settings)
        log = run_command([python, "-m", "sockeye.train", *arguments], folder)
    return summarize(log, r"s/sec=([\d.]+)", corpus.tgt_tokens_per_pair)


def options(corpus: Corpus, sizes: ModelSizes, job: TrainingJob) -> list[str]:
    """Return Sockeye's options for the model and its training."""
    values = {
        "prepared-data": "prepared",
        "validation-source": corpus.path("valid", "src"),
        "validation-target": corpus.path("valid", "tgt"),
        "output": "model",
        "num-layers": f"{sizes.num_encoder_layers}:{sizes.num_decoder_layers}",
        "transformer-model-size": sizes.d_model,
        "transformer-feed-forward-num-hidden": sizes.d_ff,
        "transformer-attention-heads": sizes.num_heads,
        "transformer-preprocess": "n" if sizes.norm == "pre" else "",
        "transformer-postprocess": "dr" if sizes.norm == "pre" else "drn",
        "transformer-dropout-attention": 0,
        "transformer-dropout-act": 0,
        "transformer-dropout-prepost": job.dropout,
        "embed-dropout": job.dropout,
        "weight-tying-type": "src_trg_softmax",
        "label-smoothing": 0.1,
        "batch-type": "word",
        "batch-size": job.micro_batch_tokens,
        "optimizer-betas": "0.9:0.98",
        "initial-learning-rate": 0.0001,
        "gradient-clipping-type": "abs",
        "gradient-clipping-threshold": 1.0,
        "max-updates": UPDATES,
        "checkpoint-interval": UPDATES,
        "decode-and-evaluate": 0,
        "seed": 1,
    }
    flags = ["--shared-vocab", *(["--use-cpu"] if job.device == "cpu" else [])]
    return [*flags, *(f"--{name}={value}" for name, value in values.items())]
