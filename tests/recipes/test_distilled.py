"""Recipes of distilled students, on small imitations of their corpora: teacher, translations, students."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from seqlab import corpora
from seqlab.cli.main import main
from seqlab.models import TransformerCmlmConfig, TransformerCtcConfig, TransformerNatConfig
from seqlab.recipes import RECIPES
from seqlab.runs.config import write_config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run
from seqlab.runs.overrides import config_from_yaml

TEACHERS = {"multi30k_en_de": ("multi30k", "en", "de"), "iwslt14_de_en": ("iwslt14", "de", "en")}
TEACHERS["wmt14_en_de"] = ("wmt14", "en", "de")
STUDENTS = {
    "multi30k_en_de": {
        "_nat": TransformerCtcConfig,
        "_cmlm": TransformerCmlmConfig,
        "_nat_vanilla": TransformerNatConfig,
    },
    "iwslt14_de_en": {"_nat": TransformerCtcConfig, "_cmlm": TransformerCmlmConfig},
    "wmt14_en_de": {"_nat": TransformerCtcConfig, "_cmlm": TransformerCmlmConfig},
}
MADE_UP = ("multi30k_en_de",)
"""The teachers that also translate what a language model makes up, for all of their students."""
SMALL = {
    "model.d_model": 16,
    "model.d_ff": 32,
    "model.num_heads": 2,
    "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 1,
    "data.tokenizer.vocab_size": 300,
    "data.batch_tokens": 500,
    "data.micro_batch_tokens": 500,
    "training.max_steps": 4,
    "training.valid_every": 2,
    "training.save_every": 2,
    "training.device": "cpu",
    "optim.schedule.warmup_steps": 2,
    "optim.average_last": 0,
}


@pytest.fixture
def small_corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace each corpus by a few hundred pairs without checksums, and change into their folder."""
    draw = random.Random(0)
    words = ["red", "dogs", "run", "in", "the", "street", "two", "men", "see", "balls", "on", "grass"]
    for name in {corpus for corpus, _, _ in TEACHERS.values()}:
        known = corpora.CORPORA[name]
        splits = {}
        for split, described in known.splits.items():
            files = {column: corpora.TextFile(file.names) for column, file in described.files.items()}
            splits[split] = replace(described, files=files)
            lines = [draw.choices(words, k=draw.randint(3, 9)) for _ in range(300 if split == "train" else 20)]
            for column, file in files.items():
                path = tmp_path / "data" / name / file.names[0]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(" ".join(w + column for w in line) + "\n" for line in lines), encoding="utf-8")
        monkeypatch.setitem(corpora.CORPORA, name, replace(known, splits=splits))
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(recipe: str) -> int:
    options = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
    return main(["train", recipe, *options])


@pytest.mark.parametrize("teacher", TEACHERS)
def test_students_start_from_the_teacher_and_its_translations(teacher: str, small_corpora: Path) -> None:
    corpus, src, tgt = TEACHERS[teacher]
    assert train(teacher) == 0
    splits = corpora.locate(corpus)
    run, output = Path("runs") / teacher, Path("runs") / teacher / f"distilled.{tgt}"
    options = ["--src", str(splits["train"][src]), "--ref", str(splits["train"][tgt]), "--out", str(output)]
    assert main(["distill", str(run), *options, "--max_length", "12"]) == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == 300
    sources, translations = [str(splits["train"][src])], [str(output)]
    if teacher in MADE_UP:
        sources.append(str(run / f"made_up.{src}"))
        translations.append(str(run / f"made_up.{tgt}"))
        Path(sources[1]).write_text("redde zzz\n" * 20, encoding="utf-8")
        Path(translations[1]).write_text("xxx yyy\n" * 20, encoding="utf-8")
    for ending, family in STUDENTS[teacher].items():
        config = RECIPES[teacher + ending](small_corpora / "unused")
        assert isinstance(config.model, family)
        assert (config.data.train_src, config.data.train_tgt) == (sources, translations)
        assert config.data.valid_tgt == [str(splits["valid"][tgt])]
        # The output of an untrained teacher may be empty: replace it by other words.
        output.write_text("".join(f"zzz{i % 7} yyy\n" for i in range(300)), encoding="utf-8")
        assert train(teacher + ending) == 0
        tokenizers = [load_run(path).tgt_tokenizer for path in (run, Path("runs") / (teacher + ending))]
        assert tokenizers[0].encode(["yyy zzz1"]) == tokenizers[1].encode(["yyy zzz1"])
        started = RunFolder(Path("runs") / (teacher + ending)).read_description()["init_from"]
        assert started["run"] == str(run)
        assert {name for name in started["random"] if not name.startswith("length.")} == set()


