"""Workspace of the attacks: a folder of small trained runs, and commands that use each run."""

import json
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attack.trial import run
from reference.stored_families import ARCHIVE, SPEECH_ARCHIVE, unpack

TABLE_MODEL = "mlp"
NUM_ROWS = 60
ARPA_TEXT = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0 <s> -0.3
-1.0 </s>
-0.5 a -0.2
-0.7 b -0.1

\\2-grams:
-0.3 <s> a
-0.4 a b

\\end\\
"""


@dataclass
class Workspace:
    """The stored runs of all families (`tests/checkpoints`) and a model of a table, with their corpora."""

    folder: Path
    uses: dict[str, list[list[str]]] = field(default_factory=dict)
    """Name of a run -> commands that read it."""
    resumed: dict[str, list[str]] = field(default_factory=dict)
    """Name of a run -> command that resumes its training."""

    @classmethod
    def make(cls, folder: Path) -> "Workspace":
        """Unpack the stored runs, and train a model of a table."""
        workspace = cls(folder)
        for archive in (SPEECH_ARCHIVE, ARCHIVE):
            unpack(folder, archive)
            expected: dict[str, Any] = json.loads((folder / "expected.json").read_text("utf-8"))
            for name, entry in expected.items():
                workspace.uses[name] = [use["argv"] for use in entry["uses"].values()]
                if "continued" in entry:
                    options = entry["continued"]["argv"]
                    workspace.resumed[name] = ["train", "--run_dir", f"runs/{name}", *options[3:]]
        workspace._add_table_model()
        return workspace

    def _add_table_model(self) -> None:
        (self.folder / "corpora" / "lm.arpa").write_text(ARPA_TEXT, encoding="utf-8")
        rng = random.Random(1)
        rows = [f"{rng.random():.3f},{rng.random():.3f},{rng.choice('ab')}" for _ in range(NUM_ROWS)]
        (self.folder / "corpora" / "table.csv").write_text("\n".join(["x,y,kind", *rows, ""]), encoding="utf-8")
        data = ("--data.kind", "prediction", "--data.train", "corpora/table.csv", "--data.target", "kind")
        sizes = ("--model.family", TABLE_MODEL, "--training.max_steps", "20", "--threads", "1")
        done = run(["train", *data, *sizes, "--run_dir", f"runs/{TABLE_MODEL}"], folder=self.folder)
        assert done.status == 0, done.stderr
        self.uses[TABLE_MODEL] = [["predict", f"runs/{TABLE_MODEL}", "--input", "corpora/table.csv", "--json"]]
        self.resumed[TABLE_MODEL] = ["train", "--run_dir", f"runs/{TABLE_MODEL}", "--training.max_steps", "30"]

    def copy_run(self, name: str, target: Path) -> Path:
        """Copy one run into a new working folder with a link to the corpora, so that it can be damaged."""
        shutil.rmtree(target, ignore_errors=True)
        (target / "runs").mkdir(parents=True)
        (target / "corpora").symlink_to(self.folder / "corpora")
        shutil.copytree(self.folder / "runs" / name, target / "runs" / name)
        return target

    def commands(self, name: str) -> list[list[str]]:
        """Return the commands that read a run: its uses, `info`, and the one that resumes its training."""
        commands = [*self.uses[name], ["info", f"runs/{name}"]]
        return [*commands, self.resumed[name]] if name in self.resumed else commands
