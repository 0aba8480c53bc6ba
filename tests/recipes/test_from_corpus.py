"""Zero config for translation: choices by corpus, effects of given fields, and invariances."""

import json
import logging
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_corpora import SYLLABLES, draw_sentence_pairs, write_pairs, zero_config

from seqlab.data.line_sample import LineSample, count_covering_characters
from seqlab.data.prepare import prepare
from seqlab.data.tokenizer_training import training_lines
from seqlab.models import TransformerConfig
from seqlab.runs.config import to_dict, write_config
from seqlab.runs.folder import RunFolder
from seqlab.runs.overrides import Override
from seqlab.runs.validate import ConfigError
from seqlab.tasks.translation.zero_config import SAMPLE_PAIRS, CorpusProfile, from_corpus, profile_corpora
from seqlab.text import train_tokenizer


@pytest.fixture
def enlarge(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that multiplies the measured size of every corpus by a factor."""

    def by(factor: int) -> None:
        def enlarged(config: Any) -> CorpusProfile:
            found = profile_corpora(config)
            chars = {"src_chars": factor * found.src_chars, "tgt_chars": factor * found.tgt_chars}
            return replace(found, pairs=factor * found.pairs, **chars)

        monkeypatch.setattr(sys.modules[from_corpus.__module__], "profile_corpora", enlarged)

    return by


def test_sizes_grow_with_the_corpus_and_regularization_shrinks(tmp_path: Path, enlarge: Any) -> None:
    pairs = draw_sentence_pairs(1000)
    configs = []
    for factor in (1, 5, 30, 200, 1000, 5000, 50_000):
        enlarge(factor)
        configs.append(zero_config(tmp_path, pairs))
    growing = {
        "vocab_size": [config.data.tokenizer.vocab_size for config in configs],
        "batch_tokens": [config.data.batch_tokens for config in configs],
        "d_model": [config.model.d_model for config in configs],
        "d_ff": [config.model.d_ff for config in configs],
        "layers": [config.model.num_encoder_layers for config in configs],
        "max_steps": [config.training.max_steps for config in configs],
        "warmup_steps": [config.optim.schedule.warmup_steps for config in configs],
    }
    for name, values in growing.items():
        assert values == sorted(values), name
        assert values[0] < values[-1], name
    epoch_shares = [
        factor / config.training.max_steps / config.data.batch_tokens
        for factor, config in zip((1, 5, 30, 200, 1000, 5000, 50_000), configs, strict=True)
    ]
    assert epoch_shares == sorted(epoch_shares)  # the larger the corpus, the fewer epochs
    dropouts = [config.model.dropout for config in configs]
    assert dropouts == sorted(dropouts, reverse=True)
    assert (dropouts[0], dropouts[-1]) == (0.3, 0.1)
    lrs = [config.optim.optimizer.lr for config in configs]
    assert max(lrs) == pytest.approx(4e-3, rel=0.05)
    assert lrs[-1] == pytest.approx(1e-3, rel=0.05)


def test_settings_for_thirty_thousand_sentences_are_close_to_the_tuned_recipe(tmp_path: Path, enlarge: Any) -> None:
    enlarge(29)
    config = zero_config(tmp_path, draw_sentence_pairs(1000))
    model = config.model
    assert (model.d_model, model.d_ff, model.num_heads, model.num_encoder_layers) == (128, 256, 4, 4)
    assert (model.dropout, model.tied_embeddings, config.data.joint_vocabulary) == (0.3, "all", True)
    assert (config.data.batch_tokens, config.data.micro_batch_tokens) == (2048, 2400)
    assert config.optim.optimizer.lr == pytest.approx(4e-3, rel=0.05)
    assert config.optim.schedule.family == "linear"
    assert 12_000 < config.training.max_steps < 25_000
    assert config.optim.average_last == 10


def test_settings_for_millions_of_sentences_are_close_to_transformer_base(tmp_path: Path, enlarge: Any) -> None:
    enlarge(5000)
    config = zero_config(tmp_path, draw_sentence_pairs(1000))
    model = config.model
    assert 448 <= model.d_model <= 512
    assert (model.d_ff, model.num_heads) == (4 * model.d_model, model.d_model // 64)
    assert model.num_decoder_layers >= 5
    assert model.dropout <= 0.15
    assert 8192 <= config.data.batch_tokens <= 16_384
    assert 80_000 < config.training.max_steps < 150_000


def test_choices_do_not_depend_on_irrelevant_changes(tmp_path: Path) -> None:
    pairs = draw_sentence_pairs(60)
    config = zero_config(tmp_path / "a", pairs)
    paths = {name: getattr(config.data, name) for name in ("train_src", "train_tgt")}
    again = zero_config(tmp_path / "b", pairs)
    assert replace(again, data=replace(again.data, **paths)) == config  # other paths
    with_dropped_pairs = zero_config(tmp_path / "c", [*pairs, ("", "x y z"), ("x", " ")])  # an empty side
    assert replace(with_dropped_pairs, data=replace(with_dropped_pairs.data, **paths)) == config


@pytest.mark.parametrize(("count", "held_out"), [(20, 0.1), (400, 0.1), (800, 0.062), (2000, 0.05)])
def test_valid_fraction_is_larger_for_small_corpora(tmp_path: Path, count: int, held_out: float) -> None:
    assert zero_config(tmp_path, [(f"a {i}", f"b {i}") for i in range(count)]).data.valid_fraction == held_out
    valid = {f"data__valid_{side}": str(tmp_path / side) for side in ("src", "tgt")}
    assert (
        zero_config(tmp_path, draw_sentence_pairs(20), **valid).data.valid_fraction == 0.05
    )  # the default, which is not used


def test_several_corpora_have_the_settings_of_their_concatenation(tmp_path: Path) -> None:
    pairs = draw_sentence_pairs(80)
    single = zero_config(tmp_path / "single", pairs)
    corpora = [write_pairs(tmp_path / name, corpus) for name, corpus in (("a", pairs[:30]), ("b", pairs[30:]))]
    specs = [[dict(overrides)[key] for overrides in corpora] for key in ("data.train_src", "data.train_tgt")]
    both = from_corpus([("data.train_src", specs[0]), ("data.train_tgt", [spec[0] for spec in specs[1]])])
    assert (both.model, both.optim, both.training) == (single.model, single.optim, single.training)
    assert both.data.tokenizer == single.data.tokenizer


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"model__d_model": "256"},
            {"model.d_model": 256, "model.d_ff": 1024, "model.num_heads": 4, "optim.optimizer.lr": 0.00098},
        ),
        ({"model__d_model": "90"}, {"model.num_heads": 3, "model.d_ff": 180}),
        ({"model__d_model": "256", "model__d_ff": "300"}, {"model.d_ff": 300}),
        ({"data__batch_tokens": "1000"}, {"data.micro_batch_tokens": 2400, "data.batch_tokens": 1000}),
        ({"data__micro_batch_tokens": "3000"}, {"data.micro_batch_tokens": 3000}),
        (
            {"training__max_steps": "640"},
            {"optim.schedule.warmup_steps": 38, "training.save_every": 10, "training.valid_every": 40},
        ),
        ({"training__save_every": "7"}, {"training.valid_every": 28}),
        ({"optim__schedule__warmup_steps": "3"}, {"optim.schedule.family": "linear", "optim.schedule.warmup_steps": 3}),
        ({"optim__schedule__final_ratio": "0.1"}, {"optim.schedule.final_ratio": 0.1}),
        ({"optim__schedule__family": "cosine"}, {"optim.schedule.family": "cosine"}),
        ({"optim__optimizer__family": "sgd"}, {"optim.optimizer.lr": 0.1}),
        ({"optim__ema_decay": "0.99"}, {"optim.average_last": 0, "optim.ema_decay": 0.99}),
        ({"data__joint_vocabulary": "false"}, {"model.tied_embeddings": "decoder"}),
        ({"data__tokenizer__kind": "characters"}, {"data.tokenizer.vocab_size": None}),
        ({"data__tokenizer__vocab_size": "300"}, {"data.tokenizer.vocab_size": 300}),
        ({"data__max_length": "700"}, {"model.max_length": 700}),
        ({"training__valid_metric": "nll", "seed": "7"}, {"training.valid_metric": "nll", "seed": 7}),
    ],
)
def test_given_fields_are_kept_and_others_adapted(
    tmp_path: Path, given: dict[str, str], expected: dict[str, Any]
) -> None:
    config = zero_config(tmp_path, draw_sentence_pairs(100), **given)
    for key, wanted in expected.items():
        value: Any = to_dict(config)
        for name in key.split("."):
            value = value[name]
        assert value == wanted, key


@pytest.mark.parametrize("kind", ["sentencepiece_unigram", "bpe"])
def test_all_subword_tokenizers_get_a_similar_vocabulary_size(tmp_path: Path, kind: str) -> None:
    default = zero_config(tmp_path, draw_sentence_pairs(100)).data.tokenizer.vocab_size
    other = zero_config(tmp_path, draw_sentence_pairs(100), data__tokenizer__kind=kind).data.tokenizer
    assert other.kind == kind
    assert default is not None
    assert other.vocab_size == pytest.approx(default, rel=0.1)


def test_word_vectors_determine_d_model(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text(f"haus {' '.join(['0.5', '-1'] * 50)}\n", encoding="utf-8")
    config = zero_config(tmp_path, draw_sentence_pairs(200), data__vectors_tgt=str(vectors))
    assert isinstance(config.model, TransformerConfig)
    assert (config.model.d_model, config.model.num_heads) == (100, 4)
    assert config.optim.optimizer.lr <= 4e-3
    both = zero_config(
        tmp_path, draw_sentence_pairs(200), data__vectors_src=str(vectors), data__vectors_tgt=str(vectors)
    )
    assert isinstance(both.model, TransformerConfig)
    assert both.model.tied_embeddings == "decoder"
    other = tmp_path / "other.txt"
    other.write_text("haus 1 2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"vectors\.txt contains vectors of 100 values and .*other\.txt of 2"):
        zero_config(tmp_path, draw_sentence_pairs(200), data__vectors_src=str(vectors), data__vectors_tgt=str(other))


def test_scripts_without_common_letters_get_two_vocabularies(tmp_path: Path) -> None:
    pairs = [
        (src, tgt.translate({ord(char): ord(char) + 0x3D0 for char in "abcdefghijklmnopqrstuvwxyz"}))
        for src, tgt in draw_sentence_pairs(100)
    ]
    config = zero_config(tmp_path, pairs)
    assert (config.data.joint_vocabulary, config.model.tied_embeddings) == (False, "decoder")


def words(count: int) -> list[str]:
    """Return random words of two to four syllables."""
    rng = random.Random(1)
    return ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(count)]


def test_pronunciation_corpora_get_few_subwords(tmp_path: Path) -> None:
    config = zero_config(tmp_path, [(word, " ".join(word)) for word in words(400)])
    assert config.training.valid_metric == "exact_match"
    assert not config.data.joint_vocabulary
    src, tgt = (train_tokenizer(config.data.tokenizer, training_lines(config.data, side)) for side in ("src", "tgt"))  # type: ignore[arg-type]
    assert tgt.tokens(tgt.encode(["b a d a"])[0]) in (["▁b", "▁a", "▁d", "▁a"], ["b", "▁a", "▁d", "▁a"])
    assert len(src.encode(["bada"])[0]) >= 2


def test_inflection_corpora_get_few_subwords(tmp_path: Path) -> None:
    config = zero_config(tmp_path, [(word, word + "en") for word in words(400)])
    assert config.training.valid_metric == "exact_match"
    assert config.data.joint_vocabulary
    assert config.data.tokenizer.vocab_size is not None
    assert config.data.tokenizer.vocab_size < 4 + 256 + 1 + 20 + 20


def test_corpora_of_few_distinct_words_get_few_subwords(tmp_path: Path) -> None:
    rng = random.Random(3)
    vocabulary = words(30)
    lines = [" ".join(rng.choices(vocabulary, k=9)) for _ in range(500)]
    config = zero_config(tmp_path, [(line, line[::-1]) for line in lines])
    assert config.data.tokenizer.vocab_size is not None
    assert config.data.tokenizer.vocab_size <= 4 + 256 + 1 + 20 + 60


def test_text_without_spaces_is_validated_by_chrf(tmp_path: Path) -> None:
    rng = random.Random(4)
    han = [chr(0x4E00 + index) for index in range(800)]
    pairs = [(src, "".join(rng.choices(han, k=30))) for src, _ in draw_sentence_pairs(200)]
    config = zero_config(tmp_path, pairs)
    assert config.training.valid_metric == "chrf"
    assert not config.data.joint_vocabulary
    train_tokenizer(config.data.tokenizer, training_lines(config.data, "tgt"))  # `vocab_size` is large enough


@pytest.mark.parametrize("first", [0x4E00, 0x3042, 0x0E01])  # Chinese, Japanese, Thai
def test_short_sentences_without_spaces_are_not_words(tmp_path: Path, first: int) -> None:
    rng = random.Random(5)
    letters = [chr(first + index) for index in range(40)]

    def lines(length: int) -> list[str]:
        return ["".join(rng.choices(letters, k=length)) for _ in range(200)]

    config = zero_config(tmp_path / "sentences", list(zip(lines(12), lines(14), strict=True)))
    assert config.training.valid_metric == "chrf"
    pronunciations = zero_config(tmp_path / "words", [(word, " ".join("bada")) for word in lines(4)])
    assert pronunciations.training.valid_metric == "exact_match"


def test_one_very_long_line_hardly_changes_the_settings(tmp_path: Path) -> None:
    pairs = draw_sentence_pairs(300)
    plain = zero_config(tmp_path / "plain", pairs)
    with_long_line = [*pairs, tuple(" ".join(pair[side] for pair in pairs) for side in (0, 1))]
    config = zero_config(tmp_path / "with_long_line", with_long_line)  # type: ignore[arg-type]
    assert config.data.max_length == plain.data.max_length == 256
    assert config.training.max_steps == pytest.approx(plain.training.max_steps, rel=0.15)
    spelled = [(word, " ".join(word)) for word in words(300)]
    long_pair = ("word " * 20_000, "w o r d")
    assert zero_config(tmp_path / "spelled", [*spelled, long_pair]).training.valid_metric == "exact_match"


def test_long_lines_are_kept_up_to_a_limit(tmp_path: Path) -> None:
    long = [(" ".join(src for src, _ in draw_sentence_pairs(20, seed)), "a b c d e f") for seed in range(20)]
    config = zero_config(tmp_path / "long", long)
    assert config.data.max_length in (512, 1024)
    assert config.model.max_length == config.data.max_length
    very_long = [(pair[0] * 20, pair[1]) for pair in long]
    assert zero_config(tmp_path / "very_long", very_long).data.max_length == 1024


@pytest.mark.parametrize("count", [2, 3, 20])
def test_tiny_corpora_can_be_prepared(tmp_path: Path, count: int) -> None:
    config = zero_config(tmp_path, draw_sentence_pairs(count))
    tokenizer = train_tokenizer(config.data.tokenizer, training_lines(config.data))
    data = prepare(config.data, (tokenizer, tokenizer), tmp_path / "cache")
    assert len(data.train) == count - len(data.valid)
    assert len(data.valid) >= 1
    assert config.training.max_steps >= 500
    config.model.build(tokenizer, tokenizer)


def test_every_choice_is_logged_with_a_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="seqlab"):
        zero_config(tmp_path, draw_sentence_pairs(50), model__d_model="64")
    text = caplog.text
    for key in (
        "data.tokenizer.vocab_size",
        "model.dropout",
        "data.batch_tokens",
        "training.max_steps",
        "optim.optimizer.lr",
    ):
        assert f"  {key} " in text
    assert "model.d_model " not in text.replace("d_model is", "")
    assert all(": " in record.message for record in caplog.records[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("model.d_modle", "64"), "There is no `model.d_modle`; the nearest is `model.d_model`."),
        (("model.d_model", "big"), "`model.d_model` must be"),
        (("optim.schedule.family", "linaer"), "the nearest is `linear`"),
        (("data.valid_src", "x"), "`valid_tgt` must be set too"),
    ],
)
def test_invalid_fields_are_refused_before_the_corpus_is_read(given: Override, message: str) -> None:
    missing_corpus: list[Override] = [("data.train_src", "no/such/file.a"), ("data.train_tgt", "no/such/file.b")]
    with pytest.raises(ConfigError, match=message.replace("`", ".").replace(".", r".")):
        from_corpus([*missing_corpus, given])


def test_unusable_corpora_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_tgt. is missing"):
        from_corpus([("data.train_src", "a")])
    with pytest.raises(FileNotFoundError, match="no such file"):
        from_corpus([("data.train_src", "no/such/file"), ("data.train_tgt", "no/such/file")])
    with pytest.raises(ValueError, match="no pair has text on both sides"):
        zero_config(tmp_path, [])
    with pytest.raises(ValueError, match="no pair has text on both sides"):
        zero_config(tmp_path, [("a", ""), (" ", "b")])
    overrides = write_pairs(tmp_path, draw_sentence_pairs(3))
    (tmp_path / "src").write_text("one line\n")
    with pytest.raises(ValueError, match=r"has 1 lines but .* has 3"):
        from_corpus(overrides)


def test_fine_tuning_keeps_the_model_and_the_tokenizer_of_the_origin(tmp_path: Path) -> None:
    pairs = draw_sentence_pairs(40)
    origin = zero_config(tmp_path / "first", pairs, model__d_model="32", data__tokenizer__vocab_size="320")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    write_config(origin, folder.config_file)
    folder.write_description({})
    train_tokenizer(origin.data.tokenizer, training_lines(origin.data)).save(folder.path / "tokenizer")
    tuned = zero_config(
        tmp_path / "second", draw_sentence_pairs(30, seed=5), init_from=str(folder.path), model__dropout="0.2"
    )
    assert tuned.init_from == str(folder.path)
    assert tuned.model == replace(origin.model, dropout=0.2)
    assert tuned.data.tokenizer == origin.data.tokenizer
    assert tuned.optim.optimizer.lr == pytest.approx(origin.optim.optimizer.lr / 4, rel=0.05)
    assert tuned.training.max_steps < origin.training.max_steps
    with pytest.raises(ValueError, match="is not a run folder"):
        zero_config(tmp_path / "second", pairs, init_from=str(tmp_path))


def test_a_sample_represents_a_larger_corpus(tmp_path: Path) -> None:
    count = SAMPLE_PAIRS + 3000
    overrides = write_pairs(tmp_path, [(f"a{i % 10} b", "c d" if i < count // 2 else "e f") for i in range(count)])
    data = from_corpus(overrides).data
    found = profile_corpora(data)
    assert (found.pairs, len(found.src.lines), found.tgt_chars) == (count, SAMPLE_PAIRS, 3 * count)
    assert found.tgt.words["c"] / SAMPLE_PAIRS == pytest.approx(0.5, abs=0.02)
    assert profile_corpora(data) == found


def test_character_counts_overlap_and_coverage() -> None:
    sides = LineSample(["aaab", "a b"]), LineSample(["bbcc"])
    assert sides[0].characters == {"a": 4, "b": 2}
    assert CorpusProfile(2, 0, 0, *sides).overlap == pytest.approx(1 / 3)
    assert [count_covering_characters(sides, coverage) for coverage in (0.3, 0.6, 0.8, 0.81, 1.0)] == [1, 2, 2, 3, 3]


def test_the_chosen_config_round_trips_through_json(tmp_path: Path) -> None:
    config = zero_config(tmp_path, draw_sentence_pairs(50))
    assert json.loads(json.dumps(to_dict(config))) == to_dict(config)
