"""Worker for the learning curve of `transformers.MarianMTModel` in a plain loop over seqlab's batches."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.records import Json, Point, QualityJob
from benchmarks.scale import scale_from_json, transformer_sizes
from benchmarks.workers.decode_transformers import generate
from benchmarks.workers.decoding_loop import sorted_batches
from benchmarks.workers.memory import peak_memory_mb
from benchmarks.workers.plain_loop import Batch, PlainLoop
from benchmarks.workers.seqlab_runs import (
    LABEL_SMOOTHING,
    benchmark_config,
    pairs_section,
    start_run,
    translator_section,
)
from benchmarks.workers.train_marian import build_marian, make_logits_function
from seqlab.data.batch import Seq2SeqBatch
from seqlab.data.prepare import PreparedData, prepare
from seqlab.data.sampler import Seq2SeqSampler
from seqlab.data.step import TrainingStep
from seqlab.runs.load import load_run
from seqlab.text import Tokenizer

VALID_BATCH_SENTENCES = 64
"""Batch size of validation, which is not timed."""


def run(job: Json) -> Json:
    """Run a `QualityJob`."""
    settings = QualityJob(**job)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    scale = scale_from_json(settings.scale)
    folder = Path(settings.folder)
    config = benchmark_config(scale, folder, lr_warmup_steps=settings.lr_warmup_steps, threads=settings.threads)
    start_folder = folder / "start"
    if not (start_folder / "run.json").exists():
        start_run(config, start_folder)
    start = load_run(start_folder)
    tokenizer = start.tgt_tokenizer
    sizes = replace(transformer_sizes(scale.model), vocab_size=tokenizer.vocab_size)
    ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    model = build_marian(sizes, ids, dict(start.model.named_parameters()), translator_section(config).dropout)
    section = pairs_section(config)
    data = prepare(section, (start.src_tokenizer, tokenizer), start.folder.cache)
    loop = PlainLoop(model, make_logits_function(model), LABEL_SMOOTHING, settings.dtype, settings.device)
    steps = Seq2SeqSampler(data.train, section, settings.seed, start.src_tokenizer, tokenizer).steps()
    points: list[Point] = []
    rates: list[float] = []
    elapsed = 0.0
    while not points or (points[-1].minutes < settings.minutes and points[-1].bleu < settings.target_bleu):
        for number in range(len(rates), len(rates) + settings.valid_every):
            started = time.monotonic()
            step = next(steps)
            loop.update(batches_of(step), config.optim.schedule.lr_at(config.optim.optimizer.lr, number, 1))
            seconds = time.monotonic() - started
            rates.append(step.num_tgt_tokens / seconds)
            elapsed += seconds
        bleu = validation_bleu(model, data, tokenizer, settings.device)
        points.append(Point(elapsed / 60, len(rates), bleu))
    return {
        "curve": [asdict(point) for point in points],
        "tokens_per_second": median(rates),
        "peak_memory_mb": peak_memory_mb(settings.device),
    }


def batches_of(step: TrainingStep[Seq2SeqBatch]) -> list[Batch]:
    """Return the tensors of each micro-step of a step by name."""
    found: list[Batch] = []
    for batch in step.micro_steps:
        assert batch.tgt_in is not None
        assert batch.tgt_out is not None
        named = {"src": batch.src, "src_lengths": batch.src_lengths, "tgt_in": batch.tgt_in, "tgt_out": batch.tgt_out}
        found.append(named)
    return found


def validation_bleu(model: Any, data: PreparedData, tokenizer: Tokenizer, device: str) -> float:
    """Return the BLEU of greedy decoding of the validation set with the current weights."""
    from sacrebleu.metrics import BLEU

    assert data.valid.tgt_text is not None
    rows = [[*data.valid.src[index].tolist(), tokenizer.eos_id] for index in range(len(data.valid))]
    model.eval()
    found: dict[int, list[int]] = {}
    for indices in sorted_batches(rows, VALID_BATCH_SENTENCES):
        found |= dict(zip(indices, generate(model, [rows[i] for i in indices], 1, device), strict=True))
    model.train()
    hypotheses = tokenizer.decode([found[index] for index in range(len(rows))])
    return float(BLEU().corpus_score(hypotheses, [data.valid.tgt_text.texts()]).score)
