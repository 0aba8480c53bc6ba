"""Text generation: characters per second after a newline, with the same trained weights in every system."""

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from benchmarks.lm_records import LmGenerationJob, LmGenerationResult
from benchmarks.lm_shapes import Family, LmShape, forward_flops
from benchmarks.lm_training import KEEP_PAGES_VARIANT
from benchmarks.processes import KEEP_PAGES, run_worker
from benchmarks.records import Dtype, Unavailable
from benchmarks.report import Report, Row

logger = logging.getLogger(__name__)
GREEDY_ROWS, GREEDY_LENGTH = 2, 64
MIN_SCORED_ROWS = 16
"""Smallest number of rows for a comparison of mean nlls."""
MAX_STANDARD_ERRORS = 4.0
MAX_ROUNDING_DIFFERENCE = 0.02
"""Largest difference of nlls that is due to bf16, in nats per character."""


@dataclass(frozen=True)
class System:
    """A system, its worker, and its generation method."""

    name: str
    worker: str
    families: tuple[Family, ...]
    method: str = ""
    """Generation method of the worker."""
    environment: tuple[tuple[str, str], ...] = ()
    note: str = ""


SYSTEMS = (
    System("seqlab", "generate_lm_seqlab", ("transformer", "lstm", "gru")),
    System("plain_gpt", "generate_plain_gpt", ("transformer",), "without_cache", note="no cache, as nanoGPT"),
    System("plain_gpt, cache", "generate_plain_gpt", ("transformer",), "with_cache"),
    System("transformers", "generate_gpt2", ("transformer",)),
    System(
        f"transformers, {KEEP_PAGES_VARIANT}", "generate_gpt2", ("transformer",), environment=tuple(KEEP_PAGES.items())
    ),
    System("torch.nn.LSTM", "generate_plain_rnn", ("lstm",), "layers"),
    System("torch.nn.LSTM, as cells", "generate_plain_rnn", ("lstm",), "cells"),
    System("torch.nn.GRU", "generate_plain_rnn", ("gru",), "layers"),
    System("torch.nn.GRU, as cells", "generate_plain_rnn", ("gru",), "cells"),
)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    system: System
    family: Family
    dtype: Dtype
    rows: int

    @property
    def setting(self) -> str:
        return f"generating {self.family}, {self.rows} row{'s' if self.rows > 1 else ''}"

    def run(self, base: LmGenerationJob) -> LmGenerationResult:
        """Generate in a worker process; raises RuntimeError if a text has another length than requested."""
        job = replace(base, method=self.system.method, dtype=self.dtype, rows=self.rows)
        found = LmGenerationResult(
            **run_worker(self.system.worker, asdict(job), job.threads, dict(self.system.environment))
        )
        lengths = [len(text) for text in found.texts]
        if lengths != [job.length] * job.rows:
            raise RuntimeError(
                f"{self.system.name} must generate {job.rows} texts of {job.length} characters, not {lengths}."
            )
        return found


def check_same_text(
    family: Family, base: LmGenerationJob, report: Report, wanted: Sequence[str] | None
) -> list[System]:
    """Compare greedy texts in fp32; return the available systems."""
    chosen = [s for s in SYSTEMS if family in s.families and (wanted is None or s.name.partition(",")[0] in wanted)]
    greedy = replace(base, greedy=True, length=min(GREEDY_LENGTH, base.length))
    reference: list[str] | None = None
    missing: set[str] = set()
    for system in (each for each in chosen if not each.environment):
        logger.info("checking the text of %s, %s", family, system.name)
        try:
            texts = Case(system, family, "fp32", GREEDY_ROWS).run(greedy).texts
        except Unavailable as unavailable:
            missing.add(system.worker)
            report.rows.append(Row(system.name, "generation", "", f"generating {family}", note=str(unavailable)))
            continue
        if reference is None:
            reference = texts
            continue
        text = f"{family}, {system.name}: the most probable {greedy.length} characters are those of {chosen[0].name}"
        (report.checks if texts == reference else report.failed_checks).append(f"{text} ({texts[0][:16]!r} ...)")
    return [system for system in chosen if system.worker not in missing]


def cases_of(
    family: Family, systems: Sequence[System], dtypes: Sequence[Dtype], row_counts: Sequence[int]
) -> list[Case]:
    """List the cases to measure."""
    return [Case(system, family, dtype, rows) for dtype in dtypes for rows in row_counts for system in systems]


def measure(cases: Sequence[Case], base: LmGenerationJob, repetitions: int) -> dict[Case, list[LmGenerationResult]]:
    """Measure all cases in turns, `repetitions` times with different seeds."""
    results: dict[Case, list[LmGenerationResult]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        for case in cases:
            found = case.run(replace(base, seed=repetition + 1))
            results[case].append(found)
            label = f"{case.setting}, {case.system.name}, {case.dtype}"
            logger.info("%d/%d %s: %.2f s", repetition + 1, repetitions, label, found.seconds)
    return results


def summarize(case: Case, results: Sequence[LmGenerationResult], shape: LmShape, vocab_size: int, length: int) -> Row:
    """Summarize the repetitions of one case in a row."""
    tokens = case.rows * length
    rates = [tokens / result.seconds for result in results]
    return Row(
        system=case.system.name,
        task="generation",
        dtype=case.dtype,
        setting=case.setting,
        tokens_per_second=statistics.median(rates),
        min=min(rates),
        max=max(rates),
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        note=case.system.note,
        more={"mflop_per_token": forward_flops(shape, vocab_size, length) / length / 1e6, "repetitions": len(rates)},
    )


def check_samples(results: dict[Case, list[LmGenerationResult]], workload: str, threads: int, report: Report) -> None:
    """Compare the mean nll of each system's samples under the model, computed by seqlab in fp32.

    Samples of one distribution have the same expected nll. The variance between rows gives the standard error of the
    difference of two means.
    """
    cases = [case for case in results if case.rows >= MIN_SCORED_ROWS]
    if not cases:
        return
    texts = [results[case][0].texts for case in cases]
    scored = run_worker("score_lm", {"workload": workload, "texts": texts, "threads": threads}, threads)["nll"]
    nlls: dict[Case, list[float]] = dict(zip(cases, scored, strict=True))
    for case in cases:
        reference = next(
            (other for other in cases if _is_same_setting(case, other) and other.system.name == "seqlab"), None
        )
        if reference is None or reference is case:
            continue
        difference = abs(statistics.mean(nlls[case]) - statistics.mean(nlls[reference]))
        error = math.sqrt(sum(statistics.variance(nlls[each]) / each.rows for each in (case, reference)))
        text = f"{case.setting}, {case.system.name}, {case.dtype}: {statistics.mean(nlls[case]):.3f} nats per character"
        text = f"{text}, {difference:.3f} from seqlab's (one standard error: {error:.3f})"
        is_close = difference <= MAX_STANDARD_ERRORS * error + MAX_ROUNDING_DIFFERENCE
        (report.checks if is_close else report.failed_checks).append(text)


def _is_same_setting(case: Case, other: Case) -> bool:
    return (case.family, case.dtype, case.rows) == (other.family, other.dtype, other.rows)
