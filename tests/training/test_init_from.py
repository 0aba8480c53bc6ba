"""Warm start: training from the weights and tokenizers of another run, or from its matching weights."""

import json
import logging
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.recurrent_models import recurrent_lm
from reference.shared import SharedFolder
from reference.tiny_runs import (
    assert_equal_runs,
    comparable_metrics,
    tiny_config,
    tiny_text_config,
    with_training,
)

from seqlab.models import (
    EncoderLmConfig,
    ModelConfig,
    NgramConfig,
    RecurrentConfig,
    TransformerEncoderConfig,
    TransformerLmConfig,
)
from seqlab.optim import AdamConfig, OptimConfig
from seqlab.registry import Parts
from seqlab.runs.codecs import SPELLING_FILE
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.language_model import load_language_model
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, WordsConfig
from seqlab.training import train
from seqlab.training.warm_start import FREE_MODEL_FIELDS

from .conftest import Trained, read_files, train_until

TINY_LR = OptimConfig(optimizer=AdamConfig(lr=1e-12))
"""Steps that are too small to change the weights."""
SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 32, "num_heads": 2}
MASKED = EncoderLmConfig(encoder=TransformerEncoderConfig(**SIZES, num_layers=1, dropout=0.0))
DECODER_LAYERS: dict[str, Any] = {"norm_kind": "layer_norm", "positions": "sinusoidal", "activation": "relu"}
"""Settings of a language model with the layers of the tiny translator's decoder."""


def text_config(corpus: Path, model: ModelConfig = MASKED, **changes: Any) -> Config:
    """Describe a language model of both files of the corpus, with the tokenizer of `tiny_config`."""
    base = tiny_text_config(
        [str(corpus / "train.en"), str(corpus / "train.de")],
        data={"tokenizer": SentencePieceBpeConfig(vocab_size=300)},
        **{"max_steps": 8, "valid_every": 4},
    )
    assert isinstance(base.data, LanguageModellingConfig)
    share = 0.15 if "masked_tokens" in model.abilities else 0.0
    return replace(base, data=replace(base.data, mask_share=share), model=model, **changes)


def matching_config(origin: Path, corpus: Path, **changes: Any) -> Config:
    """Describe a translator that starts from the matching weights of a run."""
    return replace(tiny_config(corpus, init_from=str(origin), **changes), init_parts="matching")


@pytest.fixture(scope="module")
def masked(corpus: Path, shared: SharedFolder) -> Path:
    """Return a finished run of a masked language model; tests must not change it."""
    return shared.build("masked", lambda folder: train(text_config(corpus), folder / "run")) / "run"


def weights_of(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_run(run_dir, "last").model.state_dict()


def initial_weights(config: Config, run_dir: Path) -> dict[str, torch.Tensor]:
    """Train for a step that does not change the weights; return them."""
    return weights_of(train(replace(with_training(config, max_steps=1), optim=TINY_LR), run_dir))


def equal_names(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], prefix: str = "") -> set[str]:
    """List the weights of `found` that equal those of `wanted`, whose names get a prefix."""
    expected = {f"{prefix}{name}": value for name, value in wanted.items()}
    return {
        name
        for name, value in found.items()
        if name in expected and torch.allclose(value, expected[name], rtol=0, atol=1e-9)
    }


def test_a_masked_model_reports_nll_per_masked_token_and_is_not_a_language_model(masked: Path) -> None:
    lines = comparable_metrics(masked, ["valid"])
    assert lines
    for line in lines:
        assert "nll_per_masked_token" in line
        assert "nll_per_tgt_token" not in line
    with pytest.raises(
        ValueError, match=r"is a masked model, which other runs start from: use `seqlab train --init_from`"
    ):
        load_run(masked, model_noun="a language model")
    assert load_run(masked, model_noun="a masked model").config.data.mask_share == 0.15


