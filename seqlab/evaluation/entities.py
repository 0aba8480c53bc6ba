"""Entity F1 of labels such as `B-PER`: exact matches of the spans and types of entities.

The first letter of a label is the position in an entity: B (begin), I or M (inside), E or L (end), S, U or W (single);
O is outside. After `-` or `_` follows the type.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from .classification import label_pairs
from .score import LineStatistics, References, Score

_POSITIONS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
OUTSIDE = "O"
_OUTSIDE_TAG = (OUTSIDE, "")
Tag = tuple[str, str]
"""Position in the entity, `B`, `I`, `E`, `S` or `O`, and type."""
Entity = tuple[int, int, str]
"""Index of the first word, index after the last word, and type."""


def entity_f1(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the F1 of entities in percent, as the script `conlleval` and the default of `seqeval`.

    An entity also begins at a label `I-` or `E-` that does not continue one of the same type, as in the scheme IOB1.

    Raises:
        ValueError: a label has another form, or there are several references; errors of `accuracy`.
    """
    return _entity_f1("entity_f1", hypotheses, references, "lenient")


def entity_f1_strict(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the F1 of entities in percent, as the strict mode of `seqeval`: sequences must keep to the scheme.

    With IOB2, entities begin with `B-`. With IOBES, they are a single `S-`, or begin with `B-` and end with `E-`. The
    scheme is IOBES if a reference has a label `E-` or `S-`, otherwise IOB2.

    Raises:
        ValueError: the references are IOB1, in which entities begin with `I-`; errors of `entity_f1`.
    """
    positions = {position for line in references[0] for position, _ in map(_parse, (line or "").split())}
    scheme = "IOBES" if positions & {"E", "S"} else "IOB2"
    if scheme == "IOB2":
        for number, line in enumerate(references[0], start=1):
            tags = [_parse(label) for label in (line or "").split()]
            if set(lenient_entities(tags)) != set(strict_entities(tags, scheme)):
                raise ValueError(
                    f"line {number} of the references: an entity begins with `I-`, as in the scheme IOB1, which strict "
                    "evaluation does not allow: use `entity_f1`, or convert the labels to IOB2."
                )
    return _entity_f1("entity_f1_strict", hypotheses, references, scheme)


def lenient_entities(tags: Sequence[Tag]) -> Iterator[Entity]:
    """Yield the entities of a line; each label that is not `O` belongs to one."""
    start, before = 0, _OUTSIDE_TAG
    for index, tag in enumerate([*tags, _OUTSIDE_TAG]):
        begins = tag[0] in "BS" or before[0] in "ESO" or before[1] != tag[1]
        if before[0] != OUTSIDE and (begins or tag[0] == OUTSIDE):
            yield start, index, before[1]
        if begins:
            start = index
        before = tag


def strict_entities(tags: Sequence[Tag], scheme: str) -> Iterator[Entity]:
    """Yield the entities of a line whose labels keep to the scheme, IOB2 or IOBES."""
    for start, (position, kind) in enumerate(tags):
        if position == "S" and scheme == "IOBES":
            yield start, start + 1, kind
        if position != "B":
            continue
        end = start + 1
        while end < len(tags) and tags[end] == ("I", kind):
            end += 1
        if scheme == "IOB2":
            yield start, end, kind
        elif end < len(tags) and tags[end] == ("E", kind):
            yield start, end + 1, kind


def _entity_f1(name: str, hypotheses: Sequence[str], references: References, scheme: str) -> LineStatistics:
    if len(references) > 1:
        raise ValueError(f"`{name}` compares with one reference, but there are {len(references)}: name one.")
    rows = []
    for pairs in label_pairs(hypotheses, references):
        sides = [_parse(label) for label, _ in pairs], [_parse(true) for _, (true,) in pairs]
        entities, true_entities = (
            set(lenient_entities(tags) if scheme == "lenient" else strict_entities(tags, scheme)) for tags in sides
        )
        rows.append((len(entities & true_entities), len(entities), len(true_entities)))
    signature = f"nrefs:1|case:mixed|unit:entity|scheme:{scheme}|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, predicted, true = summed.tolist()
        extra = {
            "precision": 100 * correct / max(1, predicted),
            "recall": 100 * correct / max(1, true),
            "correct": correct,
            "predicted": predicted,
            "entities": true,
        }
        return Score(name, 200 * correct / max(1, predicted + true), signature, True, extra)

    return LineStatistics(np.array(rows).reshape(-1, 3), score_of_sum)


def _parse(label: str) -> Tag:
    """Split a label into its position and type; raise ValueError if it has another form."""
    if label == OUTSIDE:
        return _OUTSIDE_TAG
    position, separator, kind = label[:1], label[1:2], label[2:]
    if position not in _POSITIONS or separator not in ("", "-", "_") or bool(separator) != bool(kind):
        raise ValueError(
            f"Entity F1 needs labels such as B-PER, I-PER and O, but one is {label!r}: use `accuracy` or `macro_f1`."
        )
    return _POSITIONS[position], kind
