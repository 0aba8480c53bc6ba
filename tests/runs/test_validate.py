"""Invalid config files: the error names the file, line or key."""

from pathlib import Path

import pytest

from seqlab.optim import AdamConfig
from seqlab.runs import RunFolder
from seqlab.runs.config import Config
from seqlab.runs.load import read_config
from seqlab.runs.overrides import config_from_yaml
from seqlab.runs.validate import ConfigError, build, read_yaml
from seqlab.search.config import SearchConfig

CORPUS = "data: {train_src: a.en, train_tgt: a.de}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: [1\nmodel: 2\n", "{path}, line 2: not YAML (expected ',' or ']', but got ':')."),
        (b"seed: 1\nmodel: {}\nseed: 2\n", "{path}, line 3: not YAML (`seed` is given twice)."),
        (b"optim:\n  ema_decay: 0.1\n  ema_decay: 0.2\n", "{path}, line 3: not YAML (`ema_decay` is given twice)."),
        (b"seed: \xff\n", "{path}: not UTF-8 (invalid start byte at byte 6)."),
        (b"seed: a\x01b\n", None),
        (b"", "{path}: must contain keys and values, such as `seed: 1`, but contains None."),
        (b"- 1\n", "{path}: must contain keys and values, such as `seed: 1`, but contains [1]."),
        (b"!!python/object:os.system {}\n", None),
        (b"? [1, 2]\n: 3\n", None),
        (b"1: 2\n", "{path}: There is no `1`."),
        (b"seed: 1\n", "{path}: `data` is missing: it has no default."),
        (b"data: 3\n", "{path}: `data` must be a section with fields, but is 3 instead."),
        (b"data: null\n", "{path}: `data` must be a section with fields, but is None instead."),
    ],
)
def test_invalid_config_files_are_refused(content: bytes, message: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)) as error:
        config_from_yaml(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert message is None or "nearest" in message or str(error.value) == message.format(path=path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_yaml(tmp_path / "config.yaml")
    with pytest.raises(ValueError, match="is a folder"):
        read_yaml(tmp_path)


def test_families_have_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CORPUS + "optim: {optimizer: {lr: 1.0}}\n", encoding="utf-8")
    config = config_from_yaml(path)
    assert (config.data.kind, config.model.family) == ("translation", "transformer")
    assert config.optim.optimizer == AdamConfig(lr=1.0)
    path.write_text("data: {kind: text, train: a.txt}\nmodel: {family: transformer_lm}\n", encoding="utf-8")
    assert config_from_yaml(path).training.valid_metric == "nll"


def test_errors_in_a_run_name_its_config_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ValueError, match="is missing; restore it"):
        read_config(folder)
    folder.config_file.write_text(CORPUS + "model: {family: transformer, width: 3}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config.yaml: There is no `model.width`; the nearest is `model.") as error:
        read_config(folder)
    assert str(error.value).startswith(str(folder.config_file))


def test_further_errors_are_counted() -> None:
    values = {"data": {"train_src": "a", "train_tgt": "b"}, "seed": -1, "training": {"max_steps": 0, "keep_best": "x"}}
    with pytest.raises(ConfigError, match=r"2 more of the config's values are invalid"):
        build(Config, values)


def test_any_config_type_can_be_built() -> None:
    assert build(SearchConfig, {"beam_size": "3"}) == SearchConfig(beam_size=3)
    with pytest.raises(ConfigError, match="There is no `bean_size`; the nearest is `beam_size`"):
        build(SearchConfig, {"bean_size": "3"})
    with pytest.raises(ConfigError, match="`length_penalty` must be 'plain' or 'gnmt', but is 'x' instead"):
        build(SearchConfig, {"length_penalty": "x"})
    with pytest.raises(ConfigError, match=r"^`beam_size` must be at least 1, but is 0 instead.$"):
        build(SearchConfig, {"beam_size": 0})
