"""Predict a number from the columns of a table, with what a linear model and a perceptron make of it.

    python fit_a_table.py [RUN_DIR]

The table is made here: the price of houses, which depends on the product of two columns, so that no straight line fits.
"""

import csv
import random
import sys
from pathlib import Path

import seqlab


def write_houses(path: Path, count: int) -> None:
    """Write rows whose price is 0.02 times size times the quality of the city, with some noise."""
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
    for family in ("linear_model", "mlp"):
        config = seqlab.config_for(
            {
                "data.train": folder / "houses.csv",
                "data.target": "price",
                "data.predicts": "numbers",
                "model.family": family,
                "training.max_steps": 600,
                "training.log_every": 200,
            }
        )
        report = seqlab.train_folds(config, folder / family, 3)
        rmse = report.means()["rmse"]
        print(f"{family}: error {rmse.mean:.1f} ± {rmse.standard_error:.1f}, of which 10 is noise")
    predictor = seqlab.load(folder / "mlp" / "fold_01")
    for city in ("Aachen", "Berlin"):
        [price] = predictor.predict([{"size": 100, "age": 10, "city": city}])
        print(f"100 square metres in {city}: {price}")
