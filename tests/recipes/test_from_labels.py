"""Zero config for labeling: choices by corpus, and given fields."""

from pathlib import Path

import pytest

from seqlab.models import EncoderLmConfig, TransformerEncoderConfig
from seqlab.runs.config import Config, TrainingConfig
from seqlab.tasks.labelling.zero_config import from_labels
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.zero_config import from_corpus
from seqlab.text import WordsConfig
from seqlab.training import train


def overrides_of(folder: Path, count: int, label: str, **given: str) -> list[tuple[str, list[str]]]:
    """Write lines with a label per word or per line; return overrides with lists, like the command line."""
    (folder / "src").write_text("".join(f"a word {i}\n" for i in range(count)))
    (folder / "tgt").write_text(f"{label}\n" * count)
    files = {"data__train_src": str(folder / "src"), "data__train_tgt": str(folder / "tgt")}
    return [(key.replace("__", "."), [value]) for key, value in {"data__kind": "labelling", **files, **given}.items()]


@pytest.mark.parametrize("label", ["X X X", "X"])
def test_labels_of_and_valid_fraction_are_chosen_by_the_corpus(label: str, tmp_path: Path) -> None:
    data = from_labels(overrides_of(tmp_path, 80, label)).data
    assert data.kind == "labelling"
    assert data.labels_of == ("words" if " " in label else "lines")
    assert data.valid_fraction == 0.1
    given = from_labels(overrides_of(tmp_path, 80, label, data__valid_fraction="0.3")).data
    assert given.kind == "labelling"
    assert given.valid_fraction == 0.3


@pytest.mark.parametrize(
    ("label", "others", "labels_of"),
    [
        ("X X X", "X X\n\n", "words"),  # a missing label and a line without labels, which the preparation refuses
        ("X", "X X X\n", "lines"),
        ("X X", "X X X\n", "lines"),  # labels that contain a space
    ],
)
def test_the_majority_of_lines_decides_labels_of(label: str, others: str, labels_of: str, tmp_path: Path) -> None:
    overrides = overrides_of(tmp_path, 80, label)
    count = others.count("\n")
    (tmp_path / "tgt").write_text(f"{label}\n" * (80 - count) + others)
    data = from_labels(overrides).data
    assert data.kind == "labelling"
    assert data.labels_of == labels_of


def test_lines_of_one_word_do_not_decide_labels_of(tmp_path: Path) -> None:
    overrides = overrides_of(tmp_path, 80, "X")
    (tmp_path / "src").write_text("Anna\n" * 70 + "Anna Maria\n" * 10)
    data = from_labels(overrides).data
    assert data.kind == "labelling"
    assert data.labels_of == "lines"


def overrides_for(folder: Path, text: str, labels: str, **given: str) -> list[tuple[str, list[str]]]:
    """Write a text and its labels; return overrides as `overrides_of` does."""
    overrides = overrides_of(folder, 1, "X", **given)
    (folder / "src").write_text(text, encoding="utf-8")
    (folder / "tgt").write_text(labels, encoding="utf-8")
    return overrides


@pytest.mark.parametrize(
    "line",
    [
        *("我们今天去北京大学图书馆", "私は昨日カレーを食べました", "ผมไปโรงเรียนทุกวันจันทร์ครับ", "ខ្ញុំទៅសាលារៀនជារៀងរាល់ថ្ងៃ"),
        *("ຂ້ອຍໄປໂຮງຮຽນທຸກມື້", "ကျွန်တော်ကျောင်းသွားတယ်", "ང་སློབ་གྲྭར་འགྲོ་གི་ཡོད།"),
    ],
)
def test_lines_without_spaces_are_classified_by_their_characters(line: str, tmp_path: Path) -> None:
    config = from_labels(overrides_for(tmp_path, f"{line}\n" * 80, "X\n" * 80))
    assert (config.data.labels_of, config.data.tokenizer.kind) == ("lines", "characters")  # type: ignore[union-attr]
    words = from_labels(overrides_for(tmp_path, f"{'a ' * len(line)}\n" * 80, "X\n" * 80))
    assert config.training.max_steps == words.training.max_steps  # characters count as words do


@pytest.mark.parametrize(
    ("text", "labels", "labels_of"), [("我们 去 北京 大学", "X", "lines"), ("我们 去 北京 大学", "A B C D", "words")]
)
def test_text_that_was_divided_into_words_is_read_by_words(
    text: str, labels: str, labels_of: str, tmp_path: Path
) -> None:
    data = from_labels(overrides_for(tmp_path, f"{text}\n" * 80, f"{labels}\n" * 80)).data
    assert (data.labels_of, data.tokenizer.kind) == (labels_of, "words")  # type: ignore[union-attr]


