"""Run formats: bit flips in format 2 are detected, format 1 is converted, interrupted changes are completed."""

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from reference.shared import SharedFolder
from reference.tiny_runs import assert_equal_runs, convert_to_format_1, with_training

from seqlab.base.atomic_io import write_json
from seqlab.runs import folder as folder_module
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps, read_state
from seqlab.runs.config import Config, config_text
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.training import train

Trained = tuple[Config, Path]


@pytest.fixture(scope="module")
def longer(translator: Trained, shared: SharedFolder) -> Trained:
    """Return the config and the folder of the run continued to 16 steps without interruption."""
    config = with_training(translator[0], max_steps=16)

    def build(folder: Path) -> None:
        train(config, shutil.copytree(translator[1], folder / "run"))

    return config, shared.build("longer-translator", build) / "run"


@pytest.fixture
def run_dir(translator: Trained, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(translator[1], tmp_path / "run"))


def bit_flips(content: bytes) -> Iterator[bytes]:
    """Yield the content with one bit of each byte flipped in turn, at changing positions."""
    for index in range(len(content)):
        yield content[:index] + bytes([content[index] ^ 1 << (7 * index) % 8]) + content[index + 1 :]


def assert_damage_detected(path: Path, read: Callable[[], object]) -> None:
    """Flip a bit of each byte of a file: reading must raise ValueError or return the same as before."""
    content, expected = path.read_bytes(), read()
    undetected = 0
    for damaged in bit_flips(content):
        path.write_bytes(damaged)
        try:
            assert read() == expected
            undetected += 1  # a change of white space
        except ValueError:
            pass
    path.write_bytes(content)
    assert undetected < len(content)


def test_bit_flips_in_state_json_are_detected(run_dir: Path) -> None:
    checkpoint = run_dir / "checkpoints" / checkpoint_name(12)
    assert_damage_detected(checkpoint / "state.json", lambda: read_state(checkpoint))


def test_bit_flips_in_run_json_are_detected(run_dir: Path) -> None:
    description = RunFolder(run_dir).read_description()
    small = {key: description[key] for key in ("seed", "tokenizer_sha256", "machine", "output_bound", "parameters")}
    (run_dir / "config.yaml").write_text("seed: 1\n")
    RunFolder(run_dir).write_description(small)
    assert_damage_detected(run_dir / "run.json", RunFolder(run_dir).read_description)


