"""Text in, text out: a translator translates lines and scores pairs, a language model scores text and continues it.

`load(run)` gives a `Run`, `load_language_model(run)` a `LanguageModel`. Training validates with `decode_rows` and
`decode_text`, the functions that a `Run` uses.

A name is imported when it is asked for: what translates with another engine than torch loads no torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.inference.decode import BATCH_TOKENS, decode_rows, decode_text
    from seqlab.inference.engine import Engine, PairScore
    from seqlab.inference.generator import Continuation
    from seqlab.inference.language_model import LanguageModel, Perplexity, load_language_model
    from seqlab.inference.line_score import LineScore
    from seqlab.inference.run import Run
    from seqlab.inference.scorer import score_rows
    from seqlab.inference.torch_engine import TorchEngine, load
    from seqlab.inference.translator import ScoredText, Translation, Translator

__all__ = [
    "BATCH_TOKENS",
    "Continuation",
    "Engine",
    "LanguageModel",
    "LineScore",
    "PairScore",
    "Perplexity",
    "Run",
    "ScoredText",
    "TorchEngine",
    "Translation",
    "Translator",
    "decode_rows",
    "decode_text",
    "load",
    "load_language_model",
    "score_rows",
]

__getattr__ = late_names(
    __name__,
    {
        "BATCH_TOKENS": "decode",
        "Continuation": "generator",
        "Engine": "engine",
        "LanguageModel": "language_model",
        "LineScore": "line_score",
        "PairScore": "engine",
        "Perplexity": "language_model",
        "Run": "run",
        "ScoredText": "translator",
        "TorchEngine": "torch_engine",
        "Translation": "translator",
        "Translator": "translator",
        "decode_rows": "decode",
        "decode_text": "decode",
        "load": "torch_engine",
        "load_language_model": "language_model",
        "score_rows": "scorer",
    },
)
