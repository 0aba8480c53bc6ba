"""Train a model of your own: a neural n-gram language model (Bengio et al. 2003).

    python custom_model.py [TEXT]

The command line takes this file as a plugin: seqlab train --plugin custom_model.py --data.train TEXT
--model.family neural_ngram_lm
"""

import sys
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import nn

import seqlab
from seqlab.corpora.number_words import write
from seqlab.data import TextBatch
from seqlab.models import SETTINGS, DecoderOutput, LanguageModelConfig, Size, TokenSide, UncachedLm
from seqlab.nn import Linear, VocabularyProjection


@seqlab.register("model")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NeuralNgramConfig(LanguageModelConfig):
    """A feed-forward network over the last few tokens (Bengio et al. 2003)."""

    family: Literal["neural_ngram_lm"] = "neural_ngram_lm"
    """The name of this model."""
    d_model: Size = 128
    """Size of the embeddings and of the hidden layer."""
    context: Size = 5
    """Number of previous tokens that the prediction depends on."""

    def build(self, src: TokenSide, tgt: TokenSide) -> "NeuralNgramLm":
        return NeuralNgramLm(self, tgt)


class NeuralNgramLm(UncachedLm):
    """Predict the next token from the embeddings of the last `context` tokens."""

    def __init__(self, config: NeuralNgramConfig, tgt: TokenSide) -> None:
        super().__init__(tgt)
        self.context = config.context
        self.embedding = nn.Embedding(tgt.vocab_size, config.d_model)
        self.hidden = Linear(config.context * config.d_model, config.d_model)
        self.projection = VocabularyProjection(nn.Parameter(torch.zeros(tgt.vocab_size, config.d_model)))

    def forward(self, batch: TextBatch) -> DecoderOutput:
        padded = nn.functional.pad(batch.tgt_in, (self.context - 1, 0))
        windows = self.embedding(padded.unfold(1, self.context, 1))  # (B, T, context, D)
        return DecoderOutput(self.hidden(windows.flatten(2)).tanh(), self.projection)


if __name__ == "__main__":
    text = sys.argv[1] if len(sys.argv) > 1 else write("number_words")["train"]["en"]
    config = seqlab.config_for({"data.train": text, "model.family": "neural_ngram_lm", "training.max_steps": 100})
    lm = seqlab.load(seqlab.train(config, "runs/custom_model"))
    print(f"perplexity {lm.perplexity(['the seventh of May']).likelihood.perplexity:.1f} per token")
    print(*(each.text for each in lm.generate(num_samples=5, seed=1)[0]), sep="\n")
