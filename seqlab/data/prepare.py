"""Raw corpora -> encoded caches in a folder, made once and used again while nothing changed."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqlab.data.columns import parse_column
from seqlab.data.config import DataConfig
from seqlab.data.encode import Encoder, Fate, Route
from seqlab.data.encoded import EncodedPairs, PairsWriter
from seqlab.data.parallel import ParallelCorpus, in_batches
from seqlab.data.readers import require_file
from seqlab.data.report import DataReport, DropLog, Overlap, measure_overlap
from seqlab.data.survey import READ_LINES, Survey, ValidationSplit, duplicates, hash_lines, survey
from seqlab.durable import write_json
from seqlab.text import Tokenizer

logger = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called with the pairs encoded so far and the pairs in all."""

CACHE_FORMAT = 1  # raise when the same text would be cached differently
DROPPED_FILE = "dropped.tsv"
KEYED_FIELDS = (
    *("train_src", "train_tgt", "valid_src", "valid_tgt", "test_src", "test_tgt"),
    *("valid_fraction", "valid_max_pairs", "max_length", "max_length_ratio"),
)
"""Fields of the config that decide what is cached."""


@dataclass(frozen=True)
class PreparedData:
    """What training reads."""

    train: EncodedPairs
    valid: EncodedPairs
    report: DataReport
    content_hashes: dict[str, str]  # SHA-256 of each input file, by path


def training_lines(config: DataConfig, side: Literal["src", "tgt", "both"] = "both") -> Iterator[str]:
    """Yield the lines that a tokenizer may learn from: `src`, `tgt` or `both` in turn, without the validation set.

    Everything is read once before this returns, so that a corpus that cannot be read is an error here (as in `prepare`)
    and not inside the tokenizer's training.
    """
    corpora = _corpora(config.train_src, config.train_tgt)
    surveys = [survey(corpus) for corpus in corpora]
    split = None
    if config.valid_src is None:
        split = ValidationSplit.choose(surveys, config.valid_fraction, config.valid_max_pairs)
    wanted = {"src": (0,), "tgt": (1,), "both": (0, 1)}[side]

    def lines() -> Iterator[str]:
        for corpus in corpora:
            for batch in in_batches(corpus.pairs(), READ_LINES):
                for pair, for_training in zip(batch, _for_training(batch, split), strict=True):
                    if for_training:
                        yield from (pair[index] for index in wanted)

    return lines()


def prepare(
    config: DataConfig,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    folder: Path,
    on_progress: OnProgress = lambda done, total: None,
) -> PreparedData:
    """Encode the training and validation corpora into `folder`, or open what is there for the same inputs.

    The data report of the encoding is kept with it; the file it names lies in `folder`.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, its sides are of unequal length, or no pair is left to train on.
    """
    tokenizers = (src_tokenizer, tgt_tokenizer)
    content_hashes = hash_inputs(config)
    key = _cache_key(config, content_hashes, tokenizers)
    try:
        return _open(folder, key, content_hashes)
    except ValueError as reason:
        logger.info("Encoding the corpora%s.", f": {reason}" if folder.exists() else "")
    # Built beside its place and renamed: a folder of this name is always whole.
    building = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        report = _build(config, tokenizers, building, on_progress)
        write_json(building / "cache.json", {"key": key, "report": report.to_json()})
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _open(folder, key, content_hashes)


def _corpora(src_specs: list[str], tgt_specs: list[str]) -> list[ParallelCorpus]:
    return [ParallelCorpus.from_specs(src, tgt) for src, tgt in zip(src_specs, tgt_specs, strict=True)]


def _for_training(batch: list[tuple[str, str]], split: ValidationSplit | None) -> list[bool]:
    if split is None:
        return [True] * len(batch)
    return [not held_out for held_out in split.holds(hash_lines([src for src, _ in batch]))]


