"""Embeddings initialized from word vectors: rows and scale, frozen or trained, resuming, and refused files."""

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.recurrent_models import recurrent_lm
from reference.tiny_models import make_batch, make_model
from reference.tiny_runs import tiny_config, tiny_text_config, with_training

from seqlab.models import (
    EncoderLmConfig,
    ModelConfig,
    NgramConfig,
    TransformerEncoderConfig,
    TransformerLmConfig,
)
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, StepContext
from seqlab.optim import (
    AdamConfig,
    AdamWConfig,
    ConstantScheduleConfig,
    MuonConfig,
    OptimConfig,
    OptimizerConfig,
    RAdamConfig,
    SgdConfig,
)
from seqlab.runs.config import Config
from seqlab.runs.load import LoadedRun, load_run
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import SentencePieceBpeConfig, Tokenizer, WordsConfig
from seqlab.training import train
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext

from .conftest import train_until

DIM = 16
TINY_LR = OptimConfig(optimizer=AdamConfig(lr=1e-12))
"""Steps that are too small to change the weights."""
WORDS: dict[str, Any] = {"tokenizer": WordsConfig(), "subword_sampling": 0.0}
UNTIED: dict[str, Any] = {"data": WORDS | {"joint_vocabulary": False}, "model": {"tied_embeddings": "none"}}
Vectors = dict[str, list[float]]


def words_of(*paths: str) -> list[str]:
    """List the distinct words of files in order of appearance."""
    return list(dict.fromkeys(word for path in paths for word in Path(path).read_text("utf-8").split()))


def write_vectors(path: Path, words: Sequence[str], dim: int = DIM, scale: float = 0.3) -> Vectors:
    """Write random vectors in the format of GloVe, and return them; like real ones, they do not have mean 0."""
    values = (np.random.default_rng(len(words)).normal(0.2, 1, (len(words), dim)) * scale).astype(np.float32)
    path.write_text("".join(f"{w} {' '.join(map(repr, v))}\n" for w, v in zip(words, values.tolist(), strict=True)))
    return dict(zip(words, values.tolist(), strict=True))


@pytest.fixture
def src_vectors(corpus: Path, tmp_path: Path) -> tuple[str, Vectors]:
    """Return a file with vectors for every other English word, and the vectors."""
    return str(tmp_path / "en.txt"), write_vectors(tmp_path / "en.txt", words_of(str(corpus / "train.en"))[::2])


@pytest.fixture
def tgt_vectors(corpus: Path, tmp_path: Path) -> tuple[str, Vectors]:
    """Return a file with vectors for every third German word and 500 words that do not occur, and the vectors."""
    words = [*words_of(str(corpus / "train.de"))[::3], *(f"w{number}" for number in range(500))]
    return str(tmp_path / "de.vec"), write_vectors(tmp_path / "de.vec", words, scale=3.0)


def text_config(corpus: Path, model: ModelConfig, vectors: str | None, **changes: Any) -> Config:
    """Describe a language model of the English words."""
    base = tiny_text_config([str(corpus / "train.en")], data={"tokenizer": WordsConfig()}, max_steps=8, valid_every=4)
    share = 0.15 if "masked_tokens" in model.abilities else 0.0
    return replace(base, data=replace(base.data, vectors=vectors, mask_share=share), model=model, **changes)


def rows_of(weight: torch.Tensor, tokenizer: Tokenizer) -> dict[str, torch.Tensor]:
    """Return the rows of an embedding by token."""
    return dict(zip(tokenizer.tokens(range(tokenizer.vocab_size)), weight.detach(), strict=True))


def initial_run(config: Config, run_dir: Path) -> LoadedRun:
    """Train for a step that does not change the weights, and load the run."""
    return load_run(train(replace(with_training(config, max_steps=1), optim=TINY_LR), run_dir), "last")


def assert_initialized(found: dict[str, torch.Tensor], random: dict[str, torch.Tensor], vectors: Vectors) -> float:
    """Check that tokens with a vector have it, scaled to the RMS of the random rows; return the RMS of these rows."""
    covered = [token for token in found if token in vectors]
    assert 3 < len(covered) < len(found)
    for token, row in found.items():
        if token not in vectors:
            torch.testing.assert_close(row, random[token], rtol=0, atol=1e-9)
    rows, wanted = torch.stack([found[token] for token in covered]), torch.tensor([vectors[token] for token in covered])
    random_rms = torch.stack(list(random.values())).square().mean().sqrt()
    torch.testing.assert_close(rows, wanted * (random_rms / wanted.square().mean().sqrt()), rtol=1e-5, atol=1e-8)
    return float(rows.square().mean().sqrt())


