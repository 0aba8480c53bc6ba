"""Entity F1, compared with seqeval, with published values and with brute force over all spans."""

from itertools import product

import numpy as np
import pytest
import seqeval.metrics
import seqeval.scheme

from seqlab.evaluation import METRICS, evaluate

LABELS = ["O", *(f"{position}-{kind}" for kind in "XY" for position in "BIES")]


def scores(hypotheses: list[str], references: list[str], metric: str) -> tuple[float, float, float]:
    score = evaluate(hypotheses, [references], [metric])[metric]
    return score.value, score.extra["precision"], score.extra["recall"]


@pytest.mark.parametrize(
    ("metric", "hypotheses", "references", "expected"),
    [
        # seqeval's README
        (
            "entity_f1",
            ["O O B-MISC I-MISC I-MISC I-MISC O", "B-PER I-PER O"],
            ["O O O B-MISC I-MISC I-MISC O", "B-PER I-PER O"],
            (50, 50, 50),
        ),
        ("entity_f1", ["I-NP I-NP O"], ["B-NP I-NP O"], (100, 100, 100)),
        ("entity_f1_strict", ["I-NP I-NP O"], ["B-NP I-NP O"], (0, 0, 0)),
        ("entity_f1_strict", ["B-PER I-PER S-PER"], ["B-PER E-PER S-PER"], (200 / 3, 100, 50)),  # seqeval issue 25
        ("entity_f1", ["B-M I-M I-M E-M"], ["B-M E-M B-M E-M"], (0, 0, 0)),  # conlleval.py issue 1
        ("entity_f1", ["I-A I-A B-A O I-B"], ["I-A I-A B-A O I-A"], (200 / 3, 200 / 3, 200 / 3)),  # IOB1
        ("entity_f1_strict", ["B-A L-A U-B"], ["B-A L-A U-A"], (50, 50, 50)),  # BILOU
        ("entity_f1", ["B-A M-A E-A W-B"], ["B-A M-A E-A W-B"], (100, 100, 100)),  # BMEW
        ("entity_f1", ["B I O"], ["B I O"], (100, 100, 100)),
        ("entity_f1", ["O O"], ["O B-a-b"], (0, 0, 0)),
    ],
)
def test_published_and_computed_values(
    metric: str, hypotheses: list[str], references: list[str], expected: tuple[float, float, float]
) -> None:
    assert scores(hypotheses, references, metric) == pytest.approx(expected)


def lenient(labels: tuple[str, ...]) -> set[tuple[int, int, str]]:
    """Return the maximal spans of one type with a boundary of conlleval at both ends and none within."""

    def is_boundary(index: int) -> bool:
        before, after = (labels[i] if 0 <= i < len(labels) else "O" for i in (index - 1, index))
        return before[0] in "OES" or after[0] in "OBS" or before[2:] != after[2:]

    return {
        (start, end, labels[start][2:])
        for start in range(len(labels))
        for end in range(start + 1, len(labels) + 1)
        if [is_boundary(i) for i in range(start, end + 1)] == [True, *[False] * (end - start - 1), True]
        and labels[start] != "O"
    }


def strict(labels: tuple[str, ...], scheme: str) -> set[tuple[int, int, str]]:
    """Return the spans whose labels are those that the scheme prescribes."""
    found = set()
    for kind, start in product("XY", range(len(labels))):
        for end in range(start + 1, len(labels) + 1):
            size, follows = end - start, labels[end] if end < len(labels) else "O"
            if scheme == "IOB2":
                positions, is_whole = "B" + "I" * (size - 1), follows != f"I-{kind}"
            else:
                positions, is_whole = "S" if size == 1 else "B" + "I" * (size - 2) + "E", True
            if is_whole and labels[start:end] == tuple(f"{position}-{kind}" for position in positions):
                found.add((start, end, kind))
    return found


