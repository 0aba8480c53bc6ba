"""Step scores to hypotheses: greedy and beam search over any `Stepper`, with constraints and length penalties."""

from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.greedy import greedy_search
from seqlab.search.hypothesis import Hypothesis

__all__ = ["Ensemble", "Hypothesis", "SearchConfig", "beam_search", "greedy_search"]
