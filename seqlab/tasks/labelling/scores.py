"""What models say about the labels of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE, LabelledBatch
from seqlab.models.interfaces import Labeller


def scores_by_line(model: Labeller, batch: LabelledBatch) -> list[Tensor]:
    """Give the log-probabilities of all labels for each line: of each of its words (S, L), or of itself (1, L)."""
    return list(model.label(batch).cpu().split(_units(model, batch)))


def label_and_score(model: Labeller, batch: LabelledBatch, names: Sequence[str]) -> tuple[list[str], float]:
    """Give each line its labels as one line of text, and the log-probability in nats of all that the batch has.

    `names`: the labels by number. Both come from one pass.
    """
    assert batch.tgt_out is not None, "scoring needs labels"
    scores, units = model.label(batch), _units(model, batch)
    there = torch.cat([row[:count] for row, count in zip(batch.tgt_out, units, strict=True)])
    found = scores.gather(1, there.clamp(min=0)[:, None])[:, 0].masked_fill(there == IGNORE, 0)
    lines = scores.argmax(1).cpu().split(units)
    return [" ".join(names[number] for number in line.tolist()) for line in lines], float(found.double().sum())


def _units(model: Labeller, batch: LabelledBatch) -> list[int]:
    """Tell how many labels each line has."""
    return [1] * len(batch) if model.labels_lines else batch.src_lengths.tolist()