@pytest.mark.parametrize("teacher", TEACHERS)
def test_configs_are_consistent(teacher: str, small_corpora: Path) -> None:
    run = Path("runs") / teacher
    run.mkdir(parents=True)
    _, src, tgt = TEACHERS[teacher]
    for name in (f"distilled.{tgt}", f"made_up.{src}", f"made_up.{tgt}"):
        (run / name).write_text("")
    for ending in ("", *STUDENTS[teacher]):
        config = RECIPES[teacher + ending](small_corpora / "unused")
        write_config(config, small_corpora / "config.yaml")
        assert config_from_yaml(small_corpora / "config.yaml") == config
        assert config.optim.schedule.warmup_steps < config.training.max_steps / 4
        assert config.training.valid_every % config.training.save_every == 0
        assert config.optim.average_last * config.training.save_every < config.training.max_steps / 2


def test_missing_data_are_named_with_the_commands(small_corpora: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = ("distilled.de", "made_up.de", "made_up.en")
    run = Path("runs/multi30k_en_de")
    for number, missing in enumerate(files):
        assert train("multi30k_en_de_nat") == 2
        output = capfd.readouterr().err
        assert f"The training data {run / missing} are missing" in output
        places = [
            output.index(f"`{command}")
            for command in (
                "seqlab train multi30k_en_de`",
                "seqlab distill runs/multi30k_en_de --src",
                "seqlab train multi30k_lm_en`",
                "seqlab generate runs/multi30k_lm_en --num_samples 300000 --output runs/multi30k_en_de/made_up.en`",
                "seqlab distill runs/multi30k_en_de --src runs/multi30k_en_de/made_up.en --out "
                "runs/multi30k_en_de/made_up.de --length_alpha 2.5`",
            )
        ]
        assert places == sorted(places)
        assert "distilled.de --length_alpha 2.5`" in output
        assert not Path("runs/multi30k_en_de_nat").exists()
        run.mkdir(parents=True, exist_ok=True)
        (run / missing).write_text("a\n")
        assert len(list(run.iterdir())) == number + 1


def test_wmt14_is_downloaded_if_there_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path))
    config = RECIPES["wmt14_en_de"](tmp_path / "run")
    assert config.data.train_src == ["hub:wmt/wmt14:de-en:train#translation.en"]
    assert config.data.test_tgt == ["hub:wmt/wmt14:de-en:test#translation.de"]
    with pytest.raises(FileNotFoundError, match=r"prepare-iwslt14\.sh"):
        RECIPES["iwslt14_de_en"](tmp_path / "run")


def test_the_deep_encoder_has_as_many_parameters_as_the_teacher(small_corpora: Path) -> None:
    from seqlab.text import CharactersConfig, train_tokenizer

    tokenizer = train_tokenizer(CharactersConfig(), ["ab"])
    sizes = []
    for name in ("multi30k_en_de", "multi30k_en_de_deep_shallow"):
        model = RECIPES[name](small_corpora / "run").model.build(tokenizer, tokenizer)
        sizes.append(sum(each.numel() for each in model.parameters()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)