@pytest.mark.parametrize(
    ("tied", "output"),
    [("all", "encoder.embedding.weight"), ("decoder", "decoder.embedding.weight"), ("none", "projection.weight")],
)
def test_a_translator_starts_from_the_encoder_of_a_masked_model(
    corpus: Path, masked: Path, tmp_path: Path, tied: str, output: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`output` is the first name of the output projection's weight."""
    config = matching_config(masked, corpus, model={"tied_embeddings": tied})
    with caplog.at_level(logging.INFO, "seqlab"):
        found = initial_weights(config, tmp_path / "tuned")
    assert read_files(tmp_path / "tuned" / "tokenizer") == read_files(masked / "tokenizer")
    encoder = {name for name in found if name.startswith("encoder.")}
    origin = weights_of(masked)
    equal = equal_names(found, origin | {"encoder.embedding.weight": origin["weight"]})
    assert equal == encoder | {"projection.weight"}
    description = json.loads((tmp_path / "tuned" / "run.json").read_text("utf-8"))["init_from"]
    assert (description["run"], description["step"]) == (str(masked), load_run(masked).step)
    parameter_names = [name for name, _ in load_run(tmp_path / "tuned").model.named_parameters()]
    assert sorted(description["copied"] + description["random"]) == sorted(parameter_names)
    assert set(description["copied"]) == encoder | {output}
    assert f"From {masked}: " in caplog.text
    assert "encoder.layers.0" in caplog.text
    assert "Random: " in caplog.text
    assert "decoder.layers.0" in caplog.text


def test_a_translator_starts_from_a_language_model_as_its_decoder(corpus: Path, tmp_path: Path) -> None:
    model = TransformerLmConfig(**SIZES, num_layers=1, max_length=32, tied_embeddings=False, **DECODER_LAYERS)
    origin = train(text_config(corpus, model), tmp_path / "origin")
    model_fields = {"tied_embeddings": "none", "num_decoder_layers": 2}
    config = matching_config(origin, corpus, model=model_fields)
    found = initial_weights(config, tmp_path / "tuned")
    origin_weights = weights_of(origin)
    equal = equal_names(found, origin_weights, "decoder.") | equal_names(found, origin_weights)
    assert equal == {f"decoder.{name}" for name in origin_weights if name != "projection.weight"} | {
        "projection.weight"
    }
    assert not any(name.startswith(("encoder.", "decoder.layers.1.")) or "cross_attention" in name for name in equal)


def test_a_language_model_starts_from_the_decoder_of_a_translator(corpus: Path, tmp_path: Path) -> None:
    model_fields = {"tied_embeddings": "none", "num_decoder_layers": 2}
    origin = train(tiny_config(corpus, model=model_fields, max_steps=2), tmp_path / "origin")
    model = TransformerLmConfig(**SIZES, num_layers=2, tied_embeddings=False, **DECODER_LAYERS)
    config = text_config(corpus, model, init_from=str(origin), init_parts="matching")
    origin_weights, found = weights_of(origin), initial_weights(config, tmp_path / "tuned")
    for name, value in found.items():
        assert value.equal(origin_weights[name if name == "projection.weight" else f"decoder.{name}"]), name


def test_recurrent_language_models_and_translators_start_from_each_other(corpus: Path, tmp_path: Path) -> None:
    lm = recurrent_lm("lstm", num_layers=1)
    attentive_lstm = RecurrentConfig(family="lstm", hidden_size=16, input_feeding=False, attention="additive")
    language_model = train(text_config(corpus, lm), tmp_path / "lm")
    translator = replace(
        tiny_config(corpus, init_from=str(language_model)), model=attentive_lstm, init_parts="matching"
    )
    found, origin_weights = initial_weights(translator, tmp_path / "translator"), weights_of(language_model)
    for name, value in origin_weights.items():
        in_translator = {"weight": "decoder.embedding.weight", "projection.weight": "projection.weight"}
        assert found[in_translator.get(name, name.replace("encoder.", "decoder.", 1))].equal(value), name
    config = text_config(corpus, lm, init_from=str(tmp_path / "translator"), init_parts="matching")
    for name, value in initial_weights(config, tmp_path / "again").items():
        assert value.equal(origin_weights[name]), name


def test_weights_of_another_attention_are_refused(corpus: Path, tmp_path: Path) -> None:
    origin = train(
        replace(tiny_config(corpus, max_steps=2), model=RecurrentConfig(family="lstm", hidden_size=16)),
        tmp_path / "origin",
    )
    config = replace(tiny_config(corpus, init_from=str(origin)), init_parts="matching")
    with pytest.raises(ValueError, match=r"`model\.attention` is 'additive', but 'general'"):
        train(
            replace(config, model=RecurrentConfig(family="lstm", hidden_size=16, attention="additive")),
            tmp_path / "tuned",
        )
    with pytest.raises(ValueError, match=r"`model\.rotary_cross_attention` is True, but False"):
        train(
            replace(config, model=RecurrentConfig(family="lstm", hidden_size=16, rotary_cross_attention=True)),
            tmp_path / "tuned",
        )


def test_recurrent_weights_of_another_cell_are_not_copied(corpus: Path, tmp_path: Path) -> None:
    """Four LSTM gates of 8 values have the shape of one RNN state of 32."""
    origin = train(
        text_config(
            corpus,
            recurrent_lm("lstm", hidden_size=8, embedding_size=16),
        ),
        tmp_path / "origin",
    )
    config = text_config(
        corpus,
        recurrent_lm("rnn", hidden_size=32, embedding_size=16),
        init_from=str(origin),
        init_parts="matching",
    )
    found, origin_weights = initial_weights(config, tmp_path / "tuned"), weights_of(origin)
    same_shape = {name: value for name, value in found.items() if value.shape == origin_weights[name].shape}
    assert any(name.startswith("encoder.") for name in same_shape)
    assert equal_names(same_shape, origin_weights) == {name for name in found if not name.startswith("encoder.")}


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_only_learned_positions_fix_the_maximum_length_of_a_warm_start(
    corpus: Path, tmp_path: Path, positions: Any
) -> None:
    model = TransformerLmConfig(**SIZES, num_layers=1, positions=positions)
    origin = train(text_config(corpus, model), tmp_path / "origin")
    config = text_config(corpus, model, init_from=str(origin))
    initial_weights(config, tmp_path / "same")
    length = 2 * config.data.block_length
    longer = replace(config, data=replace(config.data, block_length=length))
    if positions == "rotary":
        initial_weights(longer, tmp_path / "longer")
        assert load_run(tmp_path / "longer").context_limit == length
        return
    with pytest.raises(ValueError, match=r"`model\.max_length` is \d+, but \d+ in .*origin"):
        train(longer, tmp_path / "longer")


def test_a_deeper_model_starts_from_the_layers_of_another(corpus: Path, masked: Path, tmp_path: Path) -> None:
    model = replace(MASKED, encoder=replace(MASKED.encoder, num_layers=2), tied_embeddings=False)
    config = text_config(corpus, model, init_from=str(masked), init_parts="matching")
    found, origin_weights = initial_weights(config, tmp_path / "deeper"), weights_of(masked)
    # An untied output projection starts from the tied one.
    assert equal_names(found, origin_weights) == origin_weights.keys()
    assert found.keys() - origin_weights.keys() == {name for name in found if name.startswith("encoder.layers.1.")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"num_heads": 4}},
            r"would have another meaning in this model: `model\.num_heads` is 4, but 2 in .*run",
        ),
        ({"model": {"activation": "gelu"}}, r"`model\.activation` is 'gelu', but 'relu'"),
        ({"model": {"positions": "rotary"}}, r"`model\.positions` is 'rotary', but 'sinusoidal'"),
        ({"model": {"norm": "post"}}, r"`model\.norm` is 'post', but 'pre'"),
        (
            {"data": {"tokenizer": CharactersConfig(), "subword_sampling": 0.0}},
            r"the codecs must be those of that run: (?!.*min_count).*`data\.tokenizer\.kind` is 'characters', but ",
        ),
        (
            {"data": {"joint_vocabulary": False}, "model": {"tied_embeddings": "none"}},
            r"has no src_tokenizer and tgt_tokenizer to copy",
        ),
        ({"model": {"d_model": 24, "d_ff": 40}}, r"copies nothing from .*run: none of its weights"),
    ],
)
def test_incompatible_origins_of_matching_weights_are_refused(
    corpus: Path, masked: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = matching_config(masked, corpus, **changes)
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_a_language_model_from_a_translator_trains_its_spelling_model(corpus: Path, tmp_path: Path) -> None:
    words = WordsConfig(min_count=3)
    origin = train(
        tiny_config(corpus, data={"tokenizer": words, "subword_sampling": 0.0}, max_steps=2), tmp_path / "origin"
    )
    model = TransformerLmConfig(**SIZES, num_layers=1, max_length=32, **DECODER_LAYERS)
    config = text_config(corpus, model, init_from=str(origin), init_parts="matching")
    run_dir = train(replace(config, data=replace(config.data, tokenizer=words)), tmp_path / "tuned")
    assert not (origin / "spelling").exists()
    found = load_language_model(run_dir).perplexity(["blorp"]).likelihood
    assert found.unknown == 1
    assert found.nll is not None
    again = train(replace(read_config(RunFolder(run_dir)), init_from=str(run_dir)), tmp_path / "again")
    assert (again / "spelling" / SPELLING_FILE).read_bytes() == (run_dir / "spelling" / SPELLING_FILE).read_bytes()


def test_a_recurrent_start_from_a_transformer_is_refused(corpus: Path, masked: Path, tmp_path: Path) -> None:
    config = text_config(
        corpus,
        recurrent_lm("lstm"),
        init_from=str(masked),
        init_parts="matching",
    )
    with pytest.raises(ValueError, match=r"`model\.num_heads` is None, but 2 in"):
        train(config, tmp_path / "tuned")


def test_ngram_models_refuse_init_from(masked: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"`model\.family: ngram_lm` is estimated by counting, without initial weights: leave out `init_from`",
    ):
        Config(data=LanguageModellingConfig(train=["text"]), model=NgramConfig(order=2), init_from=str(masked))


def test_a_language_model_does_not_start_from_a_run_with_two_tokenizers(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, data={"joint_vocabulary": False}, model={"tied_embeddings": "none"}, max_steps=2)
    origin = train(config, tmp_path / "origin")
    with pytest.raises(ValueError, match="has no tokenizer to copy"):
        train(text_config(corpus, init_from=str(origin), init_parts="matching"), tmp_path / "tuned")


def test_the_error_for_another_family_suggests_matching_weights(corpus: Path, masked: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"`model\.family` is 'transformer', but 'language_model'.*`init_parts: matching`"
    ):
        train(tiny_config(corpus, init_from=str(masked)), tmp_path / "tuned")


def test_matching_weights_need_init_from(corpus: Path) -> None:
    with pytest.raises(ValueError, match=r"`init_parts: matching` .* name the run with `init_from`"):
        replace(tiny_config(corpus), init_parts="matching")


def test_every_dropout_of_every_family_may_differ_from_the_origin() -> None:
    dropouts = {
        item.name
        for config in (*Parts("model").values(), *Parts("encoder").values())
        for item in fields(config)
        if item.name.endswith("dropout")
    }
    assert dropouts == FREE_MODEL_FIELDS - {"max_length", "unknown_share"}


@pytest.mark.parametrize("parts", ["all", "matching"])
def test_fine_tuning_resumes_without_its_origin_after_a_checkpoint(
    translator: Trained, masked: Path, corpus: Path, other_corpus: Path, tmp_path: Path, parts: str
) -> None:
    origin = Path(shutil.copytree(translator[1] if parts == "all" else masked, tmp_path / "origin"))
    if parts == "all":
        config = tiny_config(other_corpus, init_from=str(origin), max_steps=8)
    else:
        config = replace(tiny_config(corpus, init_from=str(origin), max_steps=8), init_parts="matching")
    uninterrupted = train(config, tmp_path / "uninterrupted")
    train_until(config, tmp_path / "resumed", 3)
    shutil.rmtree(origin)
    train(config, tmp_path / "resumed")
    assert_equal_runs(tmp_path / "resumed", uninterrupted)
