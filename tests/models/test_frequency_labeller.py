"""Most-frequent-label baseline, against counts in Python."""

from collections import Counter

import numpy as np
import torch

from seqlab.data.batch import collate_labelled
from seqlab.models import FrequencyLabeller, FrequencyLabellerConfig

UNK, LABELS, WORDS = 3, 4, 30


def test_labels_are_the_most_frequent_ones_of_known_and_rare_words() -> None:
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(4, 20, size=200), np.arange(20, WORDS)])
    labels = np.where(words < 20, rng.integers(0, LABELS, size=len(words)), 2)  # words that occur once have label 2
    model = FrequencyLabeller(FrequencyLabellerConfig(), WORDS, LABELS)
    model.count(torch.from_numpy(words), torch.from_numpy(labels))
    counts = {word: Counter(labels[words == word].tolist()) for word in range(4, WORDS)}
    lines = [list(range(4, 17)), list(range(17, WORDS)), [UNK]]
    batch = collate_labelled(lines, None, None, range(3), pad_id=0)
    found = model.label(batch)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(found)))
    for row, word in zip(found, [word for line in lines for word in line], strict=True):
        most = max(counts[word].values()) if word != UNK else 0
        expected = {label for label, count in counts[word].items() if count == most} if word != UNK else {2}
        assert int(row.argmax()) in expected


def test_unknown_words_have_a_uniform_distribution_without_rare_words() -> None:
    model = FrequencyLabeller(FrequencyLabellerConfig(), WORDS, LABELS)
    model.count(torch.tensor([5, 5, 6, 6]), torch.tensor([1, 1, 2, 3]))
    found = model.label(collate_labelled([[UNK, 5]], None, None, [0], pad_id=0)).exp()
    torch.testing.assert_close(found[0], torch.full((LABELS,), 1 / LABELS))
    torch.testing.assert_close(found[1], torch.tensor([0.25, 2.25, 0.25, 0.25]) / 3)
