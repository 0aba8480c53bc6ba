"""Study of training on a metric: a trained model is trained on by rewards, and by cross entropy for the same minutes.

Each method has several settings. One seed of each is trained, and the best setting of a method by the first metric gets
two more seeds. All scores are of the validation set; `has_test` compares the chosen runs on the test set, too.
Differences have 95% intervals by a paired bootstrap over lines; the score of a method is the mean of its seeds.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seqlab
from benchmarks.studies.study import Study, table
from seqlab.data.columns import parse_column
from seqlab.evaluation.metrics import line_statistics
from seqlab.evaluation.rewards import bleu_reward, chrf_reward
from seqlab.evaluation.score import LineStatistics
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config

Settings = Mapping[str, Any]
SEEDS = (1, 2, 3)
BEAM_SIZE = 5
NUM_RESAMPLES = 1000
CROSS_ENTROPY = "cross entropy"
"""Method of the baseline; for a CTC model it is the CTC loss."""


@seqlab.register("reward", "bleu_and_chrf", summary="mean of BLEU+1 and chrF")
def bleu_and_chrf(hypothesis: str, reference: str) -> float:
    """Return the mean of BLEU+1, which prefers short outputs, and chrF, which prefers long ones."""
    return (bleu_reward(hypothesis, reference) + chrf_reward(hypothesis, reference)) / 2


@dataclass(frozen=True)
class RewardTask:
    """A start, and methods to train on from it."""

    recipe: str
    minutes: float
    """Minutes of further training."""
    metrics: tuple[str, ...]
    """Metrics of the hypotheses; the first one chooses the settings."""
    shared: Settings
    """Fields of all methods."""
    methods: Mapping[str, Sequence[Settings]]
    """Method -> settings to choose from; `CROSS_ENTROPY` is the baseline."""
    start: Settings | None = None
    """Fields of the start; by default those of the recipe."""
    has_test: bool = False
    """Whether the chosen runs are also compared on the test set, once."""


SAMPLED: dict[str, Any] = {"model.dropout": 0.0, "training.save_every": 20, "training.valid_every": 120}
"""Fields of methods with samples, whose steps are few and long; with dropout their gradients are biased."""


def sampled(family: str, reward: str, lr: float, **fields: Any) -> dict[str, Any]:
    """Return the settings of an objective on samples."""
    objective = {"family": family, "reward": reward} | fields
    return {**SAMPLED, **{f"objective.{name}": value for name, value in objective.items()}, "optim.optimizer.lr": lr}


@dataclass(frozen=True)
class RewardStudy:
    """The study of one task."""

    task: RewardTask

    def run(self, folder: Path, quick: bool) -> Study:
        """Train the start, all settings, and further seeds of the best; `folder/start` may contain the start."""
        start = train_start(self.task.recipe, folder, self.task.start or {}, quick)
        scores = Scores(start, self.task.metrics)
        chosen: dict[str, list[Path]] = {"the start": [start]}
        rows = []
        for method, choices in self.task.methods.items():
            runs = [self._train(folder, start, method, number, SEEDS[0], quick) for number in range(len(choices))]
            rows += [[method, _shown(each), *scores.values([run])] for each, run in zip(choices, runs, strict=True)]
            best = max(range(len(runs)), key=lambda number: scores.rank([runs[number]]))
            others = [self._train(folder, start, method, best, seed, quick) for seed in SEEDS[1 : 2 if quick else None]]
            chosen[method] = [runs[best], *others]
        tables = [table(["method", "settings", *self.task.metrics], rows), scores.comparison(chosen)]
        if self.task.has_test:
            tables.append(Scores(start, self.task.metrics, is_test=True).comparison(chosen))
        return Study(tables)

    def _train(self, folder: Path, start: Path, method: str, number: int, seed: int, quick: bool) -> Path:
        """Train on with one setting and one seed, unless this is done; return the run."""
        run = folder / f"{method.replace(' ', '_')}-{number}-seed{seed}"
        settings = {**self.task.shared, **self.task.methods[method][number]}
        limits = {"training.max_minutes": self.task.minutes, "training.threads": 1} | limits_of(quick)
        seqlab.train(
            seqlab.recipe(self.task.recipe, run, {**settings, **limits, "seed": seed, "init_from": str(start)}), run
        )
        return run


def train_start(recipe: str, folder: Path, fields: Settings, quick: bool) -> Path:
    """Train the start of a study, unless its folder has it; return its run."""
    start = folder / "start"
    if not (start / "run.json").exists():
        seqlab.train(seqlab.recipe(recipe, start, dict(fields) | limits_of(quick)), start)
    return start


def limits_of(quick: bool) -> dict[str, Any]:
    """Return the limits of a smoke test."""
    return {"training.max_steps": 2, "training.save_every": 1, "training.valid_every": 1} if quick else {}


def _shown(settings: Settings) -> str:
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in settings.items())


class Scores:
    """Metrics of the hypotheses of runs for the validation set, or a test set, which are decoded once."""

    def __init__(self, start: Path, metrics: Sequence[str], is_test: bool = False) -> None:
        self.metrics = metrics
        self.data = read_config(RunFolder(start)).data
        self.inputs, self.references = _pairs_of(self.data, is_test)
        self._statistics: dict[Path, list[LineStatistics]] = {}

    def statistics(self, run: Path) -> list[LineStatistics]:
        """Return the statistics of the lines for each metric."""
        if run not in self._statistics:
            hypotheses = _hypotheses(run, self.data.kind, self.inputs)
            self._statistics[run] = [line_statistics(name, hypotheses, self.references) for name in self.metrics]
        return self._statistics[run]

    def values(self, runs: Sequence[Path]) -> list[str]:
        """Return the mean of each metric over runs."""
        return [
            f"{np.mean([self.statistics(run)[i].score().value for run in runs]):.2f}" for i in range(len(self.metrics))
        ]

    def rank(self, runs: Sequence[Path]) -> float:
        """Return the mean of the first metric over runs; higher is better."""
        scores = [self.statistics(run)[0].score() for run in runs]
        return float(np.mean([score.value if score.higher_is_better else -score.value for score in scores]))

    def comparison(self, runs_of: Mapping[str, Sequence[Path]]) -> str:
        """Return a table with a row for each method: means over its runs, and differences to the baseline."""
        header = ["method", *self.metrics, *(f"difference in {name}" for name in self.metrics)]
        baseline = runs_of[CROSS_ENTROPY]
        rows = [[name, *self.values(runs), *self.differences(runs, baseline)] for name, runs in runs_of.items()]
        return table(header, rows)

    def differences(self, runs: Sequence[Path], baseline: Sequence[Path]) -> Iterator[str]:
        """Yield the difference to the baseline in each metric, with its 95% interval."""
        count = len(self.inputs)
        rng = np.random.default_rng(1)
        resamples = [np.arange(count), *(rng.integers(count, size=count) for _ in range(NUM_RESAMPLES))]
        for index in range(len(self.metrics)):
            difference, *resampled = (
                self._mean(runs, index, lines) - self._mean(baseline, index, lines) for lines in resamples
            )
            low, high = np.percentile(resampled, [2.5, 97.5])
            yield f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"

    def _mean(self, runs: Sequence[Path], index: int, lines: NDArray[np.int64]) -> float:
        return float(np.mean([self.statistics(run)[index].score_of(lines).value for run in runs]))


def _pairs_of(data: Any, is_test: bool) -> tuple[list[Any], list[list[str]]]:
    """Return the inputs and the references of the validation set, or of a translator's first test set."""
    if data.kind == "translation":
        src, tgt = (data.test_src[0], data.test_tgt[:1]) if is_test else (data.valid_src, data.valid_tgt)
        return list(parse_column(src).values()), [list(parse_column(spec).values()) for spec in tgt]
    valid = Path(data.valid)
    rows = [json.loads(line) for line in valid.read_text(encoding="utf-8").splitlines()]
    return [valid.parent / row[data.audio_column] for row in rows], [[row[data.text_column] for row in rows]]


