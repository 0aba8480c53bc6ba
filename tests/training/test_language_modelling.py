"""Training language models: decreasing loss, averages, failed steps, and refused configs."""

import io
import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.ranks import train_in_ranks
from reference.tiny_runs import (
    TINY_LM,
    assert_equal_runs,
    comparable_metrics,
    tiny_text_config,
    with_training,
    write_text,
)

from seqlab.cli.main import main
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.data.batch import TextBatch
from seqlab.models import LstmLmConfig, NgramConfig, TransformerConfig, TransformerLm
from seqlab.objectives import CrossEntropyConfig, RDropConfig, StepContext
from seqlab.optim import AdamConfig, ConstantScheduleConfig, MuonConfig, OptimConfig, SgdConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, checkpoint_steps, read_tensors
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import Config, from_dict, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.tasks.language_modelling.task import rare_items
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import BpeConfig, CharactersConfig, WordsConfig, train_tokenizer
from seqlab.training import FailedStep, train
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.failure import read_failure
from seqlab.training.step import NonFiniteUpdate, update

from .conftest import train_until
from .test_ranks import assert_close_runs

LAYOUTS: dict[str, dict[str, Any]] = {
    "lines": {"documents": "lines"},
    "packed": {"documents": "lines", "packing": True},
    "continuous": {"documents": "continuous"},
    "streams": {"documents": "continuous", "order": "contiguous"},
}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)
transformer_layouts = pytest.mark.parametrize("layout", ["lines", "packed", "continuous"])
SCHEDULE = ConstantScheduleConfig(warmup_steps=4)
BOS, EOS = 1, 2


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write two read-only files of numbers in words, one with empty lines."""
    lines = [cardinal_phrase(number).en for number in range(1, 130)]
    return write_text(tmp_path_factory.mktemp("texts"), lines[:90], ["", *lines[90:], ""])


def config_of(layout: str, texts: list[str], dropout: float = 0.1, **settings: Any) -> Config:
    """Return a config for one layout of the text; streams need a recurrent model."""
    model: Any = replace(TINY_LM, dropout=dropout)
    if layout == "streams":
        names = ("input_dropout", "hidden_dropout", "output_dropout", "weight_dropout")
        model = LstmLmConfig(hidden_size=16, num_layers=2, **dict.fromkeys(names, dropout))
    data = {**LAYOUTS[layout], **settings.pop("data", {})}
    return tiny_text_config(texts, data=data, model=model, **settings)


def nll_by_rows(model: TransformerLm, rows: list[tuple[int, list[int]]]) -> float:
    """Return the nats per token of rows, scored one at a time; each comes with its first input id."""
    total, count = 0.0, 0
    with torch.inference_mode():
        for start, row in rows:
            ids = torch.tensor([[start, *row]])
            batch = TextBatch(ids[:, :-1], ids[:, 1:], torch.zeros(1), len(row))
            log_probs = model(batch).logits().log_softmax(-1)
            total -= float(log_probs.gather(2, ids[:, 1:, None]).sum())
            count += len(row)
    return total / count


MUON = OptimConfig(optimizer=MuonConfig(lr=0.05), schedule=SCHEDULE)


def test_training_on_streams_lowers_the_loss_and_uses_the_carried_state(texts: list[str], tmp_path: Path) -> None:
    """Blocks of 8 ids have a lower loss with the state of the preceding block than without."""
    lines = [cardinal_phrase(number).en for number in range(200, 230)]
    valid = write_text(tmp_path, lines, name="valid")
    data = {"valid": valid, "block_length": 8}
    config = config_of("streams", texts, 0.0, data=data, optim=MUON, max_steps=120, valid_every=40)
    run_dir = train(config, tmp_path / "run")
    found = [line["nll_per_tgt_token"] for line in comparable_metrics(run_dir, ["valid"])]
    losses = [line["nll"] for line in comparable_metrics(run_dir, ["train"])]
    assert losses[-1] < 0.6 * losses[0]
    run = load_language_model(run_dir)
    likelihoods = [run.perplexity(lines, context=context).likelihood for context in (8, "all")]
    separate, carried = (each.nll / each.tokens for each in likelihoods if each.nll is not None)
    assert separate == pytest.approx(min(found), rel=1e-5)  # the best checkpoint is loaded
    assert carried < 0.95 * separate


@transformer_layouts
def test_training_lowers_the_loss_and_validation_equals_the_definition(
    layout: str, texts: list[str], tmp_path: Path
) -> None:
    lines = [cardinal_phrase(number).en for number in range(200, 230)] + [""]
    valid = write_text(tmp_path, lines, name="valid")
    optim = OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=SCHEDULE)
    config = config_of(layout, texts, 0.0, data={"valid": valid}, optim=optim, max_steps=60, valid_every=20)
    run_dir = train(config, tmp_path / "run")
    found = [line["nll_per_tgt_token"] for line in comparable_metrics(run_dir, ["valid"])]
    assert len(found) == 3
    assert found == sorted(found, reverse=True)
    losses = [line["nll"] for line in comparable_metrics(run_dir, ["train"])]
    assert losses[-1] < 0.75 * losses[0]
    assert all(
        "src_padding" not in line and 0 <= line["tgt_padding"] < 0.5 for line in comparable_metrics(run_dir, ["train"])
    )

    run = load_run(run_dir)
    assert run.step == 60, "the last checkpoint is the best"
    assert isinstance(run.model, TransformerLm)
    rows = [[*row, EOS] for row in run.tgt_tokenizer.encode(lines)]
    if layout == "continuous":
        stream = [EOS, *(id_ for row in rows for id_ in row)]
        starts = range(0, len(stream) - 1, 16)
        pieces = [(stream[start], stream[start + 1 : start + 17]) for start in starts]
    else:  # empty lines are skipped, long ones are split
        lines_with_bos = [[BOS, *row] for row in rows if len(row) > 1]
        pieces = [(row[i], row[i + 1 : i + 17]) for row in lines_with_bos for i in range(0, len(row) - 1, 16)]
    assert nll_by_rows(run.model, pieces) == pytest.approx(found[-1], rel=1e-5)
    assert found[-1] < math.log(run.tgt_tokenizer.vocab_size)


def test_the_run_folder_describes_the_training_data(texts: list[str], tmp_path: Path) -> None:
    config = tiny_text_config(texts, max_steps=2)
    run_dir = train(config, tmp_path / "run")
    description = json.loads((run_dir / "run.json").read_text("utf-8"))
    assert [corpus["columns"] for corpus in description["data"]["corpora"]] == [[text] for text in texts]
    assert len(description["data_sha256"]) == 2
    assert "longest_src_tokens" not in description
    assert RunFolder(run_dir).tokenizer("src") == RunFolder(run_dir).tokenizer("tgt") == run_dir / "tokenizer"
    run = load_run(run_dir, model_noun="a language model")
    assert run.config == config == from_dict(to_dict(config))
    assert run.src_tokenizer is run.tgt_tokenizer


def test_averaging_starts_when_the_loss_stalls(texts: list[str], tmp_path: Path) -> None:
    """Non-monotonically triggered averaging (Merity et al. 2018), also in a resumed run."""
    optim = OptimConfig(optimizer=SgdConfig(lr=3.0), schedule=ConstantScheduleConfig(), average_trigger=1)
    config = config_of("streams", texts, optim=optim, max_steps=24, valid_every=1, save_every=1, keep_best=24)
    uninterrupted, resumed = train(config, tmp_path / "uninterrupted"), tmp_path / "resumed"
    [start] = [
        line["step"] for line in comparable_metrics(uninterrupted, ["event"]) if line["event"] == "averaging begins"
    ]
    nlls = [line["nll_per_tgt_token"] for line in comparable_metrics(uninterrupted, ["valid"])]
    stalls = (n for n in range(2, len(nlls)) if nlls[n] > min(nlls[: n - 1]))
    assert start == next(stalls) + 1 < 20
    checkpoints = RunFolder(uninterrupted).checkpoints
    for step in range(start + 1, 25):
        raw = [read_tensors(checkpoints / checkpoint_name(n), WEIGHTS) for n in range(start + 1, step + 1)]
        averaged = read_tensors(checkpoints / checkpoint_name(step), AVERAGED)
        for name, value in averaged.items():
            mean = torch.stack([weights[name].double() for weights in raw]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)
    for step in (start - 1, start, start + 2):
        train_until(config, resumed, step)
    train(config, resumed)
    assert_equal_runs(resumed, uninterrupted)


def test_changed_data_fields_or_text_are_refused_and_moved_files_accepted(texts: list[str], tmp_path: Path) -> None:
    config = tiny_text_config(texts, max_steps=2)
    run_dir = train(config, tmp_path / "run")
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


def test_three_ranks_equal_a_single_process_with_steps_too_small_to_split(texts: list[str], tmp_path: Path) -> None:
    """Some steps give a rank no row."""
    optim = OptimConfig(optimizer=SgdConfig(lr=0.3), schedule=SCHEDULE, max_grad_norm=0.5, average_last=3)
    sizes = {"batch_tokens": 32, "micro_batch_tokens": 16}
    limits: dict[str, Any] = {"max_steps": 10, "log_every": 1, "save_every": 5, "valid_every": 10}
    config = config_of("lines", texts, 0.0, data=sizes, optim=optim, **limits)
    assert_close_runs(train_in_ranks(3, config, tmp_path / "run"), train(config, tmp_path / "single_process"))


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
    weights, micro_steps, carry = read_failure(folder)
    assert bool(carry) == (layout == "streams")
    assert all(isinstance(batch, TextBatch) for batch in micro_steps)
    assert sum(len(batch.indices) for batch in micro_steps) == int(found[2])
    assert [batch.positions is not None for batch in micro_steps] == [layout == "packed"] * len(micro_steps)
    model = config.model.build(*load_tokenizers(RunFolder(tmp_path / "run"))).train()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    device_context = DeviceContext(torch.device("cpu"), torch.float32)
    accumulator = Accumulator(model, config.objective.build(), device_context, config.seed)
    accumulator.restore_carry(carry)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(NonFiniteUpdate) as replayed:
        update(accumulator, optimizer, micro_steps, StepContext(int(found[1]) - 1), 0.1, None)
    assert f"({replayed.value})" in message


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
            {"data": replace(config.data, packing=True), "model": LstmLmConfig()},
            "`data.packing` needs a model with attention masks",
        ),
        ({"model": NgramConfig()}, "`model.family: ngram_lm` is estimated by counting, not optimized"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config, **changes)
    assert config.training.valid_metric == "nll"
    assert Config(data=pairs).training.valid_metric == "bleu"


def test_translating_with_a_language_model_is_refused(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = train(tiny_text_config(texts, max_steps=1), tmp_path / "run")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n")))
    assert main(["translate", str(run_dir)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{run_dir} is not a translator; it is a language model: use `seqlab generate`" in captured.err


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
