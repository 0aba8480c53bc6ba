"""`python -m benchmarks decoding`: output tokens per second on a test set, with the same weights in every system."""

import argparse
import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from benchmarks.flops import decoding_flops
from benchmarks.machine import measure_machine, measure_peak_again
from benchmarks.options import refuse_missing_folder, refuse_unknown_systems
from benchmarks.processes import run_worker
from benchmarks.records import DecodingJob, DecodingResult, Json
from benchmarks.report import Report, Row
from benchmarks.scale import MODELS, Family, Scale, Sizes, sizes_from_json

logger = logging.getLogger(__name__)
BEAM_SIZES, QUICK_BEAM_SIZES = (1, 5), (5,)
DTYPES = ("fp32", "bf16", "int8")
QUICK_LINES = 50
LINES_PER_THREAD = 100
"""Minimum of lines translated one at a time: with fewer, seqlab does not start one process per thread."""
MAX_BLEU_DIFFERENCE = {"fp32": 0.1, "bf16": 0.3, "int8": 0.3}
"""Largest difference of a system's BLEU from that of seqlab in fp32 over 1,000 lines, by dtype of the weights. Over
n < 1,000 lines the limit is multiplied by sqrt(1000 / n), because each different translation has more weight."""

SYSTEMS_WITH_OTHER_SEARCH = ("JoeyNMT",)
"""Systems whose beam search has another length penalty and stopping criterion, so that its translations differ."""


@dataclass(frozen=True)
class System:
    """One engine in one dtype."""

    name: str
    worker: str
    dtype: str
    batches: tuple[int, ...]
    """Batch sizes to try, in `unit`."""
    unit: str
    is_batch_per_thread: bool = False
    """Whether each thread decodes its own batch; otherwise all threads decode one batch."""
    environment: tuple[tuple[str, str], ...] = ()
    engine: str = "torch"

    @property
    def setting(self) -> str:
        """Describe how the threads are used, for the table."""
        environment = "".join(f", {name}={value}" for name, value in self.environment)
        return ("one batch per thread" if self.is_batch_per_thread else "all threads on one batch") + environment


TOKENS, SENTENCES = (2560, 10_240, 40_960), (16, 64, 256)
"""Batch sizes to try."""


def systems(machine: Json, family: Family, joeynmt: str | None = None) -> list[System]:
    """List the systems to measure on this machine; `joeynmt` is the Python of an environment with JoeyNMT."""
    on_cpu = machine["device"] == "cpu"
    per_thread_options = (False, True) if on_cpu else (False,)
    variants = list(product(("fp32", "bf16"), per_thread_options))
    found = [
        System("seqlab", "decode_seqlab", d, TOKENS, "padded tokens x beam", per_thread) for d, per_thread in variants
    ]
    if family == "lstm":
        plain = "torch.nn.LSTM", "decode_plain_translator"
        found += [System(*plain, d, SENTENCES, "sentences", per_thread) for d, per_thread in variants]
        return [*found, System("JoeyNMT", "decode_joeynmt", "fp32", SENTENCES, "sentences", engine=joeynmt or "")]
    if not on_cpu:
        name, unit = "seqlab without CUDA graphs", "padded tokens x beam"
        no_graphs = (("SEQLAB_REFERENCE_KERNELS", "cuda_graph"),)
        found.append(System(name, "decode_seqlab", "bf16", TOKENS, unit, environment=no_graphs))
    if on_cpu:
        engine, unit = "ctranslate2", "source tokens x beam"
        name = f"seqlab, {engine} engine"
        found += [System(name, "decode_seqlab", d, TOKENS, unit, True, engine=engine) for d in ("fp32", "int8")]
    for dtype, per_thread in (("fp32", False), *(("bf16", each) for each in per_thread_options)):
        found.append(System("transformers", "decode_transformers", dtype, SENTENCES, "sentences", per_thread))
    found += [System("ctranslate2", "decode_ctranslate2", d, SENTENCES, "sentences", on_cpu) for d in ("fp32", "int8")]
    if machine["capability"] == "AVX512" and on_cpu:
        isa = (("CT2_FORCE_CPU_ISA", "AVX512"),)
        found.append(System("ctranslate2", "decode_ctranslate2", "int8", SENTENCES, "sentences", True, isa))
    return found


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    system: System
    beam_size: int
    batch: int
    """1, or the fastest batch size."""

    @property
    def search(self) -> str:
        return "greedy" if self.beam_size == 1 else f"beam {self.beam_size}"


@dataclass(frozen=True)
class TestSet:
    """Lines to translate, their token counts and references."""

    lines: list[str]
    src_tokens: list[int]
    references: list[str]
    single_lines: int
    """Number of lines that are translated one at a time."""

    def subset(self, case: Case) -> "TestSet":
        """Return the lines that are translated in a case."""
        count = self.single_lines if case.batch == 1 else len(self.lines)
        return replace(
            self, lines=self.lines[:count], src_tokens=self.src_tokens[:count], references=self.references[:count]
        )


