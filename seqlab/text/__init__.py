"""Tokenizers: text to ids and back.

`train_tokenizer(config, lines)` trains a tokenizer, `tokenizer.save(folder)` writes it, and `load_tokenizer(folder)`
loads it. `seqlab.text.normalization` describes how tokenizers treat Unicode and whitespace.
"""

from seqlab.text.byte_level import BpeConfig
from seqlab.text.config import TokenizerConfig, TrainedTokenizerConfig
from seqlab.text.normalization import normalize
from seqlab.text.segmenter import Segmenter, pack_ids
from seqlab.text.sentence_piece import SentencePieceBpeConfig, SentencePieceUnigramConfig
from seqlab.text.tokenizer import (
    FIRST_LABEL_ID,
    FlatIds,
    Tokenizer,
    banned_ids,
    encode_unknown,
    find_unknown,
    label_names,
    num_labels,
)
from seqlab.text.trained import (
    SameConfig,
    SavedConfig,
    load_tokenizer,
    tokenizer_kind,
    tokenizer_sha256,
    train_tokenizer,
)
from seqlab.text.vocabulary import TAB, CharactersConfig, WordsConfig
from seqlab.text.word_vectors import VectorCoverage, WordVectors, lookup_word, read_vector_dim, read_word_vectors

__all__ = [
    "FIRST_LABEL_ID",
    "TAB",
    "BpeConfig",
    "CharactersConfig",
    "FlatIds",
    "SameConfig",
    "SavedConfig",
    "Segmenter",
    "SentencePieceBpeConfig",
    "SentencePieceUnigramConfig",
    "Tokenizer",
    "TokenizerConfig",
    "TrainedTokenizerConfig",
    "VectorCoverage",
    "WordVectors",
    "WordsConfig",
    "banned_ids",
    "encode_unknown",
    "find_unknown",
    "label_names",
    "load_tokenizer",
    "lookup_word",
    "normalize",
    "num_labels",
    "pack_ids",
    "read_vector_dim",
    "read_word_vectors",
    "tokenizer_kind",
    "tokenizer_sha256",
    "train_tokenizer",
]
