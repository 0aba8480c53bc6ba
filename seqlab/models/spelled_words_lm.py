"""A language model of words that scores characters: word n-grams in a search over characters, with look-ahead.

A word's log-probability is known when its last character is, but a beam has to choose before. So each character of a
word takes a share of it: the unigram probability of all words that begin with the characters so far, divided by that
of those without the last one (language-model look-ahead: Ortmanns et al. 1996, ICSLP). The end of the word, a space or
eos, adds what is left to its log-probability in its context, so that the sum over a text is exactly that of its words.

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
"""Nats for each character of an unknown word: as a model of spellings with a perplexity of 20."""

ROOT = 0
"""The node of no characters."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SpelledWordsLm(nn.Module):
    """Score characters by a language model of words: a `FixedContextModel` and a `Stepper` over the ids of characters.

    Words are divided by spaces; spaces before, after and next to other spaces cost nothing. The score of a text is the
    sum of the log-probabilities of its words and of eos in the language model of words. A word that this does not know
    has the log-probability of unk there, less `unk_penalty` for each character. Scores of single characters are parts
    of such sums, no log-probabilities: at the end of a word they may be above 0.

    Build it on the CPU; `to` moves it, with the language model of words. Its contexts are those of the language model
    of words and, in the last column, a node of the trie of spellings. Pad, bos and blank have probability 0 and leave a
    context as it is.

    Args:
        lm: a language model of words whose context has a fixed size, as an n-gram model (`NgramModel`); it must give
            unk a probability.
        spellings: the ids of the characters of each word, by word id, without words that cannot be spelled with these
            characters. Where several words have the same spelling, it stands for the one with the highest unigram
            probability, of equal ones for the lowest id.
        words: the ids of `lm`.
        characters: the ids to score.
        space_id: the character between words.
        start_id: what texts of `lm` begin with: bos, or eos where it was fitted to a stream.
        look_ahead: whether each character of a word takes its share of the word's log-probability. Without it all of
            this comes at the word's end, and a beam needs to be larger. Sums over whole texts do not depend on it.
        unk_penalty: what is subtracted for each character of an unknown word, in nats, at least 0: the probability of
            unk is that of all unknown words together, and this divides it among their spellings. With a low one unknown
            words displace known ones.

    Raises:
        ValueError: `lm` gives unk no probability; no word is spelled; a spelling is empty or holds an id that is no
            character of a word; the penalty is negative or not finite.
    """

    keys: Tensor
    """(E - 2,) int64 ascending: `parent * V + character` of each node but the root and the last."""
    word_ids: Tensor
    """(E,) int64: the word that is spelled so, or unk. The last node is that of all spellings that no word begins
    with."""
    enter: Tensor
    """(E,) fp64: the score of the character that leads to a node."""
    leave: Tensor
    """(E,) fp64: the score of a character after a node with which no spelling goes on."""
    finish: Tensor
    """(E,) fp64: what is added to the log-probability of a word that ends at a node."""
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
        self._check(spellings, words, {*special, space_id, self.eos_id})
        unigrams = self._unigrams(words)
        trie = _trie(spellings, unigrams, self.vocab_size, words.unk_id)
        costs = _costs(trie, unigrams, words.unk_id, unk_penalty, look_ahead)
        is_special = np.isin(np.arange(self.vocab_size), special)
        tables = {"keys": trie.keys, "word_ids": trie.word_ids, **costs._asdict(), "is_special": is_special}
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table), persistent=False)

    def _check(self, spellings: Mapping[int, Sequence[int]], words: TokenSide, refused: set[int]) -> None:
        if not (math.isfinite(self.unk_penalty) and self.unk_penalty >= 0):
            raise ValueError(f"`unk_penalty` must be finite and at least 0, but is {self.unk_penalty} instead.")
        if words.unk_id in self.lm.impossible_ids:
            raise ValueError(
                f"The language model of words gives unk (id {words.unk_id}) no probability, but a text may hold words "
                "that it does not know: take one with an `<unk>`."
            )
        if not spellings:
            raise ValueError(
                "No word of the language model can be spelled with the characters (`spellings` is empty): is its text "
                "written as the transcripts are, as in lower case?"
            )
        for word, ids in spellings.items():
            if not 0 <= word < words.vocab_size or word in (words.pad_id, words.bos_id, words.eos_id, words.unk_id):
                raise ValueError(
                    f"`spellings` holds {word}, which is no word: ids are below {words.vocab_size}, and pad, bos, eos "
                    "and unk have no spelling."
                )
            wrong = [each for each in ids if not 0 <= each < self.vocab_size or each in refused]
            if wrong or not ids:
                reason = f"holds {wrong[0]}, which is no character of a word" if wrong else "is empty"
                raise ValueError(f"The spelling of word {word} {reason}: leave the word out of `spellings`.")

    def _unigrams(self, words: TokenSide) -> Floats:
        """Give the log-probabilities of all words after a context that no n-gram begins with: pad."""
        contexts = self.lm.contexts_after(collate_prompts([[words.pad_id]]))
        return self.lm.read(torch.arange(words.vocab_size), contexts)[0].double().numpy()

    @property
    def impossible_ids(self) -> list[int]:
        """There are none: each character may belong to an unknown word."""
        return []

    def contexts_after(self, batch: TextBatch) -> Tensor:
        """Read the prompts `batch.tgt_in` (B, T), of equal lengths: the contexts (B, order + 1) behind them.

        Raises:
            ValueError: one of them does not begin with the bos of characters.
        """
        ids = batch.tgt_in
        if bool((ids[:, 0] != self.bos_id).any()):
            raise ValueError(f"Texts must begin with bos ({self.bos_id}), but `tgt_in` has {ids[:, 0].tolist()}.")
        of_words = self.lm.contexts_after(collate_prompts([[self.word_start_id]] * len(ids)).to(ids.device))
        contexts = torch.cat((of_words, torch.full_like(of_words[:, :1], ROOT)), 1)
        for column in ids.T[1:]:
            contexts = self.read(column, contexts)[1]
        return contexts

    def start(self, batch: TextBatch, need_attention: bool = False) -> tuple[Tensor, TensorState]:
        """Read the prompts `batch.tgt_in` (B, T) as `contexts_after` does; there is no attention."""
        # The first step reads the last id: where that is bos, it changes nothing.
        before = batch.tgt_in[:, : max(1, batch.tgt_in.size(1) - 1)]
        contexts = self.contexts_after(replace(batch, tgt_in=before))
        return batch.tgt_in[:, -1], TensorState((contexts,))

    def step(self, last_ids: Tensor, state: TensorState) -> Step:
        """Read one character per row (N,) and score the next: (N, V) in fp32."""
        _, contexts = self.read(last_ids, *state.tensors)
        ids = torch.arange(self.vocab_size, device=last_ids.device)
        return Step(self.read(ids, contexts[:, None])[0].float(), TensorState((contexts,)), None)

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read a character (...) behind each context (..., order + 1): its score (...) in fp64, and the contexts then.

        The end of a word does not depend on which characters are read: it is looked up once for each context, however
        many ids are broadcast against it.
        """
        before, nodes = contexts[..., :-1], contexts[..., -1]
        is_empty = nodes == ROOT
        of_word, after = self.lm.read(self.word_ids[nodes], before)
        of_word = torch.where(is_empty, 0.0, of_word + self.finish[nodes])
        after = torch.where(is_empty[..., None], before, after)
        of_eos, after_eos = self.lm.read(torch.full_like(nodes, self.word_eos_id), after)
        of_character, following = self._follow(ids, nodes)
        is_space, is_eos, is_special = ids == self.space_id, ids == self.eos_id, self.is_special[ids]
        shares = torch.where(is_space, of_word, of_character)
        shares = torch.where(is_eos, of_word + of_eos, shares).masked_fill(is_special, -torch.inf)
        following = torch.where(is_special, nodes, following.masked_fill(is_space | is_eos, ROOT))
        before = torch.where(is_space[..., None], after, before)
        before = torch.where(is_eos[..., None], after_eos, before)
        return shares, torch.cat((before, following[..., None]), -1)

    def _follow(self, ids: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Go to the children in the trie: the scores of the characters, and the nodes then."""
        wanted = nodes * self.vocab_size + ids
        found = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        is_there = self.keys[found] == wanted
        following = torch.where(is_there, found + 1, len(self.keys) + 1)
        return torch.where(is_there, self.enter[following], self.leave[nodes]), following


