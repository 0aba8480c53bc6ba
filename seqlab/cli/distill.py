"""seqlab distill: a corpus translated by a teacher, for a model that learns from what the teacher says.

A model that predicts all words at once learns more from one translator's answers than from those of many people, which
differ (Kim & Rush 2016; Zhou et al. 2020). OUT has a line for each line of the source. The same command goes on with
what was killed: what is done lies in OUT.work until OUT is written, and no line is lost, shifted or translated twice.

The report compares the new targets with the source and, if they are named, with the references: how many lines are the
same, how long they are, and how many translations a source word has (its lexical complexity, in nats).
"""

import argparse
import gzip
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seqlab.cli.files import all_lines, is_packed, refuse_same_file
from seqlab.cli.inference_options import add_inference_options, load_named_runs
from seqlab.cli.parser import Parser, UsageError
from seqlab.cli.progress import counting
from seqlab.cli.search_options import add_search_options, search_values
from seqlab.data.column import places_of
from seqlab.durable import write_bytes
from seqlab.world import refuse_ranks

logger = logging.getLogger(__name__)


def make_parser() -> Parser:
    """Name the runs, the corpus and the search."""
    parser = Parser("seqlab distill", __doc__)
    add_inference_options(parser)
    parser.add_argument("--src", required=True, metavar="FILE", help="what to translate: FILE or FILE#COLUMN")
    parser.add_argument(
        "--out", required=True, metavar="OUT", help="where the translations are written, packed when it ends in .gz"
    )
    parser.add_argument("--ref", metavar="FILE", help="the references, to compare with: FILE or FILE#COLUMN")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT, and work on it that was begun otherwise")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--buffer_lines", type=int, metavar="N", help="lines that are translated before they are kept (default: 4096)"
    )
    add_search_options(parser, known=("num_hypotheses",))
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Translate the corpus, write it and print the report."""
    from seqlab.data.columns import parse_column
    from seqlab.evaluation.distilled import describe_targets
    from seqlab.tasks.translation.distill import WorkFile, distill, sha256_of
    from seqlab.tasks.translation.translator import warn_of_unfinished

    refuse_ranks("distill")
    out = checked_output(arguments)
    lines = all_lines(arguments.src)
    references = None if arguments.ref is None else all_lines(arguments.ref)
    if references is not None and len(references) != len(lines):
        raise ValueError(
            f"{arguments.src} has {len(lines):,} lines but {arguments.ref} has {len(references):,}: they must have the "
            "same number of lines."
        )
    search = search_values(arguments)
    identity: dict[str, Any] = {"runs": weights_of(arguments), "search": search, "src": sha256_of(lines)}
    identity |= {
        "engine": arguments.engine,
        "quantization": arguments.quantization,
        "precision": precision_of(arguments),
    }
    work = WorkFile(out.with_name(f"{out.name}.work"), identity)
    trained = load_named_runs(arguments)
    options = {"batch_tokens": arguments.batch_tokens, "block_lines": arguments.buffer_lines}
    options["overwrite"] = arguments.overwrite
    options["places"] = places_of(arguments.src, parse_column(arguments.src).line_numbers(0, len(lines)))
    options = {name: value for name, value in options.items() if value is not None}
    with counting("lines", len(lines)) as advance:
        distilled = distill(trained, lines, work, progress=advance, **options, **search)
    translations = distilled.translations
    content = "".join(f"{line}\n" for line in translations).encode()
    write_bytes(out, gzip.compress(content, mtime=0) if is_packed(out) else content)
    work.path.unlink(missing_ok=True)
    if distilled.control_characters:
        logger.warning("control characters in the translations: %d became spaces", distilled.control_characters)
    warn_of_unfinished(distilled.cut, len(translations))
    if references is not None:  # in the normal form that a translation has
        references = [trained.tgt_tokenizer.normalize(line) for line in references]
    found = describe_targets(lines, translations, references)
    found |= {"cut_at_max_length": distilled.cut, "sources_in_pieces": distilled.truncated}
    print(json.dumps(found) if arguments.json else "\n".join(lines_of(found)))
    return 0


def checked_output(arguments: argparse.Namespace) -> Path:
    """Give what is written, where that can be and the options about it make sense."""
    out = Path(arguments.out)
    for name in ("src", "out"):
        if getattr(arguments, name) == "-":
            raise UsageError(f"--{name} must be a file, as a start that was killed goes on with it")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"--out must be a file in a folder that is there, but is {out}.")
    refuse_same_file("--out", arguments.out, {"--src": arguments.src, "--ref": arguments.ref})
    if out.exists() and not arguments.overwrite:
        raise ValueError(f"{out} exists: name another file, or replace it with `--overwrite`.")
    if arguments.buffer_lines is not None and arguments.buffer_lines < 1:
        raise ValueError(f"`buffer_lines` must be at least 1, but is {arguments.buffer_lines} instead.")
    return out


def weights_of(arguments: argparse.Namespace) -> list[list[Any]]:
    """Tell the weights that translate from others: of each run and checkpoint the step and a checksum."""
    from seqlab.export.folder import ExportFolder
    from seqlab.runs.checkpoint import checkpoint_name, choose_step, inference_checksum
    from seqlab.runs.folder import RunFolder

    found: list[list[Any]] = []
    for path in arguments.runs:
        folder, exported = RunFolder(Path(path)), ExportFolder(Path(path))
        if not folder.path.is_dir():
            raise FileNotFoundError(f"There is no run folder {folder.path}.")
        if exported.exists():
            found.append(list(asdict(exported.read().origin).values()))
            continue
        for checkpoint in arguments.checkpoint:
            step = choose_step(folder, checkpoint)
            found.append([step, inference_checksum(folder.checkpoints / checkpoint_name(step))])
    return found


def precision_of(arguments: argparse.Namespace) -> str | None:
    """Tell what torch computes in, which `auto` leaves to the device."""
    from seqlab.nn.precision import choose_device, choose_dtype

    if arguments.engine != "torch":
        return None
    return str(choose_dtype(arguments.precision, choose_device(arguments.device))).removeprefix("torch.")


def lines_of(found: dict[str, float | int]) -> list[str]:
    """Write the report as lines."""
    lines = [f"{found['lines']:,} lines, {found['different_sources']:,} different ones"]
    lines.append(
        f"empty where the source is not: {found['empty']:,}; cut at the maximum length: "
        f"{found['cut_at_max_length']:,}; sources translated in pieces: {found['sources_in_pieces']:,}"
    )
    for name, what in (
        ("words_per_source_word", "words per source word"),
        ("lexical_complexity", "lexical complexity"),
    ):
        beside = f", references {found[f'references_{name}']:.3f}" if f"references_{name}" in found else ""
        lines.append(f"{what}: {found[name]:.3f}{beside}")
    if "same_as_reference" in found:
        lines.append(f"same as the reference: {100 * found['same_as_reference']:.2f}%")
    return lines
