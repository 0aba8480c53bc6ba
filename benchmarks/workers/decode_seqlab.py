"""Worker for decoding with `seqlab.load(run).translate(lines)`, also in several processes like `seqlab translate`.

Batch sizes are in source tokens times `beam_size`.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import DecodingJob, Json
from benchmarks.workers.decoding_loop import LENGTH_LIMIT, Output, Translate, measure
from seqlab.tasks.translation.load_translator import load_translator as load


def run(job: Json) -> Json:
    """Run a `DecodingJob`."""
    return measure(_load, job)


def _load(job: DecodingJob) -> Translate:
    threads = job.workers * job.threads
    if job.engine == "torch":
        translator = load(job.run, device=job.device, precision=job.dtype, threads=threads, processes=job.workers)
    else:
        export_folder = Path(job.folder) / f"{job.engine}-{job.dtype}"
        translator = load(export_folder, device=job.device, engine=job.engine, threads=threads)

    def translate(lines: Sequence[str], batch: int) -> list[Output]:
        options = {"beam_size": job.beam_size, "batch_tokens": batch, "need_scores": False, **LENGTH_LIMIT}
        translations = translator.translate_detailed(lines, **options)
        return [Output(each.text, each.hypotheses[0].num_tokens) for each in translations]

    return translate
