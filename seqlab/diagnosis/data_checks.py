"""Checks of the data: repeated rows, and what the inputs say about the targets and about the split of a row."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.diagnosis.association_checks import MAX_SIMPLE_ROWS, check_alignment, check_association
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.rows import Rows, features, row_keys
from seqlab.diagnosis.simple_models import area_under_roc, cross_fit
from seqlab.diagnosis.writing import writing_difference
from seqlab.objectives import TextSide

MIN_LEAKED, MIN_REPEATED = 0.05, 0.2
MANY_REPEATED = 0.5
"""Share of repeated training rows from which they are a likely cause: short texts are often repeated on purpose."""
WINDOW = 30
"""Tokens of a piece of text that is looked for at other positions."""
MIN_SCALE, MAX_SCALE, MAX_VALUE = 0.005, 20.0, 1000.0
"""Range of the root mean square of the inputs of a first layer, and its largest value, in healthy runs."""
MIN_AREA = 0.7
"""Area under the ROC curve from which a classifier tells training and validation rows apart."""
SURE_AREA = 0.9
"""Area from which the rows differ, whatever the losses are."""
UNKNOWN_FACTOR, MIN_UNKNOWN = 1.5, 0.05
"""Unknown tokens come from another writing if they exceed the rare tokens of training by this factor and share."""
MIN_LOST_CATEGORIES = 0.2
"""Share of the categories of training rows that validation rows lack, from which they are written differently."""


def check_repeated_rows(lab: Experiments) -> Iterator[Finding]:
    """Count training rows that are repeated, and validation rows that are in the training data."""
    keys = Counter(row_keys(lab.rows))
    repeated, leaked = max(1 - len(keys) / len(lab.rows), repeated_share(lab.rows)), 0.0
    if lab.bench.valid_rows:
        valid = row_keys(lab.valid_array_rows)
        leaked = sum(key in keys for key in valid) / len(valid)
    leaked_rows = f"{100 * leaked:.1f}% of the validation rows are in the training data"
    copied = sum(count for count in keys.values() if count > 1) / len(lab.rows)
    # A training row that has copies may have one in the validation set, too: that is no leak of the split.
    if leaked > max(MIN_LEAKED, 1.5 * copied):
        yield Finding("leakage", leaked_rows, 0.96)
    if repeated > MIN_REPEATED:
        _, count = keys.most_common(1)[0]
        what = "of the training rows repeat another one"
        if not lab.rows.has_inputs and count == 1:
            what = f"of the pieces of {WINDOW} tokens of the training text repeat an earlier one"
        evidence = f"{100 * repeated:.0f}% {what}; the most frequent row occurs {count} times; {leaked_rows}"
        confidence = 0.95 if repeated > MANY_REPEATED and leaked <= MIN_LEAKED else 0.6
        yield Finding("duplicates", evidence, confidence)


def repeated_share(rows: Rows) -> float:
    """Return the share of pieces of `WINDOW` tokens of a text that occur before; 0 for rows with inputs.

    The blocks of a text that is repeated need not be equal, because they start at other positions.
    """
    texts = [] if rows.has_inputs or not rows.are_ids else [row for row in rows.texts if len(row) >= WINDOW]
    if not texts:
        return 0.0
    factors = np.random.default_rng(6).integers(1, 2**62, WINDOW, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = []
    for row in texts:
        pieces = np.lib.stride_tricks.sliding_window_view(row.astype(np.uint64), WINDOW)
        hashes.append((pieces * factors).sum(1, dtype=np.uint64))
    all_hashes = np.concatenate(hashes)
    return 1 - len(np.unique(all_hashes)) / len(all_hashes)


def check_sides(lab: Experiments) -> Iterator[Finding]:
    """Compare the characters of the sources and targets of training and validation rows."""
    if lab.rows.target_kind != "tokens" or not lab.rows.are_ids or not lab.rows.has_inputs:
        raise LeftOut("the rows are not pairs of texts")
    profiles = []
    for rows in (lab.rows.sample(MAX_SIMPLE_ROWS), lab.valid_array_rows.sample(MAX_SIMPLE_ROWS)):
        for codec, ids in zip(lab.bench.codecs, (rows.inputs, rows.targets), strict=True):
            profiles.append(_trigrams(TextSide(codec).to_texts([row.tolist() for row in ids])))
    src, tgt, valid_src, valid_tgt = profiles
    straight = _similarity(src, valid_src) + _similarity(tgt, valid_tgt)
    crossed = _similarity(src, valid_tgt) + _similarity(tgt, valid_src)
    if crossed > straight:
        evidence = (
            f"the character trigrams of training sources are those of validation targets, and the other way round "
            f"(similarity {crossed / 2:.2f}; of the same sides {straight / 2:.2f})"
        )
        yield Finding("swapped_sides", evidence, 0.97)


def _trigrams(lines: Sequence[str]) -> Counter[str]:
    return Counter(line[i : i + 3] for line in lines for i in range(len(line) - 2))


def _similarity(first: Counter[str], second: Counter[str]) -> float:
    """Return the cosine of two vectors of counts."""
    product = sum(count * second[key] for key, count in first.items())
    norms = [sum(count * count for count in counts.values()) ** 0.5 for counts in (first, second)]
    return product / max(1e-9, norms[0] * norms[1])


def check_scales(lab: Experiments) -> Iterator[Finding]:
    """Measure the numbers that the first layer with weights receives: their scale must be about 1."""
    received: list[tuple[Any, ...]] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: received.append((name, *inputs[:1])))
        for name, module in lab.trained.model.named_modules()
        if not [*module.children()] and any(parameter.dim() > 1 for parameter in module.parameters())
    ]
    try:
        lab.trained.losses(lab.train_sample[:4])
    finally:
        for hook in hooks:
            hook.remove()
    name, *inputs = received[0] if received else ("",)
    values = inputs[0] if inputs else None
    if not (isinstance(values, Tensor) and values.is_floating_point() and values.numel()):
        raise LeftOut("the inputs of the first layer are not numbers")
    values = values.flatten(0, -2).double()
    scale, deviation = float(values.square().mean().sqrt()), float(values.std(0).square().mean().sqrt())
    largest = float(values.abs().amax(0).max())
    if MIN_SCALE < scale < MAX_SCALE and largest < MAX_VALUE:
        return
    evidence = (
        f"{name} receives numbers with a root mean square of {scale:.3g} (standard deviation {deviation:.2g}, largest "
        f"value {largest:.3g}) instead of about 1"
    )
    yield Finding("unscaled_inputs", evidence, 0.96)


def check_split(lab: Experiments) -> Iterator[Finding]:
    """Train a classifier to tell training rows from validation rows."""
    if not lab.bench.valid_rows:
        raise LeftOut("the task does not list the validation rows")
    train, valid = lab.rows.sample(MAX_SIMPLE_ROWS // 2), lab.valid_array_rows.sample(MAX_SIMPLE_ROWS // 2)
    targets = [*train.targets, *valid.targets]
    texts = [*train.texts, *valid.texts]
    unk_id = _unk_id(lab) if train.are_ids else None
    known = texts if unk_id is None else [row[row != unk_id] for row in texts]  # training rows have no unknown tokens
    joined = Rows(known, targets, np.arange(len(targets)), train.target_kind)
    inputs = features(joined)
    is_valid = np.arange(len(joined)) >= len(train)
    log_probs = cross_fit(inputs, is_valid.astype(np.int64), 2).log_probs
    area = area_under_roc(log_probs[:, 1] - log_probs[:, 0], is_valid)
    if area < MIN_AREA:
        return
    cause = _reading_difference(lab, train, valid, area) or _lost_categories(inputs, is_valid, lab)
    shown = _telling_features(inputs, is_valid, joined, lab)
    evidence = (
        f"a linear classifier tells validation rows from training rows (area under the ROC curve {area:.2f}){shown}"
    )
    is_worse, text = _loss_of_split(lab)
    if cause:
        yield Finding("other_reading", f"{evidence}; {cause}{text}", 0.94)
    elif is_worse or area > SURE_AREA:
        yield Finding("mismatch", f"{evidence}{text}", 0.9)
    elif not text:  # there was no time to measure the losses, which could show that the difference does not matter
        yield Finding("mismatch", evidence, 0.5)


def _loss_of_split(lab: Experiments) -> tuple[bool, str]:
    """Compare, after training on half of the training rows, the losses of the other half and of the validation rows.

    Return whether that of the validation rows is higher, and the figures; "" if there was no time.
    """
    try:
        outcome = lab.run("fresh", "half", rows=lab.half[0])
    except LeftOut:
        return False, ""
    other, valid = outcome.other, outcome.valid
    error = float(np.hypot(other.standard_error, valid.standard_error))
    difference = valid.mean - other.mean
    text = (
        f"; trained on half of the training rows, the loss is {other.mean:.3g} on the other half and "
        f"{valid.mean:.3g} on the validation rows ({difference:+.2g} ± {error:.1g})"
    )
    return difference > max(3 * error, 0.05 * abs(other.mean)), text


def _reading_difference(lab: Experiments, train: Rows, valid: Rows, area: float) -> str:
    """Return how the writing of the validation text differs from that of the training text; "" if it does not."""
    unk_id = _unk_id(lab)
    if not train.are_ids or unk_id is None:
        return ""
    rare, unknown = _share_of_rare(lab.rows), float((np.concatenate(valid.texts) == unk_id).mean())
    if unknown > UNKNOWN_FACTOR * rare + MIN_UNKNOWN:
        return (
            f"{100 * unknown:.1f}% of the validation tokens are unknown, but only {100 * rare:.1f}% of the training "
            "tokens are in no other row"
        )
    side = TextSide(lab.bench.codecs[0 if train.has_inputs else 1])
    texts, valid_texts = (side.to_texts([row[row != unk_id].tolist() for row in rows.texts]) for rows in (train, valid))
    return writing_difference(texts, valid_texts, area)


def _unk_id(lab: Experiments) -> int | None:
    """Return the id of unknown tokens; None if the text has none."""
    try:
        return TextSide(lab.bench.codecs[0]).unk_id
    except AttributeError:
        return None


def _share_of_rare(rows: Rows) -> float:
    """Return the share of tokens that are in no other row: of unknown tokens in new rows of the same kind."""
    counts = Counter(index for row in rows.texts for index in set(row.tolist()))
    tokens = Counter(index for row in rows.texts for index in row.tolist())
    return sum(tokens[index] for index, count in counts.items() if count == 1) / max(1, sum(tokens.values()))


def _lost_categories(inputs: NDArray[np.float32], is_valid: NDArray[np.bool_], lab: Experiments) -> str:
    """Return how many known categories validation rows of a table have compared with training rows."""
    codec = lab.bench.codecs[0]
    is_category = np.array(codec.is_category() if hasattr(codec, "is_category") else [], bool)
    if not is_category.any() or len(is_category) != inputs.shape[1]:
        return ""
    low, high = (function(inputs[~is_valid], axis=0) for function in (np.min, np.max))
    is_on = (inputs > (low + high) / 2)[:, is_category]
    before, after = (float(is_on[mask].sum(1).mean()) for mask in (~is_valid, is_valid))
    if after > (1 - MIN_LOST_CATEGORIES) * before:
        return ""
    return f"a training row has {before:.1f} known categories, a validation row {after:.1f}"


def _telling_features(inputs: NDArray[np.float32], is_valid: NDArray[np.bool_], rows: Rows, lab: Experiments) -> str:
    """Name the features with the largest difference between training and validation rows."""
    train, valid = inputs[~is_valid], inputs[is_valid]
    distance = np.abs(train.mean(0) - valid.mean(0)) / np.sqrt(
        train.var(0) / len(train) + valid.var(0) / len(valid) + 1e-12
    )
    best = np.argsort(-distance)[:3]
    if not rows.are_ids:
        count = inputs.shape[1]
        shown = [
            f"{_feature_name(lab, index, count)} (mean {train[:, index].mean():.2g} and {valid[:, index].mean():.2g})"
            for index in best.tolist()
        ]
        return f", most by {', '.join(shown)} in training and in validation, as the model reads them"
    try:
        side = TextSide(lab.bench.codecs[0])
        names = [repr(side.to_text([int(token)]).strip()) for token in best]
    except (ValueError, AttributeError, IndexError):
        return ""
    return f", most by {', '.join(names)}"


def _feature_name(lab: Experiments, number: int, count: int) -> str:
    """Return the name of one of `count` features: that of the codec, or its number."""
    codec = lab.bench.codecs[0]
    names = codec.feature_names() if hasattr(codec, "feature_names") else []
    return names[number] if len(names) == count else f"feature {number + 1}"


QUESTIONS: Sequence[tuple[str, Any]] = (
    ("are rows repeated, within training or in validation?", check_repeated_rows),
    ("do the inputs fit the targets of their own rows?", check_alignment),
    ("are source and target exchanged?", check_sides),
    ("do the inputs say anything about the targets?", check_association),
    ("do the inputs have a scale of about 1?", check_scales),
    ("can training and validation rows be told apart?", check_split),
)
"""Text of each question -> function that yields findings."""
