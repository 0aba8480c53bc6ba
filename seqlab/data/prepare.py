"""Raw corpora -> encoded caches in a folder, made once and used again while nothing changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from seqlab.data.build import DROPPED_FILE, Build
from seqlab.data.cache import hash_tokenizer, opened_or_made, read_report, write_description
from seqlab.data.checked import is_untouched
from seqlab.data.config import PairsConfig
from seqlab.data.encode import Encoder, Fate
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.inputs import hash_inputs, key_of
from seqlab.data.length_bound import OutputBound, output_bound
from seqlab.data.parallel import ParallelCorpus
from seqlab.data.references import open_references, read_references, write_references
from seqlab.data.report import DataReport, Overlap, measure_overlap
from seqlab.data.routes import Route, make_routes
from seqlab.data.rows import Rows
from seqlab.data.split_off import VALID_FILE
from seqlab.data.survey import OnProgress, Survey, duplicates, no_progress
from seqlab.data.vocabulary import training_corpora
from seqlab.data.workers import Workers, worker_count
from seqlab.data.workspace import KEY_CHARS, kept_survey, workspace
from seqlab.durable import rename
from seqlab.text import Tokenizer

CACHE_FORMAT = 2  # raise when the same text would be cached differently
KEYED_FIELDS = (
    *("train_src", "train_tgt", "valid_src", "valid_tgt", "test_src", "test_tgt"),
    *("valid_fraction", "valid_max_pairs", "valid_fold", "max_length", "max_length_ratio", "copy_unknown"),
)
"""Fields of the config that decide what is cached."""


@dataclass(frozen=True)
class PreparedData:
    """What training reads."""

    train: EncodedCorpus
    valid: EncodedCorpus
    report: DataReport
    references: list[Rows]  # further ones of the validation pairs: UTF-8 bytes of raw lines, empty where there is none
    content_hashes: dict[str, str]  # SHA-256 of each input file, by path

    def locate(self, index: int) -> str:
        """Name the files and the line that a row of a batch came from."""
        return self.train.locate(index)

    def notes(self) -> dict[str, Any]:
        """Note for run.json the longest source: beyond it a model has not learnt to read."""
        return {"longest_src_tokens": int(self.train.src.lengths.max())}

    @cached_property
    def output_bound(self) -> OutputBound:
        """How long a translator's outputs may become, by the lengths of the training pairs."""
        return output_bound(self.train.src.lengths + 1, self.train.tgt.lengths + 1)  # eos is counted


def prepare(
    config: PairsConfig,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    folder: str | Path,
    on_progress: OnProgress = no_progress,
    num_workers: int | None = None,
) -> PreparedData:
    """Encode the training and validation corpora into `folder`, or open what is there for the same inputs.

    As many processes work as there are cores, unless the text is small or `num_workers` says otherwise; the result is
    the same. If this is killed, the next call goes on from what lies in `FOLDER.tmp`. The data report of the encoding
    is kept with it; the files it names lie in `folder`.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, its sides are of unequal length, or no pair is left to train on.
    """
    folder = Path(folder)
    content_hashes = hash_inputs(config.input_specs(), folder)
    key = _cache_key(config, content_hashes, (src_tokenizer, tgt_tokenizer))
    return opened_or_made(
        folder,
        config.input_specs(),
        lambda: _open(config, folder, key, content_hashes),
        lambda: _encode(config, src_tokenizer, tgt_tokenizer, folder, key, on_progress, num_workers),
    )


def open_prepared(
    config: PairsConfig, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer, folder: str | Path
) -> PreparedData:
    """Open what another process has prepared, and write nothing: others may be reading it too.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: the folder is not whole, or was not made from what lies here.
    """
    folder = Path(folder)
    content_hashes = hash_inputs(config.input_specs(), folder)
    key = _cache_key(config, content_hashes, (src_tokenizer, tgt_tokenizer))
    return _open(config, folder, key, content_hashes)


