"""Pool of the best ended hypotheses of each sentence."""

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF
from seqlab.search.history import EndedHypotheses, History
from seqlab.search.hypothesis import Hypothesis


class Pool:
    """The best `size` ended hypotheses of each of B sentences, best first, finished ones before unfinished ones."""

    def __init__(self, num_sentences: int, size: int, device: torch.device) -> None:
        def full(value: float | bool, dtype: torch.dtype) -> Tensor:
            return torch.full((num_sentences, size), value, dtype=dtype, device=device)

        self.ended = EndedHypotheses(
            scores=full(NEG_INF, torch.float32),
            log_probs=full(NEG_INF, torch.float32),
            lengths=full(0, torch.int64),
            parents=full(0, torch.int64),
            last_ids=full(0, torch.int64),
            last_log_probs=full(0.0, torch.float32),
            finished=full(False, torch.bool),
        )
        self.num_finished = torch.zeros(num_sentences, dtype=torch.int64, device=device)
        """(B,) int64: number of finished hypotheses so far, including those that were not kept."""

    def worst_scores(self) -> Tensor:
        """Return the score that a new hypothesis of each sentence must exceed: (B,), -inf while a slot is free."""
        return self.ended.scores[:, -1]

    def best_scores(self) -> Tensor:
        """Return the best score of each sentence: (B,), -inf for a sentence without hypotheses."""
        return self.ended.scores[:, 0]

    def is_empty(self) -> Tensor:
        """Return a mask of the sentences without hypotheses: (B,) bool."""
        return self.ended.log_probs[:, 0] == NEG_INF

    def add_finished(self, sentences: Tensor, new: EndedHypotheses) -> None:
        """Add finished hypotheses, fields (A, n), of some sentences (A,); keep the best, among ties the older ones."""
        self.num_finished[sentences] += (new.log_probs > NEG_INF).sum(dim=1)
        joined = self._join(sentences, new)
        self._store(sentences, joined, joined.scores.sort(dim=1, descending=True, stable=True).indices)

    def fill(self, sentences: Tensor, new: EndedHypotheses) -> None:
        """Add hypotheses, fields (A, n), best first, to the free slots of some sentences (A,)."""
        joined = self._join(sentences, new)
        is_free = (joined.log_probs == NEG_INF).to(torch.int8)
        self._store(sentences, joined, is_free.sort(dim=1, stable=True).indices)

    def hypotheses(self, history: History) -> list[list[Hypothesis]]:
        """Follow the back-pointers of all hypotheses and convert them to Python objects."""
        sentences, slots = (self.ended.log_probs > NEG_INF).nonzero(as_tuple=True)
        ended = EndedHypotheses(*(field[sentences, slots] for field in self.ended))  # fields (E,)
        traced = history.trace(ended)
        ids, id_log_probs = traced.ids.tolist(), traced.id_log_probs.tolist()
        attention = traced.attention
        scores, log_probs = ended.scores.tolist(), ended.log_probs.tolist()
        lengths, finished = ended.lengths.tolist(), ended.finished.tolist()
        hypotheses: list[list[Hypothesis]] = [[] for _ in range(len(self.ended.scores))]
        for i, sentence in enumerate(sentences.tolist()):
            hypothesis = Hypothesis(
                ids=ids[i][: lengths[i] - finished[i]],
                score=scores[i],
                log_prob=log_probs[i],
                finished=finished[i],
                token_log_probs=id_log_probs[i][: lengths[i]],
                attention=None if attention is None else attention[i, : lengths[i]].clone(),
            )
            hypotheses[sentence].append(hypothesis)
        return hypotheses

    def _join(self, sentences: Tensor, new: EndedHypotheses) -> EndedHypotheses:
        old = self.ended.select_sentences(sentences)
        return EndedHypotheses(*(torch.cat(pair, dim=1) for pair in zip(old, new, strict=True)))

    def _store(self, sentences: Tensor, joined: EndedHypotheses, order: Tensor) -> None:
        size = self.ended.scores.shape[1]
        for field, best in zip(self.ended, joined.reorder(order[:, :size]), strict=True):
            field[sentences] = best
