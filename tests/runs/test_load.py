"""Loading runs: choice of the checkpoint, and errors for missing, damaged and mismatched files."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference.tiny_runs import convert_to_format_1

from seqlab.base.atomic_io import with_checksum, write_json
from seqlab.models import TransformerConfig
from seqlab.runs import Config, RunFolder, load_run
from seqlab.runs.checkpoint import checkpoint_name, write_checkpoint
from seqlab.runs.codecs import load_tokenizers
from seqlab.runs.config import config_text, write_config
from seqlab.runs.load import read_config
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, train_tokenizer


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Write a run with three checkpoints; the second is the best, and the third has averaged weights."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    config = Config(
        data=TranslationConfig(train_src=["a"], train_tgt=["b"], tokenizer=CharactersConfig()),
        model=TransformerConfig(d_model=8, d_ff=8, num_heads=1, num_encoder_layers=1, num_decoder_layers=1),
    )
    tokenizer = train_tokenizer(CharactersConfig(), ["abcdef"])
    tokenizer.save(folder.path / "tokenizer")
    write_config(config, folder.config_file)
    for step in (5, 10, 15):
        model = config.model.build(tokenizer, tokenizer)
        weights = {name: torch.full_like(p, step) for name, p in model.named_parameters()}
        tensors = {"model": weights}
        if step == 15:
            tensors["averaged"] = {name: value + 100 for name, value in weights.items()}
        write_checkpoint(folder.checkpoints, step, tensors, {"best": [[3.0, 10], [2.0, 5]]})
    folder.write_description({})
    return folder.path


@pytest.mark.parametrize(
    ("checkpoint", "step", "value"), [("best", 10, 10), ("last", 15, 115), ("5", 5, 5), ("15", 15, 115)]
)
def test_choice_of_checkpoint(run_dir: Path, checkpoint: str, step: int, value: float) -> None:
    run = load_run(str(run_dir), checkpoint)
    assert run.step == step
    assert not run.model.training
    for parameter in run.model.parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, torch.full_like(parameter, value))


def test_best_falls_back_to_existing_checkpoints(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "checkpoints" / checkpoint_name(10))
    assert load_run(run_dir).step == 5
    shutil.rmtree(run_dir / "checkpoints" / checkpoint_name(5))
    assert load_run(run_dir).step == 15


def test_moved_runs_load(run_dir: Path, tmp_path: Path) -> None:
    moved = run_dir.rename(tmp_path / "elsewhere")
    assert load_run(moved).step == 10


def test_replaced_configs_are_read(run_dir: Path) -> None:
    config = read_config(RunFolder(run_dir))
    RunFolder(run_dir).replace_config(config_text(replace(config, seed=7)), {})
    assert read_config(RunFolder(run_dir)) == replace(config, seed=7)
    assert not (run_dir / "config.yaml.tmp").exists()


def test_joint_and_separate_tokenizers_are_loaded(run_dir: Path) -> None:
    joint = load_tokenizers(RunFolder(run_dir))
    assert joint[0] is joint[1]
    (run_dir / "tokenizer").rename(run_dir / "src_tokenizer")
    train_tokenizer(CharactersConfig(), ["xyz"]).save(run_dir / "tgt_tokenizer")
    src, tgt = load_tokenizers(RunFolder(run_dir))
    assert (src.vocab_size, tgt.vocab_size) == (joint[0].vocab_size, 7)


def leave_undamaged(_: Path) -> None:
    pass


def remove_description(run_dir: Path) -> None:
    (run_dir / "run.json").unlink()


def change_version(run_dir: Path) -> None:
    write_json(run_dir / "run.json", with_checksum({"format_version": 3}))


def damage_description(run_dir: Path) -> None:
    (run_dir / "run.json").write_bytes(b"\xff")


def replace_description_by_list(run_dir: Path) -> None:
    (run_dir / "run.json").write_text("[]")


def remove_config(run_dir: Path) -> None:
    convert_to_format_1(run_dir)  # run.json of format 2 also holds the config
    (run_dir / "config.yaml").unlink()


def change_config(run_dir: Path, old: str, new: str) -> None:
    """Change the config, and run.json accordingly."""
    path = run_dir / "config.yaml"
    path.write_text(path.read_text().replace(old, new))
    RunFolder(run_dir).write_description({})


def add_unknown_field(run_dir: Path) -> None:
    change_config(run_dir, "d_ff:", "d_fff:")


def remove_checkpoints(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "checkpoints")


def remove_weights(run_dir: Path) -> None:
    (run_dir / "checkpoints" / checkpoint_name(10) / "model.safetensors").unlink()


def remove_tokenizer(run_dir: Path) -> None:
    shutil.rmtree(run_dir / "tokenizer")


def replace_tokenizer(run_dir: Path) -> None:
    train_tokenizer(CharactersConfig(), ["abcdefghi"]).save(run_dir / "tokenizer")


def add_layer_to_config(run_dir: Path) -> None:
    change_config(run_dir, "num_decoder_layers: 1", "num_decoder_layers: 2")


def untie_embeddings_in_config(run_dir: Path) -> None:
    change_config(run_dir, "tied_embeddings: all", "tied_embeddings: none")


@pytest.mark.parametrize(
    ("damage", "checkpoint", "message"),
    [
        (leave_undamaged, "7", r"`checkpoint` must be `best`, `last` or one of 5, 10, 15, but is `7`"),
        (leave_undamaged, "first", r"`checkpoint` must be .* but is `first`"),
        (remove_description, "best", r"run is not a run folder: it has no run\.json"),
        (change_version, "best", r"run format version 3, but this seqlab reads versions 1 and 2: use"),
        (damage_description, "best", r"run\.json is damaged"),
        (replace_description_by_list, "best", r"run\.json is damaged"),
        (remove_config, "best", r"config\.yaml is missing"),
        (add_unknown_field, "best", r"config\.yaml: There is no `model\.d_fff`; the nearest is `model\.d_ff`"),
        (remove_checkpoints, "best", r"has no checkpoint yet"),
        (remove_weights, "best", r"step_00000010/model\.safetensors is missing"),
        (remove_tokenizer, "best", r"tokenizer.*is missing"),
        (replace_tokenizer, "best", r"does not fit the model: .* is \(10, 8\) in the checkpoint but \(13, 8\)"),
        (
            add_layer_to_config,
            "best",
            r"does not fit the model of config\.yaml: only the model has `decoder\.layers\.1\.",
        ),
        (untie_embeddings_in_config, "best", r"does not fit the model of config\.yaml: only the model has"),
    ],
)
def test_missing_damaged_and_mismatched_files_are_named(
    run_dir: Path, damage: Callable[[Path], None], checkpoint: str, message: str
) -> None:
    damage(run_dir)
    with pytest.raises(ValueError, match=message):
        load_run(run_dir, checkpoint)


def test_missing_run_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no run folder"):
        load_run(tmp_path / "nowhere")


def test_a_run_exists_if_it_has_run_json(run_dir: Path, tmp_path: Path) -> None:
    assert RunFolder(run_dir).exists()
    text = (run_dir / "config.yaml").read_text("utf-8")
    assert RunFolder(run_dir).read_description() == {"format_version": 2, "config_yaml": text}
    assert not RunFolder(tmp_path).exists()
    assert not RunFolder(run_dir / "run.json").exists()
    assert json.loads((run_dir / "run.json").read_text()).keys() == {"format_version", "config_yaml", "sha256"}


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_weights_of_another_type_are_refused(run_dir: Path, dtype: torch.dtype) -> None:
    """`copy_` would convert them silently."""
    tokenizer = load_tokenizers(RunFolder(run_dir))[0]
    config = read_config(RunFolder(run_dir))
    weights = {name: p.detach() for name, p in config.model.build(tokenizer, tokenizer).named_parameters()}
    [name, *_] = sorted(weights)
    write_checkpoint(
        run_dir / "checkpoints", 20, {"model": weights | {name: torch.ones_like(weights[name], dtype=dtype)}}, {}
    )
    dtype_name = str(dtype).removeprefix("torch.")
    with pytest.raises(
        ValueError, match=f"step_00000020 does not fit the model: `{name}` holds {dtype_name} .* float32"
    ):
        load_run(run_dir, "last")
    write_checkpoint(run_dir / "checkpoints", 20, {"model": {k: v.double() for k, v in weights.items()}}, {})
    assert load_run(run_dir, "last").step == 20
