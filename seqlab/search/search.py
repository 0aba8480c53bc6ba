"""Protocol of search algorithms, and selection of one that fits a model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from seqlab.registry import Parts, find_part
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis
from seqlab.search.protocols import FrameModel, PositionModel, Stepper, missing_methods


@dataclass(frozen=True)
class SearchRequest:
    """A batch to decode, with the constraints on its hypotheses and the outputs that are needed."""

    batch: Any
    """Input of the model."""
    prefixes: Sequence[Sequence[int]] | None = None
    """Forced prefix of each sentence's hypotheses, as ids."""
    banned_ids: Sequence[int] = ()
    """Ids that no hypothesis may contain."""
    need_attention: bool = False
    """Whether to return the attention weights of each hypothesis."""
    need_scores: bool = True
    """Whether scores and log-probabilities must be exact; if not, they may be approximate or NaN."""
    lm: WeightedLm | None = None
    """Language model whose scores are added (shallow fusion)."""


class Search(Protocol):
    """A search algorithm. It is registered as a `search`, as a class whose constructor takes no arguments."""

    def fits(self, model: Any) -> bool:
        """Return whether the model has the methods that the search calls."""
        ...

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Return the hypotheses of each sentence of the batch: at least one, best first.

        Raises:
            ValueError: the model or the search does not support an option of the config or the request.
        """
        ...


def select_search(model: Any, config: SearchConfig) -> Search:
    """Return the search that `config.algorithm` names, or by default the first registered one that fits the model.

    Raises:
        ValueError: no such search is registered, or none fits the model.
    """
    names = list(Parts("search")) if config.algorithm is None else [config.algorithm]
    for name in names:
        search: Search = find_part("search", name)()
        if search.fits(model):
            return search
    named = f"`algorithm: {config.algorithm}`" if config.algorithm else f"Each of the searches {', '.join(names)}"
    missing = {protocol.__name__: missing_methods(model, protocol) for protocol in (Stepper, PositionModel, FrameModel)}
    nearest = min(missing, key=lambda key: len(missing[key]))
    details = f": as a `{nearest}` it lacks {', '.join(missing[nearest])}" if missing[nearest] else ""
    raise ValueError(f"{named} calls methods that {type(model).__name__} does not have{details}.")


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Put a module into evaluation mode, and restore its mode on exit; leave a model that is not a module unchanged."""
    was_training = isinstance(model, nn.Module) and model.training
    if was_training:
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
