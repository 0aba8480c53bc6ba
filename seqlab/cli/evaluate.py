"""The command `seqlab evaluate`."""

import json
import logging
import unicodedata
from collections.abc import Sequence
from typing import Annotated

from pydantic.dataclasses import dataclass

from seqlab.commands import AsOption, Command, UsageError
from seqlab.inference.files import all_places, equally_long
from seqlab.inference.options import SETTINGS, File, Name
from seqlab.registry import Parts

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EvaluateOptions:
    """Hypotheses and references in, scores with their signatures out."""

    hypotheses: Annotated[File, "HYP"]
    """one hypothesis per line: FILE, FILE#COLUMN, or - for standard input"""
    ref: Annotated[list[File], AsOption]
    """references: FILE or FILE#COLUMN; in every file after the first, an empty line means no reference"""
    src: File | None = None
    """sources: also counts how many translations a word of them has (alternatives), beside the first reference"""
    baseline: Annotated[File, "HYP2"] | None = None
    """another system's lines: adds a paired bootstrap test"""
    metrics: Annotated[list[Name] | None, Parts("metric")] = None
    """metrics to compute (default: bleu, with --confusion accuracy)"""
    confusion: bool = False
    """of labels also precision, recall and F1 of each, and which are confused"""
    json: bool = False
    """print one JSON object, values unrounded"""


def run(options: EvaluateOptions) -> None:
    """Score the files and print one line per metric; with a baseline three."""
    from seqlab.evaluation.labels import UnequalLabels
    from seqlab.evaluation.metrics import check_names

    metrics = check_names(options.metrics or (["accuracy"] if options.confusion else ["bleu"]))
    specs = [options.hypotheses, *options.ref, options.baseline, options.src]
    if specs.count("-") > 1:
        raise UsageError("standard input (`-`) can be read only once: name files for the rest")
    read = equally_long(specs)
    hypotheses, references = read[options.hypotheses], [read[spec] for spec in options.ref]
    src_lines, baseline = read.get(options.src), read.get(options.baseline)
    if "bleu" in metrics and _look_tokenized(hypotheses):
        logger.warning("the hypotheses look tokenized, but BLEU is of text as people read it: detokenize them first")
    if count := sum(map(_differ_in_form_alone, hypotheses, zip(*references, strict=True))):
        logger.warning(
            "%d of %d lines differ from the reference in nothing but Unicode normal form or spaces: they count as "
            "different",
            count,
            len(hypotheses),
        )
    try:
        lines, results = _report(options, metrics, hypotheses, references, baseline, src_lines)
    except UnequalLabels:
        for spec in (options.hypotheses, options.baseline):
            if spec is not None:
                _name_unequal_labels(read[spec], references, [spec, *options.ref])
        raise
    print(json.dumps(results) if options.json else "\n".join(lines))


def _report(
    options: EvaluateOptions,
    metrics: Sequence[str],
    hypotheses: list[str],
    references: list[list[str]],
    baseline: list[str] | None,
    src_lines: list[str] | None,
) -> tuple[list[str], dict[str, object]]:
    """Score the lines that were read: the report as lines, and for JSON."""
    from seqlab.evaluation import alternatives, compare, confusion, evaluate

    lines: list[str] = []
    results: dict[str, object] = {}
    if baseline is None:
        for name, score in evaluate(hypotheses, references, metrics).items():
            lines.append(score.as_line())
            results[name] = score.as_dict()
    else:
        for name, comparison in compare(hypotheses, baseline, references, metrics).items():
            lines += comparison.as_lines()
            results[name] = comparison.as_dict()
    if src_lines is not None:
        for system, texts in (("", hypotheses), ("baseline ", baseline)):
            if texts is not None:
                score = alternatives(texts, references[0], src_lines)
                lines.append(system + score.as_line())
                results[f"{system.strip()}_{score.name}".strip("_")] = score.as_dict()
    if options.confusion:
        if len(references) > 1:
            raise UsageError(f"--confusion compares with one file of references, but there are {len(references)}")
        table = confusion(hypotheses, references[0])
        lines += table.lines()
        results["confusion"] = table.as_dict()
    return lines, results


def _name_unequal_labels(hypotheses: list[str], references: list[list[str]], specs: Sequence[str]) -> None:
    """Raise ValueError, naming the places, where a line has not as many labels as its references."""
    from seqlab.evaluation.labels import UnequalLabels, check_labels
    from seqlab.evaluation.references import without_empty

    try:
        check_labels(hypotheses, without_empty(references))
    except UnequalLabels as error:
        places, of_reference = (all_places(spec, len(hypotheses)) for spec in (specs[0], specs[error.reference + 1]))
        raise ValueError(error.at(places[error.line], of_reference[error.line])) from None


def _differ_in_form_alone(hypothesis: str, references: Sequence[str]) -> bool:
    """Tell whether a line is none of the references as it stands, but one in NFC with single spaces."""
    if hypothesis in references:
        return False
    return _plain_form(hypothesis) in map(_plain_form, references)


def _plain_form(line: str) -> str:
    return " ".join((line if line.isascii() else unicodedata.normalize("NFC", line)).split())


def _look_tokenized(lines: Sequence[str]) -> bool:
    """Tell whether a full stop stands alone at the end of many lines (sacreBLEU's sign, too)."""
    return sum(line.rstrip().endswith(" .") for line in lines) > max(len(lines) / 10, 1)


EVALUATE = Command(EvaluateOptions, run)
