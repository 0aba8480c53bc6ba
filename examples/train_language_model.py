"""Train a language model on a text, measure its perplexity on another text, and continue a prompt.

    python train_language_model.py [TRAIN_TEXT TEST_TEXT]

All other settings are chosen from the training text. Without files, it trains on number words for a few seconds.
"""

import sys
from pathlib import Path

import seqlab
from seqlab.corpora.number_words import write

QUICK = {
    "data.tokenizer.kind": "sentencepiece_bpe",
    "data.batch_tokens": 1024,
    "model.hidden_size": 128,
    "model.num_layers": 1,
    "training.max_steps": 150,
}


def main() -> None:
    if len(sys.argv) == 3:
        train, test = map(Path, sys.argv[1:])
        fields = {}
    else:
        files = write("number_words")
        train, test, fields = files["train"]["de"], files["test"]["de"], QUICK
    config = seqlab.config_for({"data.train": train, "model.encoder.family": "lstm", **fields})
    lm = seqlab.load(seqlab.train(config, "runs/train_language_model"))
    likelihood = lm.perplexity(test.read_text(encoding="utf-8")).likelihood
    print(f"{likelihood.tokens:,} tokens, {likelihood.words:,} words, {likelihood.bytes:,} bytes")
    print(f"perplexity per token {likelihood.perplexity:.2f}, per word {likelihood.perplexity_per_word:.2f}")
    print(f"bits per byte {likelihood.bits_per_byte:.3f}")
    for prompt in ("am siebten", "neunzehn"):
        for continuation in lm.generate([prompt], num_samples=2, temperature=0.7, seed=1)[0]:
            print(prompt + continuation.text)


if __name__ == "__main__":
    main()
