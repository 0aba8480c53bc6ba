"""Training labelers: exact resume, warm start from a masked model, and warnings about unseen labels."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference.tiny_runs import comparable_metrics

from seqlab import load
from seqlab.data.prepare import open_prepared
from seqlab.models import (
    EncoderLmConfig,
    FrequencyLabellerConfig,
    Labeler,
    LabelerConfig,
    RecurrentEncoderConfig,
    TransformerEncoderConfig,
)
from seqlab.nn.ngram_embedding import NgramEmbedding
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.load import load_run
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.text import CharactersConfig, SavedConfig, WordsConfig, train_tokenizer
from seqlab.training import train

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven"]


def write_corpus(folder: Path, count: int = 90, seed: int = 0) -> Path:
    """Write lines of number words, and for each word whether it is odd."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [rng.integers(0, len(NUMBERS), size=rng.integers(1, 7)) for _ in range(count)]
    (folder / "src").write_text("".join(" ".join(NUMBERS[i] for i in row) + "\n" for row in rows))
    (folder / "tgt").write_text("".join(" ".join("ODD" if i % 2 == 0 else "EVEN" for i in row) + "\n" for row in rows))
    return folder


def labeled_config(folder: Path, model: Any = None, **fields: Any) -> Config:
    data = LabellingConfig(
        train_src=[str(folder / "src")],
        train_tgt=[str(folder / "tgt")],
        labels_of="words",
        batch_tokens=40,
        micro_batch_tokens=30,
    )
    training = TrainingConfig(max_steps=8, save_every=2, valid_every=4, log_every=2, device="cpu", threads=1)
    model = (
        LabelerConfig(
            encoder=RecurrentEncoderConfig(family="gru", hidden_size=16),
            embedding_size=8,
            spelling_size=8,
            unknown_share=0.2,
        )
        if model is None
        else model
    )
    return Config(data=data, model=model, training=training, **fields)


def test_unseen_validation_labels_are_reported_and_count_as_errors_without_nll(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, valid = write_corpus(tmp_path / "corpus"), write_corpus(tmp_path / "valid", 9)
    lines = (valid / "tgt").read_text().split("\n")
    lines[4] = " ".join("PRIME" for _ in lines[4].split())
    (valid / "tgt").write_text("\n".join(lines))
    config = labeled_config(corpus)
    data = replace(config.data, valid_src=str(valid / "src"), valid_tgt=str(valid / "tgt"))
    training = replace(config.training, precision="fp32", max_steps=4)
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        run = train(replace(config, data=data, training=training), tmp_path / "run")
    (message,) = [record.getMessage() for record in caplog.records if "PRIME" in record.getMessage()]
    assert f"{valid / 'tgt'}, line 5" in message
    found = load(run, precision="fp32").label_detailed((valid / "src").read_text().splitlines(), num_labels=2)
    units, expected = [unit for line in found for unit in line.choices], " ".join(lines).split()
    (entry,) = (entry for entry in comparable_metrics(run) if entry["kind"] == "valid")
    correct = [unit[0].label == label for unit, label in zip(units, expected, strict=True)]
    assert entry["accuracy"] == pytest.approx(100 * np.mean(correct))
    nll = [-each.log_prob for unit, label in zip(units, expected, strict=True) for each in unit if each.label == label]
    assert len(nll) < len(expected)
    assert entry["nll_per_label"] == pytest.approx(np.mean(nll), rel=1e-4)


def test_entities_can_select_the_checkpoint_of_a_tagger(tmp_path: Path) -> None:
    rows = "river O\nbank B-GEO\n\nmoney O\nbank B-ORG\n\na O\n\n"
    (tmp_path / "ner.conll").write_text(rows * 20 + "".join(f"w{i} O\nbank B-GEO\n\n" for i in range(20)))
    config = labeled_config(write_corpus(tmp_path / "corpus"))
    files = {"train_src": [f"{tmp_path}/ner.conll#0"], "train_tgt": [f"{tmp_path}/ner.conll#-1"]}
    training = replace(config.training, valid_metric="entity_f1", max_steps=4)
    config = replace(config, data=replace(config.data, **files), training=training)
    run = train(config, tmp_path / "run")
    (entry,) = (entry for entry in comparable_metrics(run) if entry["kind"] == "valid")
    assert 0 <= entry["entity_f1"] <= 100
    with pytest.raises(ValueError, match=r"`training\.valid_metric: entity_f1` needs labels of words"):
        train(replace(config, data=replace(config.data, labels_of="lines")), tmp_path / "lines")


@pytest.mark.parametrize(("column", "has_warning"), [("upos", True), ("feats", False)])
def test_missing_labels_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, has_warning: bool
) -> None:
    """In `feats`, `_` means that a word has no features."""
    corpus = write_corpus(tmp_path)
    words = [line.split() for line in (corpus / "src").read_text().splitlines()]
    rows = [
        [
            f"{i + 1}\t{word}\t_\t{'_' if word == 'two' else 'X'}\t_\t{'_' if word == 'two' else 'X'}"
            for i, word in enumerate(line)
        ]
        for line in words
    ]
    trees = tmp_path / "trees.conllu"
    trees.write_text("".join("\n".join(["# a comment", *sentence, "", ""]) for sentence in rows))
    config = labeled_config(corpus)
    data = replace(config.data, train_src=[f"{trees}#form"], train_tgt=[f"{trees}#{column}"])
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        train(replace(config, data=data, training=replace(config.training, max_steps=1)), tmp_path / "run")
    before = next(i for i, line in enumerate(words) if "two" in line)
    line = 1 + sum(len(sentence) + 2 for sentence in rows[:before])
    message = f"{trees}#{column}, line {line}: words have the label `_`"
    assert any(message in record.getMessage() for record in caplog.records) == has_warning
    assert has_warning or "`_`" not in caplog.text


