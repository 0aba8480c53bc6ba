"""Worker for decoding with `python -m joeynmt translate CONFIG` in its own environment, in batches of sentences.

JoeyNMT reads the same ids as words, longest line first. The time is from its log, without loading and tokenizing.
"""

import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.records import DecodingJob, DecodingResult, Json
from benchmarks.scale import RecurrentSizes
from benchmarks.workers.decoding_loop import length_limit, sorted_batches
from benchmarks.workers.toolkits import peak_memory_mb, run_command, to_line, to_word
from benchmarks.workers.train_joeynmt import model_of
from benchmarks.workers.weights import Weights, joeynmt_weights
from seqlab.text import Tokenizer, load_tokenizer

UNKNOWN = "<unk>"


def run(job: Json) -> Json:
    """Run a `DecodingJob` with JoeyNMT; the job's `engine` is the Python of its environment."""
    settings = DecodingJob(**job)
    tokenizer = load_tokenizer(Path(settings.folder) / "tokenizer")
    rows = tokenizer.encode(settings.lines)
    found = [_translate(settings, tokenizer, rows, batch) for batch in settings.batches]
    last = found[-1].outputs
    result = DecodingResult(
        load_seconds=min(each.load_seconds for each in found),
        seconds=[each.seconds for each in found],
        hypotheses=tokenizer.decode(last),
        tgt_tokens=[len(row) + 1 for row in last],
        peak_memory_mb=peak_memory_mb(),
    )
    return asdict(result)


class _Result(NamedTuple):
    """Measurements and output of one call of the command."""

    outputs: list[list[int]]
    """Output ids without the end of sentence."""
    seconds: float
    load_seconds: float


def _translate(job: DecodingJob, tokenizer: Tokenizer, rows: Sequence[Sequence[int]], batch: int) -> _Result:
    (order,) = sorted_batches(rows, len(rows))
    limit = length_limit(len(rows[order[0]]) + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = config_of(Path(job.folder) / "joeynmt", job, batch, limit)
        (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        text = "".join(to_line(rows[index]) for index in order)
        started = time.perf_counter()
        output = run_command([job.engine, "-m", "joeynmt", "translate", "config.yaml"], folder, text)
        seconds = time.perf_counter() - started
    (decoding,) = re.findall(r"Generation took ([\d.]+)\[sec\]", output)
    lines = output.splitlines()[-len(rows) :]
    found = {index: _parse_ids(line, tokenizer) for index, line in zip(order, lines, strict=True)}
    return _Result([found[index] for index in range(len(rows))], float(decoding), seconds - float(decoding))


def _parse_ids(line: str, tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.unk_id if word == UNKNOWN else int(word.removeprefix("w")) for word in line.split()]


def write_model(weights: Weights, sizes: RecurrentSizes, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model for JoeyNMT: model.ckpt, vocabulary.txt (one word per id) and model.json (its configuration)."""
    folder.mkdir(exist_ok=True)
    special = [tokenizer.unk_id, tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id]  # JoeyNMT puts these first
    others = [index for index in range(tokenizer.vocab_size) if index not in special]
    (folder / "vocabulary.txt").write_text("".join(f"{to_word(index)}\n" for index in others), encoding="utf-8")
    state = {name: value.clone() for name, value in joeynmt_weights(weights, [*special, *others]).items()}
    torch.save({"model_state": state}, folder / "model.ckpt")
    (folder / "model.json").write_text(json.dumps(model_of(sizes, dropout=0.0)), encoding="utf-8")


def config_of(folder: Path, job: DecodingJob, batch: int, limit: int) -> Json:
    """Return JoeyNMT's config for decoding with the output of `write_model`; its only length penalty is GNMT's."""
    side = {"level": "word", "voc_file": str(folder / "vocabulary.txt")}
    return {
        "name": "benchmark",
        "model_dir": str(folder),
        "use_cuda": job.device != "cpu",
        "fp16": False,
        "data": {"test": "standard input", "src": {"lang": "src", **side}, "trg": {"lang": "tgt", **side}},
        "testing": {
            "load_model": str(folder / "model.ckpt"),
            "beam_size": job.beam_size,
            "beam_alpha": 1.0,
            "batch_type": "sentence",
            "batch_size": batch,
            "max_output_length": limit,
        },
        "training": {"batch_size": batch},
        "model": json.loads((folder / "model.json").read_text(encoding="utf-8")),
    }
