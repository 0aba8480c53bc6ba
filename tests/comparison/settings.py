"""What the compared runs have in common: small data sections, small models, and the shape of a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Settings = dict[str, Any]
"""The sections of a config file; or the words of a command line, where a run is trained without a file."""
Run = Settings | tuple[str, ...]

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
RUNNING = TEXT | {"train": ["corpora/running.txt"], "documents": "continuous"}
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

    In all words and values `@name` stands for the folder of this case's run `name`, and `@@` for a folder of this case
    that commands write files into.
    """

    name: str
    runs: Mapping[str, Run]
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_resumed: bool = False
    """Whether the older version also trains half of `runs["run"]`, which the newer one goes on with."""
    is_stopped: bool = False
    """Whether it is stopped by a signal, rather than by `training.max_steps`."""


def run_of(
    data: Settings,
    model: Settings,
    *,
    optim: Settings | None = OPTIM,
    training: Settings | None = None,
    **others: Any,
) -> Settings:
    """Make the config of a run; `optim=None` leaves that section out."""
    sections = {"data": data, "model": model, "training": TRAINING | (training or {}), **others}
    return sections if optim is None else sections | {"optim": optim}


def placed(value: Any, case: str) -> Any:
    """Replace `@name` and `@@` in all texts of a nested value."""
    if isinstance(value, str):
        if value.startswith("@@"):
            return f"files/{case}{value[2:]}"
        return f"runs/{case}/{value[1:]}" if value.startswith("@") else value
    if isinstance(value, Mapping):
        return {name: placed(each, case) for name, each in value.items()}
    return [placed(each, case) for each in value] if isinstance(value, list | tuple) else value
