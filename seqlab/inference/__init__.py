"""Text in, text out: a trained run translates lines and scores pairs.

`load(run)` gives a `Run`. Training validates with `decode_rows` and `decode_text`, the functions that a `Run` uses.
A name is imported when it is asked for: what translates with another engine than torch loads no torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.inference.decode import BATCH_TOKENS, decode_rows, decode_text
    from seqlab.inference.engine import Engine, PairScore
    from seqlab.inference.run import Run
    from seqlab.inference.scorer import score_rows
    from seqlab.inference.torch_engine import TorchEngine, load
    from seqlab.inference.translator import ScoredText, Translation, Translator

__all__ = [
    "BATCH_TOKENS",
    "Engine",
    "PairScore",
    "Run",
    "ScoredText",
    "TorchEngine",
    "Translation",
    "Translator",
    "decode_rows",
    "decode_text",
    "load",
    "score_rows",
]

__getattr__ = late_names(
    __name__,
    {
        "BATCH_TOKENS": "decode",
        "Engine": "engine",
        "PairScore": "engine",
        "Run": "run",
        "ScoredText": "translator",
        "TorchEngine": "torch_engine",
        "Translation": "translator",
        "Translator": "translator",
        "decode_rows": "decode",
        "decode_text": "decode",
        "load": "torch_engine",
        "score_rows": "scorer",
    },
)
