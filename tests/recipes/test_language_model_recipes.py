"""Recipes of language models, on small artificial corpora: training, sizes and published settings."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.stub_vocabulary import StubVocabulary

from seqlab import corpora
from seqlab.models import (
    CarryingLm,
    EncoderLmConfig,
    NgramConfig,
    TransformerLm,
    TransformerLmConfig,
)
from seqlab.recipes import RECIPES, wikitext2_lstm
from seqlab.runs.config import Config, from_dict, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.runs.overrides import Override, override
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.training import train

MODEL_CONFIGS: dict[str, type] = {
    "multi30k_lm_en": TransformerLmConfig,
    "multi30k_lm_en_lstm": EncoderLmConfig,
    "multi30k_lm_en_gru": EncoderLmConfig,
    "multi30k_lm_en_ngram": NgramConfig,
    "tinyshakespeare": TransformerLmConfig,
    "tinyshakespeare_lstm": EncoderLmConfig,
    "tinyshakespeare_gru": EncoderLmConfig,
    "tinyshakespeare_ngram": NgramConfig,
    "ptb_lstm": EncoderLmConfig,
    "wikitext2_lstm": EncoderLmConfig,
    "wikitext2_transformer": TransformerLmConfig,
    "wikitext103_transformer": TransformerLmConfig,
}
every_recipe = pytest.mark.parametrize("name", MODEL_CONFIGS)
SMALL: dict[type, dict[str, str]] = {
    TransformerLmConfig: {"model.d_model": "16", "model.d_ff": "32", "model.num_heads": "2", "model.num_layers": "1"},
    EncoderLmConfig: {"model.encoder.hidden_size": "16", "model.embedding_size": "16"},
    NgramConfig: {"model.order": "3"},
}
"""Overrides that make a model small."""
WORDS = [
    "the",
    "a",
    "of",
    "in",
    "dog",
    "man",
    "street",
    "red",
    "ball",
    "runs",
    "sees",
    "<unk>",
    ",",
    ".",
    "two",
    "their",
]


def articles(seed: int, count: int) -> list[str]:
    """Return lines in the format of WikiText: headings and paragraphs, separated by empty lines."""
    rng = random.Random(seed)
    lines = []
    while len(lines) < count:
        lines += ["", f" = {' '.join(rng.choices(WORDS, k=3))} = ", ""]
        lines += [f" {' '.join(rng.choices(WORDS, k=rng.randint(5, 40)))} " for _ in range(3)]
    return lines


@pytest.fixture
def small_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace each corpus by 60 to 400 random lines without checksums."""
    folder = tmp_path / "data"
    for name in ("multi30k", "ptb", "tinyshakespeare", "wikitext2", "wikitext103"):
        corpus = corpora.CORPORA[name]
        splits = {}
        for number, (split, split_files) in enumerate(corpus.splits.items()):
            files = {column: corpora.TextFile(file.names) for column, file in split_files.files.items()}
            splits[split] = replace(split_files, files=files)
            for file in files.values():
                path = folder / name / file.names[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                lines = articles(number, 60 if split in ("valid", "test") else 400)
                path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        monkeypatch.setitem(corpora.CORPORA, name, replace(corpus, splits=splits))
    monkeypatch.setenv("SEQLAB_DATA", str(folder))
    return folder


def shrink(config: Config) -> Config:
    """Reduce the steps, the model and the vocabulary of a config."""
    overrides = {"training.device": "cpu", "training.threads": "1", **SMALL[type(config.model)]}
    if not isinstance(config.model, NgramConfig):
        overrides |= {"training.max_steps": "2", "training.log_every": "1", "training.valid_every": "2"}
    if config.data.tokenizer.kind == "sentencepiece_bpe":
        overrides["data.tokenizer.vocab_size"] = "300"
    settings: list[Override] = list(overrides.items())
    return override(config, settings)


@every_recipe
def test_every_recipe_trains(name: str, small_corpora: Path, tmp_path: Path) -> None:
    config = RECIPES[name](tmp_path / "run")
    assert type(config.model) is MODEL_CONFIGS[name]
    assert config == from_dict(to_dict(config))
    run_dir = train(shrink(config), tmp_path / "run")
    validations = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "valid"]
    assert validations
    run = load_run(run_dir, model_noun="a language model")
    text = ["the man sees a dog ."]
    assert run.tgt_tokenizer.decode(run.tgt_tokenizer.encode(text)) == text


