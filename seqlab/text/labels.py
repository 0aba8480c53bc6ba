"""Labels in a vocabulary of their own: models know them by numbers from 0 on, the most frequent one first."""

from seqlab.text.tokenizer import SPECIAL_TOKENS, Tokenizer

FIRST_LABEL_ID = len(SPECIAL_TOKENS)
"""The id of label 0: a model predicts none of the special ids."""


def num_labels(tokenizer: Tokenizer) -> int:
    """Return how many labels a vocabulary of labels has."""
    return tokenizer.vocab_size - FIRST_LABEL_ID


def label_names(tokenizer: Tokenizer) -> list[str]:
    """Return the labels in the order of their numbers."""
    return tokenizer.decode([[index] for index in range(FIRST_LABEL_ID, tokenizer.vocab_size)])
