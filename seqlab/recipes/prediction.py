"""Classification and regression: handwritten digits and diabetes of scikit-learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from seqlab.models import CnnConfig, EncoderPredictorConfig, LinearEncoderConfig, MlpEncoderConfig
from seqlab.objectives import SoftmaxConfig, SquaredErrorConfig
from seqlab.optim import AdamWConfig, CosineScheduleConfig, OptimConfig
from seqlab.recipes.run_data import generated_data
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.prediction.config import PredictionConfig


def _write_digits(folder: Path) -> None:
    """Write the 1,797 handwritten digits (Alpaydin & Kaynak 1998): 8x8 pixels with values from 0 to 16."""
    digits = _datasets().load_digits()
    folder.mkdir(parents=True)
    np.savez(folder / "digits.npz", x=digits.images.astype(np.float32), y=digits.target)


def _write_diabetes(folder: Path) -> None:
    """Write the table of 442 patients of Efron et al. (2004): ten measurements and the disease progression."""
    table = _datasets().load_diabetes(as_frame=True, scaled=False).frame
    folder.mkdir(parents=True)
    table.to_csv(folder / "diabetes.csv", index=False)


def _datasets():  # type: ignore[no-untyped-def]
    """Import `sklearn.datasets`; raises ValueError naming the extra if it is not installed."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ValueError("This recipe's data come with scikit-learn: `pip install 'seqlab[sklearn]'`.") from None
    return datasets


def _digits(run_dir: str | Path) -> PredictionConfig:
    """Return the data config of the digits; the first of ten folds is for validation."""
    path = generated_data(run_dir, _write_digits) / "digits.npz"
    return PredictionConfig(train=[str(path)], predicts="class", valid_fold=1, batch_rows=64)


def _optim(lr: float, weight_decay: float) -> OptimConfig:
    return OptimConfig(
        optimizer=AdamWConfig(lr=lr, weight_decay=weight_decay), schedule=CosineScheduleConfig(warmup_steps=50)
    )


def _training(max_steps: int) -> TrainingConfig:
    interval = max_steps // 10
    return TrainingConfig(
        max_steps=max_steps, log_every=interval // 5, save_every=interval, valid_every=interval, precision="fp32"
    )


def digits_linear(run_dir: str | Path) -> Config:
    """Handwritten digits: softmax regression on the pixels."""
    return Config(
        data=_digits(run_dir),
        model=EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        objective=SoftmaxConfig(),
        optim=_optim(1e-2, 0.1),
        training=_training(1000),
    )


def digits_mlp(run_dir: str | Path) -> Config:
    """Handwritten digits: a multi-layer perceptron."""
    return replace(
        digits_linear(run_dir),
        model=EncoderPredictorConfig(
            encoder=MlpEncoderConfig(hidden_sizes=(1024, 1024), dropout=0.5, input_dropout=0.2)
        ),
        objective=SoftmaxConfig(label_smoothing=0.1),
        optim=_optim(1e-3, 0.1),
        training=_training(2000),
    )


def digits_cnn(run_dir: str | Path) -> Config:
    """Handwritten digits: a convolutional network, trained on shifted, rotated and noisy images."""
    config = digits_linear(run_dir)
    return replace(
        config,
        data=replace(_digits(run_dir), augment_shift=1, augment_rotation=10, augment_noise=0.1),
        model=CnnConfig(channels=(32, 64, 128), pooled_blocks=2, norm="batch", dropout=0.1, output_dropout=0.3),
        optim=_optim(2e-3, 0.05),
        training=_training(3000),
    )


def diabetes(run_dir: str | Path) -> Config:
    """Progression of diabetes in one year, from ten measurements: linear regression with weight decay."""
    data = PredictionConfig(
        train=[str(generated_data(run_dir, _write_diabetes) / "diabetes.csv")],
        target=["target"],
        categorical=["sex"],
        valid_fold=1,
        batch_rows=64,
    )
    return Config(
        data=data,
        model=EncoderPredictorConfig(encoder=LinearEncoderConfig()),
        objective=SquaredErrorConfig(),
        optim=_optim(1e-2, 1.0),
        training=_training(500),
    )


PREDICTION_RECIPES = (digits_linear, digits_mlp, digits_cnn, diabetes)
