"""What all searches have in common: what they are given, and how the one that fits a model is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seqlab.models.interfaces import FrameModel, PositionModel, Stepper, missing_methods
from seqlab.registry import Parts, find_part
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import WeightedLm
from seqlab.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class SearchRequest:
    """A batch to search, and what is asked of its hypotheses."""

    batch: Any
    """What the model reads."""
    prefixes: Sequence[Sequence[int]] | None = None
    """For each sentence the ids that its hypotheses must begin with."""
    banned_ids: Sequence[int] = ()
    """Ids that no hypothesis may hold."""
    need_attention: bool = False
    """Whether hypotheses come with what they attended to."""
    need_scores: bool = True
    """Whether scores and log-probabilities will be looked at: if not, they may be rough or NaN."""
    lm: WeightedLm | None = None
    """A language model that decides too."""


class Search(Protocol):
    """An algorithm that finds the best hypotheses; registered as a `search`, by a class without arguments."""

    def fits(self, model: Any) -> bool:
        """Tell whether the model has the methods that the search calls."""
        ...

    def __call__(self, model: Any, config: SearchConfig, request: SearchRequest) -> list[list[Hypothesis]]:
        """Return the hypotheses of each sentence of the batch, best first, at least one.

        Raises:
            ValueError: the config or the request asks for what the model or the search cannot do.
        """
        ...


def select_search(model: Any, config: SearchConfig) -> Search:
    """Return the search that the config names, or the first that fits the model.

    Raises:
        ValueError: there is no such search, or it does not fit.
    """
    names = list(Parts("search")) if config.algorithm is None else [config.algorithm]
    for name in names:
        search: Search = find_part("search", name)()
        if search.fits(model):
            return search
    named = f"`algorithm: {config.algorithm}`" if config.algorithm else f"Each of the searches {', '.join(names)}"
    lacking = {each.__name__: missing_methods(model, each) for each in (Stepper, PositionModel, FrameModel)}
    nearest = min(lacking, key=lambda each: len(lacking[each]))
    advice = f": as a `{nearest}` it lacks {', '.join(lacking[nearest])}" if lacking[nearest] else ""
    raise ValueError(f"{named} calls methods that {type(model).__name__} does not have{advice}.")
