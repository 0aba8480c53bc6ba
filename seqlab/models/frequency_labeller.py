"""Baseline tagger: the most frequent label of each word, without context.

Shapes: V vocabulary, L labels, W words of a batch.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import LabelledBatch
from seqlab.models.config import SETTINGS, ModelConfig, TokenSide
from seqlab.nn.masks import padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrequencyLabellerConfig(ModelConfig):
    """A baseline for words: the most frequent label of each word."""

    family: Literal["frequency_labeller"] = "frequency_labeller"
    """Name of the model family."""

    tasks: ClassVar[tuple[str, ...]] = ("labelling",)
    is_count_based: ClassVar[bool] = True

    def build(self, src: TokenSide, tgt: TokenSide) -> "FrequencyLabeller":
        """Build the model, with all counts 0."""
        return FrequencyLabeller(self, src.vocab_size, tgt.num_labels)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""
        if data.labels_of != "words":
            raise ValueError("`model.family: frequency_labeller` labels words only: set `data.labels_of: words`.")
        if any(weight != 1 for weight in data.train_weights):
            raise ValueError(
                "`model.family: frequency_labeller` counts each example once: remove `data.train_weights`."
            )


class FrequencyLabeller(nn.Module):
    """Relative frequencies of each word's labels; implements `Labeller`.

    Each word has a pseudo-count of 1, distributed over the labels like the labels of words that occur once. It
    determines the label of unseen words and breaks ties.
    """

    embeddings: ClassVar[dict[str, str]] = {}
    """The model has no embeddings."""
    labels_lines: ClassVar[bool] = False

    def __init__(self, config: FrequencyLabellerConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.counts = nn.Parameter(torch.zeros(vocab_size, num_labels), requires_grad=False)

    def count(self, words: Tensor, labels: Tensor) -> None:
        """Count words (W,) with their labels (W,)."""
        words, labels = words.to(self.counts.device), labels.to(self.counts.device)
        self.counts.index_put_((words, labels), self.counts.new_ones(len(words)), accumulate=True)

    def label(self, batch: LabelledBatch) -> Tensor:
        """Compute the log-probabilities (W, L) in nats of all labels, for all words, row after row."""
        rare = self.counts[self.counts.sum(1) == 1].double().sum(0) + 1 / self.counts.size(1)  # never 0
        words = batch.src[~padding_mask(batch.src_lengths, batch.src.size(1))]
        smoothed = self.counts[words].double() + rare / rare.sum()
        return (smoothed / smoothed.sum(1, keepdim=True)).log().float()
