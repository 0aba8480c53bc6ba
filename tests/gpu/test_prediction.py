"""Regression and classification on a GPU: training with each norm and optimizer, and results against the CPU."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqlab
from seqlab.models import (
    CnnConfig,
    EncoderPredictorConfig,
    GaussianClassifierConfig,
    LinearEncoderConfig,
    MlpEncoderConfig,
    ModelConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.objectives import SoftmaxConfig
from seqlab.optim import ConstantScheduleConfig, OptimConfig
from seqlab.registry import Parts
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.prediction.config import PredictionConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICE = "cuda"
NORMS = ("batch", "layer", "group", "rms")
MODELS: dict[str, ModelConfig] = {
    "linear": EncoderPredictorConfig(encoder=LinearEncoderConfig()),
    "mlp, no norm": EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(32,))),
    **{
        f"mlp, {norm}": EncoderPredictorConfig(
            encoder=MlpEncoderConfig(hidden_sizes=(32, 32), norm=norm, residual=True)
        )
        for norm in NORMS
    },
    "rnn": EncoderPredictorConfig(
        encoder=RecurrentEncoderConfig(
            family="rnn", hidden_size=16, bidirectional=False, dropout=0.0, input_dropout=0.0
        )
    ),
    "gru": EncoderPredictorConfig(
        encoder=RecurrentEncoderConfig(
            family="gru", hidden_size=16, bidirectional=False, dropout=0.0, input_dropout=0.0
        )
    ),
    "lstm": EncoderPredictorConfig(
        encoder=RecurrentEncoderConfig(
            family="lstm", hidden_size=16, bidirectional=False, dropout=0.1, input_dropout=0.0, output_dropout=0.1
        )
    ),
    "self-attention": EncoderPredictorConfig(
        encoder=TransformerEncoderConfig(d_model=32, d_ff=64, num_layers=2, positions="learned", num_heads=2),
        patch_size=2,
    ),
    **{f"cnn, {norm}": CnnConfig(channels=(8, 16), norm=norm) for norm in NORMS},
}


@pytest.fixture
def images(tmp_path: Path) -> str:
    """Write images of noise; those of class 1 have a bright square."""
    rng = np.random.default_rng(2)
    pixels, classes = rng.normal(0, 1, (200, 8, 8)), rng.integers(0, 2, 200)
    pixels[:, 2:5, 2:5] += 3 * classes[:, None, None]
    np.savez(tmp_path / "squares.npz", x=pixels.astype(np.float32), y=classes)
    return str(tmp_path / "squares.npz")


def config_of(images: str, model: ModelConfig, precision: Any, optimizer: str = "adam") -> Config:
    # Recurrent models read the rows of an image in order.
    layout = "frames" if isinstance(model, RecurrentEncoderConfig) else "images"
    return Config(
        data=PredictionConfig(train=[images], predicts="class", layout=layout, augment_noise=0.1),
        model=model,
        objective=SoftmaxConfig(),
        optim=OptimConfig(
            optimizer=replace(Parts("optimizer")[optimizer](), lr=1e-2), schedule=ConstantScheduleConfig(warmup_steps=5)
        ),
        training=TrainingConfig(
            max_steps=60, log_every=10, save_every=60, valid_every=60, device=DEVICE, precision=precision
        ),
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_models_train_and_predictions_equal_the_cpu(name: str, precision: str, images: str, tmp_path: Path) -> None:
    run = seqlab.train(config_of(images, MODELS[name], precision), tmp_path / "run")
    with np.load(images) as arrays:
        inputs, classes = arrays["x"], arrays["y"]
    found, expected = (seqlab.load(run, device=device).predict_detailed(inputs) for device in (DEVICE, "cpu"))
    for one, other in zip(found, expected, strict=True):
        assert one.values is not None
        assert one.values == pytest.approx(other.values, abs=1e-3)
    assert np.mean([prediction.text == str(label) for prediction, label in zip(found, classes, strict=True)]) > 0.9


@pytest.mark.parametrize("optimizer", list(Parts("optimizer")))
def test_every_optimizer_lowers_the_loss(optimizer: str, images: str, tmp_path: Path) -> None:
    run = seqlab.train(config_of(images, MODELS["mlp, layer"], "fp32", optimizer), tmp_path / "run")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[-1] < losses[0]


def test_predictions_of_a_gaussian_classifier_equal_the_cpu(images: str, tmp_path: Path) -> None:
    model = GaussianClassifierConfig(covariance="own", shrinkage=0.3)
    config = replace(config_of(images, MODELS["linear"], "fp32"), model=model, optim=OptimConfig())
    run = seqlab.train(config, tmp_path / "run")
    with np.load(images) as arrays:
        found, expected = (seqlab.load(run, device=device).predict_detailed(arrays["x"]) for device in (DEVICE, "cpu"))
    for one, other in zip(found, expected, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-3)
