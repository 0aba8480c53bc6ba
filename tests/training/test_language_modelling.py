"""Training language models: learning, invariances, resuming, and refused configs."""

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
from reference.ranks import in_ranks, train_in_ranks
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
from .test_ranks import assert_like

KINDS: dict[str, dict[str, Any]] = {
    "lines": {"documents": "lines"},
    "packed": {"documents": "lines", "packing": True},
    "continuous": {"documents": "continuous"},
    "streams": {"documents": "continuous", "order": "contiguous"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
of_a_transformer = pytest.mark.parametrize("kind", ["lines", "packed", "continuous"])
SCHEDULE = ConstantScheduleConfig(warmup_steps=4)
BOS, EOS = 1, 2


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write two read-only files of numbers in words, one with empty lines."""
    lines = [cardinal_phrase(number).en for number in range(1, 130)]
    return write_text(tmp_path_factory.mktemp("texts"), lines[:90], ["", *lines[90:], ""])


def config_of(kind: str, texts: list[str], dropout: float = 0.1, **settings: Any) -> Config:
    """Return a config for text of some kind; streams are for a recurrent model."""
    model: Any = replace(TINY_LM, dropout=dropout)
    if kind == "streams":
        names = ("input_dropout", "hidden_dropout", "output_dropout", "weight_dropout")
        model = LstmLmConfig(hidden_size=16, num_layers=2, **dict.fromkeys(names, dropout))
    data = {**KINDS[kind], **settings.pop("data", {})}
    return tiny_text_config(texts, data=data, model=model, **settings)


def nll_by_rows(model: TransformerLm, rows: list[tuple[int, list[int]]]) -> float:
    """Return the nats per token of rows, scored one at a time after their first input id."""
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


def test_a_run_over_streams_learns(texts: list[str], tmp_path: Path) -> None:
    """A carried state helps: consecutive blocks of 8 ids score better than separate blocks."""
    lines = [cardinal_phrase(number).en for number in range(200, 230)]
    valid = write_text(tmp_path, lines, name="valid")
    data = {"valid": valid, "block_length": 8}
    config = config_of("streams", texts, 0.0, data=data, optim=MUON, max_steps=120, valid_every=40)
    run_dir = train(config, tmp_path / "run")
    found = [line["nll_per_tgt_token"] for line in comparable_metrics(run_dir, ["valid"])]
    losses = [line["nll"] for line in comparable_metrics(run_dir, ["train"])]
    assert losses[-1] < 0.6 * losses[0]
    run = load_language_model(run_dir)
    found_again = [run.perplexity(lines, context=context).likelihood for context in (8, "all")]
    apart, carried = (each.nll / each.tokens for each in found_again if each.nll is not None)
    assert apart == pytest.approx(min(found), rel=1e-5)  # the run gives its best checkpoint
    assert carried < 0.95 * apart


@of_a_transformer
def test_a_run_learns_and_its_validation_is_by_definition(kind: str, texts: list[str], tmp_path: Path) -> None:
    lines = [cardinal_phrase(number).en for number in range(200, 230)] + [""]
    valid = write_text(tmp_path, lines, name="valid")
    optim = OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=SCHEDULE)
    config = config_of(kind, texts, 0.0, data={"valid": valid}, optim=optim, max_steps=60, valid_every=20)
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
    assert run.step == 60, "the best is the last"
    assert isinstance(run.model, TransformerLm)
    rows = [[*row, EOS] for row in run.tgt_tokenizer.encode(lines)]
    if kind == "continuous":
        stream = [EOS, *(id_ for row in rows for id_ in row)]
        starts = range(0, len(stream) - 1, 16)
        pieces = [(stream[start], stream[start + 1 : start + 17]) for start in starts]
    else:  # the empty line is left out, and long ones are cut
        whole = [[BOS, *row] for row in rows if len(row) > 1]
        pieces = [(row[i], row[i + 1 : i + 17]) for row in whole for i in range(0, len(row) - 1, 16)]
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
    run = load_run(run_dir, product="a language model")
    assert run.config == config == from_dict(to_dict(config))
    assert run.src_tokenizer is run.tgt_tokenizer


@pytest.mark.parametrize("prefetch_steps", [0, 2])
@pytest.mark.parametrize(
    ("kind", "optim"),
    [*((kind, None) for kind in KINDS), ("continuous", MUON), ("streams", MUON)],
    ids=[*KINDS, "continuous-muon", "streams-muon"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    kind: str, optim: OptimConfig | None, prefetch_steps: int, texts: list[str], tmp_path: Path
) -> None:
    config = config_of(kind, texts, data={"prefetch_steps": prefetch_steps}, optim=optim, max_steps=36)
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    # Before the first checkpoint, between log lines and checkpoints, at a validation, and after the first epoch.
    for step in (2, 7, 16, 31):
        train_until(config, parts, step)
        assert checkpoint_steps(parts / "checkpoints")[-1] == step
    train(config, parts)
    assert_equal_runs(parts, whole)
    assert comparable_metrics(whole, ["train"])[-1]["epoch"] > 1


def test_averaging_starts_when_the_loss_stalls(texts: list[str], tmp_path: Path) -> None:
    """Non-monotonically triggered averaging (Merity et al. 2018), also in a resumed run."""
    optim = OptimConfig(optimizer=SgdConfig(lr=3.0), schedule=ConstantScheduleConfig(), average_trigger=1)
    config = config_of("streams", texts, optim=optim, max_steps=24, valid_every=1, save_every=1, keep_best=24)
    whole, parts = train(config, tmp_path / "whole"), tmp_path / "parts"
    [begun] = [line["step"] for line in comparable_metrics(whole, ["event"]) if line["event"] == "averaging begins"]
    nlls = [line["nll_per_tgt_token"] for line in comparable_metrics(whole, ["valid"])]
    stalls = (n for n in range(2, len(nlls)) if nlls[n] > min(nlls[: n - 1]))
    assert begun == next(stalls) + 1 < 20
    checkpoints = RunFolder(whole).checkpoints
    for step in range(begun + 1, 25):
        raw = [read_tensors(checkpoints / checkpoint_name(n), WEIGHTS) for n in range(begun + 1, step + 1)]
        averaged = read_tensors(checkpoints / checkpoint_name(step), AVERAGED)
        for name, value in averaged.items():
            mean = torch.stack([weights[name].double() for weights in raw]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)
    for step in (begun - 1, begun, begun + 2):
        train_until(config, parts, step)
    train(config, parts)
    assert_equal_runs(parts, whole)


def test_another_way_to_read_the_text_is_another_run(texts: list[str], tmp_path: Path) -> None:
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


SGD = OptimConfig(optimizer=SgdConfig(lr=0.3), schedule=SCHEDULE, max_grad_norm=0.5, average_last=3)


@pytest.mark.parametrize(
    ("kind", "optim", "parallel", "world_size"),
    [
        ("lines", SGD, "ddp", 2),
        ("packed", SGD, "ddp", 2),
        ("continuous", SGD, "ddp", 2),
        ("continuous", SGD, "fsdp", 2),
        ("streams", SGD, "ddp", 2),
        ("streams", SGD, "fsdp", 2),
        ("lines", SGD, "ddp", 3),
    ],
)
def test_several_ranks_train_like_one(
    kind: str, optim: OptimConfig, parallel: str, world_size: int, texts: list[str], tmp_path: Path
) -> None:
    """With three ranks, steps are too small to divide."""
    limits: dict[str, Any] = {"max_steps": 20, "log_every": 1, "save_every": 5, "valid_every": 10}
    sizes = {"batch_tokens": 32, "micro_batch_tokens": 16} if world_size == 3 else {}
    config = config_of(kind, texts, 0.0, data=sizes, optim=optim, parallel=parallel, **limits)
    assert_like(train_in_ranks(world_size, config, tmp_path / "run"), train(config, tmp_path / "alone"))


FAILING = OptimConfig(optimizer=SgdConfig(lr=1e38), schedule=ConstantScheduleConfig(), max_grad_norm=None)


@every_kind
def test_a_non_finite_step_is_reported_and_can_be_replayed(kind: str, texts: list[str], tmp_path: Path) -> None:
    config = config_of(kind, texts, optim=FAILING)
    with pytest.raises(FailedStep) as raised:
        train(config, tmp_path / "run")
    message = str(raised.value)
    found = re.match(r"Step (\d+) came out non-finite .*\. Its (\d+) rows \(the first: (.*)\) and the weights", message)
    assert found is not None, message
    for place in found[3].split("; "):
        path, line = re.fullmatch(r"(\S+), line (\d+)", place).groups()  # type: ignore[union-attr]
        assert path in texts
        assert 1 <= int(line) <= 90
    [folder] = (tmp_path / "run" / "failures").iterdir()
    weights, micro_steps, carry = read_failure(folder)
    assert bool(carry) == (kind == "streams")
    assert all(isinstance(batch, TextBatch) for batch in micro_steps)
    assert sum(len(batch.indices) for batch in micro_steps) == int(found[2])
    assert [batch.positions is not None for batch in micro_steps] == [kind == "packed"] * len(micro_steps)
    model = config.model.build(*load_tokenizers(RunFolder(tmp_path / "run"))).train()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    machine = DeviceContext(torch.device("cpu"), torch.float32)
    accumulator = Accumulator(model, config.objective.build(), machine, config.seed)
    accumulator.restore_carry(carry)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(NonFiniteUpdate) as again:
        update(accumulator, optimizer, micro_steps, StepContext(int(found[1]) - 1), 0.1, None)
    assert f"({again.value})" in message


def test_a_failed_step_of_two_ranks_is_saved_completely(texts: list[str], tmp_path: Path) -> None:
    config = config_of("packed", texts, optim=FAILING)
    found = in_ranks(2, train, config, tmp_path / "run")
    assert found == [found[0]] * 2
    assert found[0].kind is FailedStep
    [folder] = (tmp_path / "run" / "failures").iterdir()
    micro_steps = read_failure(folder).micro_steps
    rows = [index for batch in micro_steps for index in batch.indices.tolist()]
    assert f"Its {len(rows)} rows" in found[0].message
    assert len(set(rows)) == len(rows)


def test_parts_that_do_not_match_are_refused_by_name(texts: list[str], tmp_path: Path) -> None:
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


def test_a_language_model_does_not_translate(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = train(tiny_text_config(texts, max_steps=1), tmp_path / "run")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n")))
    assert main(["translate", str(run_dir)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{run_dir} is a language model: use `seqlab generate`" in captured.err


def test_spelling_is_learned_from_rare_items() -> None:
    lines = ["one two two three", "two three four", "  ", "four ", "three"]
    words = train_tokenizer(WordsConfig(min_count=3), lines)
    assert rare_items(lines, words) == ["four", "one"]  # twice but unknown, and once
    every_word = train_tokenizer(WordsConfig(), lines)
    assert rare_items(lines, every_word) == ["one"]
    assert rare_items(["one two", "two one"], every_word) == ["one", "two"]  # nothing is rare
    characters = train_tokenizer(CharactersConfig(), ["abba"])
    assert rare_items(["aab", "xx"], characters) == ["b", "x"]


def test_tokenizers_without_unknown_items_need_no_spelling() -> None:
    assert not train_tokenizer(BpeConfig(vocab_size=300), ["Straße", "日本"]).has_unknown
