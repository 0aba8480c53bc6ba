"""Text in, text out: a translator translates lines and scores pairs, a labeller labels lines or their words, a language
model scores text and continues it.

`load(run)` gives a `Run`, `load_labeller(run)` a `Labeller`, `load_language_model(run)` a
`LanguageModel`. Training validates with `decode_rows` and
`decode_text`, the functions that a `Run` uses.

A name is imported when it is asked for: what translates with another engine than torch loads no torch.
"""

from typing import TYPE_CHECKING

from seqlab.late import late_names

if TYPE_CHECKING:
    from seqlab.inference.decode import BATCH_TOKENS, decode_rows, decode_text
    from seqlab.inference.engine import Engine, PairScore
    from seqlab.inference.generator import Continuation
    from seqlab.inference.labeller import Labeller, Labelling, load_labeller
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
    "Labeller",
    "Labelling",
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
    "load_labeller",
    "load_language_model",
    "score_rows",
]

if not TYPE_CHECKING:  # or any name would do
    __getattr__ = late_names(
        __name__,
        {
            "BATCH_TOKENS": "decode",
            "Continuation": "generator",
            "Engine": "engine",
            "Labeller": "labeller",
            "Labelling": "labeller",
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
            "load_labeller": "labeller",
            "load_language_model": "language_model",
            "score_rows": "scorer",
        },
    )
