"""Preparation of corpora: encoding into a cache folder, which is reused while its inputs are unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import rename
from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.assignment import RowAssignment, assign_rows
from seqlab.data.cache import hash_tokenizer, is_unchanged, open_or_make, read_report, write_description
from seqlab.data.cache_builder import DROPPED_FILE, CacheBuilder
from seqlab.data.config import TokensConfig
from seqlab.data.corpus import row_unit
from seqlab.data.data_report import DataReport, Overlap, measure_overlap
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.input_hashes import hash_inputs, hash_json
from seqlab.data.length_bound import LengthBound, fit_length_bound
from seqlab.data.parallel_text import note_text, refuse_other_layouts
from seqlab.data.ragged import RaggedArray
from seqlab.data.row_encoder import RowEncoder, RowStatus
from seqlab.data.survey import PreparationProgress, Survey, find_duplicates, no_progress
from seqlab.data.validation_files import (
    VALID_FILE,
    open_references,
    read_held_out_pairs,
    read_references,
    write_references,
)
from seqlab.data.workers import Workers, worker_count
from seqlab.data.workspace import KEY_CHARS, open_or_make_survey, workspace
from seqlab.text import Tokenizer

CACHE_FORMAT = 4  # increase it when the format of the cache changes


@dataclass(frozen=True)
class PreparedData:
    """The encoded training and validation sets of a run, and their report."""

    train: EncodedCorpus
    valid: EncodedCorpus
    report: DataReport
    references: list[RaggedArray]
    """Additional references of the validation pairs: raw lines in UTF-8, empty for a pair without a reference."""
    content_hashes: dict[str, str]  # SHA-256 of each input file, by path

    def notes(self) -> dict[str, Any]:
        """Return notes for run.json: the length of the longest source that the model is trained on."""
        return {"longest_src_tokens": int(self.train.src.lengths.max())}

    @cached_property
    def reading(self) -> ReadingNotes:
        """What was converted while the corpora were read."""
        return ReadingNotes.from_json(self.report.reading)

    @cached_property
    def output_bound(self) -> LengthBound:
        """Bound of the output length of a translator, fitted to the lengths of the training pairs."""
        return fit_length_bound(self.train.src.lengths + 1, self.train.tgt.lengths + 1)  # eos is counted


def prepare(
    config: TokensConfig,
    tokenizers: Sequence[Tokenizer],
    folder: str | Path,
    on_progress: PreparationProgress = no_progress,
    num_workers: int | None = None,
) -> PreparedData:
    """Encode the training and validation corpora into `folder`, or open the cache there if its inputs are unchanged.

    The result does not depend on the number of processes. After an interruption, the next call resumes from
    `FOLDER.tmp`. The cache contains a data report; the files that the report names are in `folder`.

    Args:
        config: data section with the corpora.
        tokenizers: tokenizer of each side; for monolingual text, the last one is used.
        folder: folder of the cache.
        on_progress: progress callback.
        num_workers: number of processes; by default one per core, or fewer for small corpora.

    Raises:
        FileNotFoundError: a corpus does not exist.
        ValueError: a corpus cannot be read or changes while it is read, its columns differ in length, or no row is left
            for training or validation.
    """
    folder, encoder = Path(folder), config.encoder(tokenizers)
    content_hashes = hash_inputs(config.input_specs(), folder)
    key = _cache_key(config, content_hashes, encoder)
    return open_or_make(
        folder,
        config.input_specs(),
        lambda: _open(config, folder, key, content_hashes),
        lambda: _encode(config, encoder, folder, key, content_hashes, on_progress, num_workers),
    )


def open_prepared(config: TokensConfig, tokenizers: Sequence[Tokenizer], folder: str | Path) -> PreparedData:
    """Open a cache that another process has prepared, without writing to it.

    Raises:
        FileNotFoundError: a corpus does not exist.
        ValueError: the cache is incomplete, or was made from other inputs.
    """
    folder = Path(folder)
    content_hashes = hash_inputs(config.input_specs(), folder)
    key = _cache_key(config, content_hashes, config.encoder(tokenizers))
    return _open(config, folder, key, content_hashes)


def read_valid_pairs(config: TokensConfig, tokenizers: Sequence[Tokenizer], folder: Path) -> list[tuple[str, str]]:
    """Read the raw source and target of each validation pair from a cache; the errors are those of `open_prepared`."""
    if (folder / VALID_FILE).is_file():
        return read_held_out_pairs(folder)
    valid = open_prepared(config, tokenizers, folder).valid
    texts = [text.texts() for text in (valid.src_text, valid.tgt_text) if text is not None]
    return [(src, tgt) for src, tgt in zip(*texts, strict=True)]


def _encode(
    config: TokensConfig,
    encoder: RowEncoder,
    folder: Path,
    key: str,
    content_hashes: dict[str, str],
    on_progress: PreparationProgress,
    num_workers: int | None,
) -> None:
    corpora = [corpus for split in ("train", "valid", "test") for corpus in config.corpora(split)]
    columns = [column for corpus in corpora for column in corpus.columns]
    with workspace(folder) as work, Workers(num_workers or worker_count(columns)) as workers:
        # Built in the workspace and then renamed, so that a cache folder is always complete.
        building = work / f"encoded-{key[:KEY_CHARS]}"
        report = _build(config, encoder, building, workers, on_progress)
        for path, digest in hash_inputs(config.input_specs(), folder).items():
            if digest != content_hashes[path]:
                raise ValueError(f"{path}: changed while it was being read.")
        write_description(building, key, report.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        rename(building, folder)


def _build(
    config: TokensConfig, encoder: RowEncoder, building: Path, workers: Workers, on_progress: PreparationProgress
) -> DataReport:
    train, valid, test = (
        [open_or_make_survey(corpus, building.parent, workers, on_progress) for corpus in config.corpora(split)]
        for split in ("train", "valid", "test")
    )
    references = read_references(config)
    for corpus in config.corpora("references"):
        refuse_other_layouts(corpus)
    assignments = assign_rows(config, train, valid)
    with_text = {RowStatus.TRAIN: config.needs_text, RowStatus.VALID: config.keeps_valid_text}
    build = CacheBuilder.start_or_resume(building, encoder, assignments, with_text)
    build.run(workers, on_progress)
    _refuse_empty_splits(assignments, build)
    write_references(building, references, assignments[-1].statuses == RowStatus.VALID)
    notes = note_text([*(survey.corpus for survey in [*train, *valid]), *config.corpora("references")])
    masks = [*find_duplicates(train), *(find_duplicates(valid) if valid else [])]
    report = DataReport(
        corpora=[assignment.report(mask) for assignment, mask in zip(assignments, masks, strict=True)],
        overlaps=_overlaps(assignments, test),
        examples=build.log.examples,
        dropped_file=DROPPED_FILE,
        valid_file=VALID_FILE if build.held_out_bytes() else "",
        valid_bytes=build.held_out_bytes(),
        reading=[*build.reading.to_json(), *notes.to_json()],
    )
    build.finish()
    return report


def _refuse_empty_splits(assignments: list[RowAssignment], build: CacheBuilder) -> None:
    for status, split in ((RowStatus.TRAIN, "train"), (RowStatus.VALID, "valid")):
        if not sum(assignment.count(status) for assignment in assignments):
            corpora = [assignment.corpus for assignment in assignments if status in assignment.kept]
            known = {corpus.specs for corpus in corpora}
            dropped = "; ".join(f"{row.location}: {row.detail}" for row in build.log.examples if row.columns in known)
            unit = row_unit(len(assignments[0].counts)).removesuffix("s")
            raise ValueError(
                f"No {unit} is left for `{split}`: all of {', '.join(map(str, corpora))} were dropped"
                f"{f', for example {dropped}' if dropped else ''}."
            )


def _overlaps(assignments: list[RowAssignment], test: list[Survey]) -> list[Overlap]:
    train = [
        assignment.survey.select((assignment.statuses == RowStatus.TRAIN) & ~assignment.survey.empty)
        for assignment in assignments
    ]
    valid = [assignment.survey.select(assignment.statuses == RowStatus.VALID) for assignment in assignments]
    overlaps = [measure_overlap("valid", survey, train) for survey in valid if len(survey)]
    return overlaps + [measure_overlap("test", survey, train) for survey in test]


def _cache_key(config: TokensConfig, content_hashes: dict[str, str], encoder: RowEncoder) -> str:
    settings = {
        "format": CACHE_FORMAT,
        "content": content_hashes,
        "tokenizers": [hash_tokenizer(tokenizer) for tokenizer in encoder.tokenizers],
        "with_text": config.needs_text,
    }
    fields = (*config.path_fields, *config.split_fields, *config.encoding_fields)
    return hash_json(settings | {name: getattr(config, name) for name in fields})


def _open(config: TokensConfig, folder: Path, key: str, content_hashes: dict[str, str]) -> PreparedData:
    report = DataReport.from_json(read_report(folder, key))
    check = not is_unchanged(folder)
    train, valid = (EncodedCorpus.open(folder / split, check=check) for split in ("train", "valid"))
    references = open_references(folder, len(config.corpora("references")), len(valid), check=check)
    valid_file = folder / VALID_FILE
    if report.valid_file and (not valid_file.is_file() or valid_file.stat().st_size != report.valid_bytes):
        raise ValueError(f"{valid_file}: does not contain the held-out pairs.")
    report = replace(  # the folder may have been moved
        report,
        dropped_file=str(folder / DROPPED_FILE),
        valid_file=str(valid_file) if report.valid_file else "",
    )
    return PreparedData(train, valid, report, references, content_hashes)
