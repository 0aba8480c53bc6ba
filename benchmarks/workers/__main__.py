"""Command line of the workers: read a job from standard input, run it, and write the result to a file."""

import importlib
import json
import sys
from pathlib import Path

from benchmarks.records import Json, Unavailable

WORKERS = (
    "decode_ctranslate2",
    "decode_joeynmt",
    "decode_plain_translator",
    "decode_seqlab",
    "decode_transformers",
    "generate_gpt2",
    "generate_lm_seqlab",
    "generate_plain_gpt",
    "generate_plain_rnn",
    "growth",
    "growth_corpora",
    "kernel_speedups",
    "peak",
    "preparation",
    "preparation_corpus",
    "prepare_decoding",
    "prepare_lm",
    "prepare_training",
    "quality_marian",
    "quality_seqlab",
    "score_lm",
    "stages",
    "tradeoff",
    "train_gpt2",
    "train_joeynmt",
    "train_lm_seqlab",
    "train_marian",
    "train_plain_gpt",
    "train_plain_rnn",
    "train_plain_translator",
    "train_seqlab",
    "train_sockeye",
    "train_torch",
)


def main(name: str, result_file: Path) -> None:
    """Run one worker; the result of a missing system is `{"unavailable": reason}`."""
    if name not in WORKERS:
        raise ValueError(f"A worker must be one of {', '.join(WORKERS)}, but is {name!r} instead.")
    job: Json = json.load(sys.stdin)
    try:
        result: Json = importlib.import_module(f"benchmarks.workers.{name}").run(job)
    except Unavailable as missing:
        result = {"unavailable": str(missing)}
    result_file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
