"""Oracle tokens of exposure bias against exhaustive search over continuations."""

from itertools import product

from seqlab.evaluation.edits import count_edits
from seqlab.tasks.translation.exposure import Oracle

EOS = 9


def edit_distance(a: list[int], b: list[int]) -> int:
    return count_edits([str(each) for each in a], [str(each) for each in b]).total


def best_by_exhaustive_search(prefix: list[int], reference: list[int]) -> set[int]:
    """Try all continuations of up to three tokens; return the first tokens that lead to the fewest edits."""
    fewest, best = 10**9, set()
    for length in range(len(reference) + 1):
        for rest in product(range(3), repeat=length):
            edits = edit_distance([*prefix, *rest], reference)
            first = rest[0] if rest else EOS
            if edits < fewest:
                fewest, best = edits, {first}
            elif edits == fewest:
                best.add(first)
    return best


def test_oracle_tokens_match_exhaustive_search() -> None:
    sequences = [list(each) for length in range(4) for each in product(range(3), repeat=length)]
    for reference, prefix in product(sequences, sequences):
        oracle = Oracle.of_empty_prefix([*reference, EOS])
        for token in prefix:
            oracle = oracle.extended(token)
        assert oracle.correct_tokens() == best_by_exhaustive_search(prefix, reference)
        assert oracle.has_error == (prefix != reference[: len(prefix)])


def test_only_the_next_reference_token_is_correct_after_a_reference_prefix() -> None:
    reference = [1, 1, 2, 1, EOS]
    oracle = Oracle.of_empty_prefix(reference)
    for token in reference[:-1]:
        assert oracle.correct_tokens() == {token}
        oracle = oracle.extended(token)
    assert oracle.correct_tokens() == {EOS}
