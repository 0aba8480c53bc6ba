"""Study of the variants of the policy gradient from a trained translator: variance, reward over minutes, collapse.

The variance is that of the gradient for one fixed batch over random samples, at the start. A critic is first trained
with the weights of the start, which stay fixed, so that its variance is that of a critic in use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

import seqlab
from benchmarks.studies.rewards import SMALL_STEPS, STEADY, Scores, Settings, limits_of, sampled, train_start
from benchmarks.studies.study import Line, Study, table
from seqlab.base.world import World
from seqlab.objectives import ModelFactory, StepContext
from seqlab.objectives.loss import TextSide
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run

RECIPE, REWARD, METRICS = "multi30k_en_de", "bleu", ("bleu", "chrf")
MINUTES = 3.0
LR, NO_LR = 3e-4, 1e-12
NUM_SAMPLES = 8
NUM_DRAWS = 12
"""Draws of samples, of which the variance is computed."""
CRITIC_STEPS, CRITIC_LR = 60, 3e-3
WINDOW = 20
"""Steps of the moving mean of a curve."""
UNCHANGED = "no updates"
"""Run with the samples of the start: the difficulty of the batches changes the reward more than training does."""
OTHERS: Settings = {"baseline": "other_samples"}
VARIANTS: Mapping[str, Settings] = {
    UNCHANGED: {"baseline": "none"},
    "total reward": {"baseline": "none"},
    "reward-to-go": {"baseline": "none", "returns": "to_go"},
    "discount 0.9": {"baseline": "none", "returns": "to_go", "discount": 0.9},
    "moving mean": {"baseline": "moving_mean"},
    "greedy output": {"baseline": "greedy"},
    "other samples": OTHERS,
    "other samples, reward-to-go": {**OTHERS, "returns": "to_go"},
    "other samples, standardized": {**OTHERS, "standardize": True},
    "critic": {"baseline": "critic", "returns": "to_go"},
    "actor-critic": {"baseline": "critic", "returns": "to_go", "trace_decay": 0.9},
    "PPO, four passes": {**OTHERS, "passes": 4},
    "other samples, cross entropy": {**OTHERS, "cross_entropy": 0.05},
    "other samples, start penalty": {**OTHERS, "start_penalty": 0.02},
}
PANELS: Mapping[str, Sequence[str]] = {
    "returns": ("total reward", "reward-to-go", "discount 0.9", "other samples, reward-to-go"),
    "baselines": ("moving mean", "greedy output", "other samples", "critic", "actor-critic"),
    "additions": (
        *("other samples", "other samples, standardized", "PPO, four passes"),
        *("other samples, cross entropy", "other samples, start penalty"),
    ),
}


def run(folder: Path, quick: bool, shared: Settings = MappingProxyType({})) -> Study:
    """Train on with each variant, and measure its variance at the start; `folder/start` may contain the start.

    `shared` has fields of the start and of all variants.
    """
    start = train_start(RECIPE, folder, shared, quick)
    for number in range(len(VARIANTS)):
        train(folder, number, quick, shared)
    rows = [measure(folder, number, quick) for number in range(1, len(VARIANTS))]
    first = ["the start", *[""] * 5, *Scores(start, METRICS).values([start])]
    header = ["variant", "variance", "steps", "gain in reward", "length", "entropy", *METRICS]
    panels = {
        panel: {name: curve(folder, list(VARIANTS).index(name)) for name in names} for panel, names in PANELS.items()
    }
    axes = {"x": "minutes of training", "y": "BLEU+1 of samples minus that of the start"}
    return Study(
        [table(header, [first, *rows])], {"title": "Variants of the policy gradient", **axes, "panels": panels}
    )


def run_dir_of(folder: Path, number: int) -> Path:
    """Return the folder of the run of a variant."""
    return folder / f"{number}-seed1"


def train(folder: Path, number: int, quick: bool, shared: Settings = MappingProxyType({})) -> None:
    """Train on with one variant, unless this is done."""
    name, run_dir = list(VARIANTS)[number], run_dir_of(folder, number)
    fields = sampled(
        "policy_gradient", REWARD, NO_LR if name == UNCHANGED else LR, num_samples=NUM_SAMPLES, **VARIANTS[name]
    )
    limits = {"training.max_minutes": MINUTES, "training.threads": 1, "training.log_every": 1}
    settings = {**shared, **STEADY, **SMALL_STEPS, **fields, **limits, **limits_of(quick)}
    seqlab.train(seqlab.recipe(RECIPE, run_dir, {**settings, "init_from": str(folder / "start")}), run_dir)


def measure(folder: Path, number: int, quick: bool) -> list[Any]:
    """Return the row of a variant: its variance at the start, logs of its training, and metrics of its best checkpoint.

    The gain in reward is the mean difference to the samples of the start for the same batches, with its standard error
    over steps; gain, length and entropy are means over the last third of the steps.
    """
    run_dir = run_dir_of(folder, number)
    steps, variance_args = steps_of(run_dir), (2, 2) if quick else (NUM_DRAWS, CRITIC_STEPS)
    gains = [gain for _, gain in gains_of(folder, number)]
    last = gains[-max(2, len(gains) // 3) :]
    error = np.std(last, ddof=1) / len(last) ** 0.5
    variance = gradient_variance(load_run(run_dir).config, run_dir, *variance_args)
    means = [np.mean([line[name] for line in steps[-len(last) :]]) for name in ("length_ratio", "sample_entropy")]
    logs = [len(steps), f"{np.mean(last):+.3f} ± {error:.3f}", *(f"{mean:.2f}" for mean in means)]
    scores = Scores(folder / "start", METRICS).values([run_dir])
    return [list(VARIANTS)[number], f"{variance:.3g}", *logs, *scores]


def steps_of(run_dir: Path) -> list[Line]:
    """Return the logs of the training steps."""
    return [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "train" and "reward" in line]


def gains_of(folder: Path, number: int) -> list[tuple[float, float]]:
    """Return the minutes of each step, and its reward minus that of the start for the same batch."""
    start = {line["step"]: line["reward"] for line in steps_of(run_dir_of(folder, 0))}
    steps = [line for line in steps_of(run_dir_of(folder, number)) if line["step"] in start]
    return [(line["minutes"], line["reward"] - start[line["step"]]) for line in steps]


def curve(folder: Path, number: int) -> dict[str, list[float]]:
    """Return the moving mean of the gain in reward over minutes."""
    points = gains_of(folder, number)
    ends = range(min(WINDOW, len(points)), len(points) + 1)
    return {
        "x": [round(points[end - 1][0], 3) for end in ends],
        "y": [round(float(np.mean([gain for _, gain in points[max(0, end - WINDOW) : end]])), 4) for end in ends],
    }


def gradient_variance(config: Config, run_dir: Path, num_draws: int, critic_steps: int) -> float:
    """Return the sum over weights of the variance of the gradient for the first batch of training, over samples.

    The weights are those of the start of a run.
    """
    folder, task = RunFolder(run_dir), config.data.task
    codecs = load_codecs_for(folder, config.data)
    data = task.prepare(config, codecs, folder.cache, None)
    factory = ModelFactory(config.model.resolve(config.data), *codecs)
    model = factory.build().train()
    model.load_state_dict(load_run(str(config.init_from)).model.state_dict())
    objective = config.objective.build_for(model, factory)
    context = StepContext(0, seed=config.seed, sides=(TextSide(codecs[0]), TextSide(codecs[1])))
    first, *others = (
        step.micro_steps[0] for step in islice(task.steps(data, config, codecs, World(), None), 1 + critic_steps)
    )
    _train_critic(objective, model, others, context)
    weights = [*model.parameters()]
    gradients: list[Tensor] = []
    for draw in range(num_draws):
        loss = _loss(objective, model, first, replace(context, step=10_000 + draw))
        total = loss.total / loss.count  # the critic's error is an added loss, which has no gradient here
        gradients.append(torch.cat([part.flatten() for part in torch.autograd.grad(total, weights)]))
    return float(torch.stack(gradients).double().var(0).sum())


def _train_critic(objective: Any, model: Any, batches: Sequence[Any], context: StepContext) -> None:
    """Train the parameters of the objective, and let it observe its samples; the model stays as it is."""
    parameters = [each for each in objective.parameters() if each.requires_grad]  # not those of the start
    optimizer = torch.optim.Adam(parameters, CRITIC_LR) if parameters else None
    for step, batch in enumerate(batches if optimizer is not None else batches[:10]):
        loss = _loss(objective, model, batch, replace(context, step=step))
        objective.observe({name: value.detach() for name, value in loss.sums().items()})
        if optimizer is not None:
            [error] = loss.added
            optimizer.zero_grad()
            (error.total / error.count).backward()
            optimizer.step()


def _loss(objective: Any, model: Any, batch: Any, context: StepContext) -> Any:
    return objective(model, batch, replace(context, collected=objective.collect(model, batch, context)))
