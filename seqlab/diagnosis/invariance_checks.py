"""Checks of models and objectives by what must not change the loss: later tokens, other targets, padding."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE, DivisibleBatch, TextBatch, ValueBatch
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.workbench import Learner, longest_rows, sample_rows
from seqlab.objectives import TextSide
from seqlab.objectives.loss import CollectingObjective
from seqlab.search.protocols import Stepper

MIN_TARGETS = 4
"""Minimum number of target positions of a batch for checks of later tokens."""
TOLERANCE = 2e-5
"""Relative change of a loss in fp32 that rounding and convolutions do not reach."""


def check_later_tokens(lab: Experiments) -> Iterator[Finding]:
    """Change the inputs of the second half of the positions: the scores of the first half must stay the same."""
    learner, batch = lab.trained, _decoder_batch(lab)
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    middle = batch.tgt_out.size(1) // 2
    tgt_in = batch.tgt_in.clone()
    tgt_in[:, middle:] = _other_ids(tgt_in[:, middle:], lab.bench.codecs[1])
    before, after = (_score(learner, variant, middle) for variant in (batch, replace(batch, tgt_in=tgt_in)))
    if _differs(before, after):
        evidence = (
            f"other input tokens from position {middle} on changed the log-probability of the tokens before them from "
            f"{before:.6g} to {after:.6g}"
        )
        yield Finding("future_visible", evidence, 0.98)


def _score(learner: Learner, batch: Any, num_positions: int) -> float:
    """Return the log-probability of the first target tokens of all rows."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        batch = batch.to(learner.bench.device_context.device)
        return float(learner.model.eval()(batch).scores(batch.tgt_out)[:, :num_positions].sum())


def check_targets_as_inputs(lab: Experiments) -> Iterator[Finding]:
    """Change target tokens at two positions: the changes of the loss must add up, unless targets are inputs, too."""
    learner, batch = lab.trained, _decoder_batch(lab)
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    is_target = batch.tgt_out != IGNORE
    if float((batch.tgt_in == batch.tgt_out)[is_target].float().mean()) > 0.9:
        yield Finding("unshifted_targets", "more than 90% of the input tokens equal the target at their position", 0.99)
        return
    first, second = batch.tgt_out.size(1) // 3, batch.tgt_out.size(1) // 3 + 1
    other = _other_ids(batch.tgt_out, lab.bench.codecs[1]).where(is_target, batch.tgt_out)
    totals = []
    for columns in ([], [first], [second], [first, second]):
        changed = batch.tgt_out.clone()
        changed[:, columns] = other[:, columns]
        totals.append(_total(learner, replace(batch, tgt_out=changed)))
    none, only_first, only_second, both = totals
    is_unread = only_first == only_second == none
    if is_unread and not isinstance(learner.objective, CollectingObjective):  # rewards of samples can be equal
        evidence = "other target tokens (`tgt_out`) do not change the loss, which reads other tokens as targets"
        yield Finding("unshifted_targets", evidence, 0.99)
        return
    if _differs(both - only_second, only_first - none, scale=abs(none)):
        evidence = (
            f"another target token at position {first} changed the loss by {only_first - none:.4g}, but by "
            f"{both - only_second:.4g} after the target at position {second} was changed: the model reads its targets"
        )
        yield Finding("unshifted_targets", evidence, 0.98)


def check_padding(lab: Experiments) -> Iterator[Finding]:
    """Add padding to a batch: neither the loss nor its number of units must change."""
    learner, batch = lab.trained, max(sample_rows(lab.bench.train_rows, 64), key=lambda rows: len(rows.indices))
    padded = _add_padding(batch, 5, lab.bench.codecs)
    _refuse_random(learner, batch)
    with torch.no_grad():
        before, after = (learner.training_loss(variant) for variant in (batch, padded))
    if _differs(float(before.total), float(after.total)) or _differs(float(before.count), float(after.count)):
        evidence = (
            f"five columns of padding changed the loss from {float(before.total):.4g} (over {float(before.count):.0f} "
            f"units) to {float(after.total):.4g} (over {float(after.count):.0f} units)"
        )
        yield Finding("padding_in_loss", evidence, 0.98)
        return
    yield from _check_ignored(learner, batch)


