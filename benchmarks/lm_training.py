"""Training of language models: tokens per second, from the same weights on the same blocks of text."""

import logging
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import get_args

from benchmarks.lm_records import LmTrainingJob, LmTrainingResult
from benchmarks.lm_shapes import Family
from benchmarks.processes import KEEP_PAGES, run_worker
from benchmarks.records import Dtype, Json, Unavailable
from benchmarks.report import Report, Row

logger = logging.getLogger(__name__)
CHECKED_STEPS = 10
LOSS_TOLERANCE = 1e-5
"""Maximum relative difference of the first losses in fp32. The measured difference on an AMD EPYC was 2e-7."""
DROPOUTS = (0.2, 0.0)
KEEP_PAGES_VARIANT = "malloc keeps pages"
TYPICAL = "as people run it"
PROFILED_STEPS = 6


@dataclass(frozen=True)
class System:
    """A system, its worker and its models."""

    name: str
    worker: str
    families: tuple[Family, ...]
    is_typical: bool = False
    """Whether it has its typical settings instead of those that all systems share; see the workers."""
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def is_variant(self) -> bool:
        """Return whether this is a variant of a system: the same worker with other settings or another environment."""
        return self.is_typical or bool(self.environment)


def _with_variants(name: str, worker: str, family: Family) -> tuple[System, ...]:
    plain = System(name, worker, (family,))
    kept = replace(plain, name=f"{name}, {KEEP_PAGES_VARIANT}", environment=tuple(KEEP_PAGES.items()))
    typical = replace(plain, name=f"{name}, {TYPICAL}", is_typical=True)
    return (plain, kept, typical) if family == "transformer" else (plain, kept)


SYSTEMS = (
    System("seqlab", "train_lm_seqlab", get_args(Family)),
    *_with_variants("plain_gpt", "train_plain_gpt", "transformer"),
    *_with_variants("transformers", "train_gpt2", "transformer"),
    *_with_variants("torch.nn.LSTM", "train_plain_rnn", "lstm"),
    *_with_variants("torch.nn.GRU", "train_plain_rnn", "gru"),
)


@dataclass(frozen=True)
class Case:
    """A system, model family, dtype and dropout to measure: one row of the report."""

    system: System
    family: Family
    dtype: Dtype
    dropout: float

    def job(self, base: LmTrainingJob) -> LmTrainingJob:
        """Return the job of its worker process."""
        return replace(base, dtype=self.dtype, dropout=self.dropout, is_typical=self.system.is_typical)

    def run(self, base: LmTrainingJob) -> LmTrainingResult:
        """Run the job in a worker process."""
        job = self.job(base)
        return LmTrainingResult(
            **run_worker(self.system.worker, asdict(job), job.threads, dict(self.system.environment))
        )


def check_losses(family: Family, base: LmTrainingJob, report: Report, wanted: Sequence[str] | None) -> list[System]:
    """Compare the losses of the first updates in fp32 without dropout; return the available systems."""
    chosen = [s for s in SYSTEMS if family in s.families and (wanted is None or s.name.partition(",")[0] in wanted)]
    reference: LmTrainingResult | None = None
    missing: set[str] = set()
    for system in (each for each in chosen if not each.is_variant):
        logger.info("checking %s, %s", family, system.name)
        try:
            found = Case(system, family, "fp32", 0.0).run(replace(base, steps=CHECKED_STEPS))
        except Unavailable as unavailable:
            missing.add(system.worker)
            report.rows.append(Row(system.name, "training", "", f"training {family}", note=str(unavailable)))
            continue
        if reference is None:
            reference = found
            continue
        difference = max(abs(a - b) / b for a, b in zip(found.losses, reference.losses, strict=True))
        text = (
            f"{family}, {system.name}: {len(found.losses)} losses from the same weights differ from those of "
            f"{chosen[0].name} by at most {difference:.1e} of their value (last loss: {found.losses[-1]:.4f})"
        )
        (report.checks if difference <= LOSS_TOLERANCE else report.failed_checks).append(text)
    return [system for system in chosen if system.worker not in missing]


def cases_of(family: Family, systems: Sequence[System], dtypes: Sequence[Dtype]) -> list[Case]:
    """List the cases to measure; variants only with dropout, the usual setting in training."""
    return [
        Case(system, family, dtype, dropout)
        for dtype in dtypes
        for dropout in DROPOUTS
        for system in systems
        if dropout == DROPOUTS[0] or not system.is_variant
    ]


def measure(cases: Sequence[Case], base: LmTrainingJob, repetitions: int) -> dict[Case, list[LmTrainingResult]]:
    """Measure all cases in turns, `repetitions` times, so that load on the machine affects all alike."""
    results: dict[Case, list[LmTrainingResult]] = {case: [] for case in cases}
    for repetition in range(repetitions):
        for case in cases:
            found = case.run(base)
            results[case].append(found)
            logger.info(
                "%d/%d training %s, %s, %s, dropout %g: %.1f s for %d steps",
                *(repetition + 1, repetitions, case.family, case.system.name, case.dtype, case.dropout),
                *(sum(found.seconds), len(found.seconds)),
            )
    return results


def summarize(case: Case, results: Sequence[LmTrainingResult], prepared: Json, warmup_steps: int) -> Row:
    """Return a report row that summarizes the repetitions of one case, without their warmup steps."""
    last = len(results[0].seconds)
    tokens, flops = (sum(prepared[name][warmup_steps:last]) for name in ("tokens", "flops"))
    rates = [tokens / sum(result.seconds[warmup_steps:]) for result in results]
    return Row(
        system=case.system.name,
        task="training",
        dtype=case.dtype,
        setting=f"training {case.family}, dropout {case.dropout:g}",
        tokens_per_second=statistics.median(rates),
        min=min(rates),
        max=max(rates),
        peak_memory_mb=max(result.peak_memory_mb for result in results),
        more={"mflop_per_token": flops / tokens / 1e6, "repetitions": len(rates)},
    )


def profile(cases: Sequence[Case], base: LmTrainingJob, report: Report) -> None:
    """Profile the training time of each system except for variants, with dropout, in a separate process."""
    for case in cases:
        if case.system.is_variant or case.dropout != DROPOUTS[0]:
            continue
        logger.info("profiling %s, %s, %s", case.family, case.system.name, case.dtype)
        shares = case.run(replace(base, profiled=min(PROFILED_STEPS, base.steps - 1))).shares
        named = {"model": case.family, "system": case.system.name, "dtype": case.dtype}
        report.more.setdefault("profiles", []).append({**named, "shares": shares})
        listed = ", ".join(f"{part} {100 * share:.0f}%" for part, share in shares.items())
        report.notes.append(f"time of training {case.family}, {case.system.name}, {case.dtype}: {listed}")
