"""`python -m benchmarks preparation`: lines per second of corpus preparation, compared with tokenizer libraries."""

import argparse
import logging
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.machine import measure_machine
from benchmarks.processes import run_worker
from benchmarks.records import Json
from benchmarks.report import Report, Row
from benchmarks.scale import Scale

logger = logging.getLogger(__name__)
LIBRARIES = {"bpe": "tokenizers", "sentencepiece_bpe": "sentencepiece"}
"""Library of each kind of tokenizer."""
PAIRS, QUICK_PAIRS = 5_000_000, 2_000


@dataclass(frozen=True)
class Setting:
    """A system with its settings for converting the lines to ids."""

    system: str
    kind: str
    suffix: str
    processes: int

    def describe(self) -> str:
        workers = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return f"{self.kind}, {'gzip' if self.suffix else 'plain'}, {workers if self.system == 'seqlab' else 'threads'}"


def settings_of(threads: int) -> list[Setting]:
    """List seqlab with one and with all processes, on plain and gzip files, and the library with all threads."""
    settings = []
    for kind, library in LIBRARIES.items():
        settings.append(Setting("seqlab", kind, "", threads))
        if threads > 1:
            settings.append(Setting("seqlab", kind, "", 1))
        settings += [Setting("seqlab", kind, ".gz", threads), Setting(library, kind, "", threads)]
    return settings


def run(arguments: argparse.Namespace, scale: Scale) -> Report:
    """Measure all settings in turns; seqlab surveys, encodes, writes and syncs, the library only encodes."""
    report = Report("preparation", measure_machine(arguments))
    pairs = arguments.pairs or (QUICK_PAIRS if arguments.quick else PAIRS)
    folder = arguments.work_dir.resolve() / f"preparation-{scale.corpus}-{pairs}"
    run_worker("preparation_corpus", {"folder": str(folder), "scale": asdict(scale), "pairs": pairs}, 1)
    settings = settings_of(arguments.threads)
    found: dict[Setting, list[Json]] = {setting: [] for setting in settings}
    environment = {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": str(arguments.threads)}
    for repetition in range(scale.repetitions):
        for setting in settings:
            result = run_worker("preparation", {**asdict(setting), "folder": str(folder)}, 1, environment)
            found[setting].append(result)
            rate = 2 * pairs / result["seconds"]
            logger.info("%d: %s, %s: %.0f lines/s", repetition + 1, setting.system, setting.describe(), rate)
    report.rows = [_row(setting, found, pairs) for setting in settings]
    for kind, library in LIBRARIES.items():
        tokens = {result["tokens"] for setting in settings if setting.kind == kind for result in found[setting]}
        check = f"{kind}: seqlab and {library} count {' and '.join(f'{count:,}' for count in sorted(tokens))} tokens"
        (report.checks if len(tokens) == 1 else report.failed_checks).append(check)
    report.notes.append(f"{pairs:,} pairs, 2 lines each; peak MB: anonymous memory of all processes together, sampled.")
    return report


def _row(setting: Setting, found: dict[Setting, list[Json]], pairs: int) -> Row:
    reference = next(each for each in found if each.kind == setting.kind)  # seqlab with all processes

    def median_seconds(each: Setting) -> float:
        return median(result["seconds"] for result in found[each])

    def max_of(name: str) -> float | None:
        return max((result[name] for result in found[setting] if result[name] is not None), default=None)

    rates = [result["tokens"] / result["seconds"] for result in found[setting]]
    return Row(
        system=setting.system,
        task="preparation",
        dtype="",
        setting=setting.describe(),
        tokens_per_second=median(rates),
        min=min(rates),
        max=max(rates),
        ratio=median_seconds(setting) / median_seconds(reference),
        peak_memory_mb=max_of("memory_mb"),
        more={"main_process_mb": max_of("main_memory_mb"), "lines_per_second": 2 * pairs / median_seconds(setting)},
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--pairs", type=int, help=f"pairs of the corpus; default: {PAIRS:,}")
    parser.add_argument("--repetitions", type=int, help="default: 3")
