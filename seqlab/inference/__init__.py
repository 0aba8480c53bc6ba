"""Trained models at work: rows of ids in, hypotheses and scores out, in the order of the rows; engines and ensembles.

`seqlab.inference.load` gives a run the class of its task. A name is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.inference.decode import BATCH_TOKENS, decode_rows, decode_text
    from seqlab.inference.engine import Engine, PairScore
    from seqlab.inference.load import load
    from seqlab.inference.scorer import score_rows
    from seqlab.inference.torch_engine import TorchEngine

__all__ = [
    "BATCH_TOKENS",
    "Engine",
    "PairScore",
    "TorchEngine",
    "decode_rows",
    "decode_text",
    "load",
    "score_rows",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "BATCH_TOKENS": "decode",
            "Engine": "engine",
            "PairScore": "engine",
            "TorchEngine": "torch_engine",
            "decode_rows": "decode",
            "decode_text": "decode",
            "load": "load",
            "score_rows": "scorer",
        },
    )
