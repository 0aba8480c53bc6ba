"""Worker for training with `python -m joeynmt train CONFIG` in its own environment."""

import json
import tempfile
from pathlib import Path

from benchmarks.records import Json, TrainingJob
from benchmarks.scale import ModelSizes, RecurrentSizes, Sizes
from benchmarks.workers.toolkits import Corpus, require_toolkit, run_command, sizes_of, summarize, write_corpus

LOGGED_STEPS = 8


def run(job: Json) -> Json:
    """Run a `TrainingJob` with JoeyNMT of the environment `python`; return a `ToolkitResult`."""
    python = job.pop("python")
    settings = TrainingJob(**job)
    require_toolkit(python, "joeynmt", settings.dtype)
    workload = Path(settings.workload)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = config_of(write_corpus(workload, folder), sizes_of(workload), settings)
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        log = run_command([python, "-m", "joeynmt", "train", "config.yaml", "--skip-test"], folder)
    return summarize(log, r"Tokens per Sec:\s+([\d.]+)")


def config_of(corpus: Corpus, sizes: Sizes, job: TrainingJob) -> Json:
    """Return JoeyNMT's config of the model and its training."""
    side = {"level": "word", "max_length": 512}
    updates = LOGGED_STEPS * (1 + -(-job.steps // LOGGED_STEPS))
    return {
        "name": "benchmark",
        "model_dir": str(corpus.folder / "model"),
        "use_cuda": job.device != "cpu",
        "fp16": False,
        "random_seed": 1,
        "data": {
            "train": str(corpus.folder / "train"),
            "dev": str(corpus.folder / "valid"),
            "dataset_type": "plain",
            "src": {"lang": "src", **side},
            "trg": {"lang": "tgt", **side},
        },
        "testing": {"beam_size": 1, "batch_size": 16, "max_output_length": 8},
        "training": {
            "optimizer": "adam",
            "adam_betas": [0.9, 0.98],
            "learning_rate": 0.001,
            "learning_rate_min": 0.0001,
            "learning_rate_warmup": 100,
            "scheduling": "warmupinversesquareroot",
            "clip_grad_norm": 1.0,
            "label_smoothing": 0.1,
            "loss": "crossentropy",
            "normalization": "tokens",
            "batch_size": job.micro_batch_tokens,
            "batch_type": "token",
            "epochs": 1000,
            "updates": updates,
            "logging_freq": LOGGED_STEPS,
            "validation_freq": updates,
            "print_valid_sents": [],
        },
        "model": model_of(sizes, job.dropout),
    }


def model_of(sizes: Sizes, dropout: float) -> Json:
    """Return JoeyNMT's config of the model."""
    encoder, decoder = _recurrent_sides(sizes, dropout) if isinstance(sizes, RecurrentSizes) else _sides(sizes, dropout)
    shared = {"initializer": "xavier_uniform", "tied_embeddings": False, "tied_softmax": True}
    return {**shared, "encoder": encoder, "decoder": decoder}


def _sides(sizes: ModelSizes, dropout: float) -> tuple[Json, Json]:
    layers = {
        "type": "transformer",
        "num_heads": sizes.num_heads,
        "embeddings": {"embedding_dim": sizes.d_model, "scale": True, "dropout": dropout},
        "hidden_size": sizes.d_model,
        "ff_size": sizes.d_ff,
        "dropout": dropout,
        "layer_norm": sizes.norm,
    }
    return {**layers, "num_layers": sizes.num_encoder_layers}, {**layers, "num_layers": sizes.num_decoder_layers}


def _recurrent_sides(sizes: RecurrentSizes, dropout: float) -> tuple[Json, Json]:
    size = sizes.hidden_size
    layers = {
        "type": "recurrent",
        "rnn_type": "lstm",
        "embeddings": {"embedding_dim": size, "dropout": dropout},
        "dropout": dropout,
        "num_layers": 1,
    }
    attention = {"attention": "luong", "init_hidden": "zero", "input_feeding": sizes.input_feeding}
    encoder = {**layers, "hidden_size": size // 2, "bidirectional": True}
    return encoder, {**layers, **attention, "hidden_size": size, "hidden_dropout": dropout}