@pytest.mark.parametrize("metric", ["entity_f1", "entity_f1_strict"])
@pytest.mark.parametrize("reference", [("B-X", "E-X", "S-Y", "O"), ("B-X", "I-X", "B-Y", "O")])
def test_all_label_sequences(metric: str, reference: tuple[str, ...]) -> None:
    scheme = "IOBES" if "S-Y" in reference else "IOB2"

    def entities(labels: tuple[str, ...]) -> set[tuple[int, int, str]]:
        return lenient(labels) if metric == "entity_f1" else strict(labels, scheme)

    sequences, true = list(product(LABELS, repeat=4)), entities(reference)
    statistics = METRICS[metric](list(map(" ".join, sequences)), [[" ".join(reference)] * len(sequences)])
    expected = [[len(found & true), len(found), len(true)] for found in map(entities, sequences)]
    assert isinstance(statistics.rows, np.ndarray)
    assert statistics.rows.tolist() == expected


@pytest.mark.parametrize(
    ("metric", "hypothesis", "reference", "message"),
    [
        ("entity_f1", "PER O", "B-PER O", r"one is 'PER': use `accuracy`"),
        ("entity_f1", "B-PER", "PER-B", r"one is 'PER-B'"),
        ("entity_f1", "B-", "O", r"one is 'B-'"),
        ("entity_f1", "O O", "O", "has 2 labels, but line 1 of the references has 1"),
        ("entity_f1_strict", "B-X O", "I-X O", "line 1 of the references: an entity begins with `I-`"),
    ],
)
def test_labels_of_another_form_are_refused(metric: str, hypothesis: str, reference: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores([hypothesis], [reference], metric)


def random_entities(rng: np.random.Generator, scheme: str) -> list[str]:
    """Return the labels of a line with random entities in a scheme."""
    labels = []
    for kind in rng.choice(["", "X", "Y-Z"], size=rng.integers(1, 8)):
        size = rng.integers(1, 4)
        inside = [f"I-{kind}"] * (size - 1)
        if not kind:
            labels += ["O"] * size
        elif scheme == "IOB2":
            labels += [f"B-{kind}", *inside]
        else:
            begin, end, single = "BES" if scheme == "IOBES" else "BLU"
            labels += [f"{single}-{kind}"] if size == 1 else [f"{begin}-{kind}", *inside[1:], f"{end}-{kind}"]
    return labels


def random_changes(rng: np.random.Generator, labels: list[str]) -> list[str]:
    """Replace some labels by others of the same scheme."""
    known = sorted({*labels, "O"})
    return [str(rng.choice(known)) if rng.random() < 0.2 else label for label in labels]


def assert_equal_to_seqeval(
    hypotheses: list[list[str]], references: list[list[str]], metric: str, **options: object
) -> None:
    names = ("f1_score", "precision_score", "recall_score")
    expected = [
        100 * getattr(seqeval.metrics, name)(references, hypotheses, zero_division=0, **options) for name in names
    ]
    assert scores([*map(" ".join, hypotheses)], [*map(" ".join, references)], metric) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scheme", ["IOB2", "IOBES", "BILOU"])
def test_scores_equal_those_of_seqeval(scheme: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    references = [random_entities(rng, scheme) for _ in range(12)]
    hypotheses = [random_changes(rng, labels) for labels in references]
    options = {"mode": "strict", "scheme": getattr(seqeval.scheme, scheme)}
    assert_equal_to_seqeval(hypotheses, references, "entity_f1_strict", **options)
    if scheme != "BILOU":  # the lenient mode of seqeval does not know it
        assert_equal_to_seqeval(hypotheses, references, "entity_f1")


@pytest.mark.parametrize("seed", range(20))
def test_scores_of_any_labels_equal_the_lenient_ones_of_seqeval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    references, hypotheses = ([rng.choice(LABELS, size=9).tolist() for _ in range(12)] for _ in range(2))
    assert_equal_to_seqeval(hypotheses, references, "entity_f1")