@pytest.mark.parametrize("family", ["lstm_labeller", "transformer_labeller"])
def test_long_lines_are_read_whole(family: str, tmp_path: Path) -> None:
    text = "a b c\n" * 79 + "a " * 3000 + "\n"
    config = from_labels(overrides_for(tmp_path, text, "X\n" * 80, model__family=family))
    assert config.data.max_length == 3000  # type: ignore[union-attr]
    assert getattr(config.model, "max_length", 3000) == 3000
    assert from_labels(overrides_of(tmp_path, 80, "X")).data.max_length == 256  # type: ignore[union-attr]


def test_a_token_on_each_line_is_refused(tmp_path: Path) -> None:
    tokens, labels = "river\nbank\n\n" * 9, "O\nB-GEO\n\n" * 9
    with pytest.raises(ValueError, match=r"src and .*tgt, line 3: is empty, after lines of one word"):
        from_labels(overrides_for(tmp_path, tokens, labels))
    given = from_labels(overrides_for(tmp_path, tokens, labels, data__labels_of="lines")).data
    assert given.labels_of == "lines"  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_corpus_without_words_is_refused(text: str, tmp_path: Path) -> None:
    overrides = overrides_of(tmp_path, 0, "X")
    (tmp_path / "src").write_text(text)
    (tmp_path / "tgt").write_text(text)
    with pytest.raises(ValueError, match="src: no line has a word: there is nothing to train on"):
        from_labels(overrides)


def test_the_family_can_be_given(tmp_path: Path) -> None:
    for family, encoder in (("lstm_labeller", "lstm"), ("transformer_labeller", "transformer")):
        assert from_labels(overrides_of(tmp_path, 80, "X X X", model__family=family)).model.encoder.family == encoder
        given = overrides_of(tmp_path, 80, "X X X", model__encoder__family=encoder)
        assert from_labels(given).model.encoder.family == encoder
    frequencies = from_labels(overrides_of(tmp_path, 80, "X X X", model__family="frequency_labeller"))
    assert frequencies.model.family == "frequency_labeller"
    with pytest.raises(ValueError, match="labels words only"):
        from_labels(overrides_of(tmp_path, 80, "X", model__family="frequency_labeller"))


def test_labels_of_is_chosen_when_starting_from_a_masked_model(tmp_path: Path) -> None:
    given = overrides_of(tmp_path, 80, "X X X", model__family="transformer_labeller")
    text = LanguageModellingConfig(
        train=[str(tmp_path / "src")], tokenizer=WordsConfig(), mask_share=0.3, block_length=16
    )
    model = EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=16, d_ff=32, num_heads=2, num_layers=1))
    training = TrainingConfig(max_steps=1, save_every=1, valid_every=1, device="cpu", threads=1)
    origin = train(Config(data=text, model=model, training=training), tmp_path / "mlm")
    found = from_labels([*given, ("init_from", [str(origin)]), ("init_parts", ["matching"])]).data
    assert found.kind == "labelling"
    assert (found.labels_of, found.tokenizer) == ("words", text.tokenizer)


@pytest.mark.parametrize(("parts", "labels_of"), [("matching", "lines"), ("all", "words")])
def test_a_classifier_can_start_from_a_tagger(parts: str, labels_of: str, tmp_path: Path) -> None:
    settings = {"model__hidden_size": "8", "model__spelling_size": "8", "training__threads": "1"}
    one_step = {f"training__{key}": "1" for key in ("max_steps", "save_every", "valid_every")}
    tagger = from_labels(overrides_of(tmp_path, 80, "X X X", **settings, **one_step, training__device="cpu"))
    origin = train(tagger, tmp_path / "tagger")
    given = [*overrides_of(tmp_path, 80, "X"), ("init_from", [str(origin)]), ("init_parts", [parts])]
    found = from_labels(given).data
    assert found.kind == "labelling"
    assert found.labels_of == labels_of


@pytest.mark.parametrize("family", ["transformer", "gru"])
def test_given_translator_families_get_separate_embeddings_for_separate_vocabularies(
    family: str, tmp_path: Path
) -> None:
    (tmp_path / "src").write_text("abc def\n" * 60)
    (tmp_path / "tgt").write_text("αβγ δεζ\n" * 60)
    files = [("data.train_src", [str(tmp_path / "src")]), ("data.train_tgt", [str(tmp_path / "tgt")])]
    found = from_corpus([*files, ("model.family", [family])])
    assert (found.data.joint_vocabulary, found.model.tied_embeddings) == (False, "decoder")  # type: ignore[union-attr]
    copying = from_corpus([*files, ("model.family", [family]), ("model.copying", ["true"])])
    assert (copying.data.joint_vocabulary, copying.model.tied_embeddings) == (True, "all")  # type: ignore[union-attr]
