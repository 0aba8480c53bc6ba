"""Raw text -> encoded lines in a folder, made once and used again while nothing changed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from seqlab.data.cache import hash_tokenizer, opened_or_made, read_report, write_description
from seqlab.data.checked import is_untouched
from seqlab.data.columns import parse_column
from seqlab.data.config import TextConfig
from seqlab.data.encoded import CorpusWriter, EncodedCorpus, EncodedRows
from seqlab.data.inputs import hash_inputs, key_of
from seqlab.data.rows import with_end
from seqlab.data.survey import OnProgress, no_progress, occur_in
from seqlab.data.text_report import CorpusReport, TextReport
from seqlab.data.text_survey import Fate, Task, TextCorpus, survey_text
from seqlab.data.workers import Workers, worker_count
from seqlab.data.workspace import KEY_CHARS, workspace
from seqlab.durable import rename
from seqlab.text import Tokenizer

CACHE_FORMAT = 2  # raise when the same text would be cached differently
KEYED_FIELDS = ("train", "valid", "valid_fraction", "documents")
"""Fields of the config that decide what is cached."""


@dataclass(frozen=True)
class PreparedText:
    """What training reads."""

    train: EncodedCorpus
    valid: EncodedCorpus
    report: TextReport
    content_hashes: dict[str, str]  # SHA-256 of each input file, by path

    def locate(self, index: int) -> str:
        """Name the file and the line that a row of a batch, by its index, came from."""
        return self.train.locate_token(index)


@dataclass
class _EncodedBlock:
    kept: dict[Fate, EncodedRows] = field(default_factory=dict)
    unknown: int = 0


@dataclass(frozen=True)
class _Encoder:
    tokenizer: Tokenizer

    def __call__(self, task: Task) -> _EncodedBlock:
        lines = task.decoded()
        encoded = _EncodedBlock()
        for fate in (Fate.TRAIN, Fate.VALID):
            places = np.flatnonzero(task.fates == fate)
            ids, lengths = self.tokenizer.encode_flat([lines[place] for place in places])
            encoded.unknown += int((ids == self.tokenizer.unk_id).sum())
            rows = with_end(ids, lengths, self.tokenizer.eos_id)
            encoded.kept[fate] = EncodedRows([rows], [], task.numbers[places][:, None])
        return encoded


def prepare_text(
    config: TextConfig,
    tokenizer: Tokenizer,
    folder: str | Path,
    on_progress: OnProgress = no_progress,
    num_workers: int | None = None,
) -> PreparedText:
    """Encode the training and validation text into `folder`, or open what is there for the same inputs.

    As many processes work as there are cores, unless the text is small or `num_workers` says otherwise; the result is
    the same.

    Raises:
        FileNotFoundError: a corpus is missing.
        ValueError: a corpus cannot be read, changed meanwhile, or leaves nothing to train on or to validate on.
    """
    folder = Path(folder)
    content_hashes = hash_inputs(config.input_specs(), folder)
    key = _cache_key(config, content_hashes, tokenizer)
    return opened_or_made(
        folder,
        config.input_specs(),
        lambda: _open(folder, key, content_hashes),
        lambda: _encode(config, tokenizer, folder, content_hashes, on_progress, num_workers),
    )


def open_prepared_text(config: TextConfig, tokenizer: Tokenizer, folder: str | Path) -> PreparedText:
    """Open what another process has prepared, and write nothing; errors as in `seqlab.data.prepare.open_prepared`."""
    folder = Path(folder)
    content_hashes = hash_inputs(config.input_specs(), folder)
    return _open(folder, _cache_key(config, content_hashes, tokenizer), content_hashes)


def _encode(
    config: TextConfig,
    tokenizer: Tokenizer,
    folder: Path,
    content_hashes: dict[str, str],
    on_progress: OnProgress,
    num_workers: int | None,
) -> None:
    columns = [parse_column(spec) for spec in config.input_specs()]
    key = _cache_key(config, content_hashes, tokenizer)
    with workspace(folder) as work, Workers(num_workers or worker_count(columns)) as workers:
        # Built beside its place and renamed: a folder of this name is always whole.
        building = work / f"text-{key[:KEY_CHARS]}"
        shutil.rmtree(building, ignore_errors=True)
        report = _build(config, tokenizer, building, workers, on_progress)
        for path, digest in hash_inputs(config.input_specs(), folder).items():
            if digest != content_hashes[path]:
                raise ValueError(f"{path}: changed while it was being read.")
        write_description(building, key, report.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        rename(building, folder)


def _build(
    config: TextConfig, tokenizer: Tokenizer, building: Path, workers: Workers, on_progress: OnProgress
) -> TextReport:
    corpora = survey_text(config, workers, on_progress)
    sizes = [tokenizer.vocab_size]
    writers = {
        fate: CorpusWriter(building / fate.name.lower(), sizes, with_text=False) for fate in (Fate.TRAIN, Fate.VALID)
    }
    reports, done, total = [], 0, sum(int((corpus.fates <= Fate.VALID).sum()) for corpus in corpora)
    for corpus in corpora:
        for fate in (Fate.TRAIN, Fate.VALID) if corpus.split == "train" else (Fate.VALID,):
            writers[fate].start_corpus([str(corpus.column)])
        tokens = dict.fromkeys(writers, 0)
        unknown = 0
        for block in workers.map(_Encoder(tokenizer), corpus.tasks()):
            for fate, rows in block.kept.items():
                if len(rows):
                    writers[fate].extend(rows)
                    tokens[fate] += len(rows.columns[0].values)
                    done += len(rows)
            unknown += block.unknown
            on_progress("lines encoded", done, total)
        reports.append(_report(corpus, tokens, unknown))
    for writer in writers.values():
        writer.close()
    for fate in writers:
        split = fate.name.lower()
        if not any((corpus.fates == fate).any() for corpus in corpora):
            names = ", ".join(str(corpus.column) for corpus in corpora if corpus.split == split)
            raise ValueError(f"No line is left for `{split}`: {names} hold empty lines only.")
    known = [corpus.hashes[corpus.fates == Fate.TRAIN] for corpus in corpora]
    held_out = np.concatenate([corpus.hashes[corpus.fates == Fate.VALID] for corpus in corpora])
    held_out = held_out[held_out != 0]
    return TextReport(reports, len(held_out), int(occur_in(held_out, known).sum()))


def _report(corpus: TextCorpus, tokens: dict[Fate, int], unknown: int) -> CorpusReport:
    counts = {fate: int((corpus.fates == fate).sum()) for fate in Fate}
    return CorpusReport(
        split=corpus.split,
        name=str(corpus.column),
        lines=len(corpus.fates),
        kept=counts[Fate.TRAIN if corpus.split == "train" else Fate.VALID],
        split_off=counts[Fate.VALID] if corpus.split == "train" else 0,
        empty=counts[Fate.EMPTY],
        copies=counts[Fate.VALID_COPY],
        tokens=sum(tokens.values()),
        unknown=unknown,
    )


def _cache_key(config: TextConfig, content_hashes: dict[str, str], tokenizer: Tokenizer) -> str:
    settings = {"format": CACHE_FORMAT, "content": content_hashes, "tokenizer": hash_tokenizer(tokenizer)}
    return key_of(settings | {name: getattr(config, name) for name in KEYED_FIELDS})


def _open(folder: Path, key: str, content_hashes: dict[str, str]) -> PreparedText:
    report = TextReport.from_json(read_report(folder, key))
    check = not is_untouched(folder)
    train, valid = (EncodedCorpus.open(folder / split, check=check) for split in ("train", "valid"))
    return PreparedText(train, valid, report, content_hashes)
