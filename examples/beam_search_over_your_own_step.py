"""Beam search over your own step function, without a run folder, training or a neural network.

    python beam_search_over_your_own_step.py

The search needs two methods. `start` returns the first input ids and the initial state. `step` reads one id per
hypothesis and scores all next ids. Here the scores come from a bigram table, in which greedy search finds a worse word.
"""

from itertools import product

import torch
from torch import Tensor

from seqlab.models import Step, TensorState
from seqlab.search import SearchConfig, beam_search, greedy_search

LETTERS = ["<end>", "a", "b", "c"]
START, END = 1, 0  # the first letter is predicted as after an "a"


class Bigrams:
    """Bigram model of letters with a repetition penalty: each earlier use halves a letter's probability."""

    vocab_size, eos_id = len(LETTERS), END

    def __init__(self) -> None:
        table = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.5, 0.4], [0.1, 0.2, 0.4, 0.3], [0.6, 0.2, 0.2, 0.0]])
        self.log_probs = table.log()  # (V, V): row = the last id

    def start(self, num_words: int, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Return the first input ids (B,) and the initial state."""
        uses = torch.zeros(num_words, self.vocab_size)  # (B, V)
        return torch.full((num_words,), START), TensorState((uses,))

    def step(self, last_ids: Tensor, state: TensorState) -> Step:
        """Return the log-probabilities (N, V) after the last ids (N,), and the new state."""
        (uses,) = state.tensors  # (N, V)
        uses = uses + torch.nn.functional.one_hot(last_ids, self.vocab_size)
        scores = self.log_probs[last_ids] - 0.7 * uses * (torch.arange(self.vocab_size) != END)
        return Step(scores, TensorState((uses,)), None)

    def score(self, ids: list[int]) -> float:
        """Return the total score of a given word."""
        (last,), state = self.start(1)
        total = 0.0
        for each in [*ids, END]:
            scores, state, _ = self.step(last[None], state)
            total, last = total + float(scores[0, each]), torch.tensor(each)
        return total


model, limit = Bigrams(), 6
config = SearchConfig(beam_size=4, num_hypotheses=4, length_alpha=0.0, max_length=limit)
for hypothesis in beam_search(model, 1, config)[0]:  # for a batch of one word
    print(f"beam     {''.join(LETTERS[each] for each in hypothesis.ids):6} {hypothesis.score:.3f}")
[greedy] = greedy_search(model, 1, SearchConfig(beam_size=1, length_alpha=0.0, max_length=limit))
print(f"greedy   {''.join(LETTERS[each] for each in greedy.ids):6} {greedy.score:.3f}")
every = (ids for length in range(limit) for ids in product(range(1, 4), repeat=length))
best = max(every, key=lambda ids: model.score(list(ids)))
print(f"optimum  {''.join(LETTERS[each] for each in best):6} {model.score(list(best)):.3f}")
