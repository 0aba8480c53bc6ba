"""Worker that writes the corpus for `preparation`, recombined halves of real pairs, and its tokenizers."""

import gzip
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import Json
from benchmarks.scale import scale_from_json
from benchmarks.workers.seqlab_runs import benchmark_config, pairs_section
from seqlab.data.corpus import Corpus
from seqlab.text import BpeConfig, SentencePieceBpeConfig, train_tokenizer

PAIRS_PER_WRITE = 10_000


def run(job: Json) -> Json:
    """Write the corpus and the tokenizers unless they exist. Job: folder, scale, pairs."""
    folder, scale = Path(job["folder"]), scale_from_json(job["scale"])
    if (folder / "complete").exists():
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    data = pairs_section(benchmark_config(scale, folder, threads=1, device="cpu"))
    pairs = [(src, tgt) for src, tgt in Corpus.from_specs(data.train_src[0], data.train_tgt[0]).rows()]
    for config in (
        BpeConfig(vocab_size=scale.model.vocab_size),
        SentencePieceBpeConfig(vocab_size=scale.model.vocab_size),
    ):
        train_tokenizer(config, (line for pair in pairs for line in pair)).save(folder / config.kind)
    for side, lines in zip(("src", "tgt"), zip(*pairs[:100], strict=True), strict=True):
        (folder / f"valid.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    write_recombined(folder, pairs, job["pairs"])
    (folder / "complete").touch()
    return {}


def write_recombined(folder: Path, pairs: Sequence[tuple[str, str]], size: int, seed: int = 1) -> None:
    """Write `size` pairs to train.src and train.tgt, and to .gz files; each joins halves of two real pairs."""
    halves = [[_halves(line) for line in side] for side in zip(*pairs, strict=True)]
    draw = random.Random(seed)
    paths = [folder / f"train.{side}" for side in ("src", "tgt")]
    files = [path.open("w", encoding="utf-8", newline="\n") for path in paths]
    for start in range(0, size, PAIRS_PER_WRITE):
        chosen = [
            (draw.randrange(len(pairs)), draw.randrange(len(pairs))) for _ in range(min(PAIRS_PER_WRITE, size - start))
        ]
        for side, file in zip(halves, files, strict=True):
            file.writelines(f"{side[first][0]} {side[second][1]}\n" for first, second in chosen)
    for path, file in zip(paths, files, strict=True):
        file.close()
        with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=1) as compressed:
            shutil.copyfileobj(plain, compressed)


def _halves(line: str) -> tuple[str, str]:
    words = line.split(" ")
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
