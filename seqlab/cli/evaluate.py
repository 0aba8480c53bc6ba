"""Command `seqlab evaluate`: score hypotheses against references."""

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.commands import AsOption, Command, UsageError
from seqlab.data.line_sample import MIN_BLEU_WORDS, LineSample, word_metric_advice
from seqlab.inference.files import all_locations, read_parallel
from seqlab.inference.options import SETTINGS, Count, File, Name, RefuseLongLines
from seqlab.registry import Parts

if TYPE_CHECKING:
    from seqlab.evaluation import LineStatistics
    from seqlab.text.transcripts import TranscriptForm

logger = logging.getLogger(__name__)
MIN_REPEATED = 20
"""Minimum mean number of times that each line occurs in references that are probably names of classes."""
CLASS_METRICS = {"accuracy", "macro_f1", "micro_f1", "label_macro_f1", "exact_match"}
"""Metrics of references that are names of classes."""
MAX_SAMPLED_LINES = 1000
"""Maximum number of reference lines to check for a script without spaces."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EvaluateOptions(RefuseLongLines):
    """Score hypotheses against references, and print each score with its signature."""

    hypotheses: Annotated[File, "HYP"]
    """one hypothesis per line: FILE, FILE#COLUMN, or - for standard input"""
    ref: Annotated[list[File], AsOption]
    """references: FILE or FILE#COLUMN; in every file after the first, an empty line means no reference"""
    src: File | None = None
    """sources: adds the number of translations of a source word (alternatives), compared with the first reference"""
    baseline: Annotated[File, "HYP2"] | None = None
    """hypotheses of another system: adds a paired bootstrap test"""
    metrics: Annotated[list[Name] | None, Parts("metric")] = None
    """metrics to compute (default: bleu, with --confusion accuracy, with --worst or --normalize wer, or cer for text
    without spaces between words)"""
    normalize: Literal["none", "lower", "plain"] = "none"  # TranscriptForm, whose import would slow down --help
    """normalization for wer and cer: none (default) applies Unicode NFC and single spaces, lower also lower case, plain
    also replaces punctuation and symbols by spaces"""
    interval: bool = False
    """adds the 95% interval of each score, by bootstrap resampling of the lines"""
    by: File | None = None
    """one value per line, such as the speaker: adds a table of the scores of each value's lines"""
    worst: Count | None = None
    """for wer or cer: adds the alignments of the N lines with the most errors"""
    confusion: bool = False
    """for labels: adds precision, recall and F1 of each label, and the most confused pairs"""
    json: bool = False
    """print one JSON object, values unrounded"""


@plain_dataclass(frozen=True)
class _Texts:
    """Lines of all input files."""

    hypotheses: list[str]
    references: list[list[str]]
    baseline: list[str] | None
    src: list[str] | None
    groups: list[str] | None

    @property
    def lack_word_spaces(self) -> bool:
        """Whether the first references are written without spaces between words."""
        return LineSample(self.references[0][:MAX_SAMPLED_LINES]).lacks_word_spaces

    def normalized(self, form: "TranscriptForm") -> "_Texts":
        """Normalize hypotheses, references and baseline as transcripts."""
        from seqlab.text.transcripts import normalize_transcript

        hypotheses, *references = (
            [normalize_transcript(line, form) for line in lines] for lines in (self.hypotheses, *self.references)
        )
        baseline = self.baseline and [normalize_transcript(line, form) for line in self.baseline]
        return _Texts(hypotheses, references, baseline, self.src, self.groups)

    def specs(self, options: EvaluateOptions) -> list[tuple[str, list[str]]]:
        """Return the files that a metric compares, references first, with their lines."""
        baseline = [] if options.baseline is None or self.baseline is None else [(options.baseline, self.baseline)]
        return [*zip(options.ref, self.references, strict=True), (options.hypotheses, self.hypotheses), *baseline]

    def with_plain_numbers(self) -> "_Texts":
        """Convert numbers such as `1,234.5` or `$5`, decided for each file, to the format of programs."""
        from seqlab.data.cells import plain_numbers

        references = [plain_numbers(lines) for lines in self.references]
        baseline = self.baseline and plain_numbers(self.baseline)
        return _Texts(plain_numbers(self.hypotheses), references, baseline, self.src, self.groups)


