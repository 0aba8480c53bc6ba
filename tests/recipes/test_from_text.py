"""Zero config for language models: choices by text and family, and effects of given fields."""

import json
import logging
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import write_text

from seqlab.objectives import CrossEntropyConfig
from seqlab.optim import MuonConfig
from seqlab.runs.config import Config, to_dict
from seqlab.runs.folder import RunFolder
from seqlab.runs.migrate import migrate
from seqlab.runs.overrides import Override
from seqlab.runs.validate import ConfigError
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.language_modelling.text_profile import TextProfile, profile_text
from seqlab.tasks.language_modelling.zero_config import from_text
from seqlab.text import train_tokenizer
from seqlab.training import train

SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
FAMILIES = ("transformer_lm", "rnn_lm", "lstm_lm", "gru_lm", "ngram_lm", "transformer_mlm")


def sentences(count: int, seed: int = 0, words: int = 5000) -> list[str]:
    """Return lines of 6 to 14 words; a few words are frequent, most are rare."""
    rng = random.Random(seed)

    def word(rank: int) -> str:
        letters = random.Random(rank)
        return "".join(letters.choice(SYLLABLES) for _ in range(letters.randint(1, 4)))

    return [" ".join(word(int(words ** rng.random())) for _ in range(rng.randint(6, 14))) for _ in range(count)]


def paragraphs(count: int) -> list[str]:
    """Return lines with an empty line after each five."""
    lines = sentences(count)
    return [line for start in range(0, count, 5) for line in (*lines[start : start + 5], "")]


def zero_config(folder: Path, lines: list[str], **given: str) -> Config:
    """Return the zero config for a text; `model__d_model="64"` sets a field."""
    corpus: list[Override] = [("data.train", write_text(folder, lines))]
    return from_text([*corpus, *((key.replace("__", "."), text) for key, text in given.items())])


