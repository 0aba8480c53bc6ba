"""Train a convolutional network to classify small images, and compare it with a multilayer perceptron.

    python train_cnn.py [RUN_DIR]

The script generates noisy images with a cross or a ring at a random position. Convolution shares its weights over all
positions; a perceptron has to learn each position separately.
"""

import sys
from pathlib import Path

import numpy as np

import seqlab
from seqlab.nn import output_geometry

SHAPES = {
    "cross": np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]),
    "ring": np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]),
}


def write_images(path: Path, count: int, seed: int, size: int = 10) -> None:
    """Write images with one channel, each with the name of its shape."""
    rng = np.random.default_rng(seed)
    images, names = rng.normal(0, 0.3, (count, size, size)), []
    for image in images:
        name = str(rng.choice(list(SHAPES)))
        row, column = rng.integers(0, size - 2, 2)
        image[row : row + 3, column : column + 3] += SHAPES[name]
        names.append(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=images.astype(np.float32), y=np.array(names))


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/train_cnn")
    write_images(folder / "shapes.npz", 1000, seed=1)
    write_images(folder / "new.npz", 500, seed=2)
    common = {"data.kind": "prediction", "data.train": folder / "shapes.npz", "data.predicts": "class"}
    limits = {"training.max_steps": 400, "training.log_every": 100, "training.valid_every": 100}
    cnn = {"model.family": "cnn", "model.channels": [16, 16], "model.pooling": "none", "model.output": "max"}
    for name, model in (("mlp", {"model.family": "predictor"}), ("cnn", cnn)):
        run_dir = seqlab.train(seqlab.config_for({**common, **limits, **model}), folder / name)
        predictor = seqlab.load(run_dir)
        with np.load(folder / "new.npz") as arrays:
            predictions = predictor.predict(arrays["x"])
            accuracy = np.mean([one == other for one, other in zip(predictions, arrays["y"].tolist(), strict=True)])
        parameters = sum(p.numel() for p in predictor.runs[0].model.parameters())
        print(f"{name}: test accuracy {100 * accuracy:.1f}%, {parameters:,} parameters")
    geometry = output_geometry(list(predictor.runs[0].model.blocks), 10)
    print(f"output size {geometry.size} for input size 10, receptive field {geometry.receptive_field}")
