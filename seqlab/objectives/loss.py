"""Interface of objectives and their configs: `Loss`, `StepContext`, `Objective` and `ObjectiveConfig`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import ConfigDict
from torch import Tensor

from seqlab.data.batch import TextLayout
from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""pydantic settings of the config dataclasses of objectives."""


RESERVED_LOGS = frozenset(
    {"kind", "step", "epoch", "minutes", "lr", "loss", "total", "count", "grad_norm", "src_padding", "tgt_padding"}
    | {"tgt_tokens_per_second", "units_per_second"}
)
"""Fields of metrics.jsonl whose names an objective's logs cannot have."""


COUNT_OF = "count of "
"""Prefix of the name of a log, for the number of its units."""


def numbered(name: str, index: int) -> str:
    """Return the name of a sum of the first loss (0), or of an added loss (from 1)."""
    return f"{name} {index}" if index else name


@dataclass(frozen=True)
class Loss:
    """Loss of a batch as a sum over units; an update divides it by the number of units of all micro-steps and ranks.

    Losses of different units are added with `+`, and scaled by a number with `*`. Each is divided by its own number of
    units: the cross entropy by tokens, for example, and a risk by sentences:

    >>> loss = Loss(cross_entropy, num_tokens) + 0.5 * Loss(risk, num_sentences)  # doctest: +SKIP
    """

    total: Tensor
    """(), differentiable, in nats."""
    count: Tensor
    """(): number of units in the sum, such as target tokens, frames or sequences."""
    logs: Mapping[str, "Tensor | tuple[Tensor, Tensor]"] = field(default_factory=dict)
    """Detached sums over the same units, e.g. {"nll": ...}, or pairs of a sum and its own number of units, e.g.
    {"length": (num_tokens, num_sentences)}. A log may be missing in some batches, whose units are then not counted for
    it. On several processes a log must be present in the first step."""
    carry: dict[str, Tensor] | None = None
    """Detached state for the next batch (truncated backpropagation through time), rows first."""
    added: "tuple[Loss, ...]" = ()
    """Losses with units of their own, added by `+`."""

    def __add__(self, other: "Loss") -> "Loss":
        """Add a loss that is divided by its own number of units; the carried state is that of the first loss."""
        return replace(self, added=(*self.added, replace(other, added=()), *other.added))

    def __mul__(self, factor: float) -> "Loss":
        """Multiply the total, and that of the added losses, by a constant; the logs stay unchanged."""
        added = tuple(term * factor for term in self.added)
        return replace(self, total=self.total * factor, added=added)

    __rmul__ = __mul__

    @property
    def terms(self) -> "tuple[Loss, ...]":
        """This loss without the added ones, and each of the added ones."""
        return (replace(self, added=()), *self.added)

    def sums(self) -> dict[str, Tensor]:
        """Return all sums by name.

        They are `total` and `count`, those of the added losses (`total 1`, `count 1`, ...), and each log with its
        number of units (`nll`, `count of nll`).
        """
        sums: dict[str, Tensor] = {}
        for index, term in enumerate(self.terms):
            sums |= {numbered("total", index): term.total, numbered("count", index): term.count}
            for name, log in term.logs.items():
                sums[name], sums[f"{COUNT_OF}{name}"] = log if isinstance(log, tuple) else (log, term.count)
        return sums


@dataclass(frozen=True)
class TextSide:
    """Source or target side of text: its special ids, and the text of ids."""

    codec: Any
    """The tokenizer of this side."""

    @property
    def pad_id(self) -> int:
        """Id of padding."""
        return int(self.codec.pad_id)

    @property
    def bos_id(self) -> int:
        """Id before the first id of a sequence."""
        return int(self.codec.bos_id)

    @property
    def eos_id(self) -> int:
        """Id after the last id of a sequence."""
        return int(self.codec.eos_id)

    @property
    def unk_id(self) -> int:
        """Id of unknown tokens."""
        return int(self.codec.unk_id)

    def to_text(self, ids: Sequence[int]) -> str:
        """Convert ids up to eos to text, without special ids."""
        return self.to_texts([ids])[0]

    def to_texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Convert rows of ids as `to_text` does; ids below 0 (no target) are left out."""
        if not hasattr(self.codec, "decode"):
            raise ValueError(f"{type(self.codec).__name__} is not a tokenizer: this side of the data is not text.")
        special, eos_id = {self.pad_id, self.bos_id}, self.eos_id
        until_eos = ([*takewhile(lambda index: index != eos_id, row)] for row in rows)
        lines: list[str] = self.codec.decode([[i for i in row if i >= 0 and i not in special] for row in until_eos])
        return lines


@dataclass(frozen=True)
class StepContext:
    """State of the run that an objective can use."""

    step: int
    """Number of training steps done so far."""
    generator: torch.Generator | None = None
    """Random generator of the objective; None: torch's default generator."""
    carry: dict[str, Tensor] | None = None
    """`Loss.carry` of the previous batch, if this batch continues it."""
    seed: int = 1
    """Seed of the run: numbers drawn from (seed, step, row of the corpus) depend neither on batches nor on ranks."""
    sides: tuple[TextSide, TextSide] | None = None
    """The source and the target side; None outside of a training run."""
    collected: Any = None
    """Result of `CollectingObjective.collect` for this batch; None if it was not called."""
    number_of_pass: int = 0
    """Number of updates with the same collected data before this one."""


class Objective(Protocol):
    """Training objective; it may be an nn.Module, whose parameters are then trained and saved with the model."""

    def __call__(self, model: Any, batch: Any, context: StepContext) -> Loss:
        """Compute the loss of a batch."""
        ...