def run(options: EvaluateOptions) -> None:
    """Score the files; print one line per metric, or three with a baseline."""
    from seqlab.evaluation.classification import UnequalLabels
    from seqlab.evaluation.edits import ERROR_RATES
    from seqlab.evaluation.metrics import check_metric_names
    from seqlab.evaluation.numbers import NUMBER_METRICS, InvalidNumbers

    named = list(dict.fromkeys(check_metric_names(options.metrics or (["accuracy"] if options.confusion else []))))
    for option, is_given in (("--worst", options.worst), ("--normalize", options.normalize != "none")):
        if is_given and named and not any(name in ERROR_RATES for name in named):
            raise UsageError(f"{option} needs an error rate: name {' or '.join(ERROR_RATES)} with --metrics")
    texts = _read(options)
    metrics = named or [_default_metric(options, texts)]
    if all(name in NUMBER_METRICS for name in metrics):
        texts = texts.with_plain_numbers()
    _warn(texts, metrics)
    if CLASS_METRICS & set(metrics):
        _warn_of_classes(texts, options)
    _warn_of_unequal_marks(texts.normalized(options.normalize) if ERROR_RATES.keys() >= set(metrics) else texts)
    if not options.metrics and metrics == ["bleu"]:
        _warn_of_short_references(texts.references[0])
    try:
        lines, results = _report(options, metrics, texts)
    except UnequalLabels:
        for spec, hypotheses in ((options.hypotheses, texts.hypotheses), (options.baseline, texts.baseline)):
            if spec is not None and hypotheses is not None:
                _name_unequal_labels(hypotheses, texts.references, [spec, *options.ref])
        raise
    except InvalidNumbers:
        _name_invalid_numbers(texts.specs(options))
        raise
    print(json_text(results) if options.json else "\n".join(lines))


def _warn_of_short_references(references: list[str]) -> None:
    """Warn of references that are too short for BLEU, if no metric was chosen."""
    words = LineSample(references[:MAX_SAMPLED_LINES]).words_per_line
    if words < MIN_BLEU_WORDS:
        logger.warning(
            "the references have %.1f words per line, too few for the 4-grams of BLEU: choose --metrics, for example "
            "`exact_match` or `chrf` for texts, `accuracy` for labels, `rmse` for numbers",
            words,
        )


def _default_metric(options: EvaluateOptions, texts: _Texts) -> str:
    if options.worst or options.normalize != "none":
        return "cer" if texts.lack_word_spaces else "wer"
    return "bleu"


def _read(options: EvaluateOptions) -> _Texts:
    """Read all files; raise UsageError or ValueError if they cannot be read or differ in length."""
    specs = [options.hypotheses, *options.ref, options.baseline, options.src, options.by]
    if specs.count("-") > 1:
        raise UsageError("standard input (`-`) can be read only once: name files for the rest")
    read = read_parallel(specs, options.line_limit())
    return _Texts(
        read[options.hypotheses],
        [read[spec] for spec in options.ref],
        read.get(options.baseline),
        read.get(options.src),
        read.get(options.by),
    )


def _warn(texts: _Texts, metrics: Sequence[str]) -> None:
    """Warn of lines that do not have the form that a metric expects."""
    from seqlab.evaluation.edits import ERROR_RATES

    if "bleu" in metrics and _look_tokenized(texts.hypotheses):
        logger.warning("the hypotheses look tokenized, but BLEU needs detokenized text: detokenize them first")
    for name in [*metrics, *(["alternatives"] if texts.src is not None else [])]:
        if advice := word_metric_advice(name, texts.references[0][:MAX_SAMPLED_LINES]):
            logger.warning("the references %s", advice)
    if {"accuracy", "macro_f1"} & set(metrics):
        _warn_of_class_names(texts.references[0])
    exact_metrics = [name for name in metrics if name not in ERROR_RATES]
    is_composed, *others = (all(map(_is_composed, lines)) for lines in (texts.hypotheses, *texts.references))
    if exact_metrics and is_composed not in others:
        logger.warning(
            "either the hypotheses or the references are not in Unicode normalization form C, so that equal letters "
            "with accents count as different in %s: convert the files, for example with `uconv -x nfc`",
            ", ".join(exact_metrics),
        )
    count = sum(map(_differ_only_in_form, texts.hypotheses, zip(*texts.references, strict=True)))
    if count and exact_metrics:
        logger.warning(
            "%d of %d lines differ from the reference only in Unicode normalization or spaces: they count as "
            "different in %s",
            count,
            len(texts.hypotheses),
            ", ".join(exact_metrics),
        )


