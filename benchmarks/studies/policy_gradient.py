"""Study of the variants of the policy gradient from a trained translator: variance, reward over minutes, collapse.

The variance is that of the gradient for one fixed batch over random samples, at the start. A critic is first trained
with the weights of the start, which stay fixed, so that its variance is that of a critic in use.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

import seqlab
from benchmarks.studies.rewards import SMALL_STEPS, STEADY, Scores, Settings, limits_of, sampled, train_start
from benchmarks.studies.study import Study, table
from seqlab.base.world import World
from seqlab.objectives import ModelFactory, StepContext
from seqlab.objectives.loss import TextSide
from seqlab.runs.codecs import load_codecs_for
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run

RECIPE, REWARD, METRICS = "multi30k_en_de", "bleu", ("bleu", "chrf")
MINUTES = 2.0
LR = 3e-4
NUM_SAMPLES = 8
NUM_DRAWS = 12
"""Draws of samples, of which the variance is computed."""
CRITIC_STEPS, CRITIC_LR = 60, 3e-3
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "total reward": {"baseline": "none"},
    "reward-to-go": {"baseline": "none", "returns": "to_go"},
    "discount 0.9": {"baseline": "none", "returns": "to_go", "discount": 0.9},
    "moving mean": {"baseline": "moving_mean"},
    "greedy output": {"baseline": "greedy"},
    "other samples": {"baseline": "other_samples"},
    "other samples, reward-to-go": {"baseline": "other_samples", "returns": "to_go"},
    "other samples, standardized": {"baseline": "other_samples", "standardize": True},
    "critic": {"baseline": "critic", "returns": "to_go"},
    "actor-critic (`trace_decay` 0.9)": {"baseline": "critic", "returns": "to_go", "trace_decay": 0.9},
    "PPO (four passes)": {"baseline": "other_samples", "passes": 4},
}


def run(folder: Path, quick: bool, shared: Settings = MappingProxyType({})) -> Study:
    """Train on with each variant, and measure its variance at the start; `folder/start` may contain the start.

    `shared` has fields of the start and of all variants.
    """
    start = train_start(RECIPE, folder, shared, quick)
    rows = [["the start", "", "", "", "", "", *Scores(start, METRICS).values([start])]]
    rows += [measure(folder, number, quick, shared) for number in range(len(VARIANTS))]
    header = ["variant", "variance", "steps", "reward", "length", "entropy", *METRICS]
    return Study([table(header, rows)])


def measure(folder: Path, number: int, quick: bool, shared: Settings = MappingProxyType({})) -> list[str]:
    """Train on with one variant, and measure its variance at the start; return its row of the table."""
    name, run_dir, start = list(VARIANTS)[number], folder / f"{number}-seed1", folder / "start"
    fields = sampled("policy_gradient", REWARD, LR, num_samples=NUM_SAMPLES, **VARIANTS[name])
    limits = {"training.max_minutes": MINUTES, "training.threads": 1, "training.log_every": 5}
    settings = {**shared, **STEADY, **SMALL_STEPS, **fields, **limits, **limits_of(quick), "init_from": str(start)}
    config = seqlab.recipe(RECIPE, run_dir, settings)
    seqlab.train(config, run_dir)
    variance = gradient_variance(config, run_dir, 2 if quick else NUM_DRAWS, 2 if quick else CRITIC_STEPS)
    return [name, f"{variance:.3g}", *_progress(run_dir), *Scores(start, METRICS).values([run_dir])]


def _progress(run_dir: Path) -> Iterator[str]:
    """Yield the number of steps, and the means of logs over the first and the last fifth of them."""
    lines = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "train" and "reward" in line]
    count = max(1, len(lines) // 5)
    yield str(lines[-1]["step"])
    for name in ("reward", "length_ratio", "sample_entropy"):
        values = [line[name] for line in lines]
        yield f"{sum(values[:count]) / count:.3f} to {sum(values[-count:]) / count:.3f}"


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
    parameters = [*objective.parameters()]
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
