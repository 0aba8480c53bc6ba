"""Strings to ids and back: tokenizers of several kinds behind one protocol.

`train_tokenizer(config, lines)` learns one, `tokenizer.save(folder)` and `load_tokenizer(folder)` keep it. What every
kind promises about Unicode and whitespace is written in `seqlab.text.normalization`.
"""

from seqlab.text.byte_level import BpeConfig
from seqlab.text.config import LearntConfig, TokenizerConfig
from seqlab.text.labels import FIRST_LABEL_ID, label_names, num_labels
from seqlab.text.normalization import normalize
from seqlab.text.saved import SameConfig, SavedConfig
from seqlab.text.segmenter import Segmenter
from seqlab.text.sentence_piece import SentencePieceBpeConfig, SentencePieceUnigramConfig
from seqlab.text.tokenizer import FlatIds, Tokenizer, banned_ids
from seqlab.text.trained import load_tokenizer, tokenizer_kind, tokenizer_sha256, train_tokenizer
from seqlab.text.unknown import encode_unknown, unknown_of
from seqlab.text.vocabulary import TAB, CharactersConfig, WordsConfig
from seqlab.text.word_vectors import Coverage, WordVectors, lookup_name, read_word_vectors, size_of_vectors
from seqlab.text.words import packed

__all__ = [
    "FIRST_LABEL_ID",
    "TAB",
    "BpeConfig",
    "CharactersConfig",
    "Coverage",
    "FlatIds",
    "LearntConfig",
    "SameConfig",
    "SavedConfig",
    "Segmenter",
    "SentencePieceBpeConfig",
    "SentencePieceUnigramConfig",
    "Tokenizer",
    "TokenizerConfig",
    "WordVectors",
    "WordsConfig",
    "banned_ids",
    "encode_unknown",
    "label_names",
    "load_tokenizer",
    "lookup_name",
    "normalize",
    "num_labels",
    "packed",
    "read_word_vectors",
    "size_of_vectors",
    "tokenizer_kind",
    "tokenizer_sha256",
    "train_tokenizer",
    "unknown_of",
]
