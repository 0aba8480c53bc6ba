"""Worker for training with the training loop of `seqlab train`; speeds are read from its metrics log."""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.records import Json, TrainingJob, TrainingResult
from benchmarks.scale import scale_from_json
from benchmarks.workers.memory import peak_memory_mb
from benchmarks.workers.seqlab_runs import benchmark_config, train_from, with_few_validation_lines
from seqlab.data.config import TokensConfig
from seqlab.runs.folder import RunFolder


def run(job: Json) -> Json:
    """Run a `TrainingJob`."""
    settings = TrainingJob(**job)
    workload = Path(settings.workload)
    shared = json.loads((workload / "workload.json").read_text(encoding="utf-8"))
    scale = scale_from_json(shared["scale"])
    config = benchmark_config(
        scale,
        workload,
        settings.dropout,
        max_steps=settings.steps,
        log_every=1,
        save_every=settings.steps,
        valid_every=settings.steps,
        precision=settings.dtype,
        threads=settings.threads,
        device=settings.device,
    )
    config = with_few_validation_lines(config, workload)
    assert isinstance(config.data, TokensConfig)
    config = replace(config, data=replace(config.data, micro_batch_tokens=settings.micro_batch_tokens))
    with tempfile.TemporaryDirectory() as folder:
        train_from(workload / "start", config, Path(folder) / "run")
        lines = [line for line in RunFolder(Path(folder) / "run").read_metrics() if line["kind"] == "train"]
    plan = shared["plans"][str(settings.micro_batch_tokens)]
    result = TrainingResult(
        seconds=[n / line["tgt_tokens_per_second"] for n, line in zip(plan["tgt_tokens"], lines, strict=False)],
        losses=[line["loss"] for line in lines],
        src_padding=[line["src_padding"] for line in lines],
        tgt_padding=[line["tgt_padding"] for line in lines],
        peak_memory_mb=peak_memory_mb(settings.device),
    )
    return asdict(result)