def _warn_of_unequal_marks(texts: _Texts) -> None:
    """Warn of what only the hypotheses or only the first references have, such as capital letters."""
    # Imports the tokenizers, which slows down --help.
    from seqlab.data.markup import begin_with_ids, end_with_ids, unequal_marks

    first = texts.references[0]
    for position, index, have_ids in (("begin", 0, begin_with_ids), ("end", -1, end_with_ids)):
        if have_ids(texts.hypotheses, first):
            text = "the lines %s with the same ids, such as %s, which count as words: sort both, and remove the ids"
            logger.warning(text, position, first[0].split()[index])
    for name, actual, expected in unequal_marks(texts.hypotheses, texts.references[0]):
        some, others = ("hypotheses", "references") if actual else ("references", "hypotheses")
        text = "%d of %d %s have %s, but none of the %s: they count as different"
        logger.warning(text, max(actual, expected), len(texts.hypotheses), some, name, others)


def _warn_of_class_names(references: list[str]) -> None:
    """Warn of references that are probably one label per line, of several words."""
    names = [line.split() for line in set(references)]
    have_repeated_words = any(len(set(words)) < len(words) for words in names)  # as tags have
    is_few = len(references) >= MIN_REPEATED * len(names)
    if is_few and not have_repeated_words and any(len(words) > 1 for words in names):
        logger.warning(
            "the references are few different lines, some of several words: `accuracy` and `macro_f1` count each word "
            "as a label; if a line is one label, use `exact_match`"
        )


def _warn_of_classes(texts: _Texts, options: EvaluateOptions) -> None:
    """Warn of references that stand for a missing value and are never predicted, and of two spellings of a class."""
    from seqlab.data.classes import two_spellings
    from seqlab.data.column_reading import missing_classes

    predicted = {*texts.hypotheses, *(texts.baseline or ()), ""}
    if (pair := two_spellings(sorted(predicted - {""}), texts.references[0])) is not None:
        logger.warning("the class %r of the references is %r in the hypotheses: they count as different classes", *pair)
    for spec, lines in zip(options.ref, texts.references, strict=True):
        missing = {*missing_classes(dict.fromkeys(map(str.strip, lines)))} - predicted
        rows = [index for index, line in enumerate(lines) if line.strip() in missing]
        if rows:
            logger.warning(
                "%s is %r, which stands for a missing value, as do %s references in all: they count as classes; remove "
                "these lines from all files",
                all_locations(spec, len(lines))[rows[0]],
                lines[rows[0]].strip(),
                f"{len(rows):,}",
            )


def _report(options: EvaluateOptions, metrics: Sequence[str], texts: _Texts) -> tuple[list[str], dict[str, object]]:
    """Score the texts; return the report as lines, and as a dict for JSON."""
    from seqlab.evaluation import alternatives, confusion
    from seqlab.evaluation.edits import ERROR_RATES
    from seqlab.evaluation.score import check_line_counts

    check_line_counts(texts.hypotheses, texts.references)
    lines: list[str] = []
    results: dict[str, object] = {}
    transcripts = texts.normalized(options.normalize) if any(name in ERROR_RATES for name in metrics) else texts
    for name in metrics:
        more, results[name] = _report_metric(options, name, transcripts if name in ERROR_RATES else texts)
        lines += more
    if texts.src is not None:
        for system, hypotheses in (("", texts.hypotheses), ("baseline ", texts.baseline)):
            if hypotheses is not None:
                score = alternatives(hypotheses, texts.references[0], texts.src)
                lines.append(system + score.as_line())
                results[f"{system.strip()}_{score.name}".strip("_")] = score.as_dict()
    if options.confusion:
        if len(texts.references) > 1:
            raise UsageError(f"--confusion compares with one file of references, but there are {len(texts.references)}")
        table = confusion(texts.hypotheses, texts.references[0])
        lines += table.lines()
        results["confusion"] = table.as_dict()
    return lines, results