class Trie(NamedTuple):
    """Spellings as a tree whose nodes are numbered by depth, then by parent and character."""

    keys: Ints
    """(E - 2,) ascending: `parent * V + character` of each node but the root and the last."""
    word_ids: Ints
    """(E,)"""
    depths: Ints
    """(E - 1,): how many characters lead to a node; of all nodes but the last."""
    vocab_size: int

    @property
    def parents(self) -> Ints:
        """Give the parent of each node but the root and the last: (E - 2,)."""
        return self.keys // self.vocab_size


class Costs(NamedTuple):
    """What is added for characters and at the ends of words, each (E,); see `SpelledWordsLm`."""

    enter: Floats
    leave: Floats
    finish: Floats


def _trie(spellings: Mapping[int, Sequence[int]], unigrams: Floats, vocab_size: int, unk_id: int) -> Trie:
    """Make the trie, all words at once, one character after the other."""
    # The word that has a spelling comes last of those with the same: later assignments overwrite.
    order = sorted(spellings, key=lambda word: (unigrams[word], -word))
    lengths = np.array([len(spellings[word]) for word in order])
    flat = np.fromiter((each for word in order for each in spellings[word]), np.int64, int(lengths.sum()))
    first = lengths.cumsum() - lengths
    nodes, keys, counts = np.full(len(order), ROOT), [], [1]
    for depth in range(int(lengths.max())):
        rows = (lengths > depth).nonzero()[0]
        level, places = np.unique(nodes[rows] * vocab_size + flat[first[rows] + depth], return_inverse=True)
        nodes[rows] = sum(counts) + places
        keys.append(level)
        counts.append(len(level))
    word_ids = np.full(sum(counts) + 1, unk_id)
    word_ids[nodes] = order
    return Trie(np.concatenate(keys), word_ids, np.repeat(np.arange(len(counts)), counts), vocab_size)


