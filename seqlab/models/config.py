"""The base of each model's config: it builds the model, says what it needs, and checks the other sections."""

from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, ConfigDict, Field

from seqlab.base.bounds import Count
from seqlab.nn.layers import refuse_too_small
from seqlab.part import Part
from seqlab.registry import Parts

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are configs of models."""
Size = Count
"""Of a layer, or how many there are."""
Probability = Annotated[float, Field(ge=0, lt=1), AfterValidator(refuse_too_small)]
"""Of dropping something, which is never certain; 0, or more than the CPU rounds to 0."""


MEANING: dict[str, Any] = {
    **{"num_heads": None, "activation": None, "positions": None},
    **{"norm": "pre", "norm_kind": "layer_norm", "residual": False, "tags": "symbols"},
}
COMPARABLE = ("attention", "bridge", "rotary_cross_attention")
"""See `ModelConfig.meaning`."""
Counts = NDArray[np.int64]


class TokenSide(Protocol):
    """What a model needs to know of a side of the data that is tokens or labels: its ids."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def num_labels(self) -> int:
        """How many ids a label may have: all but the special ones."""
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


class Unreachable(NamedTuple):
    """Targets that a model can never predict, by their lengths."""

    are: NDArray[np.bool_]
    """(pairs,)"""
    reason: str
    """Completes `3 of 100 training pairs ...`."""
    teach_nothing: bool = False
    """Whether no loss is left where all targets are such."""


class ModelConfig(Part):
    """The base of each model's config; see `TransformerConfig` for how one is written."""

    part_kind: ClassVar[str] = "model"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    task: ClassVar[str] = "language_modelling"
    """Which `data.kind` it learns from."""
    outputs: ClassVar[str] = "tokens"
    """What its forward pass predicts, on which objectives are computed: the next token at each position (`tokens`, a
    `DecoderOutput`), CTC's `frames`, all `positions` of a target at once, or positions given others (`gaps`)."""
    default_objective: ClassVar[str] = "cross_entropy"
    """The objective that is taken when the family is chosen and the objective does not fit its outputs."""
    is_counted: ClassVar[bool] = False
    """Whether it is counted: there is nothing to optimise, and no weight to start from."""
    is_recurrent: ClassVar[bool] = False
    """Whether it has what AWD-LSTM's penalties are on: `DecoderOutput.undropped`."""
    attends_to_source: ClassVar[bool] = False
    """Whether its forward pass gives attention to the source where `need_attention` asks for it."""
    data_defaults: ClassVar[dict[str, float]] = {}
    """Fields of the data section that zero config sets for it."""
    kind: ClassVar[str] = ""
    """Which recurrent layer it is made of; empty for none."""
    embedding_field: ClassVar[str] = "d_model"
    """The field that sets the size of the embeddings."""
    learnt_anew: ClassVar[tuple[str, ...]] = ()
    """How the names of weights begin that are never taken over from another run in parts."""
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)
    """What the vocabularies of two sides can share is decided by the corpus."""
    family: str

    @classmethod
    def on_selected(cls, values: dict[str, Any]) -> None:
        """Leave out what another family was optimised by; take an objective that fits the outputs."""
        if cls.is_counted:
            values.pop("optim", None)
            values.pop("objective", None)
        objectives = Parts("objective")
        found = values.get("objective", {}).get("family", next(iter(objectives)))
        if found in objectives and objectives[found].outputs != cls.outputs:
            values["objective"] = {"family": cls.default_objective}

    def build(self, src: Any, tgt: Any) -> Any:
        """Build the model, an `nn.Module`, with random weights.

        Args:
            src: what is known of the source side: a `TokenSide` where that is tokens.
            tgt: the same of the target side, which is the source side where the data has one.
        """
        raise NotImplementedError

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has; 0 where there are no embeddings."""
        return 0

    @property
    def context_limit(self) -> int | None:
        """Tokens of the longest sequence that the model reads; None where there is no limit."""
        return None

    @property
    def learned_length(self) -> int | None:
        """The number of learned positions; None where no position is learned."""
        return None

    def meaning(self) -> dict[str, Any]:
        """Return what no shape of a weight shows, but decides what the weights compute.

        Of fields that a family lacks the value that means what it does; some can only be compared where both have them.
        """
        names = {field.name for field in fields(self)}  # type: ignore[arg-type]
        own = {name: getattr(self, name) for name in (*MEANING, *COMPARABLE) if name in names}
        return MEANING | own

    def decoder_name(self, name: str) -> str | None:
        """Return the name that a weight has in an autoregressive decoder with a source; None for all other weights."""
        return None

    @property
    def copies(self) -> bool:
        """Whether it may predict ids beyond the vocabulary, which stand for positions of the source."""
        return False

    @property
    def learns_lengths(self) -> bool:
        """Whether the lengths of targets are a part of what it learns."""
        return False

    @property
    def can_glance(self) -> bool:
        """Whether it has a decoder that parts of the target can be shown to."""
        return True

    @property
    def memory_advice(self) -> str:
        """What to change where counting takes too much memory."""
        return "count less text"

    def resolve(self, data: Any) -> Self:
        """Return it as it is built: with what it leaves to the data section filled in; most leave nothing."""
        return self

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes; most learn from all."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError where a side, whose tokenizer may have been taken over, lacks what the model uses."""

    def check_search(self, search: Any) -> None:
        """Raise ValueError where a `SearchConfig` asks for what the model cannot do."""
        search.check_autoregressive()

    def unreachable(self, src: Counts, tgt: Counts, repeated: Callable[[], Counts]) -> Unreachable | None:
        """Find targets that the model can never predict; most models predict all.

        Args:
            src: (pairs,): tokens of each source, the end counted.
            tgt: (pairs,): tokens of each target, the end not counted.
            repeated: counts (pairs,) the tokens of each target that are the same as the one before.
        """
        return None


class LanguageModelConfig(ModelConfig):
    """The base of the configs of models that predict each token of a text from those before it."""

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the data section hides tokens."""
        if data.mask_share:
            raise ValueError(
                f"`data.mask_share` ({data.mask_share}) hides tokens, but `model.family: {self.family}` predicts every "
                "token from those before it: set it to 0, or `model.family: transformer_mlm`."
            )
