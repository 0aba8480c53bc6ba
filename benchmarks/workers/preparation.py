"""Worker for corpus preparation: seqlab writes a training cache of encoded lines; a library only encodes the lines."""

import shutil
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import sentencepiece
import tokenizers

from benchmarks.records import Json
from benchmarks.workers.memory import TreeMemory
from seqlab.data.prepare import prepare
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import load_tokenizer

LINES_PER_CALL = 10_000


def run(job: Json) -> Json:
    """Measure seconds, tokens and memory. Job: system, kind (of tokenizer), folder, suffix (of files), processes."""
    measure = _seqlab(job) if job["system"] == "seqlab" else _library(job)
    with TreeMemory() as memory:
        started = time.perf_counter()
        tokens = measure()
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "tokens": tokens, "memory_mb": memory.tree_mb, "main_memory_mb": memory.main_mb}


def _seqlab(job: Json) -> Callable[[], int]:
    folder = Path(job["folder"])
    tokenizer = load_tokenizer(folder / job["kind"])
    config = TranslationConfig(
        train_src=[str(folder / f"train.src{job['suffix']}")],
        train_tgt=[str(folder / f"train.tgt{job['suffix']}")],
        valid_src=str(folder / "valid.src"),
        valid_tgt=[str(folder / "valid.tgt")],
        max_length=10_000,  # keeps all lines, as the libraries encode all of them
        max_length_ratio=1e9,
    )
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)

    def measure() -> int:
        data = prepare(config, (tokenizer, tokenizer), cache, num_workers=job["processes"])
        return sum(len(rows.values) for rows in (data.train.src, data.train.tgt))

    return measure


def _library(job: Json) -> Callable[[], int]:
    """Encode with all threads of the library; their number comes from the environment or is set here."""
    folder = Path(job["folder"])
    content = (folder / job["kind"] / "tokenizer.model").read_bytes()
    if job["kind"] == "bpe":
        model = tokenizers.Tokenizer.from_str(content.decode())
        # seqlab's tokenizer also adds a leading space.
        return lambda: sum(
            len(encoding.ids)
            for lines in _batches(folder)
            for encoding in model.encode_batch_fast([f" {line}" for line in lines])
        )
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    return lambda: sum(
        len(ids) for lines in _batches(folder) for ids in processor.encode(lines, num_threads=job["processes"])
    )


def _batches(folder: Path) -> Iterator[list[str]]:
    for side in ("src", "tgt"):
        with (folder / f"train.{side}").open(encoding="utf-8", newline="\n") as file:
            while lines := [line.removesuffix("\n") for line in islice(file, LINES_PER_CALL)]:
                yield lines
