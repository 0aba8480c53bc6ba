"""Word language model for a search over characters, with look-ahead (Ortmanns et al. 1996, ICSLP).

The log-probability of a word is known only at its last character, but a beam must compare prefixes of words. The
look-ahead of a prefix is the unigram log-probability of all words that start with it. The score of a character is the
change of the look-ahead. The end of a word (a space or eos) adds the difference to the word's log-probability in its
context. The sum over a text is exactly the sum over its words.

Shapes: B texts, N rows while decoding, V characters, E nodes of the trie of spellings.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqlab.data.batch import TextBatch, collate_prompts
from seqlab.models.config import TokenSide
from seqlab.models.interfaces import FixedContextModel, Step
from seqlab.models.outputs import TensorState

UNK_PENALTY = 3.0
"""Nats per character of an unknown word: about log 20, as of a spelling model with a perplexity of 20."""

ROOT = 0
"""Node of the empty prefix."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SpelledWordsLm(nn.Module):
    """Word language model over character ids; a `FixedContextModel` and a `Stepper`.

    Words are separated by spaces. Leading, trailing and repeated spaces score 0. The score of a text is the sum of the
    log-probabilities of its words and of eos in the word language model. An unknown word scores the log-probability of
    unk, minus `unk_penalty` for each character. Scores of single characters are terms of these sums, not
    log-probabilities: at the end of a word they may be above 0.

    Build it on the CPU; `to` moves it together with the word language model. A context is that of the word language
    model plus, in the last column, a node of the trie of spellings. Pad, bos and blank have probability 0 and leave a
    context unchanged.

    Args:
        lm: a word language model with a context of fixed size, for example `NgramModel`; it must give unk a
            probability.
        spellings: character ids of each word, by word id, without words that these characters cannot spell. Of words
            with the same spelling the most probable unigram is used; of equally probable ones, the lowest id.
        words: the vocabulary of `lm`.
        characters: the vocabulary of characters.
        space_id: the character between words.
        start_id: the first id of a text of `lm`: bos, or eos if `lm` was fitted to a continuous text.
        look_ahead: whether single characters have scores. Otherwise the log-probability of a word is added at its end,
            which needs a larger beam. Sums over texts are the same.
        unk_penalty: nats subtracted for each character of an unknown word, at least 0. The probability of unk is that
            of all unknown words together; the penalty distributes it over their spellings. If it is too low, unknown
            words replace known ones.

    Raises:
        ValueError: `lm` gives unk no probability; `spellings` is empty; a spelling is empty, or holds an id that is not
            a character of words; the penalty is negative or not finite.
    """

    keys: Tensor
    """(E - 2,) int64 ascending: `parent * V + character` of each node except the root and the last."""
    word_ids: Tensor
    """(E,) int64: the word spelled by the path to each node, or unk. The last node represents all prefixes with which
    no word starts."""
    enter: Tensor
    """(E,) fp64: score of the character that leads to each node."""
    leave: Tensor
    """(E,) fp64: score of a character that leads from each node out of the trie."""
    finish: Tensor
    """(E,) fp64: term added to the log-probability of a word that ends at each node."""
    is_special: Tensor
    """(V,) bool: pad, bos and blank."""

    def __init__(
        self,
        lm: FixedContextModel,
        spellings: Mapping[int, Sequence[int]],
        *,
        words: TokenSide,
        characters: TokenSide,
        space_id: int,
        start_id: int,
        look_ahead: bool = True,
        unk_penalty: float = UNK_PENALTY,
    ) -> None:
        super().__init__()
        self.lm, self.word_start_id, self.word_eos_id = lm, start_id, words.eos_id
        self.vocab_size, self.eos_id, self.bos_id = characters.vocab_size, characters.eos_id, characters.bos_id
        self.space_id, self.look_ahead, self.unk_penalty = space_id, look_ahead, unk_penalty
        special = sorted({characters.pad_id, characters.bos_id, characters.blank_id})
        self._check_spellings(spellings, words, {*special, space_id, self.eos_id})
        unigrams = self._unigrams(words)
        trie = _build_trie(spellings, unigrams, self.vocab_size, words.unk_id)
        scores = _distribute_scores(trie, unigrams, words.unk_id, unk_penalty, look_ahead)
        is_special = np.isin(np.arange(self.vocab_size), special)
        tables = {"keys": trie.keys, "word_ids": trie.word_ids, **scores._asdict(), "is_special": is_special}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def _check_spellings(self, spellings: Mapping[int, Sequence[int]], words: TokenSide, refused: set[int]) -> None:
        if not (math.isfinite(self.unk_penalty) and self.unk_penalty >= 0):
            raise ValueError(f"`unk_penalty` must be finite and at least 0, but is {self.unk_penalty} instead.")
        if words.unk_id in self.lm.impossible_ids:
            raise ValueError(
                f"The word language model gives unk (id {words.unk_id}) no probability, but texts may hold unknown "
                "words: use a model with an `<unk>`."
            )
        if not spellings:
            raise ValueError(
                "No word of the language model can be spelled with the characters (`spellings` is empty): does its "
                "text differ from the transcripts, for example in case?"
            )
        for word, ids in spellings.items():
            if not 0 <= word < words.vocab_size or word in (words.pad_id, words.bos_id, words.eos_id, words.unk_id):
                raise ValueError(
                    f"`spellings` holds id {word}, which is not a word: ids of words are from 0 to "
                    f"{words.vocab_size - 1}, without pad, bos, eos and unk."
                )
            wrong = [token_id for token_id in ids if not 0 <= token_id < self.vocab_size or token_id in refused]
            if wrong or not ids:
                reason = f"holds {wrong[0]}, which is not a character of words" if wrong else "is empty"
                raise ValueError(f"The spelling of word {word} {reason}: remove the word from `spellings`.")

    def _unigrams(self, words: TokenSide) -> Floats:
        """Return the unigram log-probabilities of all words: those after pad, which is not in any n-gram."""
        contexts = self.lm.contexts_after(collate_prompts([[words.pad_id]]))
        return self.lm.read(torch.arange(words.vocab_size), contexts)[0].double().numpy()

    @property
    def impossible_ids(self) -> list[int]:
        """Ids with a probability of 0 in every context: none, since any character may occur in unknown words."""
        return []

    def contexts_after(self, batch: TextBatch) -> Tensor:
        """Return the contexts (B, order + 1) after the prompts `batch.tgt_in` (B, T), which have equal lengths.

        Raises:
            ValueError: a prompt does not start with the bos of characters.
        """
        ids = batch.tgt_in
        if bool((ids[:, 0] != self.bos_id).any()):
            raise ValueError(f"Texts must start with bos ({self.bos_id}), but `tgt_in` has {ids[:, 0].tolist()}.")
        word_contexts = self.lm.contexts_after(collate_prompts([[self.word_start_id]] * len(ids)).to(ids.device))
        contexts = torch.cat((word_contexts, torch.full_like(word_contexts[:, :1], ROOT)), 1)
        for column in ids.T[1:]:
            contexts = self.read(column, contexts)[1]
        return contexts

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Read the prompts `batch.tgt_in` (B, T) except their last ids, which the first step reads; no attention."""
        # A prompt of only bos is read here and again by the first step; reading bos leaves a context unchanged.
        prefixes = batch.tgt_in[:, : max(1, batch.tgt_in.size(1) - 1)]
        contexts = self.contexts_after(replace(batch, tgt_in=prefixes))
        return batch.tgt_in[:, -1], TensorState((contexts,))

    def step(self, last_ids: Tensor, state: TensorState) -> Step:
        """Read one character per row (N,) and score the next one: (N, V) in fp32."""
        _, contexts = self.read(last_ids, *state.tensors)
        ids = torch.arange(self.vocab_size, device=last_ids.device)
        return Step(self.read(ids, contexts[:, None])[0].float(), TensorState((contexts,)), None)

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Score characters (...) after contexts (..., order + 1): scores (...) in fp64, and the new contexts.

        The score of a word that ends does not depend on the character after it. It is looked up once per context, even
        if many ids are broadcast against the context.
        """
        word_contexts, nodes = contexts[..., :-1], contexts[..., -1]
        is_empty = nodes == ROOT
        word_scores, after = self.lm.read(self.word_ids[nodes], word_contexts)
        word_scores = torch.where(is_empty, 0.0, word_scores + self.finish[nodes])
        after = torch.where(is_empty[..., None], word_contexts, after)
        eos_scores, after_eos = self.lm.read(torch.full_like(nodes, self.word_eos_id), after)
        character_scores, next_nodes = self._follow(ids, nodes)
        is_space, is_eos, is_special = ids == self.space_id, ids == self.eos_id, self.is_special[ids]
        scores = torch.where(is_space, word_scores, character_scores)
        scores = torch.where(is_eos, word_scores + eos_scores, scores).masked_fill(is_special, -torch.inf)
        next_nodes = torch.where(is_special, nodes, next_nodes.masked_fill(is_space | is_eos, ROOT))
        word_contexts = torch.where(is_space[..., None], after, word_contexts)
        word_contexts = torch.where(is_eos[..., None], after_eos, word_contexts)
        return scores, torch.cat((word_contexts, next_nodes[..., None]), -1)

    def _follow(self, ids: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Descend in the trie by one character: return its scores and the child nodes."""
        queries = nodes * self.vocab_size + ids
        indices = torch.searchsorted(self.keys, queries).clamp_(max=len(self.keys) - 1)
        has_child = self.keys[indices] == queries
        children = torch.where(has_child, indices + 1, len(self.keys) + 1)
        return torch.where(has_child, self.enter[children], self.leave[nodes]), children


class Trie(NamedTuple):
    """Trie of spellings, with nodes numbered by depth, then by parent and character."""

    keys: Ints
    """(E - 2,) ascending: `parent * V + character` of each node except the root and the last."""
    word_ids: Ints
    """(E,): as in `SpelledWordsLm`."""
    depths: Ints
    """(E - 1,): number of characters on the path to each node except the last."""
    vocab_size: int

    @property
    def parents(self) -> Ints:
        """(E - 2,): parent of each node except the root and the last."""
        return self.keys // self.vocab_size


class TrieScores(NamedTuple):
    """Scores of characters and of word ends, (E,) each; see `SpelledWordsLm`."""

    enter: Floats
    leave: Floats
    finish: Floats


def _build_trie(spellings: Mapping[int, Sequence[int]], unigrams: Floats, vocab_size: int, unk_id: int) -> Trie:
    """Build the trie of spellings, one depth at a time for all words."""
    # Of words with the same spelling the preferred one is last, because later assignments overwrite earlier ones.
    order = sorted(spellings, key=lambda word: (unigrams[word], -word))
    lengths = np.array([len(spellings[word]) for word in order])
    flat = np.fromiter((token_id for word in order for token_id in spellings[word]), np.int64, int(lengths.sum()))
    first = lengths.cumsum() - lengths
    nodes, keys, counts = np.full(len(order), ROOT), [], [1]
    for depth in range(int(lengths.max())):
        rows = (lengths > depth).nonzero()[0]
        level, indices = np.unique(nodes[rows] * vocab_size + flat[first[rows] + depth], return_inverse=True)
        nodes[rows] = sum(counts) + indices
        keys.append(level)
        counts.append(len(level))
    word_ids = np.full(sum(counts) + 1, unk_id)
    word_ids[nodes] = order
    return Trie(np.concatenate(keys), word_ids, np.repeat(np.arange(len(counts)), counts), vocab_size)


def _distribute_scores(trie: Trie, unigrams: Floats, unk_id: int, unk_penalty: float, look_ahead: bool) -> TrieScores:
    """Distribute the unigram log-probabilities of words over their characters.

    The sum of the scores up to a node is its look-ahead: the log-probability of all words with that prefix, unknown
    words included. It never increases from parent to child. `unk_penalty` is subtracted where an unknown word leaves
    the trie, or at its end if it ends within the trie.
    """
    is_word, depths = trie.word_ids[:-1] != unk_id, trie.depths
    unknown_scores = -unk_penalty * depths
    unk, prefix_scores = 0.0, np.zeros(len(depths))
    if look_ahead:
        unk, prefix_scores = float(unigrams[unk_id]), np.where(is_word, unigrams[trie.word_ids[:-1]], -np.inf)
        for depth in range(int(depths.max()), 1, -1):
            nodes = (depths == depth).nonzero()[0]
            np.logaddexp.at(prefix_scores, trie.parents[nodes - 1], prefix_scores[nodes])
        prefix_scores = np.logaddexp(prefix_scores, unk + unknown_scores)
        prefix_scores[ROOT] = 0.0
    enter = np.concatenate([[0.0], prefix_scores[1:] - prefix_scores[trie.parents], [0.0]])
    leave = np.append(unk + unknown_scores - unk_penalty - prefix_scores, -unk_penalty)
    finish = np.append(np.where(is_word, 0.0, unknown_scores) - prefix_scores, -unk)
    return TrieScores(enter, leave, finish)
