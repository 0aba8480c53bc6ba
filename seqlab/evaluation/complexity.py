"""Lexical complexity of a parallel text, which distillation lowers (Zhou et al. 2020, arXiv:1911.02727, section 3.2).

Words are aligned by IBM model 1 (Brown et al. 1993), in which t(y | x) is the probability that a source word x is
translated as y. The lexical complexity is the mean entropy of these distributions over all source words, in nats. Its
exponential is the effective number of translations of a word.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .score import Score

EM_ITERATIONS = 5
"""Iterations of expectation maximization; further iterations change little."""
MAX_LINES = 20_000
"""Maximum number of lines used; from a longer text about this many lines are taken at equal distances."""


def lexical_complexity(src_lines: Sequence[str], tgt_lines: Sequence[str]) -> float:
    """Compute the mean entropy of the translations of a source word, in nats; 0 if no line has words on both sides.

    Words are separated by whitespace.

    Raises:
        ValueError: the sides have different numbers of lines.
    """
    if len(src_lines) != len(tgt_lines):
        raise ValueError(
            f"Source and target must have equally many lines, but have {len(src_lines)} and {len(tgt_lines)}."
        )
    step = -(-len(src_lines) // MAX_LINES) if src_lines else 1
    src, tgt, tokens = _links(src_lines[::step], tgt_lines[::step])
    if not len(src):
        return 0.0
    pairs, link_pairs = np.unique(src * (int(tgt.max()) + 1) + tgt, return_inverse=True)
    pair_srcs = pairs // (int(tgt.max()) + 1)
    probs = np.ones(len(pairs))
    for _ in range(EM_ITERATIONS):
        weights = probs[link_pairs]
        weights /= np.bincount(tokens, weights)[tokens]
        counts = np.bincount(link_pairs, weights)
        probs = counts / np.bincount(pair_srcs, counts)[pair_srcs]
    entropies = np.bincount(pair_srcs, -probs * np.log(np.maximum(probs, np.finfo(float).tiny)))
    return float(entropies[1:].mean())  # without the empty word (id 0)


def alternatives(hypotheses: Sequence[str], references: Sequence[str], src_lines: Sequence[str]) -> Score:
    """Compute the effective number of translations of a source word, in a system's lines and in the references.

    It describes a text and does not measure its quality: for a system with a constant output it is 1.

    Raises:
        ValueError: the sides have different numbers of lines.
    """
    entropy, reference_entropy = (lexical_complexity(src_lines, lines) for lines in (hypotheses, references))
    extra = {"of_references": math.exp(reference_entropy), "lexical_complexity": entropy}
    signature = f"nrefs:1|case:mixed|unit:token|norm:none|align:ibm1|rounds:{EM_ITERATIONS}"
    return Score("alternatives", math.exp(entropy), signature, False, extra)


def describe_targets(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str] | None = None
) -> dict[str, float | int]:
    """Compute statistics of the targets of a distilled corpus, and of the references that they replace.

    Returns:
        `lines`, `different_sources`, `empty` (empty translations of sources that are not empty),
        `words_per_source_word` and `lexical_complexity` (in nats). With references also the last two figures for these,
        as `references_...`, and `same_as_reference`, a share of the lines.
    """
    src_words = max(1, sum(len(line.split()) for line in sources))
    statistics: dict[str, float | int] = {"lines": len(sources), "different_sources": len(set(sources))}
    statistics["empty"] = sum(bool(src.strip()) and not tgt for src, tgt in zip(sources, translations, strict=True))
    for name, targets in (("", translations), ("references_", references)):
        if targets is not None:
            statistics[f"{name}words_per_source_word"] = sum(len(line.split()) for line in targets) / src_words
            statistics[f"{name}lexical_complexity"] = lexical_complexity(sources, targets)
    if references is not None:
        same = sum(tgt == reference for tgt, reference in zip(translations, references, strict=True))
        statistics["same_as_reference"] = same / max(1, len(sources))
    return statistics


def _links(
    src_lines: Sequence[str], tgt_lines: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Link each target word to all source words of its line and to the empty word.

    Returns:
        For each link the id of the source word (0 for the empty word), the id of the target word, and the index of the
        target word in the text.
    """
    src_ids: dict[str, int] = {}
    tgt_ids: dict[str, int] = {}
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for src_words, tgt_words in zip(map(str.split, src_lines), map(str.split, tgt_lines), strict=True):
        if src_words and tgt_words:  # lines with an empty side have no translations
            src = [src_ids.setdefault(word, len(src_ids) + 1) for word in src_words]
            tgt = [tgt_ids.setdefault(word, len(tgt_ids)) for word in tgt_words]
            parts.append((np.array([0, *src]), np.array(tgt)))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    counts = np.concatenate([np.full(len(tgt), len(src)) for src, tgt in parts])  # number of links of each target word
    return (
        np.concatenate([np.tile(src, len(tgt)) for src, tgt in parts]),
        np.concatenate([np.repeat(tgt, len(src)) for src, tgt in parts]),
        np.repeat(np.arange(len(counts)), counts),
    )