def run(arguments: argparse.Namespace, scale: Scale, known_machine: Json | None = None) -> Report:
    """Export a run to every system, find the best batch size of each, and measure all in turns.

    `known_machine` is the result of `measure_machine`; None measures the machine before and after.
    """
    if arguments.run is not None:
        refuse_missing_folder("--run", arguments.run)
    if arguments.joeynmt is not None and scale.model.family != "lstm":
        raise SystemExit(f"`--joeynmt` is for `--model lstm` and `--model lstm_unfed`, not for `{arguments.model}`.")
    machine = known_machine or measure_machine(arguments)
    known = systems(machine, scale.model.family, arguments.joeynmt)
    refuse_unknown_systems(arguments.systems, (system.name for system in known))
    prepared = prepare(arguments, scale)
    report = Report("decoding", machine, more={name: prepared[name] for name in ("run", "step", "sizes")})
    lines = prepared["src"][: QUICK_LINES if arguments.quick else None]
    min_lines = LINES_PER_THREAD * arguments.threads if arguments.device == "cpu" else 1
    single_lines = min(max(arguments.lines, min_lines), len(lines))
    test = TestSet(lines, prepared["src_tokens"], prepared["references"][: len(lines)], single_lines)
    base = DecodingJob(
        folder=prepared["folder"],
        run=prepared["run"],
        engine="torch",
        dtype="fp32",
        beam_size=1,
        batches=[],
        lines=test.lines,
        warmup_lines=16,
        workers=1,
        threads=arguments.threads,
        device=arguments.device,
        started=0.0,
    )
    measured = [each for each in known if arguments.systems is None or each.name in arguments.systems]
    measured = [each for each in measured if each.dtype in arguments.dtypes]
    if arguments.quick:
        measured = [replace(system, batches=system.batches[:1]) for system in measured]
    beam_sizes = QUICK_BEAM_SIZES if arguments.quick else arguments.beam_sizes
    cases = choose_cases(measured, beam_sizes, base, prepared["missing"], report)
    results = measure(cases, base, test, scale.repetitions)
    if known_machine is None:
        measure_peak_again(machine, arguments)
    sizes = sizes_from_json(prepared["sizes"])
    report.rows += [summarize(case, results[case], test.subset(case), sizes, machine) for case in cases]
    check_bleu(report)
    add_ratios(report.rows)
    return report


def prepare(arguments: argparse.Namespace, scale: Scale) -> Json:
    """Prepare the run and its exports for all systems; see `prepare_decoding`."""
    folder = arguments.work_dir / f"decoding-{scale.corpus}-{scale.model.name}"
    logger.info("preparing %s", folder)
    job = {
        "folder": str(folder.resolve()),
        "scale": asdict(scale),
        "run": None if arguments.run is None else str(arguments.run.resolve()),
        "steps": arguments.run_steps or (60 if arguments.quick else 3000),
        "joeynmt": arguments.joeynmt,
        "threads": arguments.threads,
    }
    return {**run_worker("prepare_decoding", job, arguments.threads), "folder": job["folder"]}


def decode(system: System, beam_size: int, batches: list[int], lines: list[str], base: DecodingJob) -> DecodingResult:
    """Decode lines in a worker process."""
    workers = base.threads if system.is_batch_per_thread else 1
    job = replace(
        base,
        engine=system.engine,
        dtype=system.dtype,
        beam_size=beam_size,
        batches=batches,
        lines=lines,
        workers=workers,
        threads=base.threads // workers,
        started=time.time(),
    )
    return DecodingResult(**run_worker(system.worker, asdict(job), job.threads, dict(system.environment)))


def choose_cases(
    measured: list[System], beam_sizes: Sequence[int], base: DecodingJob, missing: dict[str, str], report: Report
) -> list[Case]:
    """List the cases to measure; add unavailable systems to the report with the reason."""
    cases = []
    for system in measured:
        reason = missing.get(system.engine if system.worker == "decode_seqlab" else system.name)
        for beam_size in beam_sizes if reason is None else ():
            cases += [Case(system, beam_size, 1), Case(system, beam_size, best_batch(system, beam_size, base))]
        if reason is not None:
            report.rows.append(Row(system.name, "decoding", system.dtype, system.setting, note=reason))
    return cases


def best_batch(system: System, beam_size: int, base: DecodingJob) -> int:
    """Return the fastest batch size of a system."""
    if len(system.batches) == 1:
        return system.batches[0]
    logger.info("trying the batch sizes of %s %s, beam %d", system.name, system.dtype, beam_size)
    seconds = decode(system, beam_size, list(system.batches), base.lines, base).seconds
    return system.batches[seconds.index(min(seconds))]


