"""Forward and backward passes without device synchronization, for every model family.

Tensors are on the `meta` device, where reading a value is an error. The kernels are those for GPUs.
"""

from pathlib import Path

import pytest
import torch
from reference.meta_device import disable_autocast
from reference.stored_families import COUNT_BASED_FAMILIES, FAMILIES

from seqlab.base.world import join_world
from seqlab.objectives import StepContext
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import config_from_yaml, override
from seqlab.training.locked_folder import lock_run_folder
from seqlab.training.loop import training_steps
from seqlab.training.train import set_up_run

SYNCHRONIZING_FAMILIES = ("transformer_ctc",)
"""Exempt: PyTorch's CTC kernel copies the lengths to the host."""
OBJECTIVES = {"r_drop": ("transformer", "lstm"), "scheduled_sampling": ("transformer", "lstm")}
CASES = [(name, None) for name in FAMILIES if name not in (*COUNT_BASED_FAMILIES, *SYNCHRONIZING_FAMILIES)]
CASES += [(name, objective) for objective, names in OBJECTIVES.items() for name in names]


@pytest.mark.parametrize(("family", "objective"), CASES, ids=str)
def test_forward_and_backward_passes_read_no_values(
    family: str, objective: str | None, stored_families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disable_autocast(monkeypatch)
    monkeypatch.chdir(stored_families)
    config = config_from_yaml(Path("runs") / family / "config.yaml")
    if objective is not None:
        config = override(config, [("objective.family", objective)])
    with join_world() as world, lock_run_folder(RunFolder(tmp_path / "run"), world) as held:
        run = set_up_run(config, held, (), world)
        run.metrics_logger.close()
        batch = next(iter(training_steps(run))).micro_steps[0].to("meta")
        model = run.model.to("meta").train()
        total = run.objective(model, batch, StepContext(0, torch.Generator())).total
        total.backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters() if p.requires_grad)
