"""Shared fixtures: tiny runs with random weights of high variance, so that hypotheses have distinct scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seqlab.data.encoded import CorpusWriter, EncodedRows
from seqlab.data.ragged import RaggedArray
from seqlab.models import TransformerConfig
from seqlab.runs import Config, RunFolder
from seqlab.runs.checkpoint import write_checkpoint
from seqlab.runs.config import write_config
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig, Tokenizer, WordsConfig, train_tokenizer

WORDS = ["the", "a", "dog", "cat", "man", "woman", "rides", "sees", "eats", "on", "under", "red", "blue", "horse"]
LINES = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 4 + i % 7)) + "." for i in range(1, 60)]
NUM_VALID_PAIRS = 12
SIZES = {"d_model": 32, "d_ff": 64, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 3, "max_length": 30}


@pytest.fixture(scope="session")
def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    """Return a subword tokenizer, and a word tokenizer whose vocabulary includes the spellings of special tokens."""
    subwords = train_tokenizer(SentencePieceBpeConfig(vocab_size=320), LINES)
    return subwords, train_tokenizer(WordsConfig(), [*LINES, "</s> </s>#9 <unk> <s>"])


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory, tokenizers: tuple[Tokenizer, Tokenizer]) -> Callable[..., Path]:
    """Return a function that writes a run folder; both sides share a tokenizer if all embeddings are tied."""

    def make(seed: int = 1, steps: tuple[int, ...] = (1,), **model_fields: object) -> Path:
        folder = RunFolder(tmp_path_factory.mktemp("run"))
        model_config = TransformerConfig(**(SIZES | model_fields))  # type: ignore[arg-type]
        is_joint = model_config.tied_embeddings == "all"
        data = TranslationConfig(train_src=["a"], train_tgt=["b"], joint_vocabulary=is_joint, max_length=20)  # type: ignore[call-arg]
        write_config(Config(data=data, model=model_config), folder.config_file)
        folder.write_description({"longest_src_tokens": 16})
        src_tokenizer, tgt_tokenizer = (tokenizers[0],) * 2 if is_joint else tokenizers
        src_tokenizer.save(folder.path / ("tokenizer" if is_joint else "src_tokenizer"))
        if not is_joint:
            tgt_tokenizer.save(folder.path / "tgt_tokenizer")
        write_cache(folder, src_tokenizer, tgt_tokenizer)
        for step in steps:
            write_weights(folder, step, seed, model_config, src_tokenizer, tgt_tokenizer)
        return folder.path

    return make


def write_cache(folder: RunFolder, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> None:
    """Write a validation set in the format of the training cache."""
    folder.cache.mkdir()
    sizes = src_tokenizer.vocab_size, tgt_tokenizer.vocab_size
    writer = CorpusWriter(folder.cache / "valid", sizes, with_text=False)
    writer.start_corpus(["a", "b"])
    src = RaggedArray.from_lists(src_tokenizer.encode(LINES[:NUM_VALID_PAIRS]))
    tgt = RaggedArray.from_lists(tgt_tokenizer.encode(LINES[NUM_VALID_PAIRS : 2 * NUM_VALID_PAIRS]))
    writer.extend(EncodedRows([src, tgt], [], np.arange(1, NUM_VALID_PAIRS + 1).repeat(2).reshape(-1, 2)))
    writer.close()


def write_weights(
    folder: RunFolder,
    step: int,
    seed: int,
    config: TransformerConfig,
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
) -> None:
    """Write a checkpoint with random weights, biases and gains."""
    torch.manual_seed(seed + step)
    model = config.build(src_tokenizer, tgt_tokenizer)
    with torch.no_grad():
        model.projection.weight.mul_(2)
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases, and the gains of norms
                parameter.add_(0.1 * torch.randn_like(parameter))
    write_checkpoint(folder.checkpoints, step, {"model": dict(model.named_parameters())}, {"best": []})
