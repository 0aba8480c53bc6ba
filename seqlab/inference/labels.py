"""What models say about the labels of a batch."""

from collections.abc import Sequence

from torch import Tensor

from seqlab.data.batch import LabelledBatch
from seqlab.models.interfaces import Labeller
from seqlab.search.ensemble import mean_log_probs


def scores_by_line(
    models: Sequence[Labeller], batch: LabelledBatch, orders: Sequence[Tensor | None] = (None,)
) -> list[Tensor]:
    """Give the log-probabilities of all labels for each line: of each of its words (S, L), or of itself (1, L).

    Those of several models are of the mean of their probabilities. `orders`: for each model the numbers (L,) that it
    has for the labels 0, 1, ... of the first; None where they are the same.
    """
    scores = [model.label(batch) for model in models]
    mean = mean_log_probs([x if order is None else x[:, order] for x, order in zip(scores, orders, strict=True)])
    sizes = [1] * len(batch) if models[0].labels_lines else batch.src_lengths.tolist()
    return list(mean.cpu().split(sizes))


def best_labels(model: Labeller, batch: LabelledBatch, names: Sequence[str]) -> list[str]:
    """Give each line its labels as one line of text; `names`: the labels by number."""
    scores = scores_by_line([model], batch)
    return [" ".join(names[number] for number in line.argmax(1).tolist()) for line in scores]
