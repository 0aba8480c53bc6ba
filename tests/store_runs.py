"""Store an archive of small run folders, one of each model family, with their outputs.

PYTHONPATH=CHECKOUT python -P tests/store_runs.py tests/checkpoints/families_v2.tar.xz
PYTHONPATH=CHECKOUT python -P tests/store_runs.py --speech tests/checkpoints/speech_v1.tar.xz

Run it manually with the version that trains the runs. Later versions must load, use and resume them, which
`tests/system/test_stored_families.py` tests. The archive contains generated corpora, a run folder of each family with
its last checkpoint, and `expected.json`. For each run, `expected.json` has the commands that use the run, with their
outputs in fp32, and the command that resumes a copy of the run, with the loss of the last validation.
"""

import argparse
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from comparison.corpora import write_corpora
from comparison.families import LABELLERS, LANGUAGE_MODELS, NON_AUTOREGRESSIVE
from comparison.settings import ENCODER, LINES, NUMBERS, OPTIM, TEXT, TRANSFORMER, WORDS, Settings, run_of
from transcription.conftest import write_corpus

SMALL_TRANSFORMER: Settings = {"d_model": 8, "d_ff": 16, "num_heads": 1, "dropout": 0.0}
SMALL_RECURRENT: Settings = {"hidden_size": 8}
RECURRENT_TRANSLATOR: Settings = {"hidden_size": 16, "dropout": 0.0}
HIGH_LR: Settings = {"optimizer": {"family": "adam", "lr": 0.03}}
"""For recurrent translators: with a smaller size or learning rate, attention does not converge in so few steps."""
STEPS, STEPS_AFTER_RESUMING, SAVE_EVERY = 240, 260, 80
TRAINING: Settings = {"max_steps": STEPS, "save_every": SAVE_EVERY, "valid_every": 20, "valid_metric": "nll"}
SOURCES, TARGETS, LABELLER_LINES = (f"corpora/test_{name}" for name in ("numbers.en", "numbers.de", "lines.txt"))
NUM_TEST_LINES = 8
"""Number of lines that are kept of each test file."""
SPEECH = "corpora/test.jsonl"
RECORDING_DATA: Settings = {
    "train": ["corpora/train.jsonl"],
    "valid": SPEECH,
    "sample_rate": 8000,
    "num_bands": 20,
    "batch_seconds": 6,
    "micro_batch_seconds": 3,
    "augment_noise": 0.3,
    "augment_time_masks": 1,
}
NUM_RECORDINGS = {"train": 12, "test": 5}
"""Number of recordings by split."""
CORPORA = ("numbers.en", "numbers.de", "lines.txt", "labels.txt", "tags.txt")
COMMON_OPTIONS = ("--device", "cpu", "--precision", "fp32", "--threads", "1", "--json")
MASKED_LINES: Settings = {"train": ["corpora/lines.txt"], "mask_share": 0.15}
COUNT_BASED_FAMILIES = ("ngram_lm", "frequency_labeller")
OBJECTIVES = {"transformer_ctc": "ctc", "transformer_nat": "parallel_cross_entropy", "transformer_cmlm": "cmlm"}


def text_configs() -> dict[str, Settings]:
    """Return the config of the run of each text family."""
    models = {"transformer": TRANSFORMER, **NON_AUTOREGRESSIVE}
    found = {name: run_of(NUMBERS, model | SMALL_TRANSFORMER, training=TRAINING) for name, model in models.items()}
    for name, objective in OBJECTIVES.items():
        found[name]["objective"] = {"family": objective}
    for name in ("rnn", "lstm", "gru"):
        found[name] = run_of(NUMBERS, RECURRENT_TRANSLATOR | {"family": name}, optim=OPTIM | HIGH_LR, training=TRAINING)
    for name, model in LANGUAGE_MODELS.items():
        size = SMALL_TRANSFORMER if name == "transformer_lm" else SMALL_RECURRENT
        found[name] = run_of(TEXT, model | size, training=TRAINING)
    masked = ENCODER | SMALL_TRANSFORMER | {"family": "transformer_mlm"}
    found["transformer_mlm"] = run_of(TEXT | MASKED_LINES, masked, training=TRAINING)
    for name, model in LABELLERS.items():
        size = SMALL_TRANSFORMER if name == "transformer_labeller" else SMALL_RECURRENT
        data = LINES if name in ("lstm_labeller", "transformer_labeller") else WORDS
        found[name] = run_of(data, model | size, training=TRAINING)
    for name, data in zip(COUNT_BASED_FAMILIES, (TEXT, WORDS), strict=True):
        found[name] = run_of(data, {"family": name}, optim=None, training=TRAINING)
    return found


def speech_configs() -> dict[str, Settings]:
    """Return the config of the run of each speech family."""
    channels: Settings = {"channels": [4, 4]}
    models = {
        "gru": {"hidden_size": 16, "num_layers": 1} | channels,
        "lstm": {"hidden_size": 16, "num_layers": 1} | channels,
        "transformer": {"d_model": 16, "d_ff": 16, "num_heads": 1, "num_encoder_layers": 1} | channels,
        "cnn": {"hidden_size": 16, "depth": 1} | channels,
    }
    kinds = {"recogniser": "transcription", "recording_labeller": "recording_labels"}
    found = {}
    for (encoder, size), (suffix, kind) in product(models.items(), kinds.items()):
        if (name := f"{encoder}_{suffix}") != "cnn_recogniser":
            data = RECORDING_DATA | {"kind": kind} | ({} if kind == "transcription" else {"text_column": "speaker"})
            training = TRAINING | {"valid_every": 40, "max_steps": 80}
            objective = {"family": "ctc" if kind == "transcription" else "softmax"}
            model = size | {"family": name}
            found[name] = run_of(data, model, optim=OPTIM | HIGH_LR, training=training, objective=objective)
    return found