@pytest.fixture
def enlarge(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that multiplies the measured length of every text by a factor."""

    def by(factor: int) -> None:
        def enlarged(config: Any, **options: Any) -> TextProfile:
            found = profile_text(config, **options)
            return replace(found, lines=factor * found.lines, empty=factor * found.empty, chars=factor * found.chars)

        monkeypatch.setattr(sys.modules[from_text.__module__], "profile_text", enlarged)

    return by


def test_sizes_grow_with_the_text_and_regularization_shrinks(tmp_path: Path, enlarge: Any) -> None:
    lines, configs = sentences(1000), []
    factors = (1, 10, 100, 1000, 10_000, 100_000)
    for factor in factors:
        enlarge(factor)
        configs.append(zero_config(tmp_path, lines, data__tokenizer__kind="sentencepiece_bpe"))
    growing = {
        "vocab_size": [config.data.tokenizer.vocab_size for config in configs],
        "batch_tokens": [config.data.batch_tokens for config in configs],
        "d_model": [config.model.d_model for config in configs],
        "layers": [config.model.num_layers for config in configs],
        "max_steps": [config.training.max_steps for config in configs],
    }
    for name, values in growing.items():
        assert values == sorted(values), name
        assert values[0] < values[-1], name
    epoch_shares = [
        factor / config.training.max_steps / config.data.batch_tokens
        for factor, config in zip(factors, configs, strict=True)
    ]
    assert epoch_shares == sorted(epoch_shares)  # the larger the text, the fewer epochs
    dropouts = [config.model.dropout for config in configs]
    assert dropouts == sorted(dropouts, reverse=True)
    assert (dropouts[0], dropouts[-1]) == (0.4, 0.1)
    fractions = [config.data.valid_fraction for config in configs]
    assert fractions == sorted(fractions, reverse=True)
    assert fractions[0] == 0.05
    assert fractions[-1] < 0.001


def test_settings_for_a_million_characters_are_close_to_the_tuned_recipe(tmp_path: Path, enlarge: Any) -> None:
    enlarge(18)
    config = zero_config(tmp_path, paragraphs(1000))
    assert 0.9e6 < 18 * sum(len(line) + 1 for line in paragraphs(1000)) < 1.3e6
    assert (config.model.d_model, config.model.d_ff, config.model.num_layers, config.model.num_heads) == (
        256,
        1024,
        4,
        4,
    )
    assert (config.model.dropout, config.data.block_length, config.data.batch_tokens) == (0.2, 256, 4096)
    assert (config.data.documents, config.data.tokenizer.kind) == ("continuous", "characters")
    assert isinstance(config.optim.optimizer, MuonConfig)
    assert config.optim.optimizer.lr == pytest.approx(5e-3)
    assert config.objective.label_smoothing == 0


@pytest.mark.parametrize(("empty", "documents"), [(0, "lines"), (3, "lines"), (4, "continuous"), (200, "continuous")])
def test_empty_lines_determine_documents(tmp_path: Path, empty: int, documents: str) -> None:
    assert zero_config(tmp_path, [*sentences(396), *[" "] * empty]).data.documents == documents


def test_text_size_and_vocabulary_determine_the_tokenizer(tmp_path: Path, enlarge: Any) -> None:
    rng = random.Random(0)
    closed = [" ".join(rng.choices(["one", "two", "three", "<unk>"], k=9)) for _ in range(100)]
    assert zero_config(tmp_path / "closed", closed).data.tokenizer.kind == "words"
    many = [" ".join(f"w{number}" for number in range(first, first + 100)) for first in range(0, 50_100, 100)]
    assert zero_config(tmp_path / "many", [*many, *many]).data.tokenizer.kind == "characters"
    assert zero_config(tmp_path / "fewer", [*many[:400], *many[:400]]).data.tokenizer.kind == "words"
    assert zero_config(tmp_path / "short", sentences(500)).data.tokenizer.kind == "characters"
    enlarge(100)
    config = zero_config(tmp_path / "long", sentences(500))
    assert config.data.tokenizer.kind == "sentencepiece_bpe"
    chars = 100 * sum(len(line) + 1 for line in sentences(500))
    assert config.data.tokenizer.vocab_size == pytest.approx(4 * chars**0.5, rel=0.2)
    assert zero_config(tmp_path / "long", closed * 4).data.tokenizer.kind == "words"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lines", [sentences(300), paragraphs(300)], ids=["lines", "continuous"])
def test_every_family_trains_with_its_choices(tmp_path: Path, family: str, lines: list[str]) -> None:
    small_fields = {} if family == "ngram_lm" else {"training__max_steps": "2", "training__threads": "1"}
    if family.startswith("transformer"):
        small_fields["model__d_model"] = "16"
    elif family != "ngram_lm":
        small_fields["model__hidden_size"] = "16"
    config = zero_config(tmp_path, lines, model__family=family, training__device="cpu", **small_fields)
    assert config.model.family == migrate({"model": {"family": family}})["model"]["family"]
    is_recurrent = family in ("rnn_lm", "lstm_lm", "gru_lm")
    assert isinstance(config.data, LanguageModellingConfig)
    assert (config.data.order == "contiguous") == (is_recurrent and "" in lines)
    assert (config.data.mask_share > 0) == (family == "transformer_mlm")
    run_dir = train(config, tmp_path / "run")
    assert [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "valid"]


def test_a_masked_model_is_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody who wants a model that generates text must see that this encoder gives none."""
    caplog.set_level("INFO", "seqlab")
    assert zero_config(tmp_path, paragraphs(300), model__encoder__family="transformer").data.mask_share == 0.15
    assert "data.mask_share 0.15: the encoder reads in both directions" in caplog.text


def test_a_state_is_carried_only_by_parts_that_declare_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert zero_config(tmp_path, paragraphs(300), model__family="lstm_lm").data.order == "contiguous"
    monkeypatch.setattr(CrossEntropyConfig, "text_layouts", frozenset())
    assert zero_config(tmp_path, paragraphs(300), model__family="lstm_lm").data.order == "shuffled"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"model__d_model": "256"}, {"model.d_ff": 1024, "model.num_heads": 4, "optim.optimizer.lr": 0.005}),
        ({"model__d_model": "90"}, {"model.num_heads": 3, "model.d_ff": 360}),
        ({"model__d_model": "256", "model__d_ff": "300"}, {"model.d_ff": 300}),
        ({"model__family": "transformer_lm", "model__d_model": "90"}, {"model.num_heads": 3}),
        ({"model__max_length": "33"}, {"data.block_length": 33, "model.max_length": 33}),
        ({"data__block_length": "3000"}, {"model.max_length": None}),
        ({"model__positions": "learned", "model__max_length": "33"}, {"data.block_length": 33}),
        ({"data__documents": "lines"}, {"data.documents": "lines", "data.block_length": 128}),
        ({"data__packing": "true"}, {"data.documents": "lines", "data.packing": True}),
        (
            {"model__family": "gru_lm", "data__vary_block_length": "true"},
            {"data.documents": "continuous", "data.order": "contiguous", "data.block_length": 128},
        ),
        ({"model__family": "lstm_lm", "data__order": "contiguous"}, {"data.documents": "continuous"}),
        ({"model__family": "lstm_lm", "data__order": "shuffled"}, {"data.order": "shuffled"}),
        (
            {"model__family": "lstm_lm", "model__hidden_size": "1024"},
            {"optim.optimizer.lr": 0.005, "optim.optimizer.weight_decay": 0.3},
        ),
        ({"model__family": "lstm_lm", "model__hidden_size": "64"}, {"optim.optimizer.lr": 0.02}),
        ({"model__family": "transformer_mlm"}, {"optim.optimizer.family": "adamw"}),
        ({"optim__optimizer__family": "adamw", "model__d_model": "256"}, {"optim.optimizer.lr": 0.002}),
        ({"model__family": "ngram_lm"}, {"model.order": 8}),
        ({"model__family": "ngram_lm", "data__tokenizer__kind": "words"}, {"model.order": 5}),
        ({"model__family": "ngram_lm", "model__order": "2"}, {"model.order": 2}),
        ({"data__kind": "language_modelling"}, {"data.kind": "language_modelling", "data.block_length": 256}),
        ({"data__tokenizer__kind": "words"}, {"data.tokenizer.kind": "words", "model.dropout": 0.4}),
        ({"data__tokenizer__vocab_size": "300"}, {"data.tokenizer.kind": "sentencepiece_bpe"}),
        ({"training__max_steps": "640"}, {"optim.schedule.warmup_steps": 19, "training.valid_every": 40}),
        ({"optim__optimizer__family": "sgd"}, {"optim.optimizer.lr": 0.1}),
        ({"optim__schedule__family": "linear"}, {"optim.schedule.family": "linear"}),
        ({"seed": "7"}, {"seed": 7}),
    ],
)
def test_given_fields_are_kept_and_others_adapted(
    tmp_path: Path, given: dict[str, str], expected: dict[str, Any]
) -> None:
    config = zero_config(tmp_path, paragraphs(100), **given)
    for key, wanted in expected.items():
        value: Any = to_dict(config)
        for name in key.split("."):
            value = value[name]
        assert value == wanted, key


