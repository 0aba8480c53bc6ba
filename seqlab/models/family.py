"""What the config of a model says of its family besides its fields."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field

from seqlab.nn.dropout import refuse_too_small

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are configs of models."""
Size = Annotated[int, Field(ge=1)]
"""Of a layer, or how many there are."""
Probability = Annotated[float, Field(ge=0, lt=1), AfterValidator(refuse_too_small)]
"""Of dropping something, which is never certain; 0, or more than the CPU rounds to 0."""


class Family:
    """The base of each model's config: other sections of a run's config are checked by it."""

    data_kind: ClassVar[str] = "text"
    """Which `data.kind` it learns from."""
    is_counted: ClassVar[bool] = False
    """Whether it is counted: there is nothing to optimise, and no weight to start from."""
    is_masked: ClassVar[bool] = False
    """Whether it fills in hidden tokens; others predict each token from those before it."""
    is_recurrent: ClassVar[bool] = False
    """Whether it has what AWD-LSTM's penalties are on: `DecoderOutput.undropped`."""
    objective_family: ClassVar[str | None] = None
    """The objective it learns by, where that is none of those that predict token by token."""
    embedding_field: ClassVar[str] = "d_model"
    """The field that sets the size of the embeddings."""

    @property
    def embedding_dim(self) -> int:
        """Values that each embedding has; 0 where there are no embeddings."""
        return 0

    def resolve(self, data: Any) -> Self:
        """Return it as it is built: with what it leaves to the data section filled in; most leave nothing."""
        return self

    def check_data(self, data: Any) -> None:
        """Raise ValueError where the model cannot learn from what the data section describes; most learn from all."""
