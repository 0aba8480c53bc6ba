"""Tokens hidden from a model that is to fill them in: masked language modelling (Devlin et al. 2019, BERT).

Of the tokens of a batch a share is chosen. Of those, 80% are replaced by a mask, 10% by a random token and 10% stay, so
that the model cannot tell which of the tokens that it sees are right; it predicts the chosen ones alone.

Rows are as a translator reads its source, `tokens eos`, with no bos before them. So bos is free to be the mask: the
model's vocabulary is the tokenizer's own, and its weights fit every other model of that tokenizer.

What happens to a token is a pure function of (seed, epoch, its place in the text): the batch around it, the micro-step
and the number of ranks change nothing.
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
_MASKING = 2  # ends the key of the generator, so that no sampler draws the same numbers
_GAMMA, _FIRST, _SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden, and the ids that this needs."""

    share: float
    """Of all tokens, how many are predicted."""
    seed: int
    pad_id: int
    eos_id: int
    mask_id: int
    first_id: int
    """The first that is no special id; random tokens are drawn from here on."""
    vocab_size: int

    @classmethod
    def from_config(cls, config: TextConfig, tokenizer: Tokenizer, seed: int) -> Masking | None:
        """Return how a config hides tokens; None where it hides none."""
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
        """Hide tokens of rows (B, T) that lie in the text one id behind the other, from `indices` on.

        Of the left-to-right batch that is given only `tgt_out` is read: it is what the new batch's `tgt_in` shows, with
        some tokens replaced, and its `tgt_out` holds those that were chosen. At least one in each row is; ends of line
        are only in rows that hold nothing else.
        """
        ids = batch.tgt_out.numpy()
        places = batch.indices.numpy()[:, None] + np.arange(ids.shape[1])
        chance, action, other = (hashed_uniform(key, places) for key in self._keys(epoch))
        chosen = self._choose(ids, chance)
        masked = chosen & (action < MASKED_SHARE)
        random = chosen & (action >= MASKED_SHARE) & (action < MASKED_SHARE + RANDOM_SHARE)
        random_ids = self.first_id + (other * (self.vocab_size - self.first_id)).astype(np.int64)
        read = np.where(ids == IGNORE, self.pad_id, ids)
        read = np.where(masked, self.mask_id, np.where(random, random_ids, read))
        return replace(
            batch,
            tgt_in=torch.from_numpy(read),
            tgt_out=torch.from_numpy(np.where(chosen, ids, IGNORE)),
            num_tgt_tokens=int(chosen.sum()),
        )

    def _choose(self, ids: NDArray[np.int64], chance: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Choose each token by its chance; of a row that this leaves without one, the token that came closest."""
        is_token = ids != IGNORE
        is_text = is_token & (ids != self.eos_id)
        candidates = np.where(is_text.any(1, keepdims=True), is_text, is_token)
        chance = np.where(candidates, chance, np.inf)
        return candidates & ((chance < self.share) | (chance == chance.min(1, keepdims=True)))

    def _keys(self, epoch: int) -> NDArray[np.uint64]:
        """Return a key for whether a token is chosen, for what becomes of it, and for the random token."""
        return seeded_generator(self.seed, epoch, 0, _MASKING).integers(2**64, size=3, dtype=np.uint64)


def hashed_uniform(key: np.uint64, places: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return a random number in [0, 1) for each place, the same for the same key and place wherever it is asked for.

    SplitMix64 (Steele et al. 2014), whose n-th number needs none of those before it.
    """
    mixed = places.astype(np.uint64) * _GAMMA + key  # modulo 2^64, as all that follows
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53