def test_bit_flips_in_config_yaml_are_detected(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(run_dir)
    expected = folder.read_config_text()
    monkeypatch.setattr(folder_module, "CONFIG_READ_ATTEMPTS", 1)
    monkeypatch.setattr(folder_module, "SECONDS_BETWEEN_ATTEMPTS", 0)
    for damaged in bit_flips(expected.encode()):
        folder.config_file.write_bytes(damaged)
        with pytest.raises(ValueError, match="was edited or is damaged"):
            folder.read_config_text()


@pytest.mark.parametrize("stem", ["model", "averaged", "state"])
def test_missing_checksums_are_reported_as_damage(run_dir: Path, stem: str) -> None:
    path = run_dir / "checkpoints" / checkpoint_name(12) / "state.json"
    state = json.loads(path.read_bytes())
    assert stem in state["crc32"]
    del state["crc32"][stem]
    write_json(path, state)
    with pytest.raises(ValueError, match="missing or damaged"):
        load_run(run_dir, "12")
    del state["sha256"]  # as in format 1
    write_json(path, state)
    with pytest.raises(ValueError, match="its checksum is missing"):
        load_run(run_dir, "12")


@pytest.mark.parametrize("key", ["config_yaml", "sha256"])
def test_damaged_format_2_is_not_read_as_format_1(run_dir: Path, key: str) -> None:
    description = json.loads((run_dir / "run.json").read_bytes()) | {"format_version": 1}
    write_json(run_dir / "run.json", {name: value for name, value in description.items() if name != key})
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        load_run(run_dir)


def test_format_1_is_read_with_one_warning(run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert_to_format_1(run_dir)
    for _ in range(2):
        assert load_run(run_dir).step in checkpoint_steps(run_dir / "checkpoints")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "has run format 1" in caplog.text


def test_format_1_with_newer_checkpoints_is_reported_as_damage(run_dir: Path, tmp_path: Path) -> None:
    """Such a run.json comes from another run, or from before the conversion."""
    other = Path(shutil.copytree(run_dir, tmp_path / "other"))
    convert_to_format_1(other)
    shutil.copy(other / "run.json", run_dir / "run.json")
    with pytest.raises(ValueError, match=r"run\.json is damaged or belongs to another run: it has run format 1"):
        load_run(run_dir)


def test_resuming_converts_format_1_to_2(
    translator: Trained, longer: Trained, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """run.json then holds the SHA-256 of the state.json of each older checkpoint."""
    convert_to_format_1(run_dir)
    train(longer[0], run_dir)
    assert f"{run_dir} has run format 1" in caplog.text
    description = RunFolder(run_dir).read_description()
    assert description["format_version"] == 2
    assert f"checkpoints/{checkpoint_name(12)}" in description["older_states"]
    assert_equal_runs(run_dir, longer[1])
    assert load_run(run_dir, "12").step == 12
    checkpoint = run_dir / "checkpoints" / checkpoint_name(12)
    assert_damage_detected(checkpoint / "state.json", lambda: read_state(checkpoint)["progress"])


class Killed(BaseException):
    """Stands for SIGKILL."""


def kill_before(monkeypatch: pytest.MonkeyPatch, operation: int) -> None:
    """Simulate a kill before the n-th write or rename of config.yaml and run.json."""
    numbers = count()

    def killed_at_operation(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:
            if next(numbers) == operation:
                raise Killed
            return function(*arguments)

        return wrapper

    for name in ("write_bytes", "write_json", "rename"):
        monkeypatch.setattr(folder_module, name, killed_at_operation(getattr(folder_module, name)))


@pytest.mark.parametrize("is_old", [False, True], ids=["format 2", "format 1"])
@pytest.mark.parametrize("operation", range(4))
def test_an_interrupted_change_is_completed_or_undone(
    translator: Trained, longer: Trained, run_dir: Path, operation: int, is_old: bool
) -> None:
    if is_old:
        convert_to_format_1(run_dir)
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_before(monkeypatch, operation)
        if operation < 3:
            with pytest.raises(Killed):
                train(longer[0], run_dir)
        else:
            train(longer[0], run_dir)
    before, after = config_text(translator[0]), config_text(longer[0])
    assert RunFolder(run_dir).read_config_text() == (before if operation < 2 else after)
    assert load_run(run_dir).config == read_config(RunFolder(run_dir))
    assert (run_dir / "config.yaml").read_text("utf-8") == (before if operation < 2 else after)
    train(longer[0], run_dir)
    assert not (run_dir / "config.yaml.new").exists()
    assert_equal_runs(run_dir, longer[1])


def test_an_unfinished_config_change_is_read_from_a_read_only_folder(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, new = RunFolder(run_dir), config_text(replace(translator[0], seed=9))
    folder.new_config_file.write_text(new)
    folder.write_description(folder.read_description(), new)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(folder_module, "rename", refuse)
    assert read_config(folder).seed == 9
    assert folder.new_config_file.exists()


def test_the_error_for_an_edited_config_names_the_line(translator: Trained, run_dir: Path) -> None:
    path, longer = run_dir / "config.yaml", with_training(translator[0], max_steps=16)
    path.write_text(path.read_text().replace("max_steps: 12", "max_steps: 16"))
    for use in (lambda: train(longer, run_dir), lambda: load_run(run_dir)):
        with pytest.raises(ValueError, match=r"line \d+: '  max_steps: 16' was '  max_steps: 12' .* edited"):
            use()
    path.unlink()
    assert read_config(RunFolder(run_dir)) == translator[0]
    assert path.read_text() == config_text(translator[0])
    train(longer, run_dir)
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == 16


def test_windows_line_endings_are_accepted(translator: Trained, run_dir: Path) -> None:
    path = run_dir / "config.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_config(RunFolder(run_dir)) == translator[0]


def test_concurrent_config_changes_are_not_reported_as_edits(translator: Trained, run_dir: Path) -> None:
    """One thread replaces the config repeatedly while another reads it."""
    folder, texts = RunFolder(run_dir), [config_text(replace(translator[0], seed=seed)) for seed in (1, 2)]
    values, stop = folder.read_description(), threading.Event()

    def write() -> None:
        for number in count():
            folder.replace_config(texts[number % 2], values)
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            assert folder.read_config_text() in texts
    finally:
        stop.set()
        writer.join()
