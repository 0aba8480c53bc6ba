"""Predict a number from the columns of a table: a linear model against a multilayer perceptron.

    python fit_a_table.py [RUN_DIR]

The script generates a table of house prices. The price depends on the product of two columns: no linear model fits it.
"""

import csv
import random
import sys
from pathlib import Path

import seqlab


def write_houses(path: Path, count: int) -> None:
    """Write houses whose price is 0.02 times size times city quality, minus 2 per year of age, plus noise."""
    rng = random.Random(1)
    quality = {"Aachen": 120, "Berlin": 200, "Köln": 160}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "age", "city", "price"])
        for _ in range(count):
            size, age, city = rng.uniform(30, 200), rng.randint(0, 60), rng.choice(list(quality))
            price = 0.02 * size * quality[city] - 2 * age + rng.gauss(0, 10)
            writer.writerow([round(size, 1), age, city, round(price, 1)])


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/fit_a_table")
    write_houses(folder / "houses.csv", 600)
    for encoder in ("linear", "mlp"):
        config = seqlab.config_for(
            {
                "data.train": folder / "houses.csv",
                "data.target": "price",
                "data.predicts": "numbers",
                "model.encoder.family": encoder,
                "training.max_steps": 600,
                "training.log_every": 200,
            }
        )
        report = seqlab.train_folds(config, folder / encoder, 3)
        rmse = report.means()["rmse"]
        print(f"{encoder}: RMSE {rmse.mean:.1f} ± {rmse.standard_error:.1f} (the noise has a standard deviation of 10)")
    predictor = seqlab.load(folder / "mlp" / "fold_01")
    for city in ("Aachen", "Berlin"):
        [price] = predictor.predict([{"size": 100, "age": 10, "city": city}])
        print(f"100 square meters in {city}: {price}")
