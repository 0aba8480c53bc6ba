"""Shared settings of the compared runs: small data sections, small models, and the class of a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
"""Sections of a config file, or fields of one section."""
Run = Settings | tuple[str, ...]
"""A config, or the arguments of `seqlab train` for a run without a config file."""

NUMBERS: Settings = {
    "kind": "parallel",
    "train_src": ["corpora/numbers.en"],
    "train_tgt": ["corpora/numbers.de"],
    "tokenizer": {"kind": "words"},
    "valid_fraction": 0.08,
    "batch_tokens": 160,
    "micro_batch_tokens": 80,
    "chunk_pairs": 64,
    "prefetch_steps": 2,
}
LINES: Settings = {
    "kind": "labelled",
    "train_src": ["corpora/lines.txt"],
    "train_tgt": ["corpora/labels.txt"],
    "valid_fraction": 0.1,
    "batch_tokens": 120,
    "micro_batch_tokens": 60,
    "chunk_pairs": 64,
    "prefetch_steps": 2,
}
WORDS = LINES | {"train_tgt": ["corpora/tags.txt"], "labels_of": "words"}
TEXT: Settings = {
    "kind": "text",
    "train": ["corpora/numbers.de"],
    "tokenizer": {"kind": "words"},
    "valid_fraction": 0.1,
    "block_length": 24,
    "batch_tokens": 192,
    "micro_batch_tokens": 96,
    "chunk_lines": 64,
    "prefetch_steps": 2,
}
CONTINUOUS_TEXT = TEXT | {"train": ["corpora/running.txt"], "documents": "continuous"}
SUBWORDS: Settings = {"tokenizer": {"kind": "sentencepiece_bpe", "vocab_size": 300}, "subword_sampling": 0.1}

ENCODER: Settings = {"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "dropout": 0.1}
TRANSFORMER = ENCODER | {"family": "transformer", "num_decoder_layers": 1, "max_length": 64}
RECURRENT: Settings = {"hidden_size": 16, "dropout": 0.1}
TRANSFORMER_LM: Settings = {
    **{"family": "transformer_lm", "d_model": 16, "d_ff": 32, "num_heads": 2, "num_layers": 1, "dropout": 0.1},
}
RECURRENT_LM: Settings = {"hidden_size": 16, "num_layers": 1}
RECURRENT_LABELLER: Settings = {"hidden_size": 16, "embedding_size": 8}

OPTIM: Settings = {
    "optimizer": {"family": "adam", "lr": 0.01},
    "schedule": {"family": "constant", "warmup_steps": 4},
    "average_last": 3,
}
TRAINING: Settings = {
    **{"max_steps": 60, "log_every": 5, "save_every": 15, "valid_every": 30, "keep_best": 2},
    **{"device": "cpu", "precision": "fp32", "threads": 1},
}
TRANSLATE = ("--input", "corpora/test_numbers.en", "--json")
PAIRS = ("--src", "corpora/test_numbers.en", "--tgt", "corpora/test_numbers.de")


@dataclass(frozen=True)
class Case:
    """Runs that are trained in order, and commands that use them.

    In all arguments and values, `@name` is replaced by the folder of this case's run `name`, and `@@` by the folder of
    this case for files that commands write.
    """

    name: str
    runs: Mapping[str, Run]
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_resumed: bool = False
    """Whether the older version also trains half of `runs["run"]`, which the newer version resumes."""
    is_stopped: bool = False
    """Whether that half ends by a signal instead of `training.max_steps`."""


def run_of(
    data: Settings,
    model: Settings,
    *,
    optim: Settings | None = OPTIM,
    training: Settings | None = None,
    **others: Any,
) -> Settings:
    """Return the config of a run; `optim=None` omits that section."""
    sections = {"data": data, "model": model, "training": TRAINING | (training or {}), **others}
    return sections if optim is None else sections | {"optim": optim}


def resolve_names(value: Any, case: str) -> Any:
    """Replace `@name` and `@@` in all strings of a nested value."""
    if isinstance(value, str):
        if value.startswith("@@"):
            return f"files/{case}{value[2:]}"
        return f"runs/{case}/{value[1:]}" if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {name: resolve_names(each, case) for name, each in value.items()}
    return [resolve_names(each, case) for each in value] if isinstance(value, list | tuple) else value