def _build(
    config: DataConfig, tokenizers: tuple[Tokenizer, Tokenizer], building: Path, on_progress: OnProgress
) -> DataReport:
    train = [survey(corpus) for corpus in _corpora(config.train_src, config.train_tgt)]
    valid = []
    if config.valid_src is not None and config.valid_tgt is not None:
        valid = [survey(ParallelCorpus.from_specs(config.valid_src, config.valid_tgt))]
    test = [survey(corpus) for corpus in _corpora(config.test_src, config.test_tgt)]
    sizes = (tokenizers[0].vocab_size, tokenizers[1].vocab_size)
    with ExitStack() as stack:
        log = stack.enter_context(DropLog(building / DROPPED_FILE))
        train_pairs = PairsWriter(building / "train", *sizes, with_text=config.subword_sampling > 0)
        valid_pairs = PairsWriter(building / "valid", *sizes, with_text=True)
        writers = {
            Fate.TRAIN: stack.enter_context(train_pairs),
            Fate.VALID: stack.enter_context(valid_pairs),
        }
        routes = _routes(config, train, valid, writers)
        encoder = Encoder(*tokenizers, config.max_length, config.max_length_ratio, log)
        done, total = 0, sum(len(route.survey) for route in routes)
        for route in routes:
            for pairs in encoder.encode_corpus(route):
                done += pairs
                on_progress(done, total)
    _refuse_empty(routes, log)
    masks = [*duplicates(train), *(duplicates(valid) if valid else [])]
    return DataReport(
        corpora=[route.report(mask) for route, mask in zip(routes, masks, strict=True)],
        overlaps=_overlaps(routes, test),
        examples=log.examples,
        dropped_file=DROPPED_FILE,
    )


def _routes(
    config: DataConfig, train: list[Survey], valid: list[Survey], writers: dict[Fate, PairsWriter]
) -> list[Route]:
    routes = []
    if valid:
        for each in train:
            fates = np.where(each.empty, Fate.EMPTY, Fate.TRAIN).astype(np.uint8)
            routes.append(Route("train", each, fates, {Fate.TRAIN: writers[Fate.TRAIN]}))
    else:
        split = ValidationSplit.choose(train, config.valid_fraction, config.valid_max_pairs)
        for each, first in zip(train, split.first_of_each(train), strict=True):
            fates = np.where(split.holds(each.src_hashes), Fate.VALID_SOURCE, Fate.TRAIN).astype(np.uint8)
            fates[first] = Fate.VALID
            fates[each.empty] = Fate.EMPTY
            routes.append(Route("train", each, fates, writers))
    for each in valid:
        fates = np.where(each.empty, Fate.EMPTY, Fate.VALID).astype(np.uint8)
        routes.append(Route("valid", each, fates, {Fate.VALID: writers[Fate.VALID]}))
    return routes


def _refuse_empty(routes: list[Route], log: DropLog) -> None:
    for fate, split in ((Fate.TRAIN, "train"), (Fate.VALID, "valid")):
        if not sum(route.count(fate) for route in routes):
            dropped = "; ".join(f"{pair.src}, line {pair.line}: {pair.detail}" for pair in log.examples)
            raise ValueError(f"No pair is left for `{split}`: all were dropped, for example {dropped}.")


def _overlaps(routes: list[Route], test: list[Survey]) -> list[Overlap]:
    train = [route.survey.select(route.fates == Fate.TRAIN) for route in routes]
    valid = [route.survey.select(route.fates == Fate.VALID) for route in routes]
    overlaps = [measure_overlap("valid", each, train) for each in valid if len(each)]
    return overlaps + [measure_overlap("test", each, train) for each in test]


def hash_inputs(config: DataConfig) -> dict[str, str]:
    """Give the SHA-256 of each input file, by path; raises FileNotFoundError for a missing one."""
    specs = [*config.train_src, *config.train_tgt, *config.test_src, *config.test_tgt]
    if config.valid_src is not None and config.valid_tgt is not None:
        specs += [config.valid_src, config.valid_tgt]
    paths = dict.fromkeys(parse_column(spec).path for spec in specs)
    return {str(path): _hash_file(path) for path in paths}


def _hash_file(path: Path) -> str:
    require_file(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cache_key(config: DataConfig, content_hashes: dict[str, str], tokenizers: tuple[Tokenizer, Tokenizer]) -> str:
    settings: dict[str, Any] = {
        "format": CACHE_FORMAT,
        "content": content_hashes,
        "tokenizers": [_hash_tokenizer(tokenizer) for tokenizer in tokenizers],
        "with_text": config.subword_sampling > 0,
    }
    for name in KEYED_FIELDS:
        settings[name] = getattr(config, name)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _hash_tokenizer(tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)} {_hash_file(path)}\n".encode())
    return digest.hexdigest()


def _open(folder: Path, key: str, content_hashes: dict[str, str]) -> PreparedData:
    try:
        description = json.loads((folder / "cache.json").read_text("utf-8"))
        found = description["key"]
        report = DataReport.from_json(description["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no usable cache: {error}") from error
    if found != key:
        raise ValueError(f"{folder} was made from other text, tokenizers or settings")
    return PreparedData(
        train=EncodedPairs.open(folder / "train", check=True),
        valid=EncodedPairs.open(folder / "valid", check=True),
        report=replace(report, dropped_file=str(folder / DROPPED_FILE)),  # the folder may have been moved
        content_hashes=content_hashes,
    )
