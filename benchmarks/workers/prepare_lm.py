"""Worker that writes the text, initial weights and blocks of ids that all benchmarked language models share.

WORKLOAD/start is a run folder of seqlab after one update, WORKLOAD/weights.safetensors its weights under seqlab's
names, WORKLOAD/blocks.safetensors inputs and targets of the first updates, and WORKLOAD/workload.json all other
settings. For generation, WORKLOAD/run is a run folder that was trained longer, and WORKLOAD/trained.safetensors its
weights.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from benchmarks.lm_shapes import LmShape, training_flops
from benchmarks.records import Json
from benchmarks.workers.lm_runs import TEXTS, lm_config, text_config, write_text
from benchmarks.workers.seqlab_runs import start_run
from seqlab.data.batch import TextBatch
from seqlab.data.prepare import prepare
from seqlab.data.step import TrainingStep
from seqlab.data.text_sampler import TextSampler, start_id
from seqlab.runs import load_run
from seqlab.runs.load import LoadedRun
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import Tokenizer
from seqlab.training import train

RUN_DROPOUT = 0.2
UNPRINTABLE = "\ufffd"
"""Character for special ids in a generated text."""


def run(job: Json) -> Json:
    """Prepare a workload; return the name of the text, the number of parameters and a description of each step.

    Job: workload (folder), text (one of `TEXTS`, or None for the first available one), shape, steps, run_steps (0
    without generation), threads.
    """
    base, shape = Path(job["workload"]), LmShape(**job["shape"])
    name = _write_first_available(TEXTS if job["text"] is None else [job["text"]], base)
    folder = base / f"{name}-{shape.family}-{shape.width}x{shape.num_layers}"
    config = lm_config(shape, base / name, 0.0, threads=job["threads"], device="cpu")
    if not (folder / "start" / "run.json").exists():
        start_run(config, folder / "start")
    start = load_run(folder / "start")
    _save_weights(start, folder / "weights.safetensors")
    if job["run_steps"]:
        _train_longer(job["run_steps"], shape, base / name, folder, job["threads"])
    tokenizer = start.tgt_tokenizer
    data, optim = text_config(shape, base / name), config.optim
    steps = _first_steps(data, config.seed, start, job["steps"])
    save_file(_tensors(steps), folder / "blocks.safetensors")
    lrs = [optim.schedule.lr_at(optim.optimizer.lr, step, job["steps"]) for step in range(job["steps"])]
    shared = {
        "shape": asdict(shape),
        "text": str((base / name).resolve()),
        "vocab_size": tokenizer.vocab_size,
        "start_id": start_id(data, tokenizer),
        "characters": characters(tokenizer),
        "lrs": lrs,
        "tokens": [step.num_tgt_tokens for step in steps],
        "continues": [_single_micro_step(step).continues for step in steps],
    }
    (folder / "workload.json").write_text(json.dumps(shared), encoding="utf-8")
    return {
        "workload": str(folder.resolve()),
        "text": name,
        "vocab_size": tokenizer.vocab_size,
        "parameters": sum(parameter.numel() for parameter in start.model.parameters()),
        "tokens": shared["tokens"],
        "flops": [training_flops(shape, tokenizer.vocab_size, _lengths(step)) for step in steps],
    }


def characters(tokenizer: Tokenizer) -> list[str]:
    """Return the character of each id; the end of a line is a newline."""
    found = [tokenizer.decode([[index]])[0] for index in range(tokenizer.vocab_size)]
    for index in (tokenizer.pad_id, tokenizer.bos_id, tokenizer.unk_id):
        found[index] = UNPRINTABLE
    found[tokenizer.eos_id] = "\n"
    return found


def _write_first_available(names: Sequence[str], base: Path) -> str:
    """Write the first available one of several texts."""
    for name in names[:-1]:
        try:
            write_text(name, base / name)
        except FileNotFoundError:
            continue
        return name
    write_text(names[-1], base / names[-1])
    return names[-1]


def _train_longer(steps: int, shape: LmShape, text: Path, folder: Path, threads: int) -> None:
    """Train or resume the run for generation."""
    limits = {"max_steps": steps, "save_every": steps, "valid_every": steps}
    train(lm_config(shape, text, RUN_DROPOUT, threads=threads, device="cpu", **limits), folder / "run")
    _save_weights(load_run(folder / "run"), folder / "trained.safetensors")


def _save_weights(loaded: LoadedRun, path: Path) -> None:
    save_file({name: value.detach().clone() for name, value in loaded.model.named_parameters()}, path)


def _first_steps(config: LanguageModellingConfig, seed: int, start: LoadedRun, count: int) -> list[TrainingStep]:
    """Return the first updates in the order of `seqlab train`."""
    data = prepare(config, (start.tgt_tokenizer,), start.folder.cache)
    return list(islice(TextSampler(data.train, config, seed, start.tgt_tokenizer).steps(), count))


def _tensors(steps: Sequence[TrainingStep]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, batch in enumerate(map(_single_micro_step, steps)):
        tensors |= {f"{number:05d}.tgt_in": batch.tgt_in, f"{number:05d}.tgt_out": batch.tgt_out}
    return tensors


def _single_micro_step(step: TrainingStep) -> TextBatch:
    """Return the only micro-step of a step."""
    (batch,) = step.micro_steps
    assert isinstance(batch, TextBatch)
    return batch


def _lengths(step: TrainingStep) -> list[int]:
    lengths: list[int] = (_single_micro_step(step).tgt_out >= 0).sum(1).tolist()
    return lengths
