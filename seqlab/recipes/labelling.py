"""Tagging and classification: parts of speech (Nivre et al. 2020), sentiment (Socher et al. 2013), question types."""

from dataclasses import replace
from pathlib import Path

from seqlab.corpora import locate
from seqlab.corpora.labelled_lines import write_label_table
from seqlab.corpora.ud_ewt import write_share
from seqlab.data.config import TokensConfig
from seqlab.models import (
    CnnEncoderConfig,
    EncoderLmConfig,
    FrequencyLabellerConfig,
    LabelerConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.models.config import ModelConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import BpeConfig, WordsConfig

TAGGER = LabelerConfig(
    encoder=RecurrentEncoderConfig(family="lstm", hidden_size=512, num_layers=2, dropout=0.4),
    embedding_size=128,
    spelling_size=128,
    spelling_dropout=0.4,
    unknown_share=0.1,
)
QUESTIONS = LabelerConfig(
    encoder=RecurrentEncoderConfig(family="lstm", hidden_size=200, dropout=0.5),
    embedding_size=256,
    embedding_dropout=0.3,
    spelling_size=64,
    spelling_dropout=0.5,
    unknown_share=0.1,
    ngram_order=3,
    output_dropout=0.5,
)
CONVOLUTIONS = LabelerConfig(
    encoder=CnnEncoderConfig(widths=(2, 3, 4), num_filters=128),
    embedding_size=256,
    embedding_dropout=0.3,
    spelling_size=64,
    unknown_share=0.1,
)
TRANSFORMER_LAYERS = TransformerEncoderConfig(d_model=128, d_ff=512, num_layers=2, dropout=0.2, positions="rotary")
TRANSFORMER = LabelerConfig(encoder=TRANSFORMER_LAYERS, spelling_size=128, spelling_dropout=0.2, unknown_share=0.1)


def _tagging_data(train: Path | str) -> LabellingConfig:
    valid = locate("ud_ewt")["valid"]["sentences"]
    return LabellingConfig(
        train_src=[f"{train}#form"],
        train_tgt=[f"{train}#upos"],
        valid_src=f"{valid}#form",
        valid_tgt=[f"{valid}#upos"],
        labels_of="words",
    )


def _training(max_steps: int) -> TrainingConfig:
    return TrainingConfig(max_steps=max_steps, log_every=100, save_every=250, valid_every=250)


def _optim(lr: float) -> OptimConfig:
    return OptimConfig(optimizer=AdamConfig(lr=lr), schedule=LinearScheduleConfig(warmup_steps=200), average_last=5)


def pos_tagging(run_dir: str | Path) -> Config:
    """English part-of-speech tagging: a bidirectional LSTM over words and their spelling."""
    return Config(
        data=_tagging_data(locate("ud_ewt")["train"]["sentences"]),
        model=TAGGER,
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=_optim(2e-3),
        training=_training(4000),
    )


def pos_tagging_transformer(run_dir: str | Path) -> Config:
    """English part-of-speech tagging: a Transformer over words and their spelling."""
    return replace(pos_tagging(run_dir), model=TRANSFORMER, training=_training(3000))


def pos_tagging_frequency(run_dir: str | Path) -> Config:
    """English part-of-speech tagging: the most frequent tag of each word, a baseline."""
    return Config(
        data=_tagging_data(locate("ud_ewt")["train"]["sentences"]),
        model=FrequencyLabellerConfig(),
        training=_training(1),
    )


def pos_tagging_tenth(run_dir: str | Path) -> Config:
    """English part-of-speech tagging with a tenth of the labels: a Transformer, to fine-tune from `ewt_mlm`.

    Start from it with `--init_from runs/ewt_mlm --init_parts matching`.
    """

    def write(folder: Path) -> None:
        write_share(locate("ud_ewt")["train"]["sentences"], folder / "train.conllu", every=10)

    data = _tagging_data(generated_data(run_dir, write) / "train.conllu")
    return replace(pos_tagging_transformer(run_dir), data=data, training=_training(1500))


def ewt_mlm(run_dir: str | Path) -> Config:
    """English sentences of the treebank, without labels: a masked language model."""
    splits = locate("ud_ewt")
    return Config(
        data=LanguageModellingConfig(
            train=[f"{splits['train']['sentences']}#form"],
            valid=[f"{splits['valid']['sentences']}#form"],
            tokenizer=WordsConfig(),
            mask_share=0.15,
            batch_tokens=2048,
        ),
        model=EncoderLmConfig(encoder=replace(TRANSFORMER_LAYERS, dropout=0.1)),
        optim=_optim(2e-3),
        training=_training(3000),
    )


def _line_label_data(run_dir: str | Path, corpus: str) -> LabellingConfig:
    """Write lines that begin with their labels as tables, and return their data config.

    A corpus without splits is divided into folds.
    """
    splits = locate(corpus)

    def write(folder: Path) -> None:
        for split, columns in splits.items():
            write_label_table(columns["labelled"], folder / f"{split}.tsv")

    folder = generated_data(run_dir, write)

    def specs(split: str, column: int) -> list[str]:
        return [f"{folder / split}.tsv#{column}"] if split in splits else []

    return LabellingConfig(
        train_src=specs("train", 1) + specs("all", 1),
        train_tgt=specs("train", 0) + specs("all", 0),
        valid_src=next(iter(specs("valid", 1)), None),
        valid_tgt=specs("valid", 0),
        valid_fraction=0.1,
        test_src=specs("test", 1),
        test_tgt=specs("test", 0),
        labels_of="lines",
    )


def _line_labeler(run_dir: str | Path, corpus: str, model: ModelConfig) -> Config:
    return Config(
        data=_line_label_data(run_dir, corpus),
        model=model,
        objective=CrossEntropyConfig(label_smoothing=0.1),
        optim=_optim(1e-3),
        training=TrainingConfig(max_steps=1500, log_every=100, save_every=125, valid_every=125),
    )


def sst2(run_dir: str | Path) -> Config:
    """Sentiment of sentences from film reviews (SST-2): a bidirectional LSTM with high embedding dropout."""
    model = LabelerConfig(
        encoder=RecurrentEncoderConfig(family="lstm", hidden_size=128, dropout=0.5),
        embedding_size=256,
        unknown_share=0.1,
        embedding_dropout=0.4,
        spelling_dropout=0.5,
        output_dropout=0.5,
        pooling="mean",
    )
    return _line_labeler(run_dir, "sst2", model)


def sst2_transformer(run_dir: str | Path) -> Config:
    """Sentiment of sentences from film reviews (SST-2): a Transformer."""
    model = replace(
        TRANSFORMER,
        encoder=replace(TRANSFORMER_LAYERS, dropout=0.4),
        spelling_size=0,
        spelling_dropout=0.4,
        output_dropout=0.5,
        pooling="mean",
    )
    return _line_labeler(run_dir, "sst2", model)


def sst2_cnn(run_dir: str | Path) -> Config:
    """Sentiment of sentences from film reviews (SST-2): convolutions over words (Kim 2014)."""
    model = replace(
        CONVOLUTIONS,
        encoder=CnnEncoderConfig(widths=(2, 3, 4), num_filters=128, dropout=0.4),
        spelling_size=0,
        spelling_dropout=0.4,
        embedding_dropout=0.4,
        output_dropout=0.5,
    )
    return _line_labeler(run_dir, "sst2", model)


def trec_cnn(run_dir: str | Path) -> Config:
    """Question types (TREC): convolutions over words and their spelling (Kim 2014)."""
    return _line_labeler(run_dir, "trec", replace(CONVOLUTIONS, output_dropout=0.5))


def _questions(run_dir: str | Path, model: LabelerConfig, lr: float) -> Config:
    config = _line_labeler(run_dir, "trec", model)
    assert isinstance(config.data, TokensConfig)
    return replace(config, data=replace(config.data, batch_tokens=512), optim=_optim(lr))


def trec(run_dir: str | Path) -> Config:
    """Question types (TREC): a bidirectional LSTM with word bigrams and trigrams.

    `--data.valid_fold` chooses the fold for validation, one of ten.
    """
    return _questions(run_dir, QUESTIONS, 2e-3)


def trec_subwords(run_dir: str | Path) -> Config:
    """Question types (TREC): an LSTM over subwords, for ensembles with `trec`, since its errors differ."""
    config = _questions(run_dir, replace(QUESTIONS, spelling_size=0), 4e-3)
    assert isinstance(config.data, TokensConfig)
    return replace(config, data=replace(config.data, tokenizer=BpeConfig(vocab_size=2000), batch_tokens=800))


def trec_tagger(run_dir: str | Path) -> Config:
    """Question types (TREC): an LSTM with the sizes of `pos_tagging`, to fine-tune from it.

    Start from it with `--init_from runs/pos_tagging --init_parts matching`.
    """
    model = replace(
        TAGGER,
        encoder=RecurrentEncoderConfig(family="lstm", hidden_size=512, num_layers=2, dropout=0.5),
        ngram_order=3,
        embedding_dropout=0.3,
        spelling_dropout=0.5,
        output_dropout=0.5,
    )
    return _questions(run_dir, model, 4e-3)


def trec_transformer(run_dir: str | Path) -> Config:
    """Question types (TREC): a Transformer with word bigrams and trigrams."""
    return _line_labeler(run_dir, "trec", replace(TRANSFORMER, ngram_order=3))


LABELLING_RECIPES = (
    pos_tagging,
    pos_tagging_transformer,
    pos_tagging_frequency,
    pos_tagging_tenth,
    ewt_mlm,
    sst2,
    sst2_transformer,
    sst2_cnn,
    trec,
    trec_subwords,
    trec_tagger,
    trec_transformer,
    trec_cnn,
)
