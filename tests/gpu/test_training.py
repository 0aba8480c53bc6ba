"""Training on a GPU: steps without synchronization, compilation, and the out-of-memory error."""

import gc
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch
from reference.device_waits import count_waits
from reference.stored_families import COUNT_BASED_FAMILIES, FAMILIES

from seqlab.base.world import join_world
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import config_from_yaml, override
from seqlab.training import train
from seqlab.training.locked_folder import lock_run_folder
from seqlab.training.loop import StartedSteps, training_steps
from seqlab.training.train import set_up_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


SYNCHRONIZING_FAMILIES = ("transformer_ctc",)
"""Exempt: PyTorch's CTC kernel copies the lengths to the host."""


@pytest.fixture(params=[name for name in FAMILIES if name not in (*COUNT_BASED_FAMILIES, *SYNCHRONIZING_FAMILIES)])
def config_file(request: pytest.FixtureRequest, stored_families: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change the working directory; return the config file of a family, relative to it."""
    monkeypatch.chdir(stored_families)
    return Path("runs") / request.param / "config.yaml"


@pytest.fixture
def forbid_synchronization() -> Iterator[Callable[[], None]]:
    """Yield a function that makes torch raise an error at each later synchronization."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_do_not_synchronize(
    config_file: Path, precision: str, tmp_path: Path, forbid_synchronization: Callable[[], None]
) -> None:
    """Results of a step are read one step later. torch raises at synchronizations, and its profiler counts them."""
    family = "sgd" if precision == "fp32" else "adam"
    values = {"training.device": "cuda", "training.precision": precision, "optim.optimizer.family": family}
    config = override(config_from_yaml(config_file), list(values.items()))
    with join_world() as world, lock_run_folder(RunFolder(tmp_path / "run"), world) as held:
        run = set_up_run(config, held, (), world)
        run.model.train()
        with closing(run.metrics_logger):
            started_steps, steps = StartedSteps(run), list(islice(training_steps(run), 9))

            def run_steps(first: int, last: int) -> None:
                for step in steps[first:last]:
                    started_steps.start(step)
                    run.progress.step += 1
                    started_steps.finish(keep=1)

            run_steps(0, 3)  # the first steps allocate and compile
            forbid_synchronization()
            run_steps(3, 6)
            torch.cuda.set_sync_debug_mode("default")
            synchronizations = count_waits(lambda: run_steps(6, 9))
            assert synchronizations.pop("cudaEventSynchronize", 0) <= 3  # for the results of the previous step
            assert not synchronizations
            assert len(started_steps.finish()) == 1


@pytest.mark.parametrize("family", ["transformer_lm", "transformer"])
def test_compilation_does_not_change_losses(
    family: str, stored_families: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(stored_families)
    losses = {}
    for compiled in ("false", "true"):
        values = {"training.device": "cuda", "training.precision": "fp32", "training.max_steps": "6"}
        values |= {"training.compile": compiled, "model.dropout": "0.0", "training.log_every": "1"}
        config = override(config_from_yaml(Path(f"runs/{family}/config.yaml")), list(values.items()))
        run_dir = train(config, tmp_path / compiled)
        losses[compiled] = [line["loss"] for line in RunFolder(run_dir).read_metrics() if line["kind"] == "train"]
    assert losses["true"] == pytest.approx(losses["false"], rel=1e-4)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limit this process to a few megabytes of device memory."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_out_of_memory_error_names_options_to_lower(
    stored_families: Path, tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stored_families)
    config = config_from_yaml(Path("runs/transformer/config.yaml"))
    values = {"training.device": "cuda", "model.d_model": "256", "model.d_ff": "1024"}
    config = override(config, list(values.items()))
    with pytest.raises(
        MemoryError, match=r"Memory ran out (in step 1: .*micro_batch_tokens|when the model was moved to the device)"
    ):
        train(config, tmp_path / "run")
