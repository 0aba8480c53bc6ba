"""What a teacher's translations are like, beside the references that they take the place of."""

from collections.abc import Sequence

from seqlab.evaluation.complexity import lexical_complexity


def describe_targets(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str] | None = None
) -> dict[str, float | int]:
    """Count and compare the lines of a corpus.

    Returns:
        `lines`, `different_sources`, `empty` (translations of lines that are not), `words_per_source_word` and
        `lexical_complexity` (in nats, see `lexical_complexity`); with references the same of these as `references_...`,
        and `same_as_reference`, a share of the lines.
    """
    src_words = max(1, sum(len(line.split()) for line in sources))
    found: dict[str, float | int] = {"lines": len(sources), "different_sources": len(set(sources))}
    found["empty"] = sum(bool(line.strip()) and not said for line, said in zip(sources, translations, strict=True))
    for name, targets in (("", translations), ("references_", references)):
        if targets is not None:
            found[f"{name}words_per_source_word"] = sum(len(line.split()) for line in targets) / src_words
            found[f"{name}lexical_complexity"] = lexical_complexity(sources, targets)
    if references is not None:
        same = sum(mine == theirs for mine, theirs in zip(translations, references, strict=True))
        found["same_as_reference"] = same / max(1, len(sources))
    return found
