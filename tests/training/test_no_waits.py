"""No forward or backward pass asks the device for a value: on a GPU the host would wait for it.

`meta` tensors have shapes and no values, so that asking for one is an error; kernels are those of a GPU, not the CPU's.
"""

from pathlib import Path

import pytest
import torch
from reference.meta_device import leave_out_autocast
from reference.stored_families import COUNTED, FAMILIES

from seqlab.base.world import join_world
from seqlab.objectives import StepContext
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import config_from_yaml, override
from seqlab.training.locked_folder import lock_run_folder
from seqlab.training.loop import training_steps
from seqlab.training.train import set_up_run

WAITING = ("transformer_ctc",)
"""PyTorch's kernel for CTC copies the lengths to the host; copying from the source waits, too."""
OBJECTIVES = {"r_drop": ("transformer", "lstm"), "scheduled_sampling": ("transformer", "lstm")}
CASES = [(name, None) for name in FAMILIES if name not in (*COUNTED, *WAITING)]
CASES += [(name, objective) for objective, names in OBJECTIVES.items() for name in names]


@pytest.mark.parametrize(("family", "objective"), CASES, ids=str)
def test_a_pass_asks_for_no_value(
    family: str, objective: str | None, stored_families: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out_autocast(monkeypatch)
    monkeypatch.chdir(stored_families)
    config = config_from_yaml(Path("runs") / family / "config.yaml")
    if objective is not None:
        config = override(config, [("objective.family", objective)])
    with join_world() as world, lock_run_folder(RunFolder(tmp_path / "run"), world) as held:
        run = set_up_run(config, held, False, (), world)
        run.metrics_logger.close()
        batch = next(iter(training_steps(run))).micro_steps[0].to("meta")
        model = run.model.to("meta").train()
        total = run.objective(model, batch, StepContext(0, torch.Generator())).total
        total.backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.parameters() if p.requires_grad)
