"""Masking of tokens for masked language modeling (Devlin et al. 2019, BERT).

A share of the tokens of a batch is chosen for prediction. Of these, 80% are replaced by the mask, 10% by a random token
and 10% are unchanged, so that the model cannot assume that an input token is correct.

Rows have the form `tokens eos`, as the source of a translator, without bos. The id of bos is used as the mask. So the
vocabulary of the model is that of the tokenizer, and its weights can initialize other models with this tokenizer.

The masking of a token is a pure function of the seed, the epoch and the position of the token in the corpus. It does
not depend on the batch, the micro-step or the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE, TextBatch
from seqlab.data.epoch import seeded_generator
from seqlab.data.text_config import TextConfig
from seqlab.text import Tokenizer

MASKED_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of the chosen tokens that are replaced by the mask and by a random token (Devlin et al. 2019, section 3.1)."""
_MASKING = 2  # last part of the key of the generator, different from the keys in samplers
_GAMMA, _FIRST, _SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Masking:
    """Parameters of masking: the share of tokens, the seed, and ids of the vocabulary."""

    share: float
    """Share of the tokens that is chosen for prediction."""
    seed: int
    pad_id: int
    eos_id: int
    mask_id: int
    first_id: int
    """The first id after the special ids: the lowest id of random tokens."""
    vocab_size: int

    @classmethod
    def from_config(cls, config: TextConfig, tokenizer: Tokenizer, seed: int) -> Masking | None:
        """Return the masking of a config; None if `mask_share` is 0."""
        if not config.mask_share:
            return None
        special = tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id
        return cls(
            share=config.mask_share,
            seed=seed,
            pad_id=tokenizer.pad_id,
            eos_id=tokenizer.eos_id,
            mask_id=tokenizer.mask_id,
            first_id=max(special) + 1,
            vocab_size=tokenizer.vocab_size,
        )

    def __call__(self, batch: TextBatch, epoch: int) -> TextBatch:
        """Mask tokens of rows (B, T) of consecutive ids of the corpus; `indices` are the positions of the first ids.

        `batch` is an autoregressive batch, of which only `tgt_out` is used. In the new batch, `tgt_in` contains these
        ids, some of them replaced, and `tgt_out` the chosen ids. At least one id of each row is chosen; eos is chosen
        only in rows without any other token.
        """
        ids = batch.tgt_out.numpy()
        positions = batch.indices.numpy()[:, None] + np.arange(ids.shape[1])
        chance, action, replacement = (hashed_uniform(key, positions) for key in self._keys(epoch))
        is_chosen = self._choose(ids, chance)
        masked = is_chosen & (action < MASKED_SHARE)
        random = is_chosen & (action >= MASKED_SHARE) & (action < MASKED_SHARE + RANDOM_SHARE)
        random_ids = self.first_id + (replacement * (self.vocab_size - self.first_id)).astype(np.int64)
        inputs = np.where(ids == IGNORE, self.pad_id, ids)
        inputs = np.where(masked, self.mask_id, np.where(random, random_ids, inputs))
        return replace(
            batch,
            tgt_in=torch.from_numpy(inputs),
            tgt_out=torch.from_numpy(np.where(is_chosen, ids, IGNORE)),
            num_tgt_tokens=int(is_chosen.sum()),
        )

    def _choose(self, ids: NDArray[np.int64], chance: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Choose each token with a `chance` below the share; in a row without any, choose the lowest chance."""
        is_token = ids != IGNORE
        is_text = is_token & (ids != self.eos_id)
        candidates = np.where(is_text.any(1, keepdims=True), is_text, is_token)
        chance = np.where(candidates, chance, np.inf)
        return candidates & ((chance < self.share) | (chance == chance.min(1, keepdims=True)))

    def _keys(self, epoch: int) -> NDArray[np.uint64]:
        """Return the keys of three random numbers: whether a token is chosen, how it is replaced, and the random id."""
        return seeded_generator(self.seed, epoch, 0, _MASKING).integers(2**64, size=3, dtype=np.uint64)


def hashed_uniform(key: np.uint64, positions: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return a random number in [0, 1) for each position, as a pure function of key and position.

    SplitMix64 (Steele et al. 2014) can compute its n-th number without the numbers before it.
    """
    mixed = positions.astype(np.uint64) * _GAMMA + key  # modulo 2^64, as below
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53
