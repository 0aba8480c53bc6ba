"""`seqlab.load(run, engine="ctranslate2")`: automatic export, changed weights, concurrency, and no import of torch."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.processes import FORKSERVER
from reference.random_runs import write_run

import seqlab
from seqlab.base.atomic_io import write_checksummed_json
from seqlab.export.export_folder import atomic_folder
from seqlab.models import TransformerCtcConfig
from seqlab.runs import RunFolder
from seqlab.runs.checkpoint import delete_checkpoint
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.load import read_config
from seqlab.search.config import OutputLimits

from .conftest import LINES, write_weights

OPTIONS = {"beam_size": 1, "max_length": 10}


def take_export_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages about exporting since the last call, and clear the log."""
    messages = [record.getMessage() for record in caplog.records if record.getMessage().startswith("exporting")]
    caplog.clear()
    return messages


def test_a_run_is_exported_again_when_its_weights_change(
    make_run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = make_run(steps=(1, 2))
    caplog.set_level(logging.INFO, "seqlab")

    def translate(**options: str) -> list[str]:
        return seqlab.load(run_dir, engine="ctranslate2", **options).translate(LINES[:5], **OPTIONS)  # type: ignore[arg-type]

    second = translate()
    assert [message.endswith("for the first time") for message in take_export_messages(caplog)] == [True]
    assert translate() == second
    other_spaces = [line.replace(" ", "\u00a0") for line in LINES[:5]]
    assert seqlab.load(run_dir, engine="ctranslate2").translate(other_spaces, **OPTIONS) == second
    assert take_export_messages(caplog) == []
    first = translate(checkpoint="1")
    assert first != second
    assert [message.endswith("since the existing export is of step 2") for message in take_export_messages(caplog)] == [
        True
    ]
    translate(quantization="int8")
    assert len(take_export_messages(caplog)) == 1
    assert {path.name for path in (run_dir / "export").iterdir()} == {"ctranslate2-float32", "ctranslate2-int8"}
    folder = RunFolder(run_dir)
    delete_checkpoint(folder.checkpoints / "step_00000001")
    write_weights(folder, 1, 99, read_config(folder).model, *load_tokenizers(folder))  # other weights at the same step
    assert translate(checkpoint="1") != first
    assert len(take_export_messages(caplog)) == 1


def test_other_families_are_refused_before_writing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = TransformerCtcConfig(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    run_dir = write_run(tmp_path / "run", model=model)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        ValueError, match=r"`model\.family: transformer_ctc`, but CTranslate2 supports only Transformers"
    ):
        seqlab.load(run_dir, engine="ctranslate2")
    assert take_export_messages(caplog) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_exports_keep_the_output_limits_of_the_run(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    folder = RunFolder(run_dir)
    folder.write_description(folder.read_description() | {"output_bound": {"ratio": 0.5, "offset": 1}})
    exported, original = seqlab.load(run_dir, engine="ctranslate2"), seqlab.load(run_dir)
    assert exported.translator.output_limits == original.translator.output_limits == OutputLimits(30, 0.5, 1)
    description_file = run_dir / "export" / "ctranslate2-float32" / "seqlab.json"
    description = json.loads(description_file.read_text())
    new_entries = {"max_length_ratio", "max_length_offset", "crc32", "sha256"}
    description_file.write_text(
        json.dumps({name: description[name] for name in description if name not in new_entries})
    )
    older_export = seqlab.load(description_file.parent, engine="ctranslate2")
    assert older_export.translator.output_limits == OutputLimits(30, 2.0, 10)


def test_an_exported_folder_is_self_contained(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tied_embeddings="none")
    expected = seqlab.load(run_dir, engine="ctranslate2").translate(LINES[:5], **OPTIONS)
    shutil.move(run_dir / "export" / "ctranslate2-float32", tmp_path / "model")
    shutil.rmtree(run_dir)
    for options in ({}, {"quantization": "float32"}, {"checkpoint": "1"}):
        run = seqlab.load(tmp_path / "model", engine="ctranslate2", **options)  # type: ignore[arg-type]
        assert run.translate(LINES[:5], **OPTIONS) == expected
    with pytest.raises(ValueError, match=r"`quantization` is int8, but .* was exported as float32: leave it out"):
        seqlab.load(tmp_path / "model", engine="ctranslate2", quantization="int8")
    for checkpoint in ("2", "last"):
        with pytest.raises(ValueError, match=f"`checkpoint` is {checkpoint}, but .* was exported from step 1"):
            seqlab.load(tmp_path / "model", engine="ctranslate2", checkpoint=checkpoint)
    description = json.loads((tmp_path / "model" / "seqlab.json").read_text())
    description["origin"]["format_version"] = 2
    del description["sha256"]
    write_checksummed_json(tmp_path / "model" / "seqlab.json", description | {"unknown": 1})
    with pytest.raises(ValueError, match="has export format version 2, but this seqlab reads version 1"):
        seqlab.load(tmp_path / "model", engine="ctranslate2")


def export_and_translate(run_dir: Path, barrier: Any) -> tuple[list[str], bool]:
    """Wait for the other process and translate; return the translations and whether this process exported the run."""
    from seqlab.export import convert

    original, exported = convert.export_run, []

    def export_and_record(*arguments: Any, **options: Any) -> Path:
        exported.append(run_dir)
        return original(*arguments, **options)

    convert.export_run = export_and_record
    barrier.wait()
    found = seqlab.load(run_dir, engine="ctranslate2", threads=1).translate(LINES[:3], **OPTIONS)  # type: ignore[arg-type]
    return found, bool(exported)


def test_concurrent_processes_export_once(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    with FORKSERVER.Manager() as manager, FORKSERVER.Pool(2) as pool:
        calls = [(run_dir, manager.Barrier(2))] * 2
        (found, exported), (other, other_exported) = pool.starmap(export_and_translate, calls, chunksize=1)
    assert found == other
    assert {exported, other_exported} == {True, False}
    assert [path.name for path in (run_dir / "export").iterdir()] == ["ctranslate2-float32"]


def test_concurrent_exports_replace_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process creates or renames the folder before this one does."""
    final, rename = tmp_path / "final", Path.rename

    def write_folder(name: str) -> None:
        final.mkdir()
        (final / name).touch()

    def rename_after_another_process(path: Path, target: Path) -> Path:
        rename(path, tmp_path / "by another")
        return rename(path, target)

    with atomic_folder(final) as folder:
        (folder / "mine").touch()
        write_folder("another's")
    assert [path.name for path in final.iterdir()] == ["mine"]
    monkeypatch.setattr(Path, "rename", rename_after_another_process)
    with atomic_folder(final) as folder:
        (folder / "second").touch()
    assert [path.name for path in final.iterdir()] == ["second"]
    assert {path.name for path in tmp_path.iterdir()} == {"final", "by another"}


def test_translating_does_not_import_torch(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    (expected,) = seqlab.load(run_dir, engine="ctranslate2").translate(LINES[:1], **OPTIONS)
    code = (
        "import sys; from seqlab.cli.main import main\n"
        f"status = main(['translate', {str(run_dir)!r}, '--engine', 'ctranslate2', '--beam_size', '1', "
        "'--max_length', '10'])\n"
        "assert status == 0, status\n"
        "loaded = [name for name in ('torch', 'sacrebleu', 'safetensors.torch') if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=f"{LINES[0]}\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{expected}\n"


def test_options_of_other_engines_are_refused(make_run: Callable[..., Path]) -> None:
    run_dir = make_run(steps=(1, 2))
    for options, message in [
        ({"engine": "tensorflow"}, "`engine` must be one of torch, ctranslate2"),
        ({"engine": "ctranslate2", "precision": "bf16"}, "CTranslate2 has `quantization`"),
        ({"quantization": "int8"}, "with torch, use `precision`"),
        ({"engine": "ctranslate2", "checkpoint": ["1", "2"]}, "`checkpoint` has 2 values"),
        ({"engine": "ctranslate2", "threads": 0}, "`threads` must be at least 1"),
        ({"engine": "ctranslate2", "device": "cuda:7"}, "cannot load"),
        ({"engine": "ctranslate2", "device": "gpu"}, "cannot load"),
        ({"engine": "ctranslate2", "checkpoint": "3"}, "`checkpoint` must be `best`"),
    ]:
        with pytest.raises(ValueError, match=message):
            seqlab.load(run_dir, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`run` has 2 values"):
        seqlab.load([run_dir, run_dir], engine="ctranslate2")
    with pytest.raises(FileNotFoundError):
        seqlab.load(run_dir / "nowhere", engine="ctranslate2")


def test_the_error_without_ctranslate2_names_the_extra(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    run_dir = make_run()
    with pytest.raises(ValueError, match=r"pip install 'seqlab\[ctranslate2\]'"):
        seqlab.load(run_dir, engine="ctranslate2")


def test_damaged_exports_are_replaced_and_damaged_tokenizers_named(make_run: Callable[..., Path]) -> None:
    run_dir = make_run()
    expected = seqlab.load(run_dir, engine="ctranslate2").translate(LINES[:3], **OPTIONS)
    folder = run_dir / "export" / "ctranslate2-float32"
    (folder / "seqlab.json").write_text("{")
    assert seqlab.load(run_dir, engine="ctranslate2").translate(LINES[:3], **OPTIONS) == expected
    assert json.loads((folder / "seqlab.json").read_text())["max_length"] == 30
    content = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(content[:1000])
    with pytest.raises(ValueError, match=r"model\.bin is missing or damaged: export the run again"):
        seqlab.load(run_dir, engine="ctranslate2")
    (folder / "model.bin").write_bytes(content)
    (folder / "tokenizer" / "tokenizer.model").write_bytes(b"")
    with pytest.raises(ValueError, match=r"tokenizer\.model is missing or damaged"):
        seqlab.load(run_dir, engine="ctranslate2")
