"""Initialize embeddings with pretrained word vectors.

The vectors are scaled by one factor to the root mean square of the random initialization, since the scaling, positions
and tied projection of a model expect this magnitude. A token without a vector keeps its random initialization.

Frozen vectors do not change: their gradients are set to 0, including those of a tied output layer.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seqlab.data.columns import FileColumn
from seqlab.runs.config import Config
from seqlab.text import Tokenizer, WordVectors, read_vector_dim, read_word_vectors

logger = logging.getLogger(__name__)

_TOKENS_PER_BLOCK = 1 << 24  # limits the memory of counting


@runtime_checkable
class EmbeddingModel(Protocol):
    """A model whose embeddings can be initialized from pretrained word vectors."""

    embeddings: dict[str, str]
    """Names of the embedding parameters of the source (`src`) and target (`tgt`) side."""


@dataclass(frozen=True)
class VectorInitialization:
    """Result of the initialization with word vectors."""

    frozen: dict[str, Tensor] = field(default_factory=dict)
    """Parameter -> indices of the rows that are not trained."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Side (`src`, `tgt`) -> entry of run.json about its vectors."""


def check_vectors(config: Config) -> None:
    """Raise ValueError if the dimensions of word vectors and embeddings differ, or if a file cannot be read."""
    field_name, size = config.model.embedding or ("d_model", 0)
    for file in config.data.vector_files().values():
        dim = read_vector_dim(Path(file).expanduser())
        if dim != size:
            raise ValueError(
                f"{file} contains vectors of {dim} values, but the embeddings have {size}: choose other vectors, or "
                f"set `model.{field_name}` to {dim}."
            )


def vector_columns(config: Config) -> list[FileColumn]:
    """Return the files of word vectors as text files; endings such as `.tsv` do not make them tables."""
    return [FileColumn(Path(file).expanduser()) for file in config.data.vector_files().values()]


def copy_word_vectors(
    model: nn.Module, config: Config, tokenizers: tuple[Tokenizer, Tokenizer], data: Any
) -> VectorInitialization:
    """Copy the word vectors of a config into the embeddings of a model; log their coverage.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is damaged or has no vector for any token.
    """
    result = VectorInitialization()
    embeddings: dict[str, str] = model.embeddings  # type: ignore[assignment]
    aliases = dict(model.named_parameters(remove_duplicate=False))
    first_names = {id(parameter): name for name, parameter in model.named_parameters()}
    for side, file in config.data.vector_files().items():
        weight = aliases[embeddings[side]]
        tokenizer = tokenizers[side == "tgt"]
        names, counts = tokenizer.tokens(range(tokenizer.vocab_size)), _token_counts(data, side, tokenizer.vocab_size)
        vectors = _read_vectors(file, names, counts, subwords=not tokenizer.has_unknown)
        rows = _write_vectors(weight, names, vectors)
        logger.info("%s: %s", file, vectors.coverage)
        if vectors.num_undecodable:
            logger.warning("%s: %d tokens are not valid UTF-8 and were skipped", file, vectors.num_undecodable)
        result.notes[side] = {
            "file": file,
            "found": vectors.coverage.num_found,
            "found_in_lower_case": vectors.coverage.num_lower_cased,
            "wanted": vectors.coverage.num_wanted,
            "running_share": vectors.coverage.running_share,
        }
        if config.optim.frozen_vectors:
            name = first_names[id(weight)]
            result.frozen[name] = rows
            others = [alias for alias, parameter in aliases.items() if parameter is weight and alias != name]
            shared = f" (shared with {' and '.join(others)})" if others else ""
            logger.info("Frozen: %s rows of %s%s.", f"{len(rows):,}", name, shared)
    return result


def _read_vectors(file: str, names: list[str], counts: NDArray[np.int64], *, subwords: bool) -> WordVectors:
    """Read the vectors of a vocabulary; `counts` are the token frequencies."""
    counts_of_tokens: dict[str, int] = {}
    for name, count in zip(names, counts.tolist(), strict=True):
        counts_of_tokens[name] = counts_of_tokens.get(name, 0) + count
    word_vectors = read_word_vectors(Path(file).expanduser(), counts_of_tokens, subwords=subwords)
    if not word_vectors.vectors.any():
        raise ValueError(f"{file} has no nonzero vector for any of the {len(counts_of_tokens):,} tokens.")
    return word_vectors


@torch.no_grad()
def _write_vectors(weight: Tensor, names: list[str], word_vectors: WordVectors) -> Tensor:
    """Write the scaled vectors into the embeddings; return the indices of their rows."""
    vectors = torch.from_numpy(word_vectors.vectors.astype(np.float64))
    scaled = vectors * (weight.double().square().mean() / vectors.square().mean()).sqrt()
    index_of = {token: index for index, token in enumerate(word_vectors.tokens)}
    rows = [row for row, name in enumerate(names) if name in index_of]
    weight[rows] = scaled[[index_of[names[row]] for row in rows]].to(weight.dtype)
    return torch.tensor(rows)


def _token_counts(data: Any, side: str, vocab_size: int) -> NDArray[np.int64]:
    """Count each token id in the cached training text of a side (V,)."""
    rows = getattr(data.train, side)
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, len(rows.values), _TOKENS_PER_BLOCK):
        counts += np.bincount(rows.values[start : start + _TOKENS_PER_BLOCK], minlength=vocab_size)
    return counts
