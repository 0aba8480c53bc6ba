"""Fixtures: a tiny run folder with random weights, and lines of Multi30k if `SEQLAB_DATA` has them."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seqlab.models import TransformerConfig
from seqlab.runs import Config
from seqlab.runs.checkpoint import write_checkpoint
from seqlab.runs.config import write_config
from seqlab.runs.folder import RunFolder
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import SentencePieceBpeConfig, Tokenizer, train_tokenizer

WORDS = ["the", "a", "dog", "cat", "man", "woman", "rides", "sees", "eats", "on", "under", "red", "blue", "horse"]
WORDS += ["bike", "street", "house", "quickly"]
LINES = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 4 + i % 7)) + "." for i in range(1, 120)]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(SentencePieceBpeConfig(vocab_size=350), LINES)


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Callable[..., Path]:
    """Write a run folder: `make_run(seed=1, steps=(1,), other=None, **model_fields)`; `other` is another tokenizer."""

    def make(seed: int = 1, steps: tuple[int, ...] = (1,), other: Tokenizer | None = None, **fields: object) -> Path:
        folder = tmp_path_factory.mktemp("run")
        values = {"d_model": 32, "d_ff": 64, "num_encoder_layers": 2, "num_decoder_layers": 2, "max_length": 30}
        model_config = TransformerConfig(**(values | fields))
        data = TranslationConfig(train_src=["a"], train_tgt=["b"], max_length=model_config.max_length - 1)
        config = Config(data=data, model=model_config)
        write_config(config, folder / "config.yaml")
        RunFolder(folder).write_description({})
        chosen = other or tokenizer
        chosen.save(folder / "tokenizer")
        for step in steps:
            torch.manual_seed(seed + step)
            model = model_config.build(chosen, chosen)
            with torch.no_grad():
                model.projection.weight.mul_(2)  # spread the scores
            weights = dict(model.named_parameters())
            write_checkpoint(folder / "checkpoints", step, {"model": weights}, {"best": []})
        return folder

    return make


@pytest.fixture(scope="session")
def run_folder(make_run: Callable[..., Path]) -> Path:
    return make_run()


def multi30k_lines(name: str) -> list[str]:
    """Read a file of Multi30k, or skip the test."""
    path = Path(os.environ.get("SEQLAB_DATA", "")) / "multi30k" / name
    if not path.exists():
        pytest.skip("SEQLAB_DATA has no multi30k")
    return gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]


@pytest.fixture(scope="session")
def real_lines() -> Callable[[str], list[str]]:
    return multi30k_lines
