"""Make what all systems decode with: one trained run, and its weights in the form that each of them loads.

FOLDER/tokenizer, FOLDER/transformers (`save_pretrained`), and FOLDER/ctranslate2-DTYPE (`seqlab export`).
"""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from benchmarks.records import Json, Unavailable
from benchmarks.scale import ModelSizes, scale_from_json
from benchmarks.workers.seqlab_runs import benchmark_config, corpus_files, translator_section
from benchmarks.workers.train_marian import build_marian
from seqlab.data.readers import read_lines
from seqlab.export import export_run
from seqlab.runs.load import LoadedRun, load_run
from seqlab.training import train

LR_WARMUP_STEPS = 800
EXPORTS = {"fp32": "float32", "int8": "int8"}


def run(job: Json) -> Json:
    """Job: folder, scale, run (or None: one is trained for `steps` updates), threads.

    Returns the run, the test set's lines, the model's sizes and by system why it cannot be measured.
    """
    folder = Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    scale = scale_from_json(job["scale"])
    run_folder = Path(job["run"] or folder / "run")
    if job["run"] is None:
        limits = {"max_steps": job["steps"], "save_every": job["steps"], "valid_every": job["steps"]}
        config = benchmark_config(scale, folder, lr_warmup_steps=LR_WARMUP_STEPS, threads=job["threads"], **limits)
        train(config, run_folder)  # finished already where it is there
    trained = load_run(run_folder)
    sizes = _sizes(trained)
    trained.tgt_tokenizer.save(folder / "tokenizer")
    missing = {}
    for system, export in (("transformers", _to_transformers), ("ctranslate2", _to_ctranslate2)):
        try:
            export(trained, sizes, folder)
        except Unavailable as unavailable:
            missing[system] = str(unavailable)
    test = corpus_files(scale.corpus, folder / "corpus")["test"]
    src = list(read_lines(test["en"]))
    return {
        "run": str(run_folder.resolve()),
        "step": trained.step,
        "sizes": asdict(sizes),
        "missing": missing,
        "src": src,
        "src_tokens": [len(row) + 1 for row in trained.src_tokenizer.encode(src)],
        "references": list(read_lines(test["de"])),
    }


def _sizes(trained: LoadedRun) -> ModelSizes:
    model = translator_section(trained.config)
    if model.tied_embeddings != "all" or model.positions != "sinusoidal" or model.activation != "relu":
        raise ValueError(
            f"{trained.folder.path}: only a run with `tied_embeddings: all`, `positions: sinusoidal` and `activation: "
            "relu` can be given to the other systems."
        )
    return ModelSizes(
        trained.tgt_tokenizer.vocab_size,
        model.d_model,
        model.d_ff,
        model.num_heads,
        model.num_encoder_layers,
        model.num_decoder_layers,
        model.norm,
    )


def _to_transformers(trained: LoadedRun, sizes: ModelSizes, folder: Path) -> None:
    tokenizer = trained.tgt_tokenizer
    ids = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    model = build_marian(sizes, ids, dict(trained.model.named_parameters()), dropout=0.0)
    model.save_pretrained(folder / "transformers")


def _to_ctranslate2(trained: LoadedRun, sizes: ModelSizes, folder: Path) -> None:
    """Export with seqlab, which checks on validation lines that the export computes the same."""
    if find_spec("ctranslate2") is None:
        raise Unavailable("not installed (pip install ctranslate2)")
    for name, quantization in EXPORTS.items():
        export_run(trained.folder.path, folder / f"ctranslate2-{name}", quantization=quantization, overwrite=True)
