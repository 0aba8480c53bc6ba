"""Configs from Python: `seqlab.recipe` by name, and `seqlab.config_for` with dotted keys as on the command line."""

import importlib
import re
from pathlib import Path

import pytest
from reference.tiny_runs import write_numbers, write_text

import seqlab
from seqlab import models
from seqlab.recipes import from_corpus, from_labels, from_text, number_words
from seqlab.runs import ConfigError
from seqlab.runs.overrides import as_overrides


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[str, str]:
    return write_numbers(tmp_path, range(200))


def test_recipe_by_name_with_changed_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert seqlab.recipe("number_words", tmp_path / "run") == number_words(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    fields = {"model.family": "lstm", "model.hidden_size": 32, "optim.max_grad_norm": None, "optim.optimizer.lr": 1e-3}
    config = seqlab.recipe("number_words", fields=fields)
    assert config.data == number_words("runs/number_words").data
    assert (config.model.family, config.model.hidden_size) == ("lstm", 32)
    assert (config.optim.max_grad_norm, config.optim.optimizer.lr) == (None, 1e-3)
    assert Path("runs/number_words/data/train.en").is_file()


def test_error_of_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=re.escape("There is no recipe `numberwords`; the nearest: `number_words`")):
        seqlab.recipe("numberwords")


def test_config_for_a_parallel_corpus(corpus: tuple[str, str]) -> None:
    src, tgt = corpus
    files = [("data.train_src", src), ("data.train_tgt", tgt)]
    expected = from_corpus([*files, ("optim.optimizer.betas", ["0.8", "0.9"]), ("training.keep_best", "3")])
    fields = {"data.train_src": Path(src), "data.train_tgt": [Path(tgt)], "optim.optimizer.betas": (0.8, 0.9)}
    config = seqlab.config_for({**fields, "training.keep_best": 3})
    assert config == expected
    assert config.optim.optimizer.betas == (0.8, 0.9)


def test_config_for_labelled_lines(corpus: tuple[str, str]) -> None:
    files = [("data.train_src", corpus[0]), ("data.train_tgt", corpus[1])]
    fields = dict(files)
    assert seqlab.config_for({"data.kind": "labelled", **fields}) == from_labels([("data.kind", "labelling"), *files])
    config = seqlab.config_for({"data.labels_of": "words", **fields})
    assert (config.data.kind, config.data.labels_of) == ("labelling", "words")


def test_config_for_a_monolingual_text(tmp_path: Path) -> None:
    files = write_text(tmp_path, ["one two", "three four"] * 50, ["five"] * 20)
    expected = from_text([("data.train", files), ("model.family", "lstm_lm"), ("model.tied_embeddings", "false")])
    fields = {"data.train": files, "model.family": "lstm_lm", "model.tied_embeddings": False}
    assert seqlab.config_for(fields) == expected
    assert seqlab.config_for({"data.kind": "text", "data.train": files[0]}).data.train == [files[0]]


def test_values_are_converted_as_on_the_command_line() -> None:
    fields = {
        "a": 1,
        "b": 2.5e-7,
        "c": True,
        "d": None,
        "e": Path("x/y"),
        "f": ["p", Path("q")],
        "g": (1, None),
        "h": [],
    }
    texts = [("a", "1"), ("b", "2.5e-07"), ("c", "true"), ("d", "null"), ("e", "x/y")]
    assert as_overrides(fields) == [*texts, ("f", ["p", "q"]), ("g", ["1", "null"]), ("h", [])]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "`data.train_src` is missing"),
        ({"data.train_src": "a"}, "`data.train_tgt` is missing"),
        ({"data.kind": "text"}, "`data.train` is missing"),
        ({"data.trainsrc": "a"}, "There is no `data.trainsrc`; the nearest is `data.train_src`."),
        ({"data.train": "a", "model.famly": "lstm_lm"}, "the nearest is `model.family`"),
        ({"data.train": "a", "training.max_steps": "many"}, "`training.max_steps`"),
        ({"data.train": "a", "training.max_steps": [1, 2]}, "`training.max_steps` takes one value"),
        ({"data.train": "a", "model": {"family": "lstm_lm"}}, "`model` is a section, not a value"),
    ],
)
def test_errors_name_the_invalid_field(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        seqlab.config_for(fields)  # type: ignore[arg-type]


def test_error_names_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        seqlab.config_for({"data.train": "nowhere"})
    assert issubclass(ConfigError, ValueError)


@pytest.mark.parametrize(
    ("name", "replacement"),
    [
        ("LstmLabellerConfig", "LabelerConfig(encoder=RecurrentEncoderConfig(family='lstm'))"),
        ("GruLmConfig", "EncoderLmConfig(encoder=RecurrentEncoderConfig(family='gru'))"),
        ("MlpConfig", "EncoderPredictorConfig(encoder=MlpEncoderConfig(...))"),
    ],
)
def test_names_of_older_versions_are_errors_with_their_replacement(name: str, replacement: str) -> None:
    with pytest.raises(ImportError, match=re.escape(f"`seqlab.models.{name}` is now {replacement}")):
        getattr(models, name)


def test_all_older_names_of_models_are_gone() -> None:
    assert not set(models.RENAMED) & set(models.__all__)


MOVED_FROM_MODELS = "CarryingScorer FrameModel Labeller PositionModel Predictor Scorer StaticStepper Stepper"
MOVED_FROM_INTERFACES = f"""{MOVED_FROM_MODELS} CorpusReader CountBasedModel DecoderOutput EmbeddingModel FrameLogProbs
FrameOutput Glance IGNORE IMPOSSIBLE_LOG_PROB InputMixing MixingDecoder Mixture NEG_INF PositionOutput Projection
SCORING_BLOCK_ROWS TargetLengths missing_methods padding_mask"""


@pytest.mark.parametrize(
    ("module", "names"), [("seqlab.models", MOVED_FROM_MODELS), ("seqlab.models.interfaces", MOVED_FROM_INTERFACES)]
)
def test_errors_of_moved_names_name_the_new_module(module: str, names: str) -> None:
    for name in names.split():
        with pytest.raises(ImportError, match=re.escape(f"`{module}.{name}` is now `")) as caught:
            getattr(importlib.import_module(module), name)
        new_module, _, new_name = str(caught.value).split("`")[3].rpartition(".")
        assert new_name == name
        assert hasattr(importlib.import_module(new_module), name)
