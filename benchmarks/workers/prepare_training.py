"""Worker that writes the tokenizer, initial weights and batches of ids that all benchmarked systems share.

WORKLOAD/start is a run folder of seqlab after one update, WORKLOAD/weights.safetensors its weights under seqlab's
names, WORKLOAD/batches-N.safetensors the batches of the first updates for micro-steps of N padded tokens, and
WORKLOAD/workload.json all other settings.
"""

import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from benchmarks.flops import training_flops
from benchmarks.records import Json
from benchmarks.scale import Sizes, scale_from_json
from benchmarks.workers.seqlab_runs import (
    LABEL_SMOOTHING,
    benchmark_config,
    pairs_section,
    start_run,
    with_few_validation_lines,
)
from seqlab.data.batch import Seq2SeqBatch
from seqlab.data.prepare import prepare
from seqlab.data.sampler import Seq2SeqSampler
from seqlab.data.step import TrainingStep
from seqlab.runs import load_run
from seqlab.runs.config import Config
from seqlab.runs.load import LoadedRun


def run(job: Json) -> Json:
    """Prepare a workload; describe each step by micro-step size. Job: workload (folder), scale, steps, threads."""
    folder = Path(job["workload"])
    scale = scale_from_json(job["scale"])
    folder.mkdir(parents=True, exist_ok=True)
    config = benchmark_config(scale, folder, threads=job["threads"], device="cpu")
    config = with_few_validation_lines(config, folder)
    if not (folder / "start" / "run.json").exists():
        start_run(config, folder / "start")
    start = load_run(folder / "start")
    save_file({name: value.clone() for name, value in start.model.named_parameters()}, folder / "weights.safetensors")
    sizes = replace(scale.model, vocab_size=start.tgt_tokenizer.vocab_size)
    optim = config.optim
    lrs = [optim.schedule.lr_at(optim.optimizer.lr, step, job["steps"]) for step in range(job["steps"])]
    shared = {
        "sizes": asdict(sizes),
        "pad_id": start.tgt_tokenizer.pad_id,
        "bos_id": start.tgt_tokenizer.bos_id,
        "eos_id": start.tgt_tokenizer.eos_id,
        "label_smoothing": LABEL_SMOOTHING,
        "lrs": lrs,
        "scale": job["scale"],
    }
    plans = {str(size): _plan(config, start, folder, sizes, size, job["steps"]) for size in scale.micro_batch_tokens}
    (folder / "workload.json").write_text(json.dumps({**shared, "plans": plans}), encoding="utf-8")
    return {"sizes": asdict(sizes), "plans": plans, "parameters": sum(p.numel() for p in start.model.parameters())}


def _plan(config: Config, start: LoadedRun, folder: Path, sizes: Sizes, micro_batch_tokens: int, steps: int) -> Json:
    """Write the batches of the first updates; return the numbers of tokens and the padding of each."""
    data_config = replace(pairs_section(config), micro_batch_tokens=micro_batch_tokens)
    tokenizers = start.src_tokenizer, start.tgt_tokenizer
    data = prepare(data_config, tokenizers, start.folder.cache)
    training_steps = list(islice(Seq2SeqSampler(data.train, data_config, config.seed, *tokenizers).steps(), steps))
    save_file(_tensors(training_steps), folder / f"batches-{micro_batch_tokens}.safetensors")
    return {
        "tgt_tokens": [step.num_tgt_tokens for step in training_steps],
        "src_tokens": [step.num_src_tokens for step in training_steps],
        "tgt_padding": [1 - step.num_tgt_tokens / step.padded_tgt_tokens for step in training_steps],
        "src_padding": [1 - step.num_src_tokens / step.padded_src_tokens for step in training_steps],
        "micro_steps": [len(step.micro_steps) for step in training_steps],
        "flops": [training_flops(sizes, _lengths(step)) for step in training_steps],
    }


def _lengths(step: TrainingStep[Seq2SeqBatch]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for batch in step.micro_steps:
        assert batch.tgt_out is not None
        pairs += zip(batch.src_lengths.tolist(), (batch.tgt_out >= 0).sum(1).tolist(), strict=True)
    return pairs


def _tensors(steps: list[TrainingStep[Seq2SeqBatch]]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, step in enumerate(steps):
        for index, batch in enumerate(step.micro_steps):
            prefix = f"{number:05d}.{index:03d}"
            assert batch.tgt_in is not None
            assert batch.tgt_out is not None
            named = {
                "src": batch.src,
                "src_lengths": batch.src_lengths,
                "tgt_in": batch.tgt_in,
                "tgt_out": batch.tgt_out,
            }
            tensors |= {f"{prefix}.{name}": value for name, value in named.items()}
    return tensors