@pytest.mark.parametrize(("family", "field"), [("transformer_lm", "d_model"), ("gru_lm", "embedding_size")])
def test_word_vectors_determine_the_size_of_the_embeddings(tmp_path: Path, family: str, field: str) -> None:
    lines = ["the old man", "the sea"] * 300
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("".join(f"{word} {' '.join(['0.5', '-1'] * 22)}\n" for word in ("the", "old", "sea")))
    given = {"model__family": family, "data__vectors": str(vectors), "training__max_steps": "2"}
    config = zero_config(tmp_path, lines, **given)
    assert getattr(config.model, field) == 44
    train(config, tmp_path / "run")  # all other sizes are consistent with it
    assert getattr(zero_config(tmp_path, lines, **given, **{f"model__{field}": "64"}).model, field) == 64


def test_word_vectors_of_odd_size_are_refused_for_a_transformer(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("the 1 2 3\n")
    with pytest.raises(ValueError, match=r"vectors\.txt contains vectors of 3 values, .* even number"):
        zero_config(tmp_path, paragraphs(20), data__vectors=str(vectors))
    for given in ({"model__family": "lstm_lm"}, {"model__positions": "learned"}):
        config = zero_config(tmp_path, paragraphs(20), data__vectors=str(vectors), **given)
        assert config.model.embedding.size == 3
        assert config.data.tokenizer.kind == "words"


def test_choices_do_not_depend_on_irrelevant_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = paragraphs(100)
    config = zero_config(tmp_path / "a", lines)

    def is_unchanged(other: Config) -> bool:
        return replace(other, data=replace(other.data, train=config.data.train)) == config

    assert is_unchanged(zero_config(tmp_path / "b", lines))  # another path
    parts = write_text(tmp_path / "c", lines[:40], lines[40:])
    assert is_unchanged(from_text([("data.train", parts)]))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "d").mkdir()
    datasets.Dataset.from_dict({"text": [f"{line}\n" for line in lines]}).to_parquet(tmp_path / "d" / "train.parquet")
    assert is_unchanged(from_text([("data.train", [f"hub:{tmp_path / 'd'}:train#text"])]))


