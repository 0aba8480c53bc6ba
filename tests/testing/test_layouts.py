"""Layouts of text that parts declare: true for all built-in parts, tested by the checks, refused where undeclared."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from reference.tiny_runs import tiny_text_config, write_text
from torch import nn

from seqlab.data.batch import TextBatch, TextLayout
from seqlab.models import DecoderOutput, EncoderLmConfig, RecurrentEncoderConfig, TransformerLmConfig, UncachedLm
from seqlab.nn import Linear, VocabularyProjection
from seqlab.objectives import CrossEntropyConfig, Loss, ObjectiveConfig
from seqlab.registry import Parts
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.testing import check_model, check_objective, texts
from seqlab.testing.layouts import check_model_layouts, check_objective_layouts, cut, pack
from seqlab.testing.models import build
from seqlab.training import train
from seqlab.training.task import check_layout

BOTH: frozenset[TextLayout] = frozenset({"packed", "contiguous"})
RECURRENT = [
    EncoderLmConfig(
        encoder=RecurrentEncoderConfig(family=family, hidden_size=16, num_layers=2, bidirectional=False, dropout=0.1)
    )
    for family in ("rnn", "lstm", "gru")
]
TRANSFORMERS = [
    TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, num_layers=2, max_length=64, positions=positions)
    for positions in ("learned", "sinusoidal", "rotary")
]
PACKED = LanguageModellingConfig(train=["a"], packing=True, documents="lines")
STREAMS = LanguageModellingConfig(train=["a"], documents="continuous", order="contiguous")


@dataclass(frozen=True)
class Window:
    """Config of a model over the last tokens, as in examples/custom_model.py: it reads over the ends of lines."""

    abilities: frozenset[TextLayout] = frozenset()
    family: str = "window"
    default_objective: ClassVar[str] = "cross_entropy"

    def build(self, src: Any, tgt: Any) -> "WindowLm":
        return WindowLm(tgt)


class WindowLm(UncachedLm):
    def __init__(self, tgt: Any) -> None:
        super().__init__(tgt)
        self.embedding = nn.Embedding(tgt.vocab_size, 8)
        self.hidden = Linear(24, 8)
        self.projection = VocabularyProjection(nn.Parameter(torch.randn(tgt.vocab_size, 8)))

    def forward(self, batch: TextBatch) -> DecoderOutput:
        windows = self.embedding(nn.functional.pad(batch.tgt_in, (2, 0)).unfold(1, 3, 1))
        return DecoderOutput(self.hidden(windows.flatten(2)).tanh(), self.projection)


@dataclass(frozen=True)
class Plain(ObjectiveConfig):
    """Config of cross entropy that drops the carried state, and may divide by the number of rows."""

    text_layouts: frozenset[TextLayout] = frozenset()  # type: ignore[misc]
    by_rows: bool = False
    family: str = "plain"

    def build(self) -> Any:
        return lambda model, batch, context: self._loss(model, batch)

    def _loss(self, model: Any, batch: TextBatch) -> Loss:
        log_probs = model(batch).target_log_probs(batch.tgt_out)
        total = -log_probs.sum() / (len(batch.indices) if self.by_rows else 1)
        return Loss(total, total.new_tensor(len(log_probs)))


@pytest.mark.parametrize("config", [*RECURRENT, *TRANSFORMERS], ids=lambda config: f"{config.family}")
def test_built_in_language_models_support_exactly_what_they_declare(config: Any) -> None:
    batch, model = texts().all(), build(config, texts())
    check_model_layouts(config, model, batch)
    assert config.abilities & BOTH in ({"packed"}, {"contiguous"})
    with pytest.raises((AssertionError, TypeError)):
        check_model_layouts(SimpleNamespace(abilities=BOTH - config.abilities), model, batch)


@pytest.mark.parametrize("config", [RECURRENT[1], TRANSFORMERS[0]], ids=lambda config: f"{config.family}")
def test_cross_entropy_supports_both_layouts(config: Any) -> None:
    assert CrossEntropyConfig.text_layouts == BOTH
    check_objective(CrossEntropyConfig(label_smoothing=0.1), config, texts())


def test_parts_support_no_layout_unless_they_declare_it() -> None:
    declared = {
        (kind, name): set(layouts)
        for kind, member in (("model", "abilities"), ("objective", "text_layouts"))
        for name, config in Parts(kind).items()
        if (layouts := getattr(config(), member) & BOTH)
    }
    assert declared == {
        ("model", "transformer_lm"): {"packed"},
        ("model", "language_model"): {"contiguous"},
        ("model", "ngram_lm"): BOTH,
        ("objective", "cross_entropy"): BOTH,
    }


def test_a_model_that_reads_over_the_ends_of_packed_lines_fails_its_check() -> None:
    check_model(Window(), texts())
    with pytest.raises(AssertionError, match=r"Window declares `packed`, but values differ by"):
        check_model(Window(frozenset({"packed"})), texts())
    with pytest.raises(AssertionError, match=r"Window declares `contiguous`, so .* must return its state"):
        check_model(Window(frozenset({"contiguous"})), texts())


def test_an_objective_that_drops_the_state_or_divides_by_rows_fails_its_check() -> None:
    with pytest.raises(AssertionError, match=r"Plain declares `contiguous`, so `Loss.carry` must be the state"):
        check_objective(Plain(BOTH), RECURRENT[1], texts())
    by_rows, model = Plain(BOTH, by_rows=True), build(TRANSFORMERS[0], texts())
    with pytest.raises(AssertionError, match=r"Plain declares `packed`, but values differ by"):
        check_objective_layouts(
            by_rows, TRANSFORMERS[0], lambda batch: by_rows.build()(model, batch, None), texts().all()
        )


def test_the_rows_of_a_check_are_those_of_the_sampler() -> None:
    batch = texts().all()
    packed, (whole, first, second) = pack(batch), cut(batch)
    assert packed.positions is not None
    lines = [row[row >= 0].tolist() for row in batch.tgt_out]
    assert packed.positions[0].tolist() == [position for line in lines for position in range(len(line))]
    assert packed.tgt_out[0].tolist() == [token for line in lines for token in line]
    assert torch.equal(torch.cat([first.tgt_in, second.tgt_in], 1), whole.tgt_in)
    assert bool((whole.tgt_out >= 0).all())
    assert (first.continues, second.continues) == (False, True)


@pytest.mark.parametrize(
    ("data", "model", "objective", "message"),
    [
        (PACKED, Window(), CrossEntropyConfig(), "`data.packing: true` needs .* `model.family: window` does not decl"),
        (STREAMS, Window(), CrossEntropyConfig(), r"`data.order: contiguous` needs .*: set `data.order: shuffled`, or"),
        (PACKED, TRANSFORMERS[0], Plain(), "packed rows, but `objective.family: plain` does not declare this"),
        (STREAMS, RECURRENT[0], Plain(), "contiguous rows, but `objective.family: plain` does not declare this"),
    ],
)
def test_undeclared_layouts_are_refused_by_name(data: Any, model: Any, objective: Any, message: str) -> None:
    config: Any = SimpleNamespace(data=data, model=model, objective=objective)
    with pytest.raises(ValueError, match=message):
        check_layout(config)
    check_layout(SimpleNamespace(data=replace(data, packing=False, order="shuffled"), model=model, objective=objective))  # type: ignore[arg-type]


def test_training_refuses_an_undeclared_layout_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_text_config(write_text(tmp_path, ["a b c"] * 30), data={"documents": "lines", "packing": True})
    monkeypatch.setattr(TransformerLmConfig, "abilities", frozenset())
    with pytest.raises(ValueError, match=r"`data.packing: true` needs a model and an objective that support packed"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