def _encode(
    config: PairsConfig,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
    folder: Path,
    key: str,
    on_progress: OnProgress,
    num_workers: int | None,
) -> None:
    encoder = config.encoder(src_tokenizer, tgt_tokenizer)
    corpora = _Corpora.of(config)
    with workspace(folder) as work, Workers(num_workers or corpora.worker_count()) as workers:
        # Built beside its place and renamed: a folder of this name is always whole.
        building = work / f"pairs-{key[:KEY_CHARS]}"
        report = _build(config, encoder, corpora, building, workers, on_progress)
        write_description(building, key, report.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        rename(building, folder)


@dataclass(frozen=True)
class _Corpora:
    train: list[ParallelCorpus]
    valid: list[ParallelCorpus]
    test: list[ParallelCorpus]

    @classmethod
    def of(cls, config: PairsConfig) -> _Corpora:
        valid = []
        if config.valid_src is not None:
            valid = [ParallelCorpus.from_specs(config.valid_src, config.valid_tgt[0])]
        test = [ParallelCorpus.from_specs(*sides) for sides in zip(config.test_src, config.test_tgt, strict=True)]
        return cls(training_corpora(config), valid, test)

    def worker_count(self) -> int:
        return worker_count([side for corpus in (*self.train, *self.valid, *self.test) for side in corpus.sides])


def _build(
    config: PairsConfig,
    encoder: Encoder,
    corpora: _Corpora,
    building: Path,
    workers: Workers,
    on_progress: OnProgress,
) -> DataReport:
    train, valid, test = (
        [kept_survey(corpus, building.parent, workers, on_progress) for corpus in each]
        for each in (corpora.train, corpora.valid, corpora.test)
    )
    references = read_references(config)
    routes = make_routes(config, train, valid)
    build = Build.begin_or_resume(building, encoder, routes, train_text=config.needs_text)
    build.run(workers, on_progress)
    _refuse_empty(routes, build)
    write_references(building, references, routes[-1].fates == Fate.VALID)
    masks = [*duplicates(train), *(duplicates(valid) if valid else [])]
    report = DataReport(
        corpora=[route.report(mask) for route, mask in zip(routes, masks, strict=True)],
        overlaps=_overlaps(routes, test),
        examples=build.log.examples,
        dropped_file=DROPPED_FILE,
        valid_file="" if valid else VALID_FILE,
        valid_bytes=build.split_off_bytes(),
    )
    build.finish()
    return report


def _refuse_empty(routes: list[Route], build: Build) -> None:
    for fate, split in ((Fate.TRAIN, "train"), (Fate.VALID, "valid")):
        if not sum(route.count(fate) for route in routes):
            dropped = "; ".join(f"{pair.place}: {pair.detail}" for pair in build.log.examples)
            raise ValueError(f"No pair is left for `{split}`: all were dropped, for example {dropped}.")


def _overlaps(routes: list[Route], test: list[Survey]) -> list[Overlap]:
    train = [route.survey.select(route.fates == Fate.TRAIN) for route in routes]
    valid = [route.survey.select(route.fates == Fate.VALID) for route in routes]
    overlaps = [measure_overlap("valid", each, train) for each in valid if len(each)]
    return overlaps + [measure_overlap("test", each, train) for each in test]


def _cache_key(config: PairsConfig, content_hashes: dict[str, str], tokenizers: tuple[Tokenizer, Tokenizer]) -> str:
    settings = {
        "format": CACHE_FORMAT,
        "content": content_hashes,
        "tokenizers": [hash_tokenizer(tokenizer) for tokenizer in tokenizers],
        "with_text": config.needs_text,
        "labels_of": config.labels_of,
    }
    return key_of(settings | {name: getattr(config, name) for name in KEYED_FIELDS})


def _open(config: PairsConfig, folder: Path, key: str, content_hashes: dict[str, str]) -> PreparedData:
    report = DataReport.from_json(read_report(folder, key))
    check = not is_untouched(folder)
    train, valid = (EncodedCorpus.open(folder / split, check=check) for split in ("train", "valid"))
    references = open_references(folder, len(config.valid_tgt[1:]), len(valid), check=check)
    split_off = folder / VALID_FILE
    if config.valid_src is None and (not split_off.is_file() or split_off.stat().st_size != report.valid_bytes):
        raise ValueError(f"{split_off}: does not hold the pairs that were split off.")
    report = replace(  # the folder may have been moved
        report,
        dropped_file=str(folder / DROPPED_FILE),
        valid_file=str(split_off) if report.valid_file else "",
    )
    return PreparedData(train, valid, report, references, content_hashes)
