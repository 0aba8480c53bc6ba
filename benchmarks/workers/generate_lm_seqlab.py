"""Worker for generation with `seqlab.load(run).generate(...)`; each row has its own random generator."""

from pathlib import Path

from benchmarks.lm_records import LmGenerationJob
from benchmarks.records import Json
from benchmarks.workers.generation_loop import Generate, measure
from seqlab import load
from seqlab.tasks.language_modelling.language_model import LanguageModel


def run(job: Json) -> Json:
    """Run an `LmGenerationJob`; `method` is not used."""
    return measure(_load, job)


def _load(job: LmGenerationJob) -> Generate:
    lm = load(Path(job.workload) / "run", device=job.device, precision=job.dtype)
    assert isinstance(lm, LanguageModel)

    def generate(rows: int, length: int) -> list[str]:
        top_k = 1 if job.greedy else 0
        (found,) = lm.generate([""], num_samples=rows, batch_rows=rows, max_length=length, seed=job.seed, top_k=top_k)
        return [each.text for each in found]

    return generate
