"""Train a translator on two files and measure its BLEU: line i of one file is the translation of line i of the other.

    python train_translator.py [TRAIN_SRC TRAIN_TGT TEST_SRC TEST_TGT]

Tokenizer, model, batch size and schedule are chosen from the training files, and the reasons are logged. Without files,
the script trains a smaller model on English and German number words for a few seconds.
"""

import logging
import sys
from pathlib import Path

import seqlab
from seqlab.corpora.number_words import write
from seqlab.data import read_lines

QUICK = {
    "model.d_model": 64,
    "model.num_encoder_layers": 2,
    "model.num_decoder_layers": 2,
    "model.dropout": 0.1,
    "data.batch_tokens": 1024,
    "data.valid_max_pairs": 50,
    "optim.optimizer.lr": 5e-3,
    "optim.average_last": 0,
    "training.max_steps": 200,
    "training.log_every": 50,
    "training.save_every": 200,
}


def main() -> None:
    if len(sys.argv) == 5:
        train_src, train_tgt, test_src, test_tgt = map(Path, sys.argv[1:])
        fields = {}
    else:
        files = write("number_words")
        train_src, train_tgt = files["train"]["en"], files["train"]["de"]
        test_src, test_tgt = files["test_short"]["en"], files["test_short"]["de"]
        fields = QUICK
    config = seqlab.config_for({"data.train_src": train_src, "data.train_tgt": train_tgt, **fields})
    run = seqlab.load(seqlab.train(config, "runs/train_translator"))
    sources, references = list(read_lines(test_src)), list(read_lines(test_tgt))
    hypotheses = run.translate(sources, beam_size=5)
    for line in zip(sources[:5], hypotheses, references, strict=False):
        print(" | ".join(line))
    for score in seqlab.evaluate(hypotheses, [references], ["bleu", "chrf"]).values():
        print(score.as_line())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
