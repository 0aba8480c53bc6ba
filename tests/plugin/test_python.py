"""Parts that a Python script registers: training, loading, and resuming from the command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import PLUGIN_PATH, environment, run_commands, run_script

SCRIPT = '''
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

import seqlab
from seqlab.models.config import SETTINGS
from seqlab_outside import convolutional, distinct, focal, triangle

seqlab.register("model")(convolutional.ConvolutionalConfig)
seqlab.register("schedule")(triangle.TriangleConfig)
seqlab.register("metric")(distinct.distinct)


@seqlab.register("objective")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SharpConfig(focal.FocalConfig):
    """A focal loss of a script."""

    family: Literal["sharp"] = "sharp"
    gamma: float = 3.0


def config(train_src: str, train_tgt: str) -> seqlab.Config:
    from seqlab.tasks.translation.config import TranslationConfig
    from seqlab.optim import OptimConfig
    from seqlab.runs.config import TrainingConfig

    return seqlab.Config(
        data=TranslationConfig(train_src=train_src, train_tgt=train_tgt, valid_fraction=0.1, batch_tokens=80),
        model=convolutional.ConvolutionalConfig(d_model=16, num_encoder_layers=1, num_decoder_layers=1, max_length=64),
        objective=SharpConfig(),
        optim=OptimConfig(schedule=triangle.TriangleConfig()),
        training=TrainingConfig(max_steps=6, save_every=3, valid_metric="distinct", device="cpu", precision="fp32"),
    )


if __name__ == "__main__":
    import sys

    run = seqlab.load(seqlab.train(config(*sys.argv[1:3]), sys.argv[3]))
    print(*run.translate(["one", "two"]), sep="\\n")
'''


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Train with the script `sharp.py` next to the run folder; return the run folder and the script's output.

    It runs in a new interpreter, where the parts are imported before the rest of seqlab.
    """
    run = tmp_path_factory.mktemp("script") / "run"
    (run.parent / "sharp.py").write_text(SCRIPT, "utf-8")
    command = [sys.executable, run.parent / "sharp.py", *(corpus / f"train.{side}" for side in ("en", "de")), run]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(PLUGIN_PATH))
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def test_run_is_loaded_with_the_script_as_a_plugin(run: tuple[Path, str]) -> None:
    load = f"import seqlab\nrun = seqlab.load({str(run[0])!r}, plugins=[{str(run[0].parent / 'sharp.py')!r}])\n"
    assert run_script(f"{load}print(*run.translate(['one', 'two']), sep='\\n')", PLUGIN_PATH) == run[1]


def test_run_is_resumed_from_the_command_line(run: tuple[Path, str], tmp_path: Path) -> None:
    copied, script = Path(shutil.copytree(run[0], tmp_path / "run")), run[0].parent / "sharp.py"
    command = ["train", copied / "config.yaml", "--run_dir", copied, "--training.max_steps", "8"]
    [done] = run_commands([[*command, "--plugin", script]])
    assert done.status == 0, done.err
    assert "Continuing" in done.err
    assert "not bit for bit" not in done.err.replace("on another machine, with another setting or version", "")
    [missing] = run_commands([command])
    assert missing.status == 2
    assert "with the plugin 'seqlab_outside.convolutional', 'seqlab_outside.distinct', " in missing.err
    assert "'sharp.py'" in missing.err
