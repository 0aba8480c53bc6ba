"""Step scores -> hypotheses: greedy and beam search over any `Stepper`, with constraints and length penalties.

A name is imported when it is asked for: the command line reads `seqlab.search.config` to print its help, which needs no
torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.search.beam import BeamSearch, beam_search
    from seqlab.search.config import OutputLimits, SearchConfig
    from seqlab.search.ctc import best_path_search
    from seqlab.search.ensemble import Ensemble
    from seqlab.search.exact import Exact, exact_search
    from seqlab.search.fusion import Fusion, WeightedLm
    from seqlab.search.greedy import greedy_search
    from seqlab.search.hypothesis import Hypothesis
    from seqlab.search.mask_predict import MaskPredict
    from seqlab.search.prefix_beam import CtcSearch, prefix_beam_search
    from seqlab.search.sampling import sample
    from seqlab.search.sampling_config import SamplingConfig
    from seqlab.search.search import Search, SearchRequest, fitting_search

__all__ = [
    "BeamSearch",
    "CtcSearch",
    "Ensemble",
    "Exact",
    "Fusion",
    "Hypothesis",
    "MaskPredict",
    "OutputLimits",
    "SamplingConfig",
    "Search",
    "SearchConfig",
    "SearchRequest",
    "WeightedLm",
    "beam_search",
    "best_path_search",
    "exact_search",
    "fitting_search",
    "greedy_search",
    "prefix_beam_search",
    "sample",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "BeamSearch": "beam",
            "CtcSearch": "prefix_beam",
            "Ensemble": "ensemble",
            "Exact": "exact",
            "Fusion": "fusion",
            "Hypothesis": "hypothesis",
            "MaskPredict": "mask_predict",
            "OutputLimits": "config",
            "SamplingConfig": "sampling_config",
            "Search": "search",
            "SearchConfig": "config",
            "SearchRequest": "search",
            "WeightedLm": "fusion",
            "beam_search": "beam",
            "best_path_search": "ctc",
            "exact_search": "exact",
            "fitting_search": "search",
            "greedy_search": "greedy",
            "prefix_beam_search": "prefix_beam",
            "sample": "sampling",
        },
    )
