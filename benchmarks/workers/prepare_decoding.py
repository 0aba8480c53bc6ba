"""Worker that prepares decoding: one trained run, and its weights in the format of each system.

It writes FOLDER/tokenizer; for a Transformer FOLDER/transformers (`save_pretrained`) and FOLDER/ctranslate2-DTYPE
(`seqlab export`); for an LSTM FOLDER/torch and FOLDER/joeynmt.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.options import missing_toolkit_note
from benchmarks.records import Json, Unavailable
from benchmarks.scale import (
    Family,
    ModelSizes,
    RecurrentSizes,
    Sizes,
    recurrent_sizes,
    scale_from_json,
    transformer_sizes,
)
from benchmarks.workers.decode_joeynmt import write_model
from benchmarks.workers.seqlab_runs import benchmark_config, corpus_files, model_config, translator_section
from benchmarks.workers.toolkits import require_toolkit
from benchmarks.workers.train_marian import build_marian
from benchmarks.workers.weights import Weights, plain_translator_weights
from seqlab.data.readers import read_lines
from seqlab.export import export_run
from seqlab.models import RecurrentConfig
from seqlab.runs.load import LoadedRun, load_run
from seqlab.training import train

LR_WARMUP_STEPS = 800
EXPORTS = {"fp32": "float32", "int8": "int8"}

Export = Callable[[LoadedRun, Sizes, Path], None]
"""Function that exports a run of this shape to a folder for another system, or raises Unavailable."""


def run(job: Json) -> Json:
    """Prepare the run and its exports.

    Job: folder, scale, run (None: one is trained for `steps` updates), joeynmt (its Python or None), threads. Returns
    the run, the lines of the test set, the sizes of the model, and the reason for each missing system.
    """
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    scale = scale_from_json(job["scale"])
    run_folder = Path(job["run"] or folder / "run")
    if job["run"] is None:
        limits = {"max_steps": job["steps"], "save_every": job["steps"], "valid_every": job["steps"]}
        config = benchmark_config(scale, folder, lr_warmup_steps=LR_WARMUP_STEPS, threads=job["threads"], **limits)
        train(config, run_folder)  # returns at once if it is finished
    loaded = load_run(run_folder)
    sizes = _sizes(loaded, scale.model.family)
    loaded.tgt_tokenizer.save(folder / "tokenizer")
    missing = {}
    for system, export in _exports(sizes.family, job["joeynmt"]).items():
        try:
            export(loaded, sizes, folder)
        except Unavailable as unavailable:
            missing[system] = str(unavailable)
    test = corpus_files(scale.corpus, folder / "corpus")["test"]
    src = list(read_lines(test["en"]))
    return {
        "run": str(run_folder.resolve()),
        "step": loaded.step,
        "sizes": asdict(sizes),
        "missing": missing,
        "src": src,
        "src_tokens": [len(row) + 1 for row in loaded.src_tokenizer.encode(src)],
        "references": list(read_lines(test["de"])),
    }


def _exports(family: Family, joeynmt: str | None) -> dict[str, Export]:
    if family == "lstm":
        return {"torch.nn.LSTM": _to_torch, "JoeyNMT": partial(_to_joeynmt, joeynmt)}
    return {"transformers": _to_transformers, "ctranslate2": _to_ctranslate2}


def _sizes(loaded: LoadedRun, family: Family) -> Sizes:
    return _recurrent_sizes(loaded) if family == "lstm" else _transformer_sizes(loaded)


def _recurrent_sizes(loaded: LoadedRun) -> RecurrentSizes:
    model, vocab_size = loaded.config.model, loaded.tgt_tokenizer.vocab_size
    if isinstance(model, RecurrentConfig):
        sizes = RecurrentSizes(vocab_size, model.hidden_size, model.input_feeding)
        if model == model_config(sizes, model.dropout):
            return sizes
    raise ValueError(
        f"{loaded.folder.path}: an LSTM run can be exported to the other systems only with `bridge: zero` and default "
        "values of all other settings except `hidden_size`, `input_feeding` and `dropout`."
    )


def _transformer_sizes(loaded: LoadedRun) -> ModelSizes:
    model = translator_section(loaded.config)
    if model.tied_embeddings != "all" or model.positions != "sinusoidal" or model.activation != "relu":
        raise ValueError(
            f"{loaded.folder.path}: only a run with `tied_embeddings: all`, `positions: sinusoidal` and `activation: "
            "relu` can be exported to the other systems."
        )
    return ModelSizes(
        loaded.tgt_tokenizer.vocab_size,
        model.d_model,
        model.d_ff,
        model.num_heads,
        model.num_encoder_layers,
        model.num_decoder_layers,
        model.norm,
    )


def _to_torch(loaded: LoadedRun, sizes: Sizes, folder: Path) -> None:
    (folder / "torch").mkdir(exist_ok=True)
    weights = plain_translator_weights(_weights(loaded), stepwise=True)
    save_file({name: value.clone() for name, value in weights.items()}, folder / "torch" / "weights.safetensors")
    (folder / "torch" / "sizes.json").write_text(json.dumps(asdict(sizes)), encoding="utf-8")


def _to_joeynmt(python: str | None, loaded: LoadedRun, sizes: Sizes, folder: Path) -> None:
    if python is None:
        raise Unavailable(missing_toolkit_note("--joeynmt"))
    require_toolkit(python, "joeynmt")
    write_model(_weights(loaded), recurrent_sizes(sizes), loaded.tgt_tokenizer, folder / "joeynmt")


def _weights(loaded: LoadedRun) -> Weights:
    return {name: value.detach() for name, value in loaded.model.named_parameters()}


def _to_transformers(loaded: LoadedRun, sizes: Sizes, folder: Path) -> None:
    tokenizer = loaded.tgt_tokenizer
    ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    model = build_marian(transformer_sizes(sizes), ids, _weights(loaded), dropout=0.0)
    model.save_pretrained(folder / "transformers")


def _to_ctranslate2(loaded: LoadedRun, sizes: Sizes, folder: Path) -> None:
    """Export with seqlab, which checks the export on validation lines."""
    if find_spec("ctranslate2") is None:
        raise Unavailable("not installed (pip install ctranslate2)")
    for name, quantization in EXPORTS.items():
        export_run(loaded.folder.path, folder / f"ctranslate2-{name}", quantization=quantization, overwrite=True)
