"""Base class of model configs: a config builds its model, states its requirements and checks the other sections."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import AfterValidator, ConfigDict, Field

from seqlab.base.bounds import Count
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
Ability = Literal[
    "packed", "contiguous", "masked_tokens", "recurrence", "source_attention", "copying", "target_lengths", "glancing"
]
"""Capabilities that only some models have; `seqlab.testing.check_model` tests the two layouts of a text.

- `packed` (`data.packing`): no token depends on another line of its row, because the forward pass masks by
  `TextBatch.positions`.
- `contiguous` (`data.order: contiguous`): the forward pass returns its state as `DecoderOutput.carry`, and accepts it
  in the next batch as its second argument.
- `masked_tokens`: the model predicts masked tokens of a text from those on both sides (`data.mask_share`).
- `recurrence`: the model is recurrent and sets `DecoderOutput.undropped`, for AWD-LSTM's activation penalties.
- `source_attention`: the forward pass returns attention to the source if `need_attention` is set.
- `copying`: the model can predict ids outside the vocabulary, by copying source tokens.
- `target_lengths`: the model is trained to predict the lengths of targets.
- `glancing`: the model has a decoder that can observe a part of the target.
"""


class EmbeddingSize(NamedTuple):
    """Size of the embeddings, and the key of the field within `model` that sets it."""

    field: str
    size: int


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


COMPATIBILITY_DEFAULTS: dict[str, Any] = {
    **{"num_heads": None, "activation": None, "positions": None},
    **{"norm": "pre", "norm_kind": "layer_norm", "residual": False, "tags": "symbols"},
}
"""Fields that change what the weights compute, but not their names or shapes -> the value that describes families that
lack them."""
OPTIONAL_COMPATIBILITY_FIELDS = ("attention", "bridge", "rotary_cross_attention")
"""Fields of the same kind that are compared only where both families have them."""


def translator_part(name: str) -> str | None:
    """Return the name of a weight of a translator's encoder or decoder; None for other weights."""
    return name if name.startswith(("encoder.", "decoder.")) else None


@dataclass(frozen=True)
class WarmStart:
    """Properties of a model that a warm start (`init_from`) from another run needs."""

    settings: Mapping[str, Any]
    """Settings that change what the weights compute, but not their names or shapes; both runs must have the same."""
    learned_positions: int | None = None
    """Number of learned position embeddings; None for a model without them."""
    recurrent_kind: str = ""
    """Kind of the recurrent layers; empty for none."""
    excluded: tuple[str, ...] = ()
    """Name prefixes of the weights that are never copied from a run of another model."""
    translator_name: Callable[[str], str | None] = translator_part
    """Maps the name of a weight to its name in a translator; None for other weights."""

    @classmethod
    def of(cls, *configs: Any, **values: Any) -> "WarmStart":
        """Take the settings from the fields of a model's config and of its parts; `values` are other fields."""
        known = {field.name: getattr(config, field.name) for config in configs for field in fields(config)}
        compared = (*COMPATIBILITY_DEFAULTS, *OPTIONAL_COMPATIBILITY_FIELDS)
        settings = COMPATIBILITY_DEFAULTS | {name: value for name, value in known.items() if name in compared}
        return cls(settings, **values)


RENAMED_MEMBERS: Mapping[str, str] = {
    **dict.fromkeys(("task", "other_tasks"), "in `tasks`"),
    **dict.fromkeys(("text_layouts", "is_recurrent", "attends_to_source"), "in `abilities`"),
    **dict.fromkeys(("can_copy", "learns_lengths", "can_glance"), "in `abilities`"),
    **dict.fromkeys(("embedding_dim", "embedding_field"), "in `embedding`"),
    **dict.fromkeys(("warm_start_excludes", "num_learned_positions", "recurrent_kind"), "in `warm_start`"),
    **dict.fromkeys(("compatibility_settings", "translator_weight_name", "settings"), "in `warm_start`"),
    "data_defaults": "set in `on_selected`",
}
"""Member of `ModelConfig` up to version 0.3.0 -> what replaces it."""


def _overridden(cls: type) -> Iterator[str]:
    """Yield the names of the members that a class defines, except its fields."""
    annotations = vars(cls).get("__annotations__", {})
    for name in vars(cls):
        if name not in annotations or "ClassVar" in str(annotations[name]):
            yield name


class ModelConfig(Part):
    """Base class of model configs; see `TransformerConfig` for an example."""

    part_kind: ClassVar[str] = "model"
    required_members: ClassVar[tuple[str, ...]] = ("build", "tasks")
    outputs: ClassVar[str] = "tokens"
    """Output type of the forward pass, which the objective must fit: the next token at each position (`tokens`, a
    `DecoderOutput`), CTC's `frames`, all `positions` of a target in parallel, masked positions given the others
    (`gaps`), or `scores` of examples."""
    default_objective: ClassVar[str] = "cross_entropy"
    """Objective that is set with the family if the current objective does not fit its outputs."""
    is_count_based: ClassVar[bool] = False
    """Whether the model is fitted by counting, without an optimizer and without initial weights."""
    family: str

    def __init_subclass__(cls, **options: Any) -> None:
        """Raise TypeError if the class overrides a member of version 0.3.0, and name its replacement."""
        super().__init_subclass__(**options)
        for name in RENAMED_MEMBERS.keys() & set(_overridden(cls)):
            raise TypeError(f"`{cls.__name__}.{name}` is now {RENAMED_MEMBERS[name]}: see `seqlab.models.ModelConfig`.")

    def __str__(self) -> str:
        """Return the name of the model for messages: its family."""
        return self.family

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
    def abilities(self) -> frozenset[Ability]:
        """Capabilities of the model beyond its outputs; none unless overridden."""
        return frozenset()

    @property
    def embedding(self) -> EmbeddingSize | None:
        """Size of the embeddings; None for a model without embeddings."""
        return None

    @property
    def context_limit(self) -> int | None:
        """Maximum sequence length in tokens; None for no limit."""
        return None

    @property
    def warm_start(self) -> WarmStart:
        """Properties of the model that a warm start needs."""
        return WarmStart.of(self)

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


class LanguageModelConfig(ModelConfig):
    """Base class of the configs of autoregressive language models."""

    tasks: ClassVar[tuple[str, ...]] = ("language_modelling",)
    shared_fields: ClassVar[tuple[str, ...]] = ("tied_embeddings",)  # it depends on the corpus, not on the family

    def num_choices(self, tgt: Any) -> int | None:
        """Return the number of tokens in the vocabulary."""
        return int(tgt.vocab_size)

    def check_data(self, data: Any) -> None:
        """Raise ValueError if the data section masks tokens."""
        if data.mask_share:
            raise ValueError(
                f"`data.mask_share` ({data.mask_share}) masks tokens, but `model.family: {self.family}` predicts each "
                "token from those before it: set it to 0, or choose `model.family: language_model` with an encoder "
                "that reads in both directions, such as `model.encoder.family: transformer`."
            )
