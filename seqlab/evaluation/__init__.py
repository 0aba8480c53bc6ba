"""Metrics of hypotheses against references, each score with the signature of its definition.

Start with `evaluate` (scores of one system) and `compare` (a system against a baseline); `error_table` and
`worst_lines` show the errors of a system. Texts are lists of lines. References are one list of lines for each reference
file. In the lists after the first an empty line means that the line has no such reference: the number of references may
differ between lines.
"""

from .bootstrap import Comparison, Interval, bootstrap_interval, compare
from .calibration import Calibration, calibration_of_lines, calibration_of_tokens
from .classification import Confusion, confusion
from .complexity import alternatives
from .error_report import AlignedLine, ErrorTable, GroupScore, error_table, worst_lines
from .likelihood import nll_per_tgt_token, perplexity_per_tgt_token
from .metrics import METRICS, evaluate
from .rewards import Reward, bleu_reward, chrf_reward
from .score import LineStatistics, Metric, Score

__all__ = [
    "METRICS",
    "AlignedLine",
    "Calibration",
    "Comparison",
    "Confusion",
    "ErrorTable",
    "GroupScore",
    "Interval",
    "LineStatistics",
    "Metric",
    "Reward",
    "Score",
    "alternatives",
    "bleu_reward",
    "bootstrap_interval",
    "calibration_of_lines",
    "calibration_of_tokens",
    "chrf_reward",
    "compare",
    "confusion",
    "error_table",
    "evaluate",
    "nll_per_tgt_token",
    "perplexity_per_tgt_token",
    "worst_lines",
]
