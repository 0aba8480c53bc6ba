"""Configs that train in a second, and bitwise comparison of run folders."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.base.atomic_io import write_json
from seqlab.corpora.number_words.phrases import cardinal_phrase
from seqlab.models import ModelConfig, TransformerConfig, TransformerLmConfig
from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import AdamConfig, ConstantScheduleConfig, OptimConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, checkpoint_steps, read_tensors
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, SentencePieceBpeConfig

TIME_FIELDS = ("minutes", "tgt_tokens_per_second", "units_per_second")


LOSS_TOLERANCE = 1e-5
"""Relative tolerance of losses and validations for another division of a step."""
PADDING = ("src_padding", "tgt_padding")
"""Metrics that depend on the division of a step."""


def write_numbers(folder: Path, numbers: Sequence[int], name: str = "train") -> tuple[str, str]:
    """Write one line per number in English and in German, and return the two paths."""
    folder.mkdir(parents=True, exist_ok=True)
    phrases = [cardinal_phrase(number) for number in numbers]
    for side, lines in (("en", [each.en for each in phrases]), ("de", [each.de for each in phrases])):
        (folder / f"{name}.{side}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(folder / f"{name}.en"), str(folder / f"{name}.de")


def write_text(folder: Path, *corpora: Sequence[str], name: str = "text") -> list[str]:
    """Write each corpus (a list of lines) to a separate file, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{number}.txt" for number in range(len(corpora))]
    for path, lines in zip(paths, corpora, strict=True):
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return [str(path) for path in paths]


def tiny_config(
    corpus: Path,
    *,
    model: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    optim: OptimConfig | None = None,
    seed: int = 1,
    init_from: str | None = None,
    **training: Any,
) -> Config:
    """Return the config of a tiny translator for `corpus`, with dropout and subword sampling."""
    settings: dict[str, Any] = {
        "tokenizer": SentencePieceBpeConfig(vocab_size=300),
        "subword_sampling": 0.1,
        "batch_tokens": 80,
        "micro_batch_tokens": 40,
        "chunk_pairs": 64,
        "valid_fraction": 0.1,
        "prefetch_steps": 2,
    }
    sizes: dict[str, Any] = {
        **{"d_model": 16, "d_ff": 32, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1},
        **{"dropout": 0.1, "max_length": 32},
    }
    limits: dict[str, Any] = {
        **{"max_steps": 24, "log_every": 3, "save_every": 4, "valid_every": 8, "valid_metric": "nll"},
        **{"device": "cpu", "precision": "fp32", "threads": 1},
    }
    return Config(
        data=TranslationConfig(
            train_src=str(corpus / "train.en"), train_tgt=str(corpus / "train.de"), **(settings | (data or {}))
        ),
        model=TransformerConfig(**(sizes | (model or {}))),
        objective=CrossEntropyConfig(),
        optim=optim
        or OptimConfig(optimizer=AdamConfig(lr=3e-3), schedule=ConstantScheduleConfig(warmup_steps=4), average_last=3),
        training=TrainingConfig(**(limits | training)),
        seed=seed,
        init_from=init_from,
    )


TINY_LM = TransformerLmConfig(d_model=16, d_ff=32, num_heads=2, num_layers=1, dropout=0.1, max_length=16)


def tiny_text_config(
    corpus: Sequence[str],
    *,
    data: dict[str, Any] | None = None,
    model: ModelConfig = TINY_LM,
    optim: OptimConfig | None = None,
    seed: int = 1,
    **training: Any,
) -> Config:
    """Return the config of a tiny character language model for text files, with dropout."""
    settings: dict[str, Any] = {
        **{"tokenizer": CharactersConfig(), "block_length": 16, "batch_tokens": 96, "micro_batch_tokens": 32},
        **{"chunk_lines": 32, "valid_fraction": 0.1, "prefetch_steps": 2},
    }
    limits: dict[str, Any] = {
        **{"max_steps": 24, "log_every": 3, "save_every": 4, "valid_every": 8},
        **{"device": "cpu", "precision": "fp32", "threads": 1},
    }
    return Config(
        data=LanguageModellingConfig(train=list(corpus), **(settings | (data or {}))),
        model=model,
        objective=CrossEntropyConfig(),
        optim=optim
        or OptimConfig(optimizer=AdamConfig(lr=3e-3), schedule=ConstantScheduleConfig(warmup_steps=4), average_last=3),
        training=TrainingConfig(**(limits | training)),
        seed=seed,
    )


