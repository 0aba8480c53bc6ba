"""Run folders of translators with random weights, for text of single letters."""

from dataclasses import replace
from pathlib import Path

import torch

from seqlab.models import ModelConfig, TransformerConfig
from seqlab.registry import find_part
from seqlab.runs import Config, RunFolder
from seqlab.runs.checkpoint import write_checkpoint
from seqlab.runs.config import write_config
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig, train_tokenizer

LETTERS = ["abcdefghij ", "klmnopqrst.", "uvwxyzäöüß"]


def write_run(path: Path, seed: int = 1, model: ModelConfig | None = None) -> Path:
    """Write a run folder as training does, with random weights at steps 10 and 20. Step 10 is the best."""
    folder = RunFolder(path)
    path.mkdir()
    model = model or TransformerConfig(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1)
    config = Config(
        data=TranslationConfig(train_src=["a.en"], train_tgt=["a.de"], tokenizer=CharactersConfig()),  # type: ignore[call-arg]
        model=model,
        objective=find_part("objective", model.default_objective)(),
        seed=seed,
    )
    config = replace(config, model=replace(config.model, max_length=32))
    tokenizer = train_tokenizer(config.data.tokenizer, LETTERS)
    tokenizer.save(path / "tokenizer")
    write_config(config, folder.config_file)
    best = [[1.5, 10]]
    for step in (10, 20):
        torch.manual_seed(seed + step)
        weights = config.model.build(tokenizer, tokenizer).state_dict()
        names = {name for name, _ in config.model.build(tokenizer, tokenizer).named_parameters()}
        tensors = {"model": {name: weights[name] for name in names}}
        state = {"best": best, "progress": {"step": step, "minutes": step / 4}}
        write_checkpoint(folder.checkpoints, step, tensors, state)
    folder.metrics_file.write_text(
        '{"kind": "train", "step": 10, "loss": 3.0}\n'
        '{"kind": "valid", "step": 10, "minutes": 2.5, "is_best": true, "nll_per_tgt_token": 2.25, "bleu": 1.5}\n'
        '{"kind": "valid", "step": 20, "minutes": 5.0, "is_best": false, "nll_per_tgt_token": 2.5, "bleu": 1.0}\n',
        encoding="utf-8",
    )
    folder.write_description({"parameters": 1234})
    return path
