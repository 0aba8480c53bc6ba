"""AWD-LSTM language models (Merity, Keskar & Socher 2018, arXiv:1708.02182); published settings, not run by us.

The settings are those of the commands in its repository (github.com/salesforce/awd-lstm-lm); the docstrings name the
differences from the paper. The perplexities are those of its README without fine-tuning.

Differences from the published runs: each epoch starts at another position of the text; the output layer has no bias,
and each LSTM layer one instead of two; the weights are initialized differently (`nn/recurrent_layer.py`); validation
resets the state at each block. `seqlab perplexity --context all` carries the state through a text, as the published
evaluation does.
"""

from collections.abc import Mapping
from pathlib import Path

from seqlab.corpora import path_specs
from seqlab.models import EncoderLmConfig, RecurrentEncoderConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import WordsConfig

BPTT_LENGTH = 70


def ptb_lstm(run_dir: str | Path) -> Config:
    """Penn Treebank, AWD-LSTM: published perplexity per word 61.2 (valid) and 58.8 (test); not run by us.

    24 million parameters, 500 epochs. Batch size 20 and hidden dropout 0.25 as in the repository; the paper has 40 and
    0.3. Reads `$SEQLAB_DATA/ptb/train.txt` and `valid.txt`.
    """
    return _awd_lstm(
        path_specs("ptb"), streams=20, input_dropout=0.4, hidden_dropout=0.25, epochs=500, steps_per_epoch=686
    )


def wikitext2_lstm(run_dir: str | Path) -> Config:
    """WikiText-2, AWD-LSTM: published perplexity per word 68.7 (valid) and 65.6 (test); not run by us.

    34 million parameters, 750 epochs. Hidden dropout 0.2 as in the repository; the paper has 0.3. Reads
    `$SEQLAB_DATA/wikitext2/train.txt` and `valid.txt`, or the dataset `Salesforce/wikitext` if there is no such folder.
    """
    return _awd_lstm(
        path_specs("wikitext2"), streams=80, input_dropout=0.65, hidden_dropout=0.2, epochs=750, steps_per_epoch=386
    )


def _awd_lstm(
    specs: Mapping[str, Mapping[str, str]],
    *,
    streams: int,
    input_dropout: float,
    hidden_dropout: float,
    epochs: int,
    steps_per_epoch: int,
) -> Config:
    """Build the config. `streams` is the batch size: the number of parallel streams of text.

    A step has 67.75 tokens per stream on average, since block lengths are rounded down.
    """
    return Config(
        data=LanguageModellingConfig(
            train=[specs["train"]["text"]],
            valid=[specs["valid"]["text"]],
            documents="continuous",
            order="contiguous",
            tokenizer=WordsConfig(normalization="none"),
            block_length=BPTT_LENGTH,
            vary_block_length=True,
            batch_tokens=streams * BPTT_LENGTH,
            micro_batch_tokens=2 * streams * BPTT_LENGTH,  # one micro-step, even for blocks above the mean length
        ),
        model=EncoderLmConfig(
            encoder=RecurrentEncoderConfig(
                family="lstm",
                hidden_size=1150,
                num_layers=3,
                bidirectional=False,
                input_dropout=input_dropout,
                dropout=hidden_dropout,
                output_dropout=0.4,
                weight_dropout=0.5,
            ),
            embedding_size=400,
            tied_embeddings=True,
            embedding_dropout=0.1,
        ),
        objective=CrossEntropyConfig(activation_penalty=2.0, slowness_penalty=1.0),
        optim=OptimConfig(
            optimizer=SgdConfig(lr=30.0, momentum=0.0, weight_decay=1.2e-6),
            schedule=ConstantScheduleConfig(),
            max_grad_norm=0.25,
            average_trigger=5,
        ),
        training=TrainingConfig(
            max_steps=epochs * steps_per_epoch,
            log_every=100,
            save_every=steps_per_epoch,
            valid_every=steps_per_epoch,
            precision="fp32",
        ),
    )
