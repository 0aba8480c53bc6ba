"""Base class of model configs: a config builds its model, states its requirements and checks the other sections."""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field

from seqlab.base.bounds import Count
from seqlab.data.batch import TextLayout
from seqlab.nn.layers import check_dropout
from seqlab.part import Part
from seqlab.registry import Parts

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Pydantic settings of the config dataclasses of models."""
Size = Count
"""Size of a layer, or number of layers, filters and the like."""
Probability = Annotated[float, Field(ge=0, lt=1), AfterValidator(check_dropout)]
"""Dropout probability: 0, or large enough that the CPU's rounding does not turn it into 0."""
SequencePooling = Literal["mean", "max"]
"""Reduction of a sequence of vectors to one: the mean, or the maximum of each feature."""


DEFAULT_COMPATIBILITY_SETTINGS: dict[str, Any] = {
    **{"num_heads": None, "activation": None, "positions": None},
    **{"norm": "pre", "norm_kind": "layer_norm", "residual": False, "tags": "symbols"},
}
"""Values of these fields for families that lack them; see `ModelConfig.compatibility_settings`."""
OPTIONAL_COMPATIBILITY_FIELDS = ("attention", "bridge", "rotary_cross_attention")
"""Fields that are compared only where both families have them; see `ModelConfig.compatibility_settings`."""
IntArray = NDArray[np.int64]


