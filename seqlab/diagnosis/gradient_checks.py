"""Checks of a model at its start and of its gradients: units, layers, positions, first loss, first updates."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, LabelledBatch, TextBatch, ValueBatch
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.workbench import Learner, longest_rows, sample_rows
from seqlab.search.protocols import Stepper
from seqlab.training.running_statistics import recomputed_buffers, running_statistics

MIN_DEAD_SHARE = 0.5
EMBEDDINGS = ("embedding", "positions", "embeddings", "spelling", "ngrams")
"""Names of modules with a weight for each id, position, character or n-gram, of which a batch has only some."""
EMBEDDED = (*EMBEDDINGS, "embedding_dropout")
"""Names of modules whose output is a vector for each token; dropout may follow a look-up without a module."""
MIN_LAYER_UNITS = 8
MAX_GRADIENT_RATIO = 1e4
"""Largest ratio between the gradients of two layers (root mean squares) in healthy models."""
MAX_FIRST_LOSS, FIRST_LOSS_MARGIN = 1.2, 0.1
"""Largest usual first loss: this factor times the loss of uniform outputs, plus a margin in nats."""
EXTREME_FIRST_LOSS, EXTREME_OF_NUMBERS = 1.5, 10.0
"""Factor of the loss of uniform outputs, with the same margin, above which a first loss is a likely cause."""
MIN_POSITIONS = 8
MAX_GROWTH, MIN_GROWTH = 1e3, 1e-7
"""Range of the gradient of early positions, relative to that of late ones, in untrained healthy models."""
MIN_BATCH_NORM_DROP = 0.2
"""Share by which the loss must fall with statistics of batch norm that are computed anew."""
MAX_LEARNED = 0.9
"""Share of the loss of uniform outputs below which a run has learned, so that the sign of its loss is right."""
SMALL_RATES, TINY_CHANGE = (0.1, 0.01, 1e-4), 1e-5
"""Factors of the learning rate with which updates must lower the loss, and a relative change that can be rounding."""
EXPLODED = 1e3
"""Norm of the gradient per unit that no healthy training has."""


def check_gradients(lab: Experiments) -> Iterator[Finding]:
    """Look for parameters without gradient, units that never react, and gradients that vanish or explode."""
    fresh, trained = (
        _gradients(learner, lab) for learner in (lab.fresh(), lab.bench.learner(weights=lab.bench.weights))
    )
    silent = [name for name, gradient in trained.items() if not gradient.any() and not fresh[name].any()]
    frozen = [name for name, parameter in lab.trained.model.named_parameters() if not parameter.requires_grad]
    count = sum(trained[name].numel() for name in silent)
    if silent:
        shown = ", ".join(silent[:3]) + (f" and {len(silent) - 3} more" if len(silent) > 3 else "")
        yield Finding("no_gradient", f"the gradient of {shown} ({count:,} weights) is 0 for all rows", 0.97)
    if frozen:
        shown = ", ".join(frozen[:3])
        yield Finding("no_gradient", f"{len(frozen)} parameters are not trained (`requires_grad`): {shown}", 0.75)
    yield from _check_units(lab, trained, fresh)
    yield from _check_layers(lab, fresh, set(silent))


def _check_units(lab: Experiments, trained: dict[str, Tensor], fresh: dict[str, Tensor]) -> Iterator[Finding]:
    """Look for layers most of whose outputs have no gradient: units that are 0 for all rows.

    Units that died in training are rather an effect, such as of a learning rate that is too high.
    """
    shares, at_start = (
        {name: _dead_share(gradient) for name, gradient in _layer_gradients(lab.trained.model, gradients).items()}
        for gradients in (trained, fresh)
    )
    name = max(shares, key=shares.__getitem__, default="")
    if name and shares[name] >= MIN_DEAD_SHARE:
        was_dead = at_start[name] >= MIN_DEAD_SHARE
        evidence = (
            f"{100 * shares[name]:.0f}% of the units of {name} have no gradient for any of the rows; with the initial "
            f"weights {100 * at_start[name]:.0f}%"
        )
        yield Finding("dead_units", evidence, 0.9 if was_dead else 0.65)


def _dead_share(gradient: Tensor) -> float:
    """Return the share of the units, the rows of a matrix, whose gradient is 0; 0 for few units or no gradient."""
    rows = gradient.flatten(1).abs().amax(1)
    if len(rows) < MIN_LAYER_UNITS or not float(rows.max()) > 0:
        return 0.0
    return float((rows <= 1e-9 * rows.max()).float().mean())


def _check_layers(lab: Experiments, gradients: dict[str, Tensor], silent: set[str]) -> Iterator[Finding]:
    """Compare the gradients of the layers of an untrained model."""
    layers = {
        name: float(gradient.square().mean().sqrt())
        for name, gradient in _layer_gradients(lab.trained.model, gradients).items()
        if name not in silent
    }
    norm = float(torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt())
    if not np.isfinite(norm) or norm > EXPLODED:
        yield Finding("exploding_gradient", f"the norm of the gradient of the untrained model is {norm:.3g}", 0.93)
        return
    if len(layers) < 3:
        return
    smallest, largest = min(layers, key=layers.__getitem__), max(layers, key=layers.__getitem__)
    ratio = layers[largest] / max(layers[smallest], 1e-30)
    if ratio > MAX_GRADIENT_RATIO:
        evidence = (
            f"in the untrained model the gradient of {smallest} is {ratio:.1g} times smaller than that of {largest} "
            f"(root mean squares {layers[smallest]:.2g} and {layers[largest]:.2g})"
        )
        yield Finding("vanishing_gradient", evidence, 0.92)


def check_positions(lab: Experiments) -> Iterator[Finding]:
    """Compare the gradients of the inputs of early and of late positions, of the loss at the last position."""
    batch = longest_rows(lab.bench.train_rows, 8)
    if not isinstance(batch, TextBatch | LabelledBatch | ValueBatch):
        raise LeftOut("the targets have positions of their own")
    batch = _with_last_target(batch)
    early, late, length = _position_gradients(lab.fresh(), batch)
    evidence = (
        f"in the untrained model the gradient of the last loss is {early:.2g} at the first quarter of {length} "
        f"positions and {late:.2g} at the last one"
    )
    if not np.isfinite(early) or early > MAX_GROWTH * late:
        yield Finding("exploding_gradient", evidence, 0.95)
    elif early < MIN_GROWTH * late:
        early, late, _ = _position_gradients(lab.bench.learner(weights=lab.bench.weights), batch)
        if early < MIN_GROWTH * late:
            yield Finding("vanishing_gradient", f"{evidence}; in the trained one {early:.2g} and {late:.2g}", 0.93)


def _position_gradients(learner: Learner, batch: Any) -> tuple[float, float, int]:
    """Return the mean norms of the gradient of embeddings in the first and the last quarter, and the length."""
    embedded: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: embedded.append(output))
        for name, module in learner.model.named_modules()
        if isinstance(module, nn.Embedding) or name.rpartition(".")[2] in EMBEDDED
    ]
    try:
        loss = learner.training_loss(batch)
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [
        tensor
        for tensor in embedded
        if isinstance(tensor, Tensor) and tensor.requires_grad and tensor.dim() == 3 and tensor.size(1) >= MIN_POSITIONS
    ]
    [gradient] = torch.autograd.grad(loss.total, outputs[:1], allow_unused=True) if outputs else [None]
    if gradient is None:
        raise LeftOut("the model has no embeddings of a sequence")
    quarters = []
    for norms in gradient.norm(dim=2):  # (T,) of each row, 0 after its end
        end = int(norms.nonzero().max()) + 1 if norms.any() else len(norms)
        quarter = max(1, end // 4)
        quarters.append((norms[:quarter].mean(), norms[end - quarter : end].mean()))
    early, late = (float(torch.stack(norms).mean()) for norms in zip(*quarters, strict=True))
    return early, late, gradient.size(1)


def _with_last_target(batch: Any) -> Any:
    """Return a batch whose loss is only that of the last target of each row, if its rows have several."""
    if not isinstance(batch, TextBatch | LabelledBatch) or batch.tgt_out is None:
        return batch
    last = (batch.tgt_out != IGNORE).sum(1, keepdim=True).clamp_min(1) - 1
    tgt_out = torch.full_like(batch.tgt_out, IGNORE).scatter(1, last, batch.tgt_out.gather(1, last))
    if isinstance(batch, TextBatch):
        return replace(batch, tgt_out=tgt_out, num_tgt_tokens=len(tgt_out), continues=False)
    return replace(batch, tgt_out=tgt_out, num_tgt_tokens=len(tgt_out))


def check_first_loss(lab: Experiments) -> Iterator[Finding]:
    """Compare the loss of an untrained model with that of uniform outputs."""
    if lab.bench.config.init_from is not None:
        raise LeftOut("the run started from the weights of another run")
    outputs = lab.bench.config.model.outputs
    if lab.rows.target_kind == "tokens" and not (isinstance(lab.trained.model, Stepper) and outputs == "tokens"):
        raise LeftOut("the loss of uniform outputs is not known")
    uniform, first = lab.uniform_loss, lab.fresh().losses(lab.train_sample)
    are_numbers = lab.rows.target_kind == "numbers"  # whose loss grows with the square of the outputs
    usual, extreme = (EXTREME_OF_NUMBERS,) * 2 if are_numbers else (MAX_FIRST_LOSS, EXTREME_FIRST_LOSS)
    if not np.isfinite(first.mean) or first.mean > usual * uniform + FIRST_LOSS_MARGIN:
        evidence = f"the loss of the untrained model is {first.mean:.3g}, that of uniform outputs {uniform:.3g}"
        is_moderate = first.mean < extreme * uniform + FIRST_LOSS_MARGIN
        yield Finding("bad_initialization", evidence, 0.6 if is_moderate else 0.9)


def check_direction(lab: Experiments) -> Iterator[Finding]:
    """Take small updates: the loss of their rows must fall, and it must fall in the direction of better outputs."""
    rows = sample_rows(lab.bench.train_rows, 32)
    changes = []
    for factor in SMALL_RATES:
        learner = lab.fresh()
        before = learner.losses(rows).mean
        for _ in range(3):
            learner.update(rows, factor * lab.bench.config.optim.optimizer.lr)
        changes.append(learner.losses(rows).mean - before)
    has_learned = 0 < lab.final.train.mean < MAX_LEARNED * lab.uniform_loss
    is_raised = min(changes[:-1]) > 0 and changes[-1] > -TINY_CHANGE * abs(before)
    if is_raised and all(np.isfinite(changes)) and not has_learned:
        evidence = (
            f"three updates with a tenth of the learning rate raised the loss of their own rows by {changes[0]:.3g}, "
            f"and those with {SMALL_RATES[-1]:g} times the rate did not lower it"
        )
        yield Finding("wrong_sign", evidence, 0.96)
    final = lab.trained.losses(lab.train_sample).mean
    if final < -0.1 * lab.uniform_loss and (lab.rows.target_kind != "numbers" or lab.scores_fell):
        evidence = f"the loss fell to {final:.3g}, but that of probabilities is at least 0"
        yield Finding("wrong_sign", evidence, 0.96)


def check_batch_norm(lab: Experiments) -> Iterator[Finding]:
    """Recompute the running statistics of batch norm from training rows: the loss must not fall."""
    learner = lab.bench.learner(weights=lab.bench.weights)
    if not running_statistics(learner.model):
        raise LeftOut("the model has no batch normalization")
    stored = learner.losses(lab.train_sample)
    batches = [batch for batch, _ in zip(lab.bench.train_rows, range(50), strict=False)]
    buffers = recomputed_buffers(learner.model, dict(lab.bench.weights), iter(batches), lab.bench.device_context)
    recomputed = lab.bench.learner(weights={**lab.bench.weights, **buffers}).losses(lab.train_sample)
    if lab.compare(stored, recomputed).is_below(MIN_BATCH_NORM_DROP):
        evidence = (
            f"statistics computed anew from the training rows changed the training loss from {stored.mean:.3g} to "
            f"{recomputed.mean:.3g} ± {recomputed.standard_error:.1g}"
        )
        yield Finding("batch_norm_statistics", evidence, 0.95)


def _gradients(learner: Learner, lab: Experiments) -> dict[str, Tensor]:
    """Return the largest absolute gradient of the loss per unit over several batches."""
    batches = sample_rows(lab.bench.train_rows, 128)
    learner.model.train()
    gathered: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        learner.zero_gradients()
        sums = learner.accumulator.backward([batch], replace(lab.bench.context, step=number), [None])
        count = max(1.0, float(sums["count"]))
        for name, parameter in learner.model.named_parameters():
            if parameter.grad is not None:
                value = parameter.grad.abs() / count
                gathered[name] = torch.maximum(gathered[name], value) if name in gathered else value
    return gathered


def _layer_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of weight matrices and convolutions; not of embeddings, whose rows may be unused."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    parameters = dict(model.named_parameters())
    return {
        name: gradient
        for name, gradient in gradients.items()
        if gradient.dim() > 1 and id(parameters[name]) not in embeddings and not set(EMBEDDINGS) & set(name.split("."))
    }


QUESTIONS: Sequence[tuple[str, Any]] = (
    ("do all parameters and units get a gradient?", check_gradients),
    ("do gradients vanish or explode over the positions?", check_positions),
    ("what is the loss of an untrained model?", check_first_loss),
    ("do small updates lower the loss?", check_direction),
    ("do the statistics of batch normalization fit?", check_batch_norm),
)
"""Text of each question -> function that yields findings."""