def _costs(trie: Trie, unigrams: Floats, unk_id: int, unk_penalty: float, look_ahead: bool) -> Costs:
    """Divide the unigram log-probabilities of words among their characters.

    The sum of the scores up to a node is the look-ahead there, the log-probability of all words that begin so, unknown
    ones among them: it never rises from parent to child. `unk_penalty` is subtracted where a word leaves the trie, or
    at its end within the trie.
    """
    is_word, depths = trie.word_ids[:-1] != unk_id, trie.depths
    of_unknown = -unk_penalty * depths
    unk, paid = 0.0, np.zeros(len(depths))
    if look_ahead:
        unk, paid = float(unigrams[unk_id]), np.where(is_word, unigrams[trie.word_ids[:-1]], -np.inf)
        for depth in range(int(depths.max()), 1, -1):
            nodes = (depths == depth).nonzero()[0]
            np.logaddexp.at(paid, trie.parents[nodes - 1], paid[nodes])
        paid = np.logaddexp(paid, unk + of_unknown)
        paid[ROOT] = 0.0
    enter = np.concatenate([[0.0], paid[1:] - paid[trie.parents], [0.0]])
    leave = np.append(unk + of_unknown - unk_penalty - paid, -unk_penalty)
    finish = np.append(np.where(is_word, 0.0, of_unknown) - paid, -unk)
    return Costs(enter, leave, finish)