def commands_of(run: str, config: Settings) -> dict[str, list[str]]:
    """Return the arguments of the commands that use a run, by a short name of the use."""
    if config["model"]["family"] == "transformer_mlm":
        return {}
    if config["data"]["kind"] == "labelled":
        return {"label": ["label", run, "--input", LABELLER_LINES, "--num_labels", "2"]}
    if config["data"]["kind"] == "transcription":
        return {
            "transcribe": ["transcribe", run, "--input", f"{SPEECH}#audio", "--beam_size", "4"],
            "score": ["score", run, "--src", f"{SPEECH}#audio", "--tgt", f"{SPEECH}#text"],
        }
    if config["data"]["kind"] == "recording_labels":
        return {"label": ["label", run, "--input", f"{SPEECH}#audio", "--num_labels", "3"]}
    if config["data"]["kind"] == "text":
        return {
            "perplexity": ["perplexity", run, TARGETS],
            "score": ["score", run, "--tgt", TARGETS],
            "search": ["generate", run, "--prompt", "drei", "acht hundert", "--beam_size", "2", "--max_length", "8"],
            "sample": ["generate", run, "--prompt", "zwei", "--num_samples", "3", "--max_length", "8"],
        }
    return {
        "translate": ["translate", run, "--input", SOURCES, "--beam_size", "3"],
        "score": ["score", run, "--src", SOURCES, "--tgt", TARGETS],
    }


def run_command(*arguments: str) -> None:
    """Run a seqlab command in this process; raise RuntimeError if it fails."""
    from seqlab.cli.main import main

    status = main(arguments)
    if status != 0:
        raise RuntimeError(f"seqlab {' '.join(arguments)} ended with status {status}")


def run_and_read_outputs(argv: Sequence[str]) -> list[Any]:
    """Run a command and parse the JSON lines that it writes."""
    output = Path("output.jsonl")
    run_command(*argv, "--output", str(output))
    lines = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    output.unlink()
    return lines


def remove_unneeded_files(run: Path) -> None:
    """Delete the cache of a run and all checkpoints except the last."""
    shutil.rmtree(run / "cache", ignore_errors=True)
    for checkpoint in sorted((run / "checkpoints").iterdir())[:-1]:
        shutil.rmtree(checkpoint)


def store_run(name: str, config: Settings) -> dict[str, Any]:
    """Train the run of a family and resume a copy of it; return the commands and results for `expected.json`."""
    Path(f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    run = f"runs/{name}"
    run_command("train", f"{name}.yaml", "--run_dir", run)
    remove_unneeded_files(Path(run))
    expected: dict[str, Any] = {"uses": {}}
    for use, arguments in commands_of(run, config).items():
        argv = [*arguments, *COMMON_OPTIONS]
        expected["uses"][use] = {"argv": argv, "lines": run_and_read_outputs(argv)}
    if name not in COUNT_BASED_FAMILIES:
        argv = ["train", "--run_dir", f"continued/{name}", "--training.max_steps", str(STEPS_AFTER_RESUMING)]
        shutil.copytree(run, f"continued/{name}")
        run_command(*argv)
        expected["continued"] = {"argv": argv, **last_validation(Path(f"continued/{name}"))}
    return expected


def last_validation(run: Path) -> dict[str, float]:
    """Return the step of a run's last validation, and the loss per token, label or masked token."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text("utf-8").splitlines())
    *_, last = (line for line in lines if line["kind"] == "valid")
    nll = next(value for name, value in last.items() if name.startswith("nll_per") or name == "loss")
    return {"step": last["step"], "nll": nll}


def write_text_corpora() -> None:
    """Write the text corpora, with the first lines of each test file."""
    with TemporaryDirectory() as folder:
        write_corpora(Path(folder))
        Path("corpora").mkdir()
        for name in CORPORA:
            shutil.copy(Path(folder) / name, f"corpora/{name}")
            lines = (Path(folder) / f"test_{name}").read_bytes().splitlines(keepends=True)[:NUM_TEST_LINES]
            Path(f"corpora/test_{name}").write_bytes(b"".join(lines))


def write_recordings() -> None:
    """Write recordings with one tone per letter, and their manifests."""
    for seed, (name, count) in enumerate(NUM_RECORDINGS.items()):
        write_corpus(Path("corpora"), name, count, seed)


def main() -> None:
    """Store all runs in a reproducible archive, with entries without owners and times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="the .tar.xz to write")
    parser.add_argument("--speech", action="store_true", help="store the speech families instead")
    arguments = parser.parse_args()
    archive = arguments.archive.resolve()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        (write_recordings if arguments.speech else write_text_corpora)()
        configs = speech_configs() if arguments.speech else text_configs()
        expected = {name: store_run(name, config) for name, config in configs.items()}
        Path("expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n", "utf-8")
        with tarfile.open(archive, "w:xz", preset=9) as stored:
            for name in ("corpora", "runs", "expected.json"):
                stored.add(name, filter=remove_owner)
        os.chdir(archive.parent)
    print(f"{archive.name}: {len(expected)} runs, {archive.stat().st_size:,} bytes")


def remove_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove the owner and time of an archive entry, and normalize its permissions."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


if __name__ == "__main__":
    main()