@every_recipe
def test_intervals_are_consistent(name: str, small_corpora: Path, tmp_path: Path) -> None:
    config = RECIPES[name](tmp_path / "run")
    data, training, optim = config.data, config.training, config.optim
    assert isinstance(data, LanguageModellingConfig)
    if isinstance(config.model, NgramConfig):
        return
    assert optim.schedule.warmup_steps < training.max_steps / 4
    assert training.valid_every % training.save_every == 0
    assert training.max_steps >= 10 * training.valid_every
    assert data.block_length <= data.batch_tokens
    is_recurrent = isinstance(config.model, EncoderLmConfig)
    assert (data.order == "contiguous") == (is_recurrent and data.documents == "continuous")


def test_published_settings_of_awd_lstm(small_corpora: Path, tmp_path: Path) -> None:
    """The published numbers of parameters include an output bias and a second bias of each LSTM layer."""
    for name, streams, words, published, dropouts in (
        ("wikitext2_lstm", 80, 33_278, 33_556_078, (0.1, 0.65, 0.2, 0.4, 0.5)),
        ("ptb_lstm", 20, 10_000, 24_221_600, (0.1, 0.4, 0.25, 0.4, 0.5)),
    ):
        config = RECIPES[name](tmp_path)
        model, data, optim = config.model, config.data, config.optim
        assert isinstance(model, EncoderLmConfig)
        assert isinstance(data, LanguageModellingConfig)
        names = ("input_dropout", "dropout", "output_dropout", "weight_dropout")
        assert (model.embedding_dropout, *(getattr(model.encoder, name) for name in names)) == dropouts
        assert (data.batch_tokens // data.block_length, data.block_length, data.vary_block_length) == (
            streams,
            70,
            True,
        )
        assert (optim.max_grad_norm, optim.average_trigger) == (0.25, 5)
        assert (config.objective.activation_penalty, config.objective.slowness_penalty) == (2, 1)  # type: ignore[union-attr]
        with torch.device("meta"):
            built = CarryingLm(model, StubVocabulary(words))
        second_bias = 4 * (1150 + 1150 + 400)
        assert sum(p.numel() for p in built.parameters()) == published - words - second_bias


@pytest.mark.parametrize(("name", "words", "millions"), [("wikitext103", 267_735, 156), ("wikitext2", 33_278, 13)])
def test_numbers_of_parameters_of_the_transformers(
    name: str, words: int, millions: int, small_corpora: Path, tmp_path: Path
) -> None:
    recipe = RECIPES[f"{name}_transformer"]
    config = recipe(tmp_path)
    model = config.model.resolve(config.data)
    assert isinstance(model, TransformerLmConfig)
    with torch.device("meta"):
        built = TransformerLm(model, words + 4, eos_id=2)
    assert round(sum(p.numel() for p in built.parameters()) / 1e6) == millions
    assert recipe.__doc__ is not None
    assert f"{millions} million parameters" in recipe.__doc__
    assert "not run by us" in recipe.__doc__


def test_wikitext_is_downloaded_if_files_are_missing(
    small_corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    from_files = train(shrink(wikitext2_lstm(tmp_path)), tmp_path / "files")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    load_dataset, requests = datasets.load_dataset, []

    def load_from_hub(name: str, config: str, **options: Any) -> Any:
        requests.append((name, config, options["split"]))
        file = {"train": "train.txt", "validation": "valid.txt"}[options["split"]]
        lines = (small_corpora / "wikitext2" / file).read_text(encoding="utf-8").splitlines()
        folder = tmp_path / options["split"]
        folder.mkdir(exist_ok=True)
        records = [f"{line}\n" if line else "" for line in lines]
        datasets.Dataset.from_dict({"text": records}).to_parquet(folder / f"{options['split']}.parquet")
        return load_dataset(str(folder), **options)

    monkeypatch.setattr(datasets, "load_dataset", load_from_hub)
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    config = wikitext2_lstm(tmp_path)
    assert config.data.input_specs() == [
        f"hub:Salesforce/wikitext:wikitext-2-v1:{split}#text" for split in ("train", "validation")
    ]
    downloaded = train(shrink(config), tmp_path / "downloaded")
    assert set(requests) == {("Salesforce/wikitext", "wikitext-2-v1", split) for split in ("train", "validation")}
    losses = [
        [line["nll"] for line in RunFolder(run).read_metrics() if line["kind"] == "train"]
        for run in (from_files, downloaded)
    ]
    assert losses[0] == losses[1]
