"""Values of wrong type in run files with valid checksums: the error names the file."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attack.damage import read_json, renew_checksums, write_with_checksum
from reference.stored_families import unpack

from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.training.train import train

Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def stored_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stored runs of all model families."""
    return unpack(tmp_path_factory.mktemp("stored"))


@pytest.fixture
def run_dir(stored_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a stored run of a translator."""
    monkeypatch.chdir(stored_runs)
    shutil.copytree(stored_runs / "runs" / "gru", tmp_path / "gru")
    return tmp_path / "gru"


def edit(path: Path, change: Change) -> None:
    values = json.loads(path.read_bytes())
    path.write_text(json.dumps(change(values)), "utf-8")


def with_value(name: str, value: Any) -> Change:
    return lambda values: {**values, name: value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_version", {}),
        ("command", "seqlab train"),
        ("command", [5]),
        ("seed", "x"),
        ("data_sha256", 5),
        ("tokenizer_sha256", []),
        ("output_bound", {"ratio": "x", "offset": 2}),
        ("parameters", None),
        ("machine", 3),
    ],
)
def test_invalid_values_in_run_json_are_reported(run_dir: Path, name: str, value: Any) -> None:
    edit(run_dir / "run.json", with_value(name, value))
    renew_checksums(run_dir)
    with pytest.raises(ValueError, match=rf"run.json is damaged .*`{name}"):
        load_run(run_dir)


@pytest.mark.parametrize(
    ("name", "value"),
    [("progress", []), ("best", "x"), ("figures", 3), ("journal_size", -1), ("crc32", [])],
)
def test_invalid_values_in_state_json_are_reported(run_dir: Path, name: str, value: Any) -> None:
    [state] = run_dir.glob("checkpoints/*/state.json")
    edit(state, with_value(name, value))
    renew_checksums(run_dir)
    with pytest.raises(ValueError, match=rf"state.json is missing or damaged .*`{name}"):
        load_run(run_dir)


@pytest.mark.parametrize(("name", "value"), [("step", "x"), ("position", 5), ("minutes", None), ("best", [[1]])])
def test_invalid_training_progress_is_reported(run_dir: Path, name: str, value: Any) -> None:
    [state] = run_dir.glob("checkpoints/*/state.json")
    edit(state, lambda values: {**values, "progress": {**values["progress"], name: value}})
    renew_checksums(run_dir)
    with pytest.raises(ValueError, match=rf"state.json is damaged: it is not a training state .*`{name}"):
        train(read_config(RunFolder(run_dir)), run_dir)


@pytest.mark.parametrize(
    ("name", "value"), [("format_version", "x"), ("config", []), ("config", {"kind": 5}), ("sha256", 3)]
)
def test_invalid_values_in_tokenizer_json_are_reported(run_dir: Path, name: str, value: Any) -> None:
    edit(run_dir / "tokenizer" / "tokenizer.json", with_value(name, value))
    edit(run_dir / "run.json", lambda values: {**values, "tokenizer_sha256": {}})
    write_with_checksum(run_dir / "run.json", read_json(run_dir / "run.json"))
    with pytest.raises(ValueError, match=r"tokenizer.json is damaged"):
        load_run(run_dir)


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"[" * 100_000, b'["a", "a"]', b"\xff"], ids=lambda each: str(each[:9])
)
def test_invalid_tokenizer_models_are_reported(run_dir: Path, content: bytes) -> None:
    (run_dir / "tokenizer" / "tokenizer.model").write_bytes(content)
    renew_checksums(run_dir)
    with pytest.raises(ValueError, match=r"tokenizer.model is damaged"):
        load_run(run_dir)


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "XX", ["F32"]], ids=str)
def test_unknown_tensor_dtypes_are_reported(run_dir: Path, dtype: Any) -> None:
    [path] = run_dir.glob("checkpoints/*/averaged.safetensors")
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    header[min(header)]["dtype"] = dtype
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    renew_checksums(run_dir)
    with pytest.raises(ValueError, match=r"averaged.safetensors is missing or damaged"):
        load_run(run_dir)