def _check_ignored(learner: Learner, batch: Any) -> Iterator[Finding]:
    """Take the targets of half of the rows away: the loss must be that of the other rows alone."""
    half = len(batch.indices) // 2
    if not isinstance(learner.model, Stepper) or half == 0:
        return
    tgt_out = batch.tgt_out.clone()
    tgt_out[half:] = IGNORE
    masked = replace(batch, tgt_out=tgt_out, num_tgt_tokens=int((tgt_out != IGNORE).sum()))
    with torch.no_grad():
        alone, together = (learner.training_loss(variant) for variant in (batch.select(torch.arange(half)), masked))
    if _differs(float(alone.total), float(together.total)) or _differs(float(alone.count), float(together.count)):
        evidence = (
            f"rows without targets, only with padding, changed the loss from {float(alone.total):.4g} (over "
            f"{float(alone.count):.0f} units) to {float(together.total):.4g} (over {float(together.count):.0f} units)"
        )
        yield Finding("padding_in_loss", evidence, 0.98)


def _decoder_batch(lab: Experiments) -> Any:
    """Return a few rows for a model that predicts from left to right; raise LeftOut for another model."""
    if not isinstance(lab.trained.model, Stepper) or lab.bench.config.model.outputs != "tokens":
        raise LeftOut("the model does not predict from left to right")
    batch = longest_rows(lab.bench.train_rows, 4)
    if batch.tgt_out.size(1) < MIN_TARGETS:
        raise LeftOut("the targets are too short")
    batch = replace(batch, continues=False) if batch.continues else batch
    _refuse_random(lab.trained, batch)
    return batch


def _other_ids(ids: Tensor, codec: Any) -> Tensor:
    """Return ids that differ from the given ones at each position, without special ids."""
    first = max(TextSide(codec).eos_id, TextSide(codec).bos_id, TextSide(codec).pad_id) + 1
    span = max(2, int(codec.vocab_size) - first)
    return first + (ids.clamp_min(first) - first + 1 + ids % (span - 1)) % span


def _refuse_random(learner: Learner, batch: DivisibleBatch) -> None:
    """Raise LeftOut if the loss of a batch is random in evaluation mode."""
    totals = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            on_device = batch.to(learner.bench.device_context.device)
            totals.append(float(learner.objective(learner.model.eval(), on_device, learner.bench.context).total))
    if totals[0] != totals[1]:
        raise LeftOut("the loss is random")


def _total(learner: Learner, batch: DivisibleBatch) -> float:
    with torch.no_grad():
        return float(learner.training_loss(batch).total)


def _differs(before: float, after: float, scale: float = 0.0) -> bool:
    return abs(after - before) > TOLERANCE * max(abs(before), abs(after), scale, 1e-6)


def _add_padding(batch: DivisibleBatch, count: int, codecs: tuple[Any, Any]) -> DivisibleBatch:
    """Return a batch with more columns of padding; raise LeftOut if its rows have no padding."""
    if isinstance(batch, ValueBatch) and len(batch.src_lengths.unique()) == 1:
        raise LeftOut("the rows have no padding")
    names = {item.name for item in fields(batch)}  # type: ignore[arg-type]
    changes: dict[str, Tensor] = {}
    for name in ("src", "frames", "tgt_in", "tgt_out"):
        value = getattr(batch, name) if name in names else None
        if value is None or value.dim() not in (2, 3) or (name == "tgt_out" and value.size(1) == 1):
            continue
        if value.is_floating_point():
            if value.size(1) == 1:
                continue
            changes[name] = torch.cat([value, value.new_zeros(len(value), count, value.size(2))], 1)
            continue
        fill = IGNORE if name == "tgt_out" else TextSide(codecs[name != "src"]).pad_id
        changes[name] = torch.cat([value, value.new_full((len(value), count), fill)], 1)
    if not changes or (isinstance(batch, TextBatch) and batch.positions is not None):
        raise LeftOut("the rows have no padding")
    return replace(batch, **changes)  # type: ignore[type-var]


QUESTIONS: Sequence[tuple[str, Any]] = (
    ("do later tokens change the loss of earlier ones?", check_later_tokens),
    ("does the model read its targets?", check_targets_as_inputs),
    ("does padding change the loss?", check_padding),
)
"""Text of each question -> function that yields findings."""
