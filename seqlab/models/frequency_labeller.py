"""The most frequent label of each word, without a look at its neighbours: what every tagger must beat.

Shapes: V vocabulary, L labels, W words of a batch.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, ModelConfig, TokenSide
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrequencyLabellerConfig(ModelConfig):
    """IntArray of how often each word has each label."""

    family: Literal["frequency_labeller"] = "frequency_labeller"
    """Which architecture this is."""

    task: ClassVar[str] = "labelling"
    is_count_based: ClassVar[bool] = True

    def build(self, src: TokenSide, tgt: TokenSide) -> "FrequencyLabeller":
        """Build the model, which has counted nothing yet."""
        return FrequencyLabeller(self, src.vocab_size, tgt.num_labels)

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes."""
        if data.labels_of != "words":
            raise ValueError("`model.family: frequency_labeller` counts labels of words: set `data.labels_of: words`.")
        if any(weight != 1 for weight in data.train_weights):
            raise ValueError(
                "`model.family: frequency_labeller` counts each pair once: leave `data.train_weights` out."
            )


class FrequencyLabeller(nn.Module):
    """Labels by their shares among the occurrences of a word; a `Labeller`.

    One more occurrence is spread over the labels as those of the words that occur once are: it decides for words that
    were never seen, and between labels that a word has equally often.
    """

    embeddings: ClassVar[dict[str, str]] = {}
    """The parameter that the ids of each side are looked up in: there is none."""
    labels_lines: ClassVar[bool] = False

    def __init__(self, config: FrequencyLabellerConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.counts = nn.Parameter(torch.zeros(vocab_size, num_labels), requires_grad=False)

    def count(self, words: Tensor, labels: Tensor) -> None:
        """Add occurrences: words (W,) and their labels (W,)."""
        words, labels = words.to(self.counts.device), labels.to(self.counts.device)
        self.counts.index_put_((words, labels), self.counts.new_ones(len(words)), accumulate=True)

    def label(self, batch: LabelledBatch) -> Tensor:
        """(W, L): log-probabilities in nats of all labels, of the words row after row."""
        rare = self.counts[self.counts.sum(1) == 1].double().sum(0) + 1 / self.counts.size(1)  # or it were 0 / 0
        words = batch.src[~padding_mask(batch.src_lengths, batch.src.size(1))]
        found = self.counts[words].double() + rare / rare.sum()
        return (found / found.sum(1, keepdim=True)).log().float()