def test_source_and_target_vectors_initialize_a_translator(
    corpus: Path, tmp_path: Path, src_vectors: tuple[str, Vectors], tgt_vectors: tuple[str, Vectors]
) -> None:
    plain = tiny_config(corpus, **UNTIED)
    config = replace(plain, data=replace(plain.data, vectors_src=src_vectors[0], vectors_tgt=tgt_vectors[0]))
    found, random = initial_run(config, tmp_path / "run").model, initial_run(plain, tmp_path / "plain")
    for side, tokenizer, vectors in (
        ("encoder", random.src_tokenizer, src_vectors[1]),
        ("decoder", random.tgt_tokenizer, tgt_vectors[1]),
    ):
        rows, random_rows = (rows_of(getattr(m, side).embedding.weight, tokenizer) for m in (found, random.model))
        rms = assert_initialized(rows, random_rows, vectors)
        # Scaled embeddings have RMS 1, with and without a vector, as the positions added to them do.
        assert rms * DIM**0.5 == pytest.approx(1, rel=0.1)
    changed = {"encoder.embedding.weight", "decoder.embedding.weight"}
    others = dict(random.model.named_parameters())
    for name, weight in found.named_parameters():
        assert name in changed or torch.allclose(weight, others[name], rtol=0, atol=1e-9), name


MODELS: dict[str, tuple[ModelConfig, str, float]] = {
    "transformer_lm": (
        TransformerLmConfig(d_model=DIM, d_ff=32, num_heads=2, num_layers=1, max_length=16),
        "embedding.weight",
        1 / DIM,
    ),
    "transformer_mlm": (
        EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=DIM, d_ff=32, num_heads=2, num_layers=1)),
        "weight",
        DIM**-0.5,
    ),
    "lstm_lm": (
        recurrent_lm("lstm", hidden_size=24, num_layers=1, embedding_size=DIM),
        "weight",
        0.1 / 3**0.5,
    ),
}
"""Language models, the name of their embedding and the RMS of its random initial values."""


@pytest.mark.parametrize("family", MODELS)
def test_vectors_initialize_language_models(
    corpus: Path, tmp_path: Path, src_vectors: tuple[str, Vectors], family: str
) -> None:
    model, name, rms = MODELS[family]
    found = initial_run(text_config(corpus, model, src_vectors[0]), tmp_path / "run")
    random = initial_run(text_config(corpus, model, None), tmp_path / "plain").model
    rows, random_rows = (rows_of(dict(m.named_parameters())[name], found.tgt_tokenizer) for m in (found.model, random))
    assert assert_initialized(rows, random_rows, src_vectors[1]) == pytest.approx(rms, rel=0.1)


def test_word_initial_subwords_are_initialized(corpus: Path, tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "both.txt", words_of(str(corpus / "train.en"), str(corpus / "train.de")))
    plain = tiny_config(corpus, data={"tokenizer": SentencePieceBpeConfig(vocab_size=330)})
    config = replace(plain, data=replace(plain.data, vectors_tgt=str(tmp_path / "both.txt")))
    found, random = initial_run(config, tmp_path / "run"), initial_run(plain, tmp_path / "plain")
    rows, random_rows = (rows_of(run.model.encoder.embedding.weight, run.tgt_tokenizer) for run in (found, random))
    assert any(token.startswith("▁") for token in rows)
    assert_initialized(rows, random_rows, {f"▁{word}": values for word, values in vectors.items()})


def test_coverage_is_logged_and_recorded_in_run_json(
    corpus: Path, tmp_path: Path, src_vectors: tuple[str, Vectors], caplog: pytest.LogCaptureFixture
) -> None:
    lines = (corpus / "train.en").read_text("utf-8").splitlines()
    (tmp_path / "valid.en").write_text("".join(f"{line}\n" for line in lines[:5]))
    config = text_config(corpus, MODELS["transformer_lm"][0], src_vectors[0])
    config = replace(config, data=replace(config.data, valid=[str(tmp_path / "valid.en")]))
    with caplog.at_level(logging.INFO, "seqlab"):
        run_dir = train(with_training(config, max_steps=1), tmp_path / "run")
    counts = Counter(word for line in lines for word in line.split())
    covered = [word for word in counts if word in src_vectors[1]]
    description = json.loads((run_dir / "run.json").read_text("utf-8"))["vectors"]["tgt"]
    assert description == {
        "file": src_vectors[0],
        "found": len(covered),
        "found_in_lower_case": 0,
        "wanted": len(counts),
        "running_share": pytest.approx(sum(counts[word] for word in covered) / counts.total()),
    }
    assert f"{src_vectors[0]}: vectors for {len(covered)} of {len(counts)} tokens" in caplog.text


def test_vector_files_may_have_the_extension_of_a_table(
    corpus: Path, tmp_path: Path, src_vectors: tuple[str, Vectors]
) -> None:
    tsv_file = Path(src_vectors[0]).rename(tmp_path / "vectors.tsv")
    config = text_config(corpus, MODELS["transformer_lm"][0], str(tsv_file))
    train_until(config, tmp_path / "run", 3)
    moved_file = tsv_file.rename(tmp_path / "moved.csv")
    run_dir = train(replace(config, data=replace(config.data, vectors=str(moved_file))), tmp_path / "run")
    assert load_run(run_dir, "last").step == config.training.max_steps


