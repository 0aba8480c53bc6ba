"""Worker for training with the training loop of `seqlab train`; speeds are read from its metrics log."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.lm_records import LmTrainingJob, LmTrainingResult
from benchmarks.lm_shapes import LmShape
from benchmarks.records import Json
from benchmarks.workers.lm_loop import LmWorkload, time_updates
from benchmarks.workers.lm_runs import lm_config, train_from_weights
from benchmarks.workers.memory import peak_memory_mb
from seqlab.data.batch import TextBatch
from seqlab.objectives import StepContext
from seqlab.optim import Parameters
from seqlab.runs import load_run
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import set_up
from seqlab.training.update import update


def run(job: Json) -> Json:
    """Run an `LmTrainingJob`; a profile covers the updates only."""
    settings = LmTrainingJob(**job)
    workload = Path(settings.workload)
    shared = json.loads((workload / "workload.json").read_text(encoding="utf-8"))
    config = lm_config(
        LmShape(**shared["shape"]),
        Path(shared["text"]),
        settings.dropout,
        max_steps=settings.steps,
        log_every=1,
        save_every=settings.steps,
        valid_every=settings.steps,
        precision=settings.dtype,
        threads=settings.threads,
        device=settings.device,
        compile=settings.compiled,
    )
    if settings.profiled:
        return _profile(config, workload, settings)
    with tempfile.TemporaryDirectory() as folder:
        train_from_weights(workload / "start", config, Path(folder) / "run")
        lines = [line for line in RunFolder(Path(folder) / "run").read_metrics() if line["kind"] == "train"]
    result = LmTrainingResult(
        seconds=[n / line["tgt_tokens_per_second"] for n, line in zip(shared["tokens"], lines, strict=False)],
        losses=[line["loss"] for line in lines],
        peak_memory_mb=peak_memory_mb(settings.device),
        shares={},
    )
    return asdict(result)


def _profile(config: Config, workload: Path, settings: LmTrainingJob) -> Json:
    """Profile the same updates without the training loop."""
    context, start = set_up(config.training), load_run(workload / "start")
    model = config.model.resolve(config.data).build(start.src_tokenizer, start.tgt_tokenizer).train()
    model.load_state_dict(start.model.state_dict())
    accumulator = Accumulator(model, config.objective.build(), context, config.seed)
    optimizer = config.optim.optimizer.build(Parameters(accumulator.parameters))
    loaded = LmWorkload.read(workload, count=settings.steps)

    def one_update(step: int) -> float:
        tgt_in, tgt_out, continues = loaded.blocks[step]
        indices, count = tgt_in.new_zeros(len(tgt_in)), int((tgt_out >= 0).sum())
        batch = TextBatch(tgt_in, tgt_out, indices, count, continues=continues)
        lr = loaded.lrs[step]
        loss = update(accumulator, optimizer, [batch], StepContext(step), lr, config.optim.max_grad_norm)
        return loss.total / loss.count

    return time_updates(one_update, settings)
