"""Worker that computes the nll of generated texts under the model, with seqlab in fp32."""

from pathlib import Path
from typing import cast

import torch

from benchmarks.records import Json
from benchmarks.workers.lm_loop import LmWorkload
from benchmarks.workers.prepare_lm import UNPRINTABLE
from seqlab.data.batch import collate_text
from seqlab.models import CarryingLm, TransformerLm
from seqlab.runs import load_run


def run(job: Json) -> Json:
    """Score texts. Job: workload, texts (lists of rows, each generated after a newline), threads.

    Returns the nll in nats per character of each row of each list. Characters that replace special ids (`UNPRINTABLE`)
    are excluded, because seqlab never samples special ids.
    """
    torch.set_num_threads(job["threads"])
    workload, loaded = LmWorkload.read(Path(job["workload"]), "trained"), load_run(Path(job["workload"]) / "run")
    model = cast(TransformerLm | CarryingLm, loaded.model)
    ids = {character: index for index, character in enumerate(workload.characters)}
    found = []
    for texts in job["texts"]:
        rows = [[ids[character] for character in text] for text in texts]
        batch = collate_text(rows, range(len(rows)), pad_id=loaded.tgt_tokenizer.pad_id, start_id=workload.start_id)
        with torch.inference_mode():
            scores = model.score(batch)
        printable = batch.tgt_out != ids[UNPRINTABLE]
        found.append((-(scores.double() * printable).sum(1) / printable.sum(1)).tolist())
    return {"nll": found}