def with_training(config: Config, **changes: Any) -> Config:
    """Change fields of the `training` section."""
    return replace(config, training=replace(config.training, **changes))


def comparable_metrics(run_dir: Path, kinds: Sequence[str] = ("train", "valid")) -> list[dict[str, Any]]:
    """Read the lines of these kinds from metrics.jsonl, without times and speeds."""
    lines = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] in kinds]
    return [{name: value for name, value in line.items() if name not in TIME_FIELDS} for line in lines]


def read_checkpoints(run_dir: Path) -> dict[str, Any]:
    """Read all checkpoints of a run: the bytes of tensor files, and training states without times."""
    found: dict[str, Any] = {}
    for path in sorted((run_dir / "checkpoints").rglob("*")):
        if path.suffix == ".safetensors":
            found[f"{path.parent.name}/{path.name}"] = path.read_bytes()
        elif path.name == "state.json":
            state = json.loads(path.read_text("utf-8"))
            state["progress"].pop("minutes")
            state["figures"].pop("seconds")
            state.pop("journal_size")  # depends on the number of digits of times
            state.pop("sha256", None)  # missing in format 1
            found[f"{path.parent.name}/{path.name}"] = state
    return found


def assert_equal_runs(run_dir: Path, expected: Path) -> None:
    """Compare weights, averages, optimizer and generator states, best checkpoints and metrics, bit for bit."""
    checkpoints, expected_checkpoints = read_checkpoints(run_dir), read_checkpoints(expected)
    assert checkpoints.keys() == expected_checkpoints.keys()
    different = [name for name in expected_checkpoints if checkpoints[name] != expected_checkpoints[name]]
    assert different == []
    assert comparable_metrics(run_dir) == comparable_metrics(expected)


def assert_close_runs(run_dir: Path, expected: Path, rounding: float) -> None:
    """Compare losses, validations, and last weights and averages of two runs, up to a relative rounding error."""
    lines, expected_lines = comparable_metrics(run_dir), comparable_metrics(expected)
    kinds = [[(line.pop("kind"), line["step"]) for line in run_lines] for run_lines in (lines, expected_lines)]
    assert kinds[0] == kinds[1]
    for line, expected_line in zip(lines, expected_lines, strict=True):
        for name in PADDING:
            line.pop(name, None), expected_line.pop(name, None)
        norms = line.pop("grad_norm", 0.0), expected_line.pop("grad_norm", 0.0)
        assert norms[0] == pytest.approx(norms[1], rel=rounding), line["step"]
        assert line == pytest.approx(expected_line, rel=LOSS_TOLERANCE, abs=1e-6), line["step"]
    steps = checkpoint_steps(expected / "checkpoints")
    assert checkpoint_steps(run_dir / "checkpoints") == steps
    last, expected_last = (folder / "checkpoints" / checkpoint_name(steps[-1]) for folder in (run_dir, expected))
    stems = [path.stem for path in expected_last.glob("*.safetensors") if path.stem in (WEIGHTS, AVERAGED)]
    for stem in stems:
        weights, expected_weights = (read_tensors(checkpoint, stem) for checkpoint in (last, expected_last))
        assert weights.keys() == expected_weights.keys()
        for name, value in expected_weights.items():
            if not torch.equal(weights[name], value):  # of n-gram models, some are -inf
                difference = (weights[name].double() - value.double()).norm()
                assert difference <= rounding * value.double().norm() + 1e-6, (stem, name)


def started_by_version_1(run_dir: Path) -> None:
    """Remove the version of the reading from run.json, as seqlab 0.3.0 would have written it."""
    folder = RunFolder(run_dir)
    folder.write_description({name: value for name, value in folder.read_description().items() if name != "reading"})


def convert_to_format_1(run_dir: Path) -> None:
    """Rewrite a run folder in format 1."""
    description = RunFolder(run_dir).read_description()
    for key in ("config_yaml", "run_id", "spelling_sha256"):
        description.pop(key, None)
    write_json(run_dir / "run.json", description | {"format_version": 1})
    for path in (run_dir / "checkpoints").glob("*/state.json"):
        write_json(path, {key: value for key, value in json.loads(path.read_bytes()).items() if key != "sha256"})