@pytest.mark.parametrize(("labels", "has_warning"), [(["ODD"], True), (["ODD", "EVEN"], False)])
def test_a_single_label_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, labels: list[str], has_warning: bool
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    text = (corpus / "tgt").read_text()
    (corpus / "tgt").write_text(text if "EVEN" in labels else text.replace("EVEN", "ODD"))
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        train(labeled_config(corpus), tmp_path / "run")
    assert any("only one label, 'ODD'" in record.getMessage() for record in caplog.records) == has_warning


def test_training_starts_from_a_masked_model_and_its_tokenizer(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    text = LanguageModellingConfig(
        train=[str(corpus / "src")], tokenizer=WordsConfig(), mask_share=0.3, block_length=16
    )
    mlm = Config(
        data=text,
        model=EncoderLmConfig(encoder=TransformerEncoderConfig(d_model=16, d_ff=32, num_heads=2, num_layers=2)),
        training=TrainingConfig(max_steps=2, save_every=2, valid_every=2, device="cpu", threads=1),
    )
    origin = train(mlm, tmp_path / "mlm")
    model = LabelerConfig(encoder=TransformerEncoderConfig(d_model=16, d_ff=32, num_layers=2, dropout=0.3, num_heads=2))
    config = labeled_config(corpus, model, init_from=str(origin), init_parts="matching")
    config = replace(config, training=replace(config.training, max_steps=1, valid_every=1))
    config = replace(config, optim=replace(config.optim, optimizer=replace(config.optim.optimizer, lr=1e-9)))
    run = load_run(train(config, tmp_path / "run"))
    weights = dict(run.model.named_parameters())
    for name, value in load_run(origin).model.named_parameters():
        if name.startswith("encoder."):
            own = name.replace("encoder.embedding.", "embedding.")
            torch.testing.assert_close(weights[own], value, rtol=0, atol=1e-6)
    assert run.src_tokenizer.vocab_size == 4 + len(NUMBERS)
    assert run.tgt_tokenizer.vocab_size == 4 + 2


def saved_ngrams(run: Path) -> list[torch.Tensor]:
    model = load_run(run).model
    assert isinstance(model, Labeler)
    return [ngrams.get_buffer("known") for ngrams in model.features.ngrams]


def most_frequent_ngrams(config: Config, run: Path) -> list[torch.Tensor]:
    """Select n-grams from the cached training set."""
    tokenizers = load_run(run).src_tokenizer, load_run(run).tgt_tokenizer
    rows = open_prepared(config.data, tokenizers, run / "cache").train.src  # type: ignore[arg-type]
    layers = [NgramEmbedding(40, length, tokenizers[0].vocab_size, 8, std=1.0, dropout=0.0) for length in (2, 3)]
    assert all(layer.select_frequent(rows.values, rows.offsets) > 0 for layer in layers)
    return [layer.known for layer in layers]


@pytest.mark.parametrize("family", ["gru", "transformer"])
def test_ngrams_come_from_the_training_set_or_the_origin(tmp_path: Path, family: str) -> None:
    fields: dict[str, Any] = {"ngram_order": 3, "num_ngrams": 40}
    model: Any = (
        LabelerConfig(encoder=RecurrentEncoderConfig(family="gru", hidden_size=16), embedding_size=8, **fields)
        if family == "gru"
        else LabelerConfig(
            encoder=TransformerEncoderConfig(d_model=16, d_ff=16, num_heads=2, num_layers=2, dropout=0.3), **fields
        )
    )
    config = labeled_config(write_corpus(tmp_path / "corpus"), model)
    averaged = replace(config, optim=replace(config.optim, average_last=0, ema_decay=0.9))
    run = train(averaged, tmp_path / "run")
    expected = most_frequent_ngrams(config, run)
    assert all(map(torch.equal, saved_ngrams(run), expected))
    other = write_corpus(tmp_path / "other", seed=5)
    tuned = train(labeled_config(other, model, init_from=str(run)), tmp_path / "tuned")
    assert all(map(torch.equal, saved_ngrams(tuned), expected))
    config = labeled_config(other, model, init_from=str(run), init_parts="matching")
    matching = train(config, tmp_path / "matching")
    expected_matching = most_frequent_ngrams(config, matching)
    assert not any(map(torch.equal, expected_matching, expected))
    assert all(map(torch.equal, saved_ngrams(matching), expected_matching))
    copied = load_run(matching).folder.read_description()["init_from"]
    assert not [name for name in copied["copied"] if "ngrams" in name]
    assert [name for name in copied["random"] if "ngrams" in name] == [f"features.ngrams.{i}.weight" for i in range(2)]


def test_the_label_head_is_reinitialized(tmp_path: Path) -> None:
    """Labels are numbered by frequency: in another corpus the same row of the head is for another label."""
    corpus = write_corpus(tmp_path / "corpus")
    origin = train(labeled_config(corpus), tmp_path / "origin")
    config = labeled_config(corpus, init_from=str(origin), init_parts="matching")
    config = replace(config, optim=replace(config.optim, optimizer=replace(config.optim.optimizer, lr=1e-9)))
    run, origin_weights = load_run(train(config, tmp_path / "run")), dict(load_run(origin).model.named_parameters())
    for name, value in run.model.named_parameters():
        assert torch.allclose(value, origin_weights[name], atol=1e-6) == (not name.startswith("head.")), name


def test_a_copied_tokenizer_that_splits_words_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    train_tokenizer(WordsConfig(normalization="nfkc"), ["one two"]).save(tmp_path / "words")
    config = labeled_config(corpus)
    data = replace(config.data, tokenizer=SavedConfig(folder=str(tmp_path / "words")))
    with pytest.raises(ValueError, match=r"`data\.labels_of: words` needs a normalization that does not split words"):
        train(replace(config, data=data), tmp_path / "run")


def test_count_based_labelers_refuse_corpus_weights(tmp_path: Path) -> None:
    config = labeled_config(write_corpus(tmp_path / "corpus"), FrequencyLabellerConfig())
    with pytest.raises(ValueError, match=r"counts each example once: remove `data\.train_weights`"):
        replace(config, data=replace(config.data, train_weights=[2.0]))


def test_a_validation_set_with_only_unseen_labels_is_refused(tmp_path: Path) -> None:
    corpus, valid = write_corpus(tmp_path / "corpus"), tmp_path / "valid"
    write_corpus(valid, count=10, seed=1)
    (valid / "tgt").write_text((valid / "tgt").read_text().replace("ODD", "X").replace("EVEN", "Q"))
    config = labeled_config(corpus)
    data = replace(config.data, valid_src=str(valid / "src"), valid_tgt=[str(valid / "tgt")])
    with pytest.raises(ValueError, match=r"No label of the validation set is in the training data .*valid/tgt"):
        train(replace(config, data=data), tmp_path / "run")


def test_labels_of_lines_do_not_depend_on_unusual_spaces(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    first_labels = [line.split()[0] for line in (corpus / "tgt").read_text().splitlines()]
    (corpus / "tgt").write_text("".join(f"{label}\n" for label in first_labels))
    config = labeled_config(
        corpus, LabelerConfig(encoder=RecurrentEncoderConfig(family="gru", hidden_size=8), embedding_size=8)
    )
    data = replace(config.data, labels_of="lines", tokenizer=CharactersConfig())  # type: ignore[call-arg]
    config = replace(config, data=data, training=replace(config.training, max_steps=2, save_every=2, valid_every=2))
    labeler = load(train(config, tmp_path / "run"), precision="fp32")
    plain, *others = labeler.label_detailed(["two three", " two\u00a0 three", "\ufefftwo\tthree\u200b"])
    assert others == [plain, plain]
