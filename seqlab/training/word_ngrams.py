"""Which n-grams of words a labeller has vectors for: counted in the training corpus, before the first step."""

import logging

from seqlab.data.encoded import EncodedPairs
from seqlab.models import LabellingModel
from seqlab.nn.ngram_embedding import NgramEmbedding

logger = logging.getLogger(__name__)


def learn_ngrams(model: LabellingModel, pairs: EncodedPairs) -> None:
    """Let a labeller know the n-grams that the training corpus has more than once, and log how many these are."""
    for ngrams in model.reader.ngrams:
        assert isinstance(ngrams, NgramEmbedding)
        num_known = ngrams.learn(pairs.src.values, pairs.src.offsets)
        logger.info("n-grams of %d tokens: %s of at most %s", ngrams.length, f"{num_known:,}", f"{len(ngrams.known):,}")
