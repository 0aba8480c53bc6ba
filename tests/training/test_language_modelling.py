"""Training language models: averages, failed steps, resuming, and refused configs."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.recurrent_models import recurrent_lm
from reference.shared import SharedFolder
from reference.tiny_runs import (
    TINY_LM,
    comparable_metrics,
    tiny_text_config,
    with_training,
    write_text,
)

from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.data.batch import TextBatch
from seqlab.models import EncoderLmConfig, NgramConfig, RecurrentEncoderConfig, TransformerConfig
from seqlab.objectives import CrossEntropyConfig, RDropConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig, SgdConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, checkpoint_steps, read_tensors
from seqlab.runs.config import Config, from_dict, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.tasks.language_modelling.task import rare_items
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import BpeConfig, CharactersConfig, WordsConfig, train_tokenizer
from seqlab.training import FailedStep, train

from .conftest import replay_failure

LAYOUTS: dict[str, dict[str, Any]] = {
    "lines": {"documents": "lines"},
    "packed": {"documents": "lines", "packing": True},
    "continuous": {"documents": "continuous"},
    "streams": {"documents": "continuous", "order": "contiguous"},
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
SCHEDULE = ConstantScheduleConfig(warmup_steps=4)


@pytest.fixture(scope="session")
def texts(shared: SharedFolder) -> list[str]:
    """Write two read-only files of numbers in words, one with empty lines."""
    lines = [cardinal_phrase(number).en for number in range(1, 130)]
    folder = shared.build("texts", lambda folder: write_text(folder, lines[:90], ["", *lines[90:], ""]))
    return [str(path) for path in sorted(folder.iterdir())]


def config_of(layout: str, texts: list[str], dropout: float = 0.1, **settings: Any) -> Config:
    """Return a config for one layout of the text; streams need a recurrent model."""
    model: Any = replace(TINY_LM, dropout=dropout)
    if layout == "streams":
        dropouts = dict.fromkeys(("dropout", "output_dropout", "weight_dropout"), dropout)
        model = EncoderLmConfig(
            encoder=RecurrentEncoderConfig(family="lstm", hidden_size=16, num_layers=2, bidirectional=False, **dropouts)  # type: ignore[arg-type]
        )
    data = {**LAYOUTS[layout], **settings.pop("data", {})}
    return tiny_text_config(texts, data=data, model=model, **settings)


@pytest.fixture(scope="module")
def short_run(texts: list[str], shared: SharedFolder) -> tuple[Config, Path]:
    """Train for two steps; return the config and the run folder, which tests must not change."""
    config = tiny_text_config(texts, max_steps=2, log_every=2)
    return config, shared.build("language-model", lambda folder: train(config, folder / "run")) / "run"


def test_the_run_folder_describes_the_training_data(texts: list[str], short_run: tuple[Config, Path]) -> None:
    config, run_dir = short_run
    description = json.loads((run_dir / "run.json").read_text("utf-8"))
    assert [corpus["columns"] for corpus in description["data"]["corpora"]] == [[text] for text in texts]
    assert len(description["data_sha256"]) == 2
    assert "longest_src_tokens" not in description
    assert RunFolder(run_dir).tokenizer("src") == RunFolder(run_dir).tokenizer("tgt") == run_dir / "tokenizer"
    run = load_run(run_dir, model_noun="a language model")
    assert run.config == config == from_dict(to_dict(config))
    assert run.src_tokenizer is run.tgt_tokenizer
    [line] = comparable_metrics(run_dir, ["train"])
    assert "src_padding" not in line
    assert 0 <= line["tgt_padding"] < 0.5


def test_averaging_starts_when_the_loss_stalls(texts: list[str], tmp_path: Path) -> None:
    """Non-monotonically triggered averaging (Merity et al. 2018)."""
    optim = OptimConfig(optimizer=SgdConfig(lr=3.0), schedule=ConstantScheduleConfig(), average_trigger=1)
    config = config_of("streams", texts, optim=optim, max_steps=24, valid_every=1, save_every=1, keep_best=24)
    run_dir = train(config, tmp_path / "run")
    [start] = [line["step"] for line in comparable_metrics(run_dir, ["event"]) if line["event"] == "averaging begins"]
    nlls = [line["nll_per_tgt_token"] for line in comparable_metrics(run_dir, ["valid"])]
    stalls = (n for n in range(2, len(nlls)) if nlls[n] > min(nlls[: n - 1]))
    assert start == next(stalls) + 1 < 20
    checkpoints = RunFolder(run_dir).checkpoints
    for step in range(start + 1, 25):
        raw = [read_tensors(checkpoints / checkpoint_name(n), WEIGHTS) for n in range(start + 1, step + 1)]
        averaged = read_tensors(checkpoints / checkpoint_name(step), AVERAGED)
        for name, value in averaged.items():
            mean = torch.stack([weights[name].double() for weights in raw]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)


def test_changed_data_fields_or_text_are_refused_and_moved_files_accepted(
    texts: list[str], short_run: tuple[Config, Path], tmp_path: Path
) -> None:
    config, run_dir = short_run[0], Path(shutil.copytree(short_run[1], tmp_path / "run"))
    for name, value in (("documents", "continuous"), ("block_length", 8), ("packing", True), ("valid_fraction", 0.2)):
        other = replace(config, data=replace(config.data, **{name: value}))
        with pytest.raises(ValueError, match=rf"holds a run with another config: `data\.{name}`"):
            train(other, run_dir)
    moved = [shutil.copy(path, tmp_path) for path in texts]
    train(replace(with_training(config, max_steps=3), data=replace(config.data, train=moved)), run_dir)
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == 3
    Path(moved[0]).write_text("another text\n" * 9)
    with pytest.raises(ValueError, match=r"text0\.txt differs from the data that the run in .* started with"):
        train(replace(config, data=replace(config.data, train=moved)), run_dir)


DIVERGING = OptimConfig(optimizer=SgdConfig(lr=1e38), schedule=ConstantScheduleConfig(), max_grad_norm=None)


@every_layout
def test_a_non_finite_step_is_reported_and_can_be_replayed(layout: str, texts: list[str], tmp_path: Path) -> None:
    config = config_of(layout, texts, optim=DIVERGING)
    with pytest.raises(FailedStep) as raised:
        train(config, tmp_path / "run")
    message = str(raised.value)
    found = re.match(
        r"Step (\d+) has a non-finite loss or gradient .*\. Its (\d+) rows \(the first: (.*)\) and the weights", message
    )
    assert found is not None, message
    for location in found[3].split("; "):
        path, line = re.fullmatch(r"(\S+), line (\d+)", location).groups()  # type: ignore[union-attr]
        assert path in texts
        assert 1 <= int(line) <= 90
    [folder] = (tmp_path / "run" / "failures").iterdir()
    micro_steps, carry, error = replay_failure(config, folder, int(found[1]))
    assert bool(carry) == (layout == "streams")
    assert all(isinstance(batch, TextBatch) for batch in micro_steps)
    assert sum(len(batch.indices) for batch in micro_steps) == int(found[2])
    assert [batch.positions is not None for batch in micro_steps] == [layout == "packed"] * len(micro_steps)
    assert f"({error})" in message


def test_incompatible_fields_are_refused_by_name(texts: list[str], tmp_path: Path) -> None:
    config = tiny_text_config(texts)
    pairs = TranslationConfig(train_src=["a"], train_tgt=["b"])
    for changes, message in (
        (
            {"data": pairs},
            "transformer_lm` is trained on `data.kind: language_modelling`, but `data.kind` is `translation`",
        ),
        (
            {"model": TransformerConfig()},
            "`model.family: transformer` is trained on `data.kind: translation`, but .* `language_modelling`",
        ),
        (
            {"training": replace(config.training, valid_metric="bleu")},
            "`training.valid_metric: bleu` does not fit `data.kind: language_modelling`",
        ),
        ({"data": replace(config.data, block_length=17)}, r"`data.block_length` \(17\) must be at most `model.max_len"),
        (
            {"data": replace(config.data, documents="continuous", order="contiguous")},
            "`data.order: contiguous` carries a state .* `model.family: transformer_lm` does not have",
        ),
        (
            {"objective": CrossEntropyConfig(slowness_penalty=1.0)},
            "`objective.slowness_penalty` are for recurrent models, not for `model.family: transformer_lm`",
        ),
        ({"objective": RDropConfig()}, "`objective.family: r_drop` does not fit `data.kind: language_modelling`"),
        (
            {
                "data": replace(config.data, packing=True),
                "model": recurrent_lm("lstm", hidden_size=512),
            },
            "`data.packing` needs a model with attention masks",
        ),
        ({"model": NgramConfig()}, "`model.family: ngram_lm` is estimated by counting, not optimized"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config, **changes)
    assert config.training.valid_metric == "nll"
    assert Config(data=pairs).training.valid_metric == "bleu"


def test_spelling_models_train_on_rare_items() -> None:
    lines = ["one two two three", "two three four", "  ", "four ", "three"]
    words = train_tokenizer(WordsConfig(min_count=3), lines)
    assert rare_items(lines, words) == ["four", "one"]  # `four` occurs twice but is unknown, `one` occurs once
    every_word = train_tokenizer(WordsConfig(), lines)
    assert rare_items(lines, every_word) == ["one"]
    assert rare_items(["one two", "two one"], every_word) == ["one", "two"]  # all words if none is rare
    characters = train_tokenizer(CharactersConfig(), ["abba"])
    assert rare_items(["aab", "xx"], characters) == ["b", "x"]


def test_tokenizers_without_unknown_items_need_no_spelling_model() -> None:
    assert not train_tokenizer(BpeConfig(vocab_size=300), ["Straße", "日本"]).has_unknown
