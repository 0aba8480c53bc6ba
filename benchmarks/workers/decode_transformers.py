"""Worker for decoding with `transformers.MarianMTModel.generate`: length-sorted batches, one or more processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.records import DecodingJob, Json
from benchmarks.workers.decoding_loop import Output, Translate, length_limit, measure, sorted_batches
from benchmarks.workers.train_marian import use_seqlab_positions
from seqlab.base.world import ProgressCallback
from seqlab.inference.forks import ForkedWorkers
from seqlab.text import load_tokenizer


def run(job: Json) -> Json:
    """Run a `DecodingJob`."""
    return measure(_load, job)


def _load(job: DecodingJob) -> Translate:
    from transformers import MarianMTModel

    torch.set_num_threads(job.workers * job.threads)
    tokenizer = load_tokenizer(Path(job.folder) / "tokenizer")
    model = MarianMTModel.from_pretrained(Path(job.folder) / "transformers")
    use_seqlab_positions(model)
    model.to(device=job.device, dtype=torch.bfloat16 if job.dtype == "bf16" else torch.float32).eval()

    def translate(lines: Sequence[str], batch: int) -> list[Output]:
        rows = [[*row, tokenizer.eos_id] for row in tokenizer.encode(lines)]

        def search(row_indices: list[int], _: ProgressCallback | None) -> list[list[int]]:
            found: dict[int, list[int]] = {}
            worker_rows = [rows[index] for index in row_indices]
            for indices in sorted_batches(worker_rows, batch):
                generated = generate(model, [worker_rows[index] for index in indices], job.beam_size, job.device)
                found |= dict(zip(indices, generated, strict=True))
            return [found[index] for index in range(len(worker_rows))]

        found = ForkedWorkers(job.workers).map_rows([len(row) for row in rows], search)
        return [Output(text, len(ids)) for text, ids in zip(tokenizer.decode(found), found, strict=True)]

    return translate


@torch.inference_mode()
def generate(model: Any, rows: list[list[int]], beam_size: int, device: str) -> list[list[int]]:
    """Translate rows that end in eos; return ids without the start token, up to the end of sentence."""
    pad_id = model.config.pad_token_id
    src = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad_id).to(device)
    generated: Tensor = model.generate(
        input_ids=src,
        attention_mask=(src != pad_id).long(),
        num_beams=beam_size,
        do_sample=False,
        early_stopping=beam_size > 1,
        max_new_tokens=length_limit(src.size(1)),
        length_penalty=1.0,
    )
    return [[token for token in row if token != pad_id] for row in generated[:, 1:].tolist()]
