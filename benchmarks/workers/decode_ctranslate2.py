"""Worker for decoding with CTranslate2, in batches of sentences of similar length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import DecodingJob, Json
from benchmarks.workers.decoding_loop import Output, Translate, length_limit, measure, sorted_batches
from seqlab.export.export_folder import ExportFolder
from seqlab.text import load_tokenizer


def run(job: Json) -> Json:
    """Run a `DecodingJob`."""
    return measure(_load, job)


def _load(job: DecodingJob) -> Translate:
    import ctranslate2

    folder = Path(job.folder)
    tokenizer = load_tokenizer(folder / "tokenizer")
    exported = ExportFolder(folder / f"ctranslate2-{job.dtype}")
    names = exported.vocabulary("target")
    ids = {name: index for index, name in enumerate(names)}
    translator = ctranslate2.Translator(
        str(exported.path),
        device=job.device,
        inter_threads=job.workers,
        intra_threads=job.threads,
    )

    def translate(lines: Sequence[str], batch: int) -> list[Output]:
        rows = tokenizer.encode(lines)
        pending: list[tuple[int, Any]] = []
        for indices in sorted_batches(rows, batch):
            results = translator.translate_batch(
                [[names[token] for token in rows[index]] for index in indices],
                asynchronous=True,  # batches go to the next free worker
                beam_size=job.beam_size,
                length_penalty=1.0,
                max_input_length=0,
                max_decoding_length=length_limit(len(rows[indices[0]]) + 1),
                return_end_token=True,
            )
            pending += zip(indices, results, strict=True)
        found = {index: [ids[name] for name in result.result().hypotheses[0]] for index, result in pending}
        texts = tokenizer.decode([found[index] for index in range(len(rows))])
        return [Output(text, len(found[index])) for index, text in enumerate(texts)]

    return translate
