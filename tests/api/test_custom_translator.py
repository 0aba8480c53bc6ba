"""A custom translator with only a forward pass: training, loading, translation and scoring."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from pydantic.dataclasses import dataclass
from reference.tiny_runs import write_numbers
from torch import nn

import seqlab
from seqlab import registry
from seqlab.data import Seq2SeqBatch
from seqlab.models import SETTINGS, DecoderOutput, ModelConfig, Size, TokenSide, UncachedTranslator
from seqlab.nn import VocabularyProjection, padding_mask


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BagConfig(ModelConfig):
    """A GRU whose initial state is the sum of the source embeddings."""

    family: Literal["bag"] = "bag"
    tasks: ClassVar[tuple[str, ...]] = ("translation",)
    d_model: Size = 32

    def build(self, src: TokenSide, tgt: TokenSide) -> "BagTranslator":
        return BagTranslator(self, src, tgt)


class BagTranslator(UncachedTranslator):
    def __init__(self, config: BagConfig, src: TokenSide, tgt: TokenSide) -> None:
        super().__init__(tgt)
        self.src_embedding = nn.Embedding(src.vocab_size, config.d_model)
        self.tgt_embedding = nn.Embedding(tgt.vocab_size, config.d_model)
        self.gru = nn.GRU(config.d_model, config.d_model, batch_first=True)
        self.projection = VocabularyProjection(nn.Parameter(torch.zeros(tgt.vocab_size, config.d_model)))

    def forward(self, batch: Seq2SeqBatch) -> DecoderOutput:
        is_padding = padding_mask(batch.src_lengths, batch.src.size(1))
        bag = self.src_embedding(batch.src).masked_fill(is_padding[..., None], 0).sum(1)
        assert batch.tgt_in is not None
        return DecoderOutput(self.gru(self.tgt_embedding(batch.tgt_in), bag[None])[0], self.projection)


@pytest.fixture
def registered() -> Iterator[None]:
    """Register the model family `bag` during a test."""
    seqlab.register("model")(BagConfig)
    yield
    del registry._parts["model"]["bag"]


@pytest.mark.usefixtures("registered")
def test_a_model_with_only_a_forward_pass_trains_translates_and_scores(tmp_path: Path) -> None:
    src, tgt = write_numbers(tmp_path, range(100))
    fields = {"data.train_src": src, "data.train_tgt": tgt, "data.tokenizer.kind": "words", "optim.average_last": 0}
    steps = {
        "training.max_steps": 150,
        "training.save_every": 150,
        "optim.optimizer.lr": 2e-2,
        "training.device": "cpu",
    }
    config = seqlab.config_for({**fields, **steps, "model.family": "bag", "model.d_model": 32})
    run = seqlab.load(seqlab.train(config, tmp_path / "run"), device="cpu")
    sources, targets = (Path(path).read_text(encoding="utf-8").splitlines() for path in (src, tgt))
    hypotheses = run.translate(sources, beam_size=2)
    assert seqlab.evaluate(hypotheses, [targets], ["exact_match"])["exact_match"].value > 30
    [score] = run.score(sources[:1], targets[:1])
    assert score.log_prob < 0
    assert len(run.translate(["one " * 600])) == 1  # the input is longer than the default limit: split into segments
