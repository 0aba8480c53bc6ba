"""Interpolated modified Kneser-Ney smoothing with dictionaries, from the equations of Heafield et al. 2013."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

Ngram = tuple[int, ...]
START = -1
"""Placeholder for the id before the start of a text."""


class KneserNey:
    """Recursive computation of p(w | context) for all ids w in `range(vocab_size)` except pad and bos."""

    def __init__(
        self,
        documents: Sequence[Sequence[int]],
        order: int,
        vocab_size: int,
        special_ids: tuple[int, int, int],
        boundaries: str,
        min_counts: Sequence[int] = (),
    ) -> None:
        pad_id, self.bos_id, eos_id = special_ids
        self.order = order
        self.predicted = [i for i in range(vocab_size) if i not in (pad_id, self.bos_id)]
        if boundaries == "lines":
            self.texts = [[self.bos_id, *document, eos_id] for document in documents]
        else:
            self.texts = [[eos_id] + [i for document in documents for i in (*document, eos_id)]]
        self.counts: Counter[Ngram] = Counter()
        self.preceding_ids: defaultdict[Ngram, set[int]] = defaultdict(set)
        for text in self.texts:
            for end in range(1, len(text)):
                for begin in range(max(0, end - order + 1), end + 1):
                    ngram = tuple(text[begin : end + 1])
                    self.counts[ngram] += 1
                    self.preceding_ids[ngram].add(text[begin - 1] if begin > 0 else START)
        self.adjusted_counts = {ngram: self.adjusted_count(ngram) for ngram in self.counts}
        self.children: defaultdict[Ngram, list[Ngram]] = defaultdict(list)
        for ngram in self.adjusted_counts:
            self.children[ngram[:-1]].append(ngram)
        self.discounts = {n: self.estimate_discounts(n) for n in range(1, order + 1)}
        self.min_counts = [(list(min_counts) or [1])[min(n, max(len(min_counts), 1)) - 1] for n in range(1, order + 1)]

    def adjusted_count(self, ngram: Ngram) -> int:
        if len(ngram) == self.order or ngram[0] == self.bos_id:
            return self.counts[ngram]
        return len(self.preceding_ids[ngram])

    def estimate_discounts(self, length: int) -> list[float]:
        n = Counter(a for ngram, a in self.adjusted_counts.items() if len(ngram) == length)
        if n[1] == 0 or n[2] == 0 or n[3] == 0:
            return [0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        found = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        return found if min(found) > 0 else [0.5, 1.0, 1.5]

    def is_kept(self, ngram: Ngram) -> bool:
        return self.counts[ngram] >= self.min_counts[len(ngram) - 1]

    def discount(self, ngram: Ngram) -> float:
        return (
            self.discounts[len(ngram)][min(self.adjusted_counts[ngram], 3) - 1]
            if self.is_kept(ngram)
            else self.adjusted_counts[ngram]
        )

    def prob(self, word: int, context: Ngram) -> float:
        """Compute p(word | context) from the last `order - 1` ids of the context."""
        context = context[len(context) - min(self.order - 1, len(context)) :]
        lower = self.prob(word, context[1:]) if context else 1 / len(self.predicted)
        children = self.children.get(context, [])
        if not children:
            return lower
        total = sum(self.adjusted_counts[child] for child in children)
        gamma = sum(self.discount(child) for child in children) / total
        ngram = (*context, word)
        discounted = (
            (self.adjusted_counts[ngram] - self.discount(ngram)) / total if ngram in self.adjusted_counts else 0.0
        )
        return discounted + gamma * lower

    def log_probs(self, ids: Sequence[int]) -> list[float]:
        """Score each id except the first, given all ids before it."""
        return [math.log(self.prob(ids[i], tuple(ids[:i]))) for i in range(1, len(ids))]