def _hypotheses(folder: Path, kind: str, inputs: Sequence[Any]) -> list[str]:
    run = seqlab.load(folder)
    hypotheses: list[str] = (
        run.translate(inputs, beam_size=BEAM_SIZE) if kind == "translation" else run.transcribe(inputs)
    )
    return hypotheses


STEADY: dict[str, Any] = {
    **{"training.max_steps": 1_000_000, "optim.schedule.family": "linear", "optim.schedule.warmup_steps": 20},
}
"""Fields of all methods: the schedule ends with the minutes."""
SMALL_STEPS: dict[str, Any] = {
    **{"data.batch_tokens": 512, "data.micro_batch_tokens": 4000, "optim.average_last": 5, "optim.ema_decay": 0.0}
}
"""A step of 512 target tokens has 4,096 sampled ones with eight samples; ten minutes have about 360 steps."""
WITH_DROPOUT: dict[str, Any] = {"model.dropout": 0.4, "training.save_every": 250, "training.valid_every": 500}
"""Fields of the recipe `g2p_fre`, for comparison with the other tasks, which train on samples without dropout."""
TASKS = {
    "rewards_g2p_fre": RewardTask(
        "g2p_fre",
        minutes=2,
        metrics=("exact_match", "wer"),
        shared=STEADY,
        methods={
            CROSS_ENTROPY: [
                {"optim.optimizer.lr": 1e-3},
                {"optim.optimizer.lr": 3e-4},
                {"optim.optimizer.lr": 3e-4, "model.dropout": 0.5},
            ],
            "minimum risk": [
                sampled("minimum_risk", "wer", 3e-4, num_samples=8) | WITH_DROPOUT,
                sampled("minimum_risk", "exact_match", 3e-4, num_samples=8) | WITH_DROPOUT,
                sampled("minimum_risk", "wer", 3e-4, num_samples=8, cross_entropy=0.1) | WITH_DROPOUT,
            ],
            "policy gradient": [
                sampled("policy_gradient", "exact_match", 1e-4, num_samples=8) | WITH_DROPOUT,
                sampled("policy_gradient", "exact_match", 3e-4, num_samples=8, cross_entropy=0.3) | WITH_DROPOUT,
            ],
        },
    ),
    "rewards_multi30k_en_de": RewardTask(
        "multi30k_en_de",
        minutes=10,
        has_test=True,
        metrics=("bleu", "chrf"),
        shared=STEADY | {"training.save_every": 100, "training.valid_every": 500},
        methods={
            CROSS_ENTROPY: [
                {"optim.optimizer.lr": 1e-3},
                {"optim.optimizer.lr": 3e-4},
                {"optim.optimizer.lr": 1e-3, "model.dropout": 0.4},
                {"optim.optimizer.lr": 3e-4, "optim.average_last": 0, "optim.ema_decay": 0.999},
                {"optim.optimizer.lr": 1e-3, "optim.average_last": 0, "optim.ema_decay": 0.999},
            ],
            "minimum risk": [
                sampled("minimum_risk", "chrf", 3e-4, num_samples=8) | SMALL_STEPS,
                sampled("minimum_risk", "chrf", 1e-4, num_samples=8) | SMALL_STEPS,
                sampled("minimum_risk", "bleu", 3e-4, num_samples=8) | SMALL_STEPS,
                sampled("minimum_risk", "bleu", 1e-3, num_samples=8) | SMALL_STEPS,
                sampled("minimum_risk", "bleu", 3e-4, num_samples=8, candidates="beam") | SMALL_STEPS,
                sampled("minimum_risk", "bleu", 3e-4, num_samples=8, cross_entropy=0.05) | SMALL_STEPS,
                sampled("minimum_risk", "bleu_and_chrf", 3e-4, num_samples=8) | SMALL_STEPS,
            ],
        },
    ),
    "rewards_inflection_finnish": RewardTask(
        "inflection_finnish",
        minutes=2,
        metrics=("exact_match", "cer"),
        shared=STEADY,
        methods={
            CROSS_ENTROPY: [{"optim.optimizer.lr": 5e-4}, {"optim.optimizer.lr": 2e-4}],
            "minimum risk": [
                sampled("minimum_risk", "edit_distance", 3e-4, num_samples=8),
                sampled("minimum_risk", "edit_distance", 1e-3, num_samples=8),
            ],
        },
    ),
    "rewards_fsdd_strings": RewardTask(
        "fsdd_strings",
        minutes=2,
        metrics=("wer", "cer"),
        shared=STEADY,
        methods={
            CROSS_ENTROPY: [{"optim.optimizer.lr": 1e-3}, {"optim.optimizer.lr": 3e-4}],
            "minimum risk": [
                sampled("minimum_risk", "wer", 3e-4, num_samples=8),
                sampled("minimum_risk", "wer", 1e-3, num_samples=8),
            ],
        },
    ),
}
STUDIES = {name: RewardStudy(task) for name, task in TASKS.items()}