OPTIMIZERS: dict[str, OptimizerConfig] = {
    "sgd": SgdConfig(lr=0.1, weight_decay=0.1),
    "adam": AdamConfig(lr=3e-3, weight_decay=0.1),
    "adamw": AdamWConfig(lr=3e-3, weight_decay=0.1),
    "radam": RAdamConfig(lr=3e-3, weight_decay=0.1),
    "muon": MuonConfig(lr=3e-3, weight_decay=0.1),
}


@pytest.mark.parametrize(("name", "is_frozen"), [*((name, True) for name in OPTIMIZERS), ("adam", False)])
def test_only_frozen_vectors_do_not_change(
    corpus: Path,
    tmp_path: Path,
    src_vectors: tuple[str, Vectors],
    name: str,
    is_frozen: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, weight, _ = MODELS["transformer_lm"]
    averages: dict[str, Any] = {"ema_decay": 0.9} if name == "adam" else {"average_last": 3}
    options = {"frozen_vectors": is_frozen, **averages}
    optim = OptimConfig(optimizer=OPTIMIZERS[name], schedule=ConstantScheduleConfig(), **options)
    config = text_config(corpus, model, src_vectors[0], optim=optim)
    initial = initial_run(config, tmp_path / "start")
    with caplog.at_level(logging.INFO, "seqlab"):
        found = load_run(train(config, tmp_path / "run"), "last")
    before, after = (rows_of(dict(r.model.named_parameters())[weight], r.tgt_tokenizer) for r in (initial, found))
    unchanged = {token for token in before if torch.allclose(before[token], after[token], rtol=0, atol=1e-10)}
    frozen = {token for token in before if is_frozen and token in src_vectors[1]}
    # The output projection is tied, so the rows of all ids but pad and bos have gradients.
    assert unchanged == frozen
    message = f"Frozen: {len(frozen)} rows of embedding.weight (shared with projection.weight)."
    assert (message in caplog.text) == is_frozen
    for other, parameter in found.model.named_parameters():
        assert other == weight or not parameter.equal(dict(initial.model.named_parameters())[other])


def test_only_frozen_rows_have_zero_gradients() -> None:
    name, rows, device_context = (
        "encoder.embedding.weight",
        torch.tensor([5, 9, 17]),
        DeviceContext(torch.device("cpu"), torch.float32),
    )
    gradients = []
    for frozen in (None, {name: rows}):
        model = make_model()
        accumulator = Accumulator(
            model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), device_context, 1, frozen
        )
        accumulator.backward([make_batch([(9, 8), (7, 6)]), make_batch([(5, 4)], 1)], StepContext(0))
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    expected, found = gradients
    assert expected[name][rows].any()
    expected[name][rows] = 0
    for other, gradient in found.items():
        assert gradient.equal(expected[other]), other


def test_resuming_with_other_vectors_is_refused(corpus: Path, tmp_path: Path, src_vectors: tuple[str, Vectors]) -> None:
    config = text_config(corpus, MODELS["transformer_lm"][0], src_vectors[0])
    train_until(config, tmp_path / "run", 3)
    with pytest.raises(ValueError, match=r"`data\.vectors` .* -> None"):
        train(replace(config, data=replace(config.data, vectors=None)), tmp_path / "run")
    write_vectors(Path(src_vectors[0]), list(src_vectors[1])[1:])
    with pytest.raises(ValueError, match=re.escape(f"{src_vectors[0]} differs from the data that the run in")):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "dim", "scale", "message"),
    [
        (["one", "two"], 8, 1.0, r"en\.vec contains vectors of 8 values, but the embeddings have 16"),
        (["elsewhere"], DIM, 1.0, r"en\.vec has no nonzero vector for any of the \d+ tokens"),
        (["one", "two"], DIM, 0.0, r"en\.vec has no nonzero vector for any of the \d+ tokens"),
    ],
)
def test_unusable_vectors_are_refused(
    corpus: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    words: list[str],
    dim: int,
    scale: float,
    message: str,
) -> None:
    write_vectors(tmp_path / "en.vec", words, dim, scale)
    config = text_config(corpus, MODELS["transformer_lm"][0], str(tmp_path / "en.vec"))
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run")
    assert ("Encoding" in caplog.text) == (dim == DIM), "the size is checked before the corpus is encoded"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        train(text_config(corpus, MODELS["transformer_lm"][0], str(tmp_path / "nowhere")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_conflicting_initializations_are_refused(corpus: Path) -> None:
    model = MODELS["transformer_lm"][0]
    with pytest.raises(ValueError, match=r"`init_from` and word vectors \(v\.txt\) both initialize"):
        text_config(corpus, model, "v.txt", init_from="run")
    with pytest.raises(ValueError, match=r"`optim\.frozen_vectors` freezes embeddings"):
        text_config(corpus, model, None, optim=OptimConfig(frozen_vectors=True))
    with pytest.raises(
        ValueError, match=r"`model\.family: ngram_lm` is estimated by counting, without initial weights"
    ):
        Config(data=LanguageModellingConfig(train=["text"], vectors="v.txt"), model=NgramConfig())
    with pytest.raises(ValueError, match=r"initialized from both `data\.vectors_src` and `data\.vectors_tgt`"):
        tiny_config(corpus, data={"vectors_src": "v.txt", "vectors_tgt": "w.txt"})