def test_records_of_several_lines_are_documents(tmp_path: Path) -> None:
    records = ["\n".join(sentences(12)) for _ in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"text": record}) + "\n" for record in records))
    config = from_text([("data.train", [f"{tmp_path / 'train.jsonl'}#text"])])
    assert config.data.documents == "lines"
    tokenizer = train_tokenizer(config.data.tokenizer, records)
    assert max(len(ids) for ids in tokenizer.encode(records)) <= config.data.block_length <= 512


def test_fine_tuning_keeps_the_model_the_tokenizer_and_the_documents_of_the_origin(tmp_path: Path) -> None:
    small = {"model__d_model": "32", "training__max_steps": "1", "training__threads": "1", "training__device": "cpu"}
    small_gru = {"model__family": "gru_lm", "model__hidden_size": "16", **small}
    del small_gru["model__d_model"]
    origin = zero_config(tmp_path / "origin", paragraphs(60), **small)
    run_dir = train(origin, tmp_path / "run")
    tuned = zero_config(tmp_path / "tuned", sentences(60), init_from=str(run_dir))
    assert (tuned.model, tuned.data.tokenizer, tuned.data.documents) == (
        origin.model,
        origin.data.tokenizer,
        origin.data.documents,
    )
    assert tuned.optim.optimizer.lr == pytest.approx(origin.optim.optimizer.lr / 4, rel=0.05)
    recurrent = train(zero_config(tmp_path / "gru", paragraphs(60), **small_gru), tmp_path / "gru_run")
    assert zero_config(tmp_path / "tuned_gru", sentences(60), init_from=str(recurrent)).model.encoder.hidden_size == 16
    from_matching_weights = zero_config(
        tmp_path / "matching", sentences(60), init_from=str(run_dir), init_parts="matching"
    )
    assert from_matching_weights.data.tokenizer == origin.data.tokenizer
    assert from_matching_weights.model.d_model == zero_config(tmp_path / "new", sentences(60)).model.d_model


def test_every_choice_is_logged_with_a_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="seqlab"):
        zero_config(tmp_path, sentences(50), model__d_model="64")
    for key in ("data.documents lines", "data.tokenizer.kind", "model.dropout", "training.max_steps"):
        assert f"  {key}" in caplog.text
    assert "  model.d_model " not in caplog.text
    assert all(": " in record.message for record in caplog.records[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model__d_modle": "64"}, "There is no `model.d_modle`; the nearest is `model.d_model`."),
        ({"model__d_model": "big"}, "`model.d_model` must be"),
        ({"model__family": "languag_model"}, "the nearest is `language_model`"),
        ({"model__family": "lstm"}, "choose one of transformer_lm, language_model, ngram_lm"),
        ({"model__family": "transformer"}, "`model.family: transformer` is trained on `data.kind: translation`"),
        ({"data__order": "contiguous"}, "`data.order: contiguous` carries a state"),
        ({"data__train_src": "x"}, "There is no `data.train_src`"),
    ],
)
def test_invalid_fields_are_refused_before_the_text_is_read(
    tmp_path: Path, given: dict[str, str], message: str
) -> None:
    overrides: list[Override] = [(key.replace("__", "."), text) for key, text in given.items()]
    with pytest.raises(ConfigError) as raised:
        from_text([("data.train", str(tmp_path / "missing.txt")), *overrides])
    assert message in str(raised.value)


def test_missing_and_empty_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        from_text([("data.train", str(tmp_path / "missing.txt"))])
    with pytest.raises(ValueError, match=r"text0\.txt: no line has a word"):
        zero_config(tmp_path, ["", " "])


def test_lines_of_text_without_spaces_are_not_words(tmp_path: Path) -> None:
    lines = [chr(0x4E00 + i) + "今天去北京大学图书馆看书学习" for i in range(20)] * 20
    assert zero_config(tmp_path, lines).data.tokenizer.kind == "characters"  # type: ignore[union-attr]
