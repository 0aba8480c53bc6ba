"""Text in, text out: a trained run translates lines and scores pairs.

`load(run)` gives a `Run`. Training validates with `decode_rows` and `decode_text`, the functions that a `Run` uses.
"""

from seqlab.inference.decode import BATCH_TOKENS, decode_rows, decode_text
from seqlab.inference.run import Run, load
from seqlab.inference.scorer import PairScore, score_rows
from seqlab.inference.translator import ScoredText, Translation, Translator

__all__ = [
    "BATCH_TOKENS",
    "PairScore",
    "Run",
    "ScoredText",
    "Translation",
    "Translator",
    "decode_rows",
    "decode_text",
    "load",
    "score_rows",
]
