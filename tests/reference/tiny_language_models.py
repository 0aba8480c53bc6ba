"""Run folders of small language models of each family, with random weights and text with non-ASCII characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from reference.recurrent_models import recurrent_lm

from seqlab.data.batch import collate_prompts
from seqlab.models import (
    EncoderLmConfig,
    ModelConfig,
    NgramConfig,
    NgramModel,
    RecurrentEncoderConfig,
    TransformerLmConfig,
)
from seqlab.models.spelling import SpellingModel
from seqlab.runs import Config, RunFolder
from seqlab.runs.checkpoint import write_checkpoint
from seqlab.runs.codecs import save_spelling
from seqlab.runs.config import write_config
from seqlab.runs.load import named_weights
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.task import rare_items
from seqlab.text import (
    BpeConfig,
    CharactersConfig,
    SentencePieceBpeConfig,
    Tokenizer,
    TokenizerConfig,
    WordsConfig,
    train_tokenizer,
)

WORDS = ["der", "die", "Katze", "läuft", "über", "Straße", "schön", "größer", "naïve", "café", "日本", "語"]
WORDS += ["dog", "sees", "a", "the", ",", ".", "-", "🙂"]
LINES = [
    *(" ".join(WORDS[(i * k + k // 3) % len(WORDS)] for k in range(1, 3 + i % 8)) for i in range(1, 90)),
    "Unikat, einmalig",
    "a",
    "xylophone zebra",
]
"""Training text of tokenizers, n-gram models and spelling models."""

BLOCK_LENGTH, MAX_LENGTH = 12, 16
FAMILIES: dict[str, ModelConfig] = {
    "transformer_lm": TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, num_layers=2, max_length=MAX_LENGTH),
    "rnn_lm": recurrent_lm("rnn"),
    "lstm_lm": recurrent_lm("lstm", embedding_size=12),
    "gru_lm": EncoderLmConfig(
        encoder=RecurrentEncoderConfig(
            family="gru", hidden_size=16, num_layers=2, bidirectional=False, dropout=0.1, output_dropout=0.1
        ),
        tied_embeddings=False,
    ),
    "ngram_lm": NgramConfig(order=4),
}
UNLIMITED_CONTEXT_FAMILIES = [name for name in FAMILIES if name != "transformer_lm"]
"""Families with an unlimited context."""
TOKENIZERS: dict[str, TokenizerConfig] = {
    "characters": CharactersConfig(),
    "words": WordsConfig(min_count=2),
    "bpe": BpeConfig(vocab_size=330),
    "sentencepiece": SentencePieceBpeConfig(vocab_size=330),
}


@dataclass(frozen=True)
class TinyRuns:
    """Run folders, written at first use and shared by all tests."""

    folder: Path

    def __call__(
        self, family: str = "transformer_lm", tokenizer: str = "bpe", documents: str = "lines", seed: int = 1
    ) -> Path:
        """Return a run folder. Runs with the same tokenizer share its vocabulary."""
        path = self.folder / f"{family}-{tokenizer}-{documents}-{seed}"
        if not path.exists():
            trained = train_tokenizer(TOKENIZERS[tokenizer], LINES)
            model = random_model(FAMILIES[family], trained, seed)
            if isinstance(model, NgramModel):
                lines = LINES[:: 1 + seed % 2]
                model.fit(trained.encode(lines), documents)
            spelling = SpellingModel.fit(rare_items(LINES, trained)) if trained.has_unknown else None
            write_language_model(path, FAMILIES[family], model, trained, spelling, documents=documents)
        return path


def random_model(config: ModelConfig, tokenizer: Tokenizer, seed: int = 1) -> Any:
    """Build a model with random weights that are large enough for distinct predictions."""
    torch.manual_seed(seed)
    model = config.build(tokenizer, tokenizer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.ndim > 1 else 1)
    return model


def write_language_model(
    path: Path,
    config: ModelConfig,
    model: Any,
    tokenizer: Tokenizer,
    spelling: SpellingModel | None = None,
    **data: Any,
) -> Path:
    """Write a run folder as training does. `data` are fields of `LanguageModellingConfig`."""
    path.mkdir(parents=True)
    settings = {"train": ["text.txt"], "block_length": BLOCK_LENGTH} | data
    write_config(Config(data=LanguageModellingConfig(**settings), model=config), path / "config.yaml")
    tokenizer.save(path / "tokenizer")
    if spelling is not None:
        save_spelling(spelling, RunFolder(path).spelling)
    write_checkpoint(path / "checkpoints", 1, {"model": named_weights(model)}, {"best": [[1.0, 1]]})
    RunFolder(path).write_description({})
    return path


def write_uniform_run(
    path: Path, lines: Sequence[str], tokenizer: TokenizerConfig, *, has_spelling_model: bool, **data: Any
) -> Path:
    """Write the run of a model with a uniform distribution over all ids except pad and bos."""
    trained, config = train_tokenizer(tokenizer, lines), NgramConfig(order=1)
    spelling = SpellingModel.fit(rare_items(lines, trained)) if has_spelling_model else None
    return write_language_model(path, config, config.build(trained, trained), trained, spelling, **data)


@torch.inference_mode()
def score_one_by_one(
    model: Any, ids: Sequence[int], start_id: int, context: int | None, stride: int = 1
) -> list[float]:
    """Compute each id's log-probability in a separate pass, given its context in the first window that contains it."""
    found = []
    for i, id_ in enumerate(ids):
        first = 0 if context is None else max(0, -(-(i + 1 - context) // stride)) * stride
        prompt = [*(ids[first - 1 : first] or [start_id]), *ids[first:i]]
        last_ids, state = model.start(collate_prompts([prompt]))
        found.append(float(model.step(last_ids, state).scores[0, id_]))
    return found