def _report_metric(options: EvaluateOptions, name: str, texts: _Texts) -> tuple[list[str], dict[str, Any]]:
    """Report one metric: its score or the comparison with the baseline, and the details that the options request."""
    from seqlab.evaluation.bootstrap import compare_statistics
    from seqlab.evaluation.edits import ERROR_RATES

    statistics = _count(options, name, texts.hypotheses, texts.references)
    if texts.baseline is None:
        score = statistics.score()
        lines, result = [score.as_line()], score.as_dict()
        system_result = result
        systems = [("", statistics, system_result)]
    else:
        baseline_statistics = _count(options, name, texts.baseline, texts.references)
        comparison = compare_statistics(statistics, baseline_statistics)
        lines, result = comparison.as_lines(), comparison.as_dict()
        system_result = result["system"]
        systems = [
            ("baseline: ", baseline_statistics, result["baseline"]),
            ("system:   ", statistics, system_result),
        ]
    for prefix, each_statistics, each_result in systems:
        lines += _details(options, prefix, each_statistics, texts.groups, each_result)
    if options.worst and name in ERROR_RATES:
        lines += _worst(options, name, texts, statistics, system_result)
    return lines, result


def _count(
    options: EvaluateOptions, name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> "LineStatistics":
    """Return the statistics of a metric for each line; error rates normalize the texts, as their signature states."""
    from seqlab.evaluation.edits import ERROR_RATES
    from seqlab.evaluation.metrics import line_statistics
    from seqlab.evaluation.score import without_empty_references

    if name in ERROR_RATES:
        return ERROR_RATES[name].statistics(hypotheses, without_empty_references(references), options.normalize)
    return line_statistics(name, hypotheses, references)


def _details(
    options: EvaluateOptions,
    prefix: str,
    statistics: "LineStatistics",
    groups: list[str] | None,
    result: dict[str, Any],
) -> Iterator[str]:
    """Yield the lines of the interval and the table of one system, and add both to its `result` for JSON."""
    from seqlab.evaluation.bootstrap import bootstrap_interval
    from seqlab.evaluation.error_report import error_table_from_statistics

    if options.interval:
        interval = bootstrap_interval(statistics)
        result.update(interval.as_dict())
        yield prefix + interval.as_line()
    if groups is not None:
        table = error_table_from_statistics(statistics, groups)
        result["by"] = table.as_dict()
        yield ""
        if prefix:
            yield f"{prefix}by {options.by}"
        yield from table.lines()


def _worst(
    options: EvaluateOptions, name: str, texts: _Texts, statistics: "LineStatistics", result: dict[str, Any]
) -> Iterator[str]:
    """Yield a report of the lines with the most errors, and add it to `result`."""
    from seqlab.evaluation import worst_lines

    assert options.worst is not None
    worst = worst_lines(texts.hypotheses, texts.references, options.worst, name, counted=statistics)
    locations = all_locations(options.hypotheses, len(texts.hypotheses))
    result["worst"] = [{"location": locations[line.index], **line.as_dict()} for line in worst]
    for line in worst:
        yield ""
        yield from line.lines(locations[line.index])


def _name_unequal_labels(hypotheses: list[str], references: list[list[str]], specs: Sequence[str]) -> None:
    """Raise ValueError, with both locations, if a line and its reference differ in the number of labels."""
    from seqlab.evaluation.classification import UnequalLabels, check_labels
    from seqlab.evaluation.score import without_empty_references

    try:
        check_labels(hypotheses, without_empty_references(references))
    except UnequalLabels as error:
        locations, reference_locations = (
            all_locations(spec, len(hypotheses)) for spec in (specs[0], specs[error.reference + 1])
        )
        raise ValueError(error.message(locations[error.line], reference_locations[error.line])) from None


def _name_invalid_numbers(files: Sequence[tuple[str, list[str]]]) -> None:
    """Raise ValueError, with the location, for a line without the numbers that the metric needs."""
    from seqlab.evaluation.numbers import InvalidNumbers, check_numbers

    for spec, lines in files:
        try:
            check_numbers(lines, "file")
        except InvalidNumbers as error:
            raise ValueError(f"{all_locations(spec, len(lines))[error.line]}: {error.fault}") from None


def _differ_only_in_form(hypothesis: str, references: Sequence[str]) -> bool:
    """Return whether a line equals a reference, but only after NFC normalization and with single spaces."""
    if hypothesis in references:
        return False
    return _plain_form(hypothesis) in map(_plain_form, references)


def _is_composed(line: str) -> bool:
    return line.isascii() or unicodedata.is_normalized("NFC", line)


def _plain_form(line: str) -> str:
    return " ".join((line if line.isascii() else unicodedata.normalize("NFC", line)).split())


def _look_tokenized(lines: Sequence[str]) -> bool:
    """Return whether many lines end with a separate full stop (the criterion of sacreBLEU)."""
    return sum(line.rstrip().endswith(" .") for line in lines) > max(len(lines) / 10, 1)


EVALUATE = Command(EvaluateOptions, run)
