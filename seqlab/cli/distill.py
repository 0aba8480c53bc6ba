"""Command `seqlab distill`: translate a corpus with a teacher model."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from seqlab.base.config_class import dataclass
from seqlab.base.json_text import json_text
from seqlab.base.progress import count_progress
from seqlab.commands import AsOption, Command, UsageError
from seqlab.inference.files import BUFFER_LINES, all_locations, output_stream, read_parallel, refuse_same_file
from seqlab.inference.lines import TextCounts, write_lines
from seqlab.inference.options import SETTINGS, Count, EngineOptions, File, RefuseLongLines
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.commands import load_named_runs, search_values

logger = logging.getLogger(__name__)
OUTPUT_EXISTS = "{} exists: name another file, or replace it with `--overwrite`."


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DistillOptions(SearchConfig, EngineOptions, RefuseLongLines):
    """Translate a corpus with a teacher, to train a student on it (sequence-level knowledge distillation).

    A non-autoregressive model is better after training on the consistent translations of one teacher than on those of
    many people (Kim & Rush 2016; Zhou et al. 2020). OUT has one line for each source line. After an interruption the
    same command continues: OUT.work contains the finished lines until OUT is written, and no line is lost, shifted or
    translated twice.

    The report compares the new targets with the source and, if given, with the references: the number of equal lines,
    the lengths, and the lexical complexity (how varied the translations of a source word are, in nats).
    """

    src: Annotated[File, AsOption]
    """source lines: FILE or FILE#COLUMN"""
    out: Annotated[File, AsOption, "OUT"]
    """file for the translations; .gz is compressed"""
    ref: File | None = None
    """references to compare with: FILE or FILE#COLUMN"""
    overwrite: bool = False
    """replace OUT, and an OUT.work that was started with other options"""
    json: bool = False
    """print the report as JSON"""
    buffer_lines: Count = BUFFER_LINES
    """lines to translate before they are added to OUT.work"""
    num_hypotheses: int = Field(default=1, init=False)


def run(options: DistillOptions) -> None:
    """Translate the corpus, write it and print the report."""
    from seqlab.base.raw_lines import LineLimit
    from seqlab.data.readers import read_lines
    from seqlab.evaluation.complexity import describe_targets
    from seqlab.tasks.translation.distillation import WorkFile, distill
    from seqlab.tasks.translation.translator import warn_of_unfinished

    out = check_output(options)
    read = read_parallel([options.src, options.ref], options.line_limit(), options.reading)
    lines, references = read[options.src], read.get(options.ref)
    work = WorkFile(work_file_path(out), work_file_identity(options, lines))
    # The process may have been killed after OUT was written and before the work file was removed.
    if out.exists() and not options.overwrite and not work.holds(list(read_lines(out, LineLimit(None)))):
        raise ValueError(OUTPUT_EXISTS.format(out))
    translator = load_named_runs(options)
    locations = all_locations(options.src, len(lines), options.reading)
    with count_progress("lines", len(lines)) as advance:
        distilled = distill(
            translator,
            lines,
            work,
            progress=advance,
            locations=locations,
            block_lines=options.buffer_lines,
            overwrite=options.overwrite,
            batch_tokens=options.batch_tokens,
            **search_values(options),
        )
    translations = distilled.translations
    with output_stream(str(out)) as stream:
        write_lines(stream, translations)
    work.path.unlink(missing_ok=True)
    if distilled.control_characters:
        logger.warning(
            "%d control characters in the translations were replaced by spaces", distilled.control_characters
        )
    warn_of_unfinished(distilled.cut, len(translations))
    counts = TextCounts("translations")
    translator.translator.count_texts(counts, lines, translations)
    counts.add_empty(lines, translations)
    counts.warn()
    if references is not None:  # normalized like the translations
        references = [translator.tgt_tokenizer.normalize(line) for line in references]
    report = describe_targets(lines, translations, references)
    report |= {"cut_at_max_length": distilled.cut, "sources_in_pieces": distilled.truncated}
    print(json_text(report) if options.json else "\n".join(report_lines(report)))


def check_output(options: DistillOptions) -> Path:
    """Return the output path; raise UsageError or ValueError if it is invalid or conflicts with other options."""
    out = Path(options.out)
    for name in ("src", "out"):
        if getattr(options, name) == "-":
            raise UsageError(f"--{name} must be a file, so that an interrupted command can continue")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"--out must be a file in an existing folder, but is {out}.")
    refuse_same_file("--out", options.out, {"--src": options.src, "--ref": options.ref})
    if out.exists() and not options.overwrite and not work_file_path(out).exists():
        raise ValueError(OUTPUT_EXISTS.format(out))
    return out


def work_file_path(out: Path) -> Path:
    """Return the path of the work file, which contains the finished lines until all lines are translated."""
    return out.with_name(f"{out.name}.work")


def work_file_identity(options: DistillOptions, lines: Sequence[str]) -> dict[str, Any]:
    """Return the settings and checksums that the translations depend on; the work file records them."""
    from seqlab.tasks.translation.distillation import sha256_of

    return {
        "runs": weight_checksums(options),
        "search": search_values(options),
        "src": sha256_of(lines),
        "engine": options.engine,
        "quantization": options.quantization,
        "precision": precision_of(options),
    }


def weight_checksums(options: DistillOptions) -> list[list[Any]]:
    """Return the step and a checksum of the weights for each run and checkpoint."""
    from seqlab.export.export_folder import ExportFolder
    from seqlab.runs.checkpoint import checkpoint_name, choose_step, inference_checksum
    from seqlab.runs.folder import RunFolder

    checksums: list[list[Any]] = []
    for path in options.runs:
        folder, exported = RunFolder(Path(path)), ExportFolder(Path(path))
        folder.refuse_missing()
        if exported.exists():
            checksums.append(list(asdict(exported.read_description().origin).values()))
            continue
        for checkpoint in options.checkpoint:
            step = choose_step(folder, checkpoint)
            checksums.append([step, inference_checksum(folder.checkpoints / checkpoint_name(step))])
    return checksums


def precision_of(options: DistillOptions) -> str | None:
    """Return the dtype in which torch computes (`auto` depends on the device); None for other engines."""
    from seqlab.nn.precision import choose_device, choose_dtype

    if options.engine != "torch":
        return None
    return str(choose_dtype(options.precision, choose_device(options.device))).removeprefix("torch.")


def report_lines(report: dict[str, float | int]) -> list[str]:
    """Format the report as lines."""
    lines = [f"{report['lines']:,} lines, {report['different_sources']:,} different ones"]
    lines.append(
        f"empty for a nonempty source: {report['empty']:,}; cut at the maximum length: "
        f"{report['cut_at_max_length']:,}; sources translated in pieces: {report['sources_in_pieces']:,}"
    )
    for name, title in (
        ("words_per_source_word", "words per source word"),
        ("lexical_complexity", "lexical complexity"),
    ):
        comparison = f", references {report[f'references_{name}']:.3f}" if f"references_{name}" in report else ""
        lines.append(f"{title}: {report[name]:.3f}{comparison}")
    if "same_as_reference" in report:
        lines.append(f"same as the reference: {100 * report['same_as_reference']:.2f}%")
    return lines


DISTILL = Command(DistillOptions, run, single_process=True)
