"""Inspect the data of a config: read its splits, run the checks that make sense for them, and report the findings."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqlab.data.config import TokensConfig
from seqlab.data.survey import no_progress
from seqlab.diagnosis.array_rows import ArrayRows, check_arrays
from seqlab.diagnosis.data_findings import KINDS, Findings, Hits
from seqlab.diagnosis.text_checks import (
    are_labels_of_words,
    check_characters,
    check_duplicates,
    check_empty,
    check_encoding,
    check_labels,
    check_languages,
    check_length_ratios,
    check_near_duplicates,
    check_shift,
    label_numbers,
)
from seqlab.diagnosis.text_rows import LenientColumn, TextRows
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder

SPLITS = ("train", "valid", "test")
NOT_REQUESTED = "not requested"
Rows = TextRows | ArrayRows
OnCheck = Callable[[str], None]
"""Function that receives the name of the check that starts."""


@dataclass(frozen=True)
class Inspection:
    """The splits that were read, and the findings."""

    splits: Mapping[str, Rows]
    findings: Findings

    def lines(self, max_rows: int) -> list[str]:
        """Render for people, with at most `max_rows` rows of each kind and split."""
        report = [", ".join(f"{split}: {len(rows):,} rows" for split, rows in self.splits.items())]
        for hits in self._sorted():
            report.append(f"{hits.kind}: {len(hits):,} in {hits.split} ({KINDS[hits.kind]})")
            for number in hits.clearest(max_rows):
                note = hits.note(number)
                report.append(f"  {self._locate(hits, number)}: {note}" if note else f"  {self._locate(hits, number)}")
        absent = [kind for kind in KINDS if not self.findings.count(kind) and kind not in self.findings.left_out]
        report += [f"nothing found: {', '.join(absent)}"] if absent else []
        left_out = self.findings.left_out.items()
        report += [f"left out: {kind} ({reason})" for kind, reason in left_out if reason != NOT_REQUESTED]
        return report

    def to_json(self, max_rows: int | None = None) -> dict[str, Any]:
        """Render for JSON, with at most `max_rows` rows of each kind and split."""
        findings = [
            {
                "kind": hits.kind,
                "split": hits.split,
                "count": len(hits),
                "rows": [
                    {
                        "location": self._locate(hits, number),
                        "score": float(hits.scores[number]),
                        "note": hits.note(number),
                    }
                    for number in hits.clearest(len(hits) if max_rows is None else max_rows)
                ],
            }
            for hits in self._sorted()
        ]
        counts = {kind: self.findings.count(kind) for kind in KINDS if kind not in self.findings.left_out}
        rows = {split: len(rows) for split, rows in self.splits.items()}
        return {"rows": rows, "counts": counts, "left_out": self.findings.left_out, "findings": findings}

    def _sorted(self) -> list[Hits]:
        return sorted(self.findings.hits, key=lambda hits: list(KINDS).index(hits.kind))

    def _locate(self, hits: Hits, number: int) -> str:
        return self.splits[hits.split].locate(int(hits.rows[number]))


def has_undecodable_lines(config: Config) -> bool:
    """Return whether a plain text file of a config has lines that are not UTF-8."""
    corpora = config.data.corpora("train") if isinstance(config.data, TokensConfig) else []
    return any(isinstance(LenientColumn.of(column), LenientColumn) for corpus in corpora for column in corpus.columns)


def inspect(
    config: Config, scratch: Path, kinds: Collection[str] = KINDS, on_check: OnCheck = lambda name: None
) -> Inspection:
    """Inspect the data of a config; nothing is written but into the folder `scratch`.

    Args:
        config: the config; only its `data` section and its seed matter.
        scratch: folder for the encoded data of tasks without text.
        kinds: the kinds of findings to look for, of `KINDS`.
        on_check: receives the name of each check before it starts.

    Raises:
        FileNotFoundError, ValueError: the data cannot be read.
    """
    if isinstance(config.data, TokensConfig):
        corpora = {split: config.data.corpora(split) for split in SPLITS}
        splits = {split: TextRows.read(split, texts) for split, texts in corpora.items() if texts}
        return Inspection(splits, inspect_texts(splits, kinds, config.data.is_continuous, on_check))
    return inspect_arrays(config, scratch, kinds, on_check)


def inspect_texts(
    splits: Mapping[str, TextRows], kinds: Collection[str], is_continuous: bool, on_check: OnCheck = lambda name: None
) -> Findings:
    """Run the checks of texts."""
    train = splits["train"]
    is_pair = len(train.columns) > 1
    labels = label_numbers(train.tgt) if is_pair else None
    columns = train.columns[:1] if labels is not None else train.columns
    checks: list[tuple[tuple[str, ...], Callable[[], Iterable[Hits]], str]] = [
        (("encoding",), lambda: (hits for rows in splits.values() for hits in check_encoding(rows)), ""),
        (
            ("empty",),
            lambda: (hits for rows in splits.values() for hits in check_empty(rows)),
            "empty lines belong to a continuous text" * is_continuous,
        ),
        (
            ("duplicate", "leak"),
            lambda: check_duplicates(splits),
            "lines repeat in a continuous text" * is_continuous,
        ),
        (
            ("near_duplicate", "near_leak"),
            lambda: check_near_duplicates(splits, with_targets=labels is None),
            "lines repeat in a continuous text" * is_continuous,
        ),
        (
            ("mojibake", "character"),
            lambda: (hits for rows in splits.values() for hits in check_characters(rows)),
            "",
        ),
        (("swapped", "language"), lambda: check_languages(train, columns), ""),
        (
            ("length_ratio",),
            lambda: check_length_ratios(train),
            "there are no pairs of texts" * (not is_pair or labels is not None or are_labels_of_words(train)),
        ),
        (("shift",), lambda: check_shift(train, labels), "there are no pairs" * (not is_pair)),
        (
            ("label_conflict", "label_noise"),
            lambda: check_labels(train, labels) if labels is not None else (),
            "the lines have no labels" * (labels is None),
        ),
    ]
    return run_checks(checks, kinds, on_check)


def run_checks(
    checks: Iterable[tuple[tuple[str, ...], Callable[[], Iterable[Hits]], str]],
    kinds: Collection[str],
    on_check: OnCheck,
) -> Findings:
    """Run checks: the kinds of each, its function, and the reason to leave it out, or an empty string."""
    findings = Findings()
    for found_kinds, check, reason in checks:
        requested = [] if reason else [kind for kind in found_kinds if kind in kinds]
        findings.left_out |= {
            kind: reason if kind in kinds else NOT_REQUESTED for kind in found_kinds if kind not in requested
        }
        if not requested:
            continue
        on_check(" and ".join(requested))
        for hits in check():
            if hits.kind in kinds:
                findings.add(hits)
    return findings


def inspect_arrays(config: Config, scratch: Path, kinds: Collection[str], on_check: OnCheck) -> Inspection:
    """Encode the data of a task without text columns, and run the checks of arrays."""
    task: Any = config.data.task
    folder = RunFolder(scratch / "inspected")
    folder.path.mkdir(parents=True)
    on_check("reading")
    task.write_codecs(config, folder, no_progress)
    task.complete_codecs(config, folder, no_progress)
    codecs = load_codecs_for(folder, config.data)
    data = task.prepare(config, codecs, folder.cache, no_progress)
    splits: dict[str, Rows] = {}
    for split in ("train", "valid"):
        batches = list(task.split_batches(data, config, codecs, split))
        rows = ArrayRows.of_batches(split, batches, lambda index: str(task.locate(data, index)))
        if rows is not None:
            splits[split] = rows
    arrays = {split: rows for split, rows in splits.items() if isinstance(rows, ArrayRows)}
    checked = ("duplicate", "leak", "label_conflict", "shift", "label_noise")
    reason = "" if "train" in arrays else f"`data.kind: {config.data.kind}` has no rows of features with targets"
    findings = run_checks([(checked, lambda: check_arrays(arrays), reason)], kinds, on_check)
    findings.left_out |= {kind: "the rows are not text" for kind in KINDS if kind not in checked}
    return Inspection(splits, findings)