@runtime_checkable
class CollectingObjective(Objective, Protocol):
    """Objective that first collects data with the current weights, such as samples and their rewards, or episodes.

    A step calls `collect` for all of its batches, then `passes` times: the loss of each batch, with the collected data
    in `StepContext.collected`, and an update of the weights.
    """

    passes: int
    """Number of updates with the same collected data."""

    def collect(self, model: Any, batch: Any, context: StepContext) -> Any:
        """Collect data for the losses of a batch, without a gradient."""
        ...


@runtime_checkable
class ObservingObjective(Objective, Protocol):
    """Objective with statistics of earlier steps, such as a mean reward, that are the same on all ranks."""

    def observe(self, sums: dict[str, Tensor]) -> None:
        """Receive the sums of all logs over the micro-steps and ranks of a step, after its update.

        For each log, `count of NAME` is its number of units. Store statistics in buffers, which checkpoints contain.
        """
        ...


def check_loss(loss: Any) -> None:
    """Raise ValueError if the result of an objective, perhaps a plugin's, is not a valid `Loss`."""
    if not isinstance(loss, Loss):
        raise ValueError(
            f"An objective must return a `seqlab.objectives.Loss`, but returned an object of "
            f"type {type(loss).__name__}."
        )
    for term in loss.terms:
        _check_term(term)
    names = [name for term in loss.terms for name in term.logs]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"Added losses must have logs of different names, but `{min(repeated)}` occurs twice.")


def _check_term(loss: Loss) -> None:
    sums = {"total": loss.total, "count": loss.count}
    for name, log in loss.logs.items():
        pair = log if isinstance(log, tuple) else (log,)
        sums |= {name if index == 0 else f"{name}[1]": value for index, value in enumerate(pair)}
    for name, value in sums.items():
        if not (isinstance(value, Tensor) and value.dim() == 0):
            actual = (
                f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
            )
            raise ValueError(f"`{name}` of an objective's `Loss` must be a tensor without dimensions, but is {actual}.")
    if taken := loss.logs.keys() & RESERVED_LOGS:
        raise ValueError(f"A log of an objective cannot be named `{min(taken)}`, a reserved field of metrics.jsonl.")
    if torch.is_grad_enabled() and not loss.total.requires_grad:
        raise ValueError(
            "`total` of an objective's `Loss` must be differentiable, but has no gradient: compute it from the outputs "
            "of the model, without `detach()` or `item()`; without targets as `outputs[is_target].sum()`."
        )


@dataclass(frozen=True)
class ModelFactory:
    """Build more models of the `model` section of a run, for objectives with networks of their own (a critic)."""

    config: Any
    """The `model` section."""
    src: Any
    """The source side of the run."""
    tgt: Any
    """The target side of the run."""

    def build(self, src: Any = None, tgt: Any = None) -> Any:
        """Build a model with random weights; the sides are those of the run unless given."""
        return self.config.build(src or self.src, tgt or self.tgt)


def first_cross_entropy_range(num_outputs: int) -> tuple[float, float]:
    """Return the range of the cross entropy, in nats, of a model with random weights.

    It is ln V for V outputs of equal probability, and larger by half of the variance of the logits. Those of the
    recipes are from 0.9 ln V to ln V + 1.1.
    """
    expected = math.log(num_outputs)
    return expected / 2, 1.5 * expected + 2


class ObjectiveConfig(Part):
    """Base class of objective configs: a config builds its objective and checks it against the other sections."""

    part_kind: ClassVar[str] = "objective"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    outputs: ClassVar[str | tuple[str, ...]] = "tokens"
    """Kinds of model output that the objective supports: `ModelConfig.outputs` of compatible models."""
    needs: ClassVar[tuple[type, ...]] = ()
    """Protocols that the model must implement, such as `seqlab.search.FrameModel`."""
    shown_logs: ClassVar[tuple[str, ...]] = ()
    """Logs that the progress of training shows besides the loss."""
    text_layouts: ClassVar[frozenset[TextLayout]] = frozenset()
    """Layouts of a text that the objective supports; training with another one is refused. `packed`: the loss of a row
    is the sum of the losses of its lines. `contiguous`: the model receives `StepContext.carry`, and `Loss.carry` is the
    state that it returns. `seqlab.testing.check_objective` tests what is declared."""
    family: str

    @classmethod
    def fits_outputs(cls, outputs: str) -> bool:
        """Return whether the objective supports models with this kind of output."""
        return outputs in ((cls.outputs,) if isinstance(cls.outputs, str) else cls.outputs)

    def build(self) -> Objective:
        """Build the objective."""
        raise NotImplementedError

    def build_for(self, model: Any, factory: ModelFactory | None = None) -> Objective:
        """Build the objective for a model, whose sizes it may need; `build` unless overridden.

        `factory` builds further models; it is None outside of a training run.
        """
        return self.build()

    def first_loss_range(self, num_outputs: int | None) -> tuple[float, float] | None:
        """Return the lowest and highest loss per unit of a model with random weights; None, the default, if unknown.

        A training warns if its first loss is outside.

        Args:
            num_outputs: number of tokens, labels or classes among which the model chooses; None if it is unknown.
        """
        return None

    def unused_fields(self, model: Any) -> tuple[str, ...]:
        """Return the fields that have no effect for a model, given its config; none unless overridden."""
        return ()

    def check(self, config: Any) -> None:
        """Raise ValueError if the objective does not fit the other config sections.

        Args:
            config: the complete config of a run.
        """
        if "copying" in config.model.abilities:
            raise ValueError(
                f"`objective.family: {self.family}` does not support `model.copying`: choose `cross_entropy`, or set "
                "`model.copying` to false."
            )