def measure(cases: list[Case], base: DecodingJob, test: TestSet, repetitions: int) -> dict[Case, list[DecodingResult]]:
    """Measure all cases in turns, `repetitions` times."""
    results: dict[Case, list[DecodingResult]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        for case in cases:
            found = decode(case.system, case.beam_size, [case.batch], test.subset(case).lines, base)
            results[case].append(found)
            label = f"{case.system.name} {case.system.dtype}, {case.search}, batch {case.batch}"
            logger.info("%d/%d %s: %.1f s", repetition + 1, repetitions, label, found.seconds[0])
    return results


def summarize(case: Case, results: list[DecodingResult], test: TestSet, sizes: Sizes, machine: Json) -> Row:
    """Summarize the repetitions of one case in a row."""
    from sacrebleu.metrics import BLEU

    outputs = results[0].tgt_tokens
    rates = [sum(outputs) / result.seconds[0] for result in results]
    median = statistics.median(rates)
    load = statistics.median(result.load_seconds for result in results)
    flops = decoding_flops(sizes, zip(test.src_tokens, outputs, strict=True), case.beam_size)
    peak = machine["peak_gflops"].get(case.system.dtype)
    return Row(
        system=case.system.name,
        task="decoding",
        dtype=case.system.dtype,
        setting=case.system.setting,
        tokens_per_second=median,
        min=min(rates),
        max=max(rates),
        share_of_peak=median * flops / sum(outputs) / 1e9 / peak if peak else None,
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        more={
            "search": case.search,
            "batch": "1" if case.batch == 1 else f"best: {case.batch} {case.system.unit}",
            "sentences_per_second": median * len(outputs) / sum(outputs),
            "tokens_per_second_with_load": sum(outputs) / (sum(outputs) / median + load),
            "load_seconds": load,
            "bleu": BLEU().corpus_score(results[0].hypotheses, [test.references]).score,
            "output_tokens": sum(outputs),
            "sentences": len(outputs),
        },
    )


def check_bleu(report: Report) -> None:
    """Check each system's BLEU against that of seqlab with the same search and lines, in fp32 if measured."""
    measured = [row for row in report.rows if row.tokens_per_second is not None]
    reference = next((row.dtype for row in sorted(measured, key=lambda row: row.dtype != "fp32")), "fp32")
    for row in measured:
        kind = (row.more["search"], row.more["batch"] == "1")
        if row.system in SYSTEMS_WITH_OTHER_SEARCH and kind[0] != "greedy":
            continue
        for other in measured:
            same_lines = kind == (other.more["search"], other.more["batch"] == "1")
            if (other.system, other.dtype) == ("seqlab", reference) and same_lines and other is not row:
                difference = abs(row.more["bleu"] - other.more["bleu"])
                label = f"{row.system} {row.dtype} ({row.setting}), {kind[0]}, batch {row.more['batch']}"
                text = f"{label}: BLEU {row.more['bleu']:.2f}, {difference:.2f} from seqlab's in {reference}"
                allowed = MAX_BLEU_DIFFERENCE[row.dtype] * max(1.0, 1000 / row.more["sentences"]) ** 0.5
                (report.checks if difference <= allowed else report.failed_checks).append(text)


def add_ratios(rows: list[Row]) -> None:
    """Divide seqlab's best rate of all dtypes by each row's rate, for the same search and kind of batch."""
    for row in rows:
        if row.tokens_per_second is None:
            continue
        kind = (row.more["search"], row.more["batch"] == "1")
        seqlab_rates = [
            other.tokens_per_second
            for other in rows
            if other.system == "seqlab"
            and other.tokens_per_second is not None
            and kind == (other.more["search"], other.more["batch"] == "1")
        ]
        if seqlab_rates:
            row.ratio = max(seqlab_rates) / row.tokens_per_second


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--model", choices=MODELS, default=MODELS[0], help="default: transformer")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run folder; default: train one and keep it")
    parser.add_argument("--run_steps", type=int, metavar="N", help="training steps of that run (default: 3000)")
    parser.add_argument("--systems", nargs="+", metavar="NAME", help="systems to measure; default: all")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES, help="dtypes to measure; default: all")
    parser.add_argument("--beam_sizes", nargs="+", type=int, default=BEAM_SIZES, metavar="K", help="default: 1 5")
    parser.add_argument("--joeynmt", metavar="PYTHON", help="Python of an environment with JoeyNMT; LSTMs only")
    parser.add_argument(
        "--lines", type=int, default=200, help="lines translated one at a time (default: 200), at least 100 per thread"
    )
    parser.add_argument("--repetitions", type=int, help="number of measurements of each system")