class TokenSide(Protocol):
    """Source or target side of tokens or labels: its vocabulary."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def num_labels(self) -> int:
        """Number of labels: all ids except the special ones."""
        ...

    @property
    def pad_id(self) -> int: ...
    @property
    def bos_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    @property
    def unk_id(self) -> int: ...
    @property
    def mask_id(self) -> int: ...
    @property
    def blank_id(self) -> int: ...
    @property
    def tag_ids(self) -> range: ...
    @property
    def has_words(self) -> bool: ...


class UnreachableTargets(NamedTuple):
    """Targets that a model can never predict because of their lengths."""

    mask: NDArray[np.bool_]
    """(pairs,): True for an unreachable target."""
    reason: str
    """Predicate of a sentence that starts with `3 of 100 training pairs`."""
    yield_no_loss: bool = False
    """Whether unreachable targets are left out of the loss."""


class ModelConfig(Part):
    """Base class of model configs; see `TransformerConfig` for an example."""

    part_kind: ClassVar[str] = "model"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    task: ClassVar[str] = "language_modelling"
    """The `data.kind` that the model is trained on."""
    other_tasks: ClassVar[tuple[str, ...]] = ()
    """Further values of `data.kind` that the model can be trained on."""
    outputs: ClassVar[str] = "tokens"
    """Output type of the forward pass, which the objective must fit: the next token at each position (`tokens`, a
    `DecoderOutput`), CTC's `frames`, all `positions` of a target in parallel, masked positions given the others
    (`gaps`), or `scores` of examples."""
    default_objective: ClassVar[str] = "cross_entropy"
    """Objective that is set with the family if the current objective does not fit its outputs."""
    is_count_based: ClassVar[bool] = False
    """Whether the model is fitted by counting, without an optimizer and without initial weights."""
    attends_to_source: ClassVar[bool] = False
    """Whether the forward pass returns attention to the source if `need_attention` is set."""
    data_defaults: ClassVar[dict[str, float]] = {}
    """Values of data fields that zero config sets for the family."""
    warm_start_excludes: ClassVar[tuple[str, ...]] = ()
    """Name prefixes of the weights that a partial warm start never copies from the other run."""
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)  # they depend on the corpus, not on the family
    family: str

    @classmethod
    def fits_data(cls, kind: str) -> bool:
        """Return whether the model is trained on this kind of data."""
        return kind in (cls.task, *cls.other_tasks)

    @classmethod
    def on_selected(cls, values: dict[str, Any]) -> None:
        """Drop the optimizer if the family needs none, and set an objective that fits the outputs."""
        if cls.is_count_based:
            values.pop("optim", None)
            values.pop("objective", None)
        objectives = Parts("objective")
        name = values.get("objective", {}).get("family", next(iter(objectives)))
        if name in objectives and not objectives[name].fits_outputs(cls.outputs):
            values["objective"] = {"family": cls.default_objective}

    def build(self, src: Any, tgt: Any) -> Any:
        """Build the model, an `nn.Module`, with random weights.

        Args:
            src: the source side: a `TokenSide` for tokens or labels, a `FrameSide` for recordings.
            tgt: the target side; the source again for data without separate sources and targets.
        """
        raise NotImplementedError

    @property
    def is_recurrent(self) -> bool:
        """Whether the model is recurrent and sets `DecoderOutput.undropped`, for AWD-LSTM's activation penalties."""
        return False

    @property
    def text_layouts(self) -> frozenset[TextLayout]:
        """Layouts of a text that the model supports; training with another one is refused.

        `packed` (`data.packing`): no token depends on another line of its row, because the forward pass masks by
        `TextBatch.positions`. `contiguous` (`data.order: contiguous`): the forward pass returns its state as
        `DecoderOutput.carry`, and accepts it in the next batch as its second argument. `seqlab.testing.check_model`
        tests what is declared.
        """
        return frozenset()

    @property
    def embedding_dim(self) -> int:
        """Size of the embeddings; 0 for a model without embeddings."""
        return 0

    @property
    def embedding_field(self) -> str:
        """Key of the field that sets the size of the embeddings."""
        return "d_model"

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens; None for no limit."""
        return None

    @property
    def num_learned_positions(self) -> int | None:
        """Number of learned position embeddings; None for a model without them."""
        return None

    @property
    def recurrent_kind(self) -> str:
        """Kind of the recurrent layers; empty for none."""
        return ""

    def settings(self) -> dict[str, Any]:
        """Return the values of the fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def compatibility_settings(self) -> dict[str, Any]:
        """Return the settings that change what the weights compute, but not their names or shapes.

        Warm starts compare them. A field that the family lacks has the value that describes its behavior; the fields of
        `OPTIONAL_COMPATIBILITY_FIELDS` are left out instead.
        """
        compared = (*DEFAULT_COMPATIBILITY_SETTINGS, *OPTIONAL_COMPATIBILITY_FIELDS)
        return DEFAULT_COMPATIBILITY_SETTINGS | {k: v for k, v in self.settings().items() if k in compared}

    def translator_weight_name(self, name: str) -> str | None:
        """Map the name of a weight to its name in a translator, for warm starts; None for other weights."""
        return name if name.startswith(("encoder.", "decoder.")) else None

    @property
    def can_copy(self) -> bool:
        """Whether the model can predict ids outside the vocabulary, by copying source tokens."""
        return False

    @property
    def learns_lengths(self) -> bool:
        """Whether the model is trained to predict the lengths of targets."""
        return False

    @property
    def can_glance(self) -> bool:
        """Whether the model has a decoder that can observe a part of the target."""
        return True

    @property
    def memory_advice(self) -> str:
        """Advice for the error message when counting runs out of memory."""
        return "count less text"

    def resolve(self, data: Any) -> Self:
        """Return the config with defaults filled in that depend on the data section."""
        return self

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens, labels or classes among which a new model chooses with similar probabilities.

        None, the default, if it is unknown or other for each prediction. `tgt` is the target side, as in `build`.
        """
        return None

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the model cannot be trained with this `data` section."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError if the source or target side does not meet the model's requirements.

        Unlike in `check_data`, its tokenizer may come from another run.
        """

    def check_search(self, search: Any) -> None:
        """Raise ValueError if the model cannot be decoded with a `SearchConfig`."""
        search.check_autoregressive()

    def unreachable_targets(
        self, src: IntArray, tgt: IntArray, repeated: Callable[[], IntArray]
    ) -> UnreachableTargets | None:
        """Find targets that the model can never predict; None if it can predict any target.

        Args:
            src: (pairs,), tokens of each source, eos included.
            tgt: (pairs,), tokens of each target, eos excluded.
            repeated: counts the tokens of each target that equal the token before: (pairs,).
        """
        return None


class LanguageModelConfig(ModelConfig):
    """Base class of the configs of autoregressive language models."""

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens in the vocabulary."""
        return int(tgt.vocab_size)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the data section masks tokens."""
        if data.mask_share:
            raise ValueError(
                f"`data.mask_share` ({data.mask_share}) masks tokens, but `model.family: {self.family}` predicts each "
                "token from those before it: set it to 0, or `model.family: transformer_mlm`."
            )
