"""Labeling in Python and with `seqlab label`: ensembles, long lines, and errors; models have random weights."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from seqlab.inference.splitting import split_words
from seqlab.models import (
    LabelerConfig,
    TransformerEncoderConfig,
)
from seqlab.runs import Config, RunFolder
from seqlab.runs.checkpoint import write_checkpoint
from seqlab.runs.config import write_config
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.labelling.text_labeler import Labeling, load_labeler
from seqlab.text import CharactersConfig, TrainedTokenizerConfig, WordsConfig, train_tokenizer

FAST = ("--threads", "1", "--precision", "fp32")
WORDS = ["a", "film", "of", "love", ".", "it", "is", "long", "and", "dull", ",", "but", "good"]
LABELS = ["blame", "none", "praise"]
Unit = Literal["lines", "words"]


def write_run(
    path: Path,
    labels_of: Unit,
    seed: int,
    labels: Sequence[str] = LABELS,
    tokenizer: TrainedTokenizerConfig | None = None,
    max_length: int = 8,
) -> Path:
    """Write the run folder of a randomly initialized labeler with these labels and a small `max_length`."""
    folder = RunFolder(path)
    path.mkdir(parents=True)
    config = Config(
        data=LabellingConfig(train_src=["a"], train_tgt=["b"], labels_of=labels_of),  # type: ignore[call-arg]
        model=LabelerConfig(
            encoder=TransformerEncoderConfig(
                d_model=16, d_ff=32, num_layers=1, dropout=0.3, num_heads=2, max_length=max_length
            ),
            output_dropout=0.0,
        ),
    )
    tokenizers = [
        train_tokenizer(each, [" ".join(text)])
        for each, text in zip(
            (tokenizer or WordsConfig(), WordsConfig(normalization="none")), (WORDS, labels), strict=True
        )
    ]
    for side, tokenizer in zip(("src", "tgt"), tokenizers, strict=True):
        tokenizer.save(path / f"{side}_tokenizer")
    write_config(config, folder.config_file)
    torch.manual_seed(seed)
    model = config.model.resolve(config.data).build(*tokenizers)
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    write_checkpoint(
        folder.checkpoints, 1, {"model": weights}, {"best": [[1.0, 1]], "progress": {"step": 1, "minutes": 1}}
    )
    folder.write_description({})
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[Unit, list[Path]]:
    folder = tmp_path_factory.mktemp("labelers")
    units: tuple[Unit, ...] = ("lines", "words")
    return {unit: [write_run(folder / unit / str(seed), unit, seed) for seed in (1, 2)] for unit in units}


def probabilities(labeling: Labeling) -> np.ndarray:
    """Return probabilities (units, labels); labels are sorted by name."""
    return np.array(
        [[np.exp(each.log_prob) for each in sorted(unit, key=lambda each: each.label)] for unit in labeling.choices]
    )


@pytest.mark.parametrize("unit", ["lines", "words"])
def test_an_ensemble_averages_probabilities(runs: dict[Unit, list[Path]], unit: Unit) -> None:
    lines = ["a good film", "love and a long film"]
    options = {"device": "cpu", "precision": "fp32"}
    single = [load_labeler(run, **options).label_detailed(lines, num_labels=3) for run in runs[unit]]
    ensemble = load_labeler(runs[unit], **options).label_detailed(lines, num_labels=3)
    for found, first, second in zip(ensemble, *single, strict=True):
        assert not np.allclose(probabilities(first), probabilities(second), atol=0.01)
        np.testing.assert_allclose(probabilities(found), (probabilities(first) + probabilities(second)) / 2, atol=1e-6)
        assert [len(choices) for choices in found.choices] == [3] * (1 if unit == "lines" else len(first.choices))


def test_an_ensemble_matches_labels_by_name(runs: dict[Unit, list[Path]], tmp_path: Path) -> None:
    first = runs["words"][0]
    other = write_run(tmp_path / "other", "words", 3, labels=["praise", "praise", "praise", "none", "none", "blame"])
    lines, options = ["a good film"], {"device": "cpu", "precision": "fp32"}
    labelers = [load_labeler(run, **options) for run in (first, other, [first, other], [other, first])]
    assert labelers[0].names != labelers[1].names
    found = [probabilities(labeler.label_detailed(lines, num_labels=3)[0]) for labeler in labelers]
    for ensemble in found[2:]:
        np.testing.assert_allclose(ensemble, (found[0] + found[1]) / 2, atol=1e-6)
    third = write_run(tmp_path / "third", "words", 3, labels=["praise", "none", "anger"])
    with pytest.raises(ValueError, match=r"have different labels.*only one of them has `anger`, `blame`"):
        load_labeler([first, third])


def test_members_of_an_ensemble_use_their_own_tokenizers(runs: dict[Unit, list[Path]], tmp_path: Path) -> None:
    characters = write_run(tmp_path / "characters", "lines", 3, tokenizer=CharactersConfig(), max_length=12)
    lines, options = ["a film", "a good film of love", ""], {"device": "cpu", "precision": "fp32"}
    each = [runs["lines"][0], characters]
    first, second, both = (load_labeler(run, **options).label_detailed(lines, num_labels=3) for run in (*each, each))
    assert [labeling.num_pieces for labeling in second] == [1, 2, 0]
    assert [labeling.num_pieces for labeling in both] == [1, 2, 0]
    for found, one, other in zip(both[:2], first, second, strict=False):
        np.testing.assert_allclose(probabilities(found), (probabilities(one) + probabilities(other)) / 2, atol=1e-6)
    assert both[2].choices == []


def test_blank_lines_have_no_label_with_any_tokenizer(runs: dict[Unit, list[Path]], tmp_path: Path) -> None:
    characters = write_run(tmp_path / "characters", "lines", 3, tokenizer=CharactersConfig(normalization="none"))
    blank = [" ", "\t" * 15, " " * 40, "\u00a0"]
    for each in ([characters], [runs["lines"][0], characters]):
        found = load_labeler(each, device="cpu", precision="fp32").label_detailed([*blank, "a film"])
        assert [labeling.num_pieces for labeling in found] == [0] * len(blank) + [1]
        assert [len(labeling.choices) for labeling in found] == [0] * len(blank) + [1]


def test_warning_of_a_long_line_names_the_run_with_the_limit(
    runs: dict[Unit, list[Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    longer = write_run(tmp_path / "longer", "lines", 3, max_length=100)
    with caplog.at_level(logging.WARNING):
        load_labeler([longer, runs["lines"][0]], device="cpu").label([" ".join(WORDS)])
    assert f"line 1 is too long for {runs['lines'][0]}, which reads at most 8 tokens" in caplog.text


def test_an_ensemble_refuses_lines_split_into_different_words(runs: dict[Unit, list[Path]], tmp_path: Path) -> None:
    other = write_run(tmp_path / "nfkc", "words", 3, tokenizer=WordsConfig(normalization="nfkc"))
    each, options = [runs["words"][0], other], {"device": "cpu", "precision": "fp32"}
    first, second = (load_labeler(run, **options).label_detailed(["a film"], num_labels=3)[0] for run in each)
    labeler = load_labeler(each, **options)
    found = probabilities(labeler.label_detailed(["a film"], num_labels=3)[0])
    np.testing.assert_allclose(found, (probabilities(first) + probabilities(second)) / 2, atol=1e-6)
    with pytest.raises(
        ValueError, match=r"f, line 8: .*words/1 reads 2 words, but .*nfkc reads 3: their tokenizers normalize"
    ):
        labeler.label(["a film", "a film\u00b4s"], locations=["f, line 7", "f, line 8"])


def test_tied_labels_keep_the_order_of_the_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{number:02}" for number in range(40)]
    labeler = load_labeler(write_run(tmp_path / "run", "lines", 1, labels=names), device="cpu", precision="fp32")
    scores = torch.zeros(1, 40)
    scores[0, :3] = torch.tensor([-1.0, 0.0, 1.0])
    monkeypatch.setattr(labeler.members[0].model, "label", lambda batch: scores.expand(len(batch), -1))
    (found,) = labeler.label_detailed(["a good film"], num_labels=40)
    assert [each.label for each in found.choices[0]] == [names[2], names[1], *names[3:], names[0]]


@pytest.mark.parametrize("unit", ["lines", "words"])
def test_long_lines_are_labeled_in_segments(seqlab, runs: dict[Unit, list[Path]], unit: Unit, tmp_path: Path) -> None:
    labeler = load_labeler(runs[unit][0], device="cpu", precision="fp32")
    assert labeler.members[0].max_src_tokens == 8
    assert labeler.label_detailed([" ".join(WORDS[:8])])[0].num_pieces == 1
    segments = [WORDS[each.start : each.stop] for each in split_words(WORDS, labeler.members[0].max_src_tokens)]
    joined, *single = labeler.label_detailed([" ".join(each) for each in (WORDS, *segments)], num_labels=3)
    assert joined.num_pieces == len(segments) > 1
    parts = [probabilities(each) for each in single]
    lengths = [len(segment) for segment in segments]
    expected = np.average(parts, axis=0, weights=lengths) if unit == "lines" else np.concatenate(parts)
    np.testing.assert_allclose(probabilities(joined), expected, atol=1e-6)
    (tmp_path / "in.tsv").write_text(f"text\nfilm\n{' '.join(WORDS)}\n", encoding="utf-8")
    result = seqlab("label", runs[unit][0], *FAST, "--json", "--input", f"{tmp_path}/in.tsv#text")
    limit = f"which reads at most {labeler.members[0].max_src_tokens} tokens: labeled in {len(segments)} segments"
    assert f"line 3 is too long for the model, {limit}" in result.err  # the header is line 1
    assert json.loads(result.out.splitlines()[1])["labels"] == joined.labels


@pytest.mark.parametrize(
    ("unit", "options", "message"),
    [
        ("lines", ["--conllu", "upos"], "labels lines, but --conllu needs a run that labels words"),
        ("words", ["--conllu", "form"], "names the column to write labels to: it cannot be `id` or `form`"),
        ("words", ["--conllu", "upos", "--input", "a.conllu#form"], "name the input file without #COLUMN"),
        ("words", ["--input", "a.conllu"], "a .conllu file needs the name of a column, for example a.conllu#form."),
        ("words", ["--conllu", "upos", "--json"], "--conllu and --json are different output formats"),
        ("words", ["--num_labels", "2"], "--num_labels above 1 needs --json"),
        ("words", ["--num_labels", "0"], "`--num_labels` must be at least 1, but is 0 instead."),
        ("words", ["--buffer_lines", "0"], "`--buffer_lines` must be at least 1, but is 0 instead."),
    ],
)
def test_invalid_arguments_are_reported(
    seqlab, runs: dict[Unit, list[Path]], unit: Unit, options: list[str], message: str
) -> None:
    result = seqlab("label", runs[unit][0], *FAST, *options, stdin=b"a film\n")
    assert (result.status, result.out) == (2, b"")
    assert message in result.err


def test_an_ensemble_of_line_and_word_labelers_is_refused(seqlab, runs: dict[Unit, list[Path]]) -> None:
    result = seqlab("label", runs["lines"][0], runs["words"][0], *FAST, stdin=b"a film\n")
    assert "must have the same `data.labels_of`" in result.err


@pytest.mark.parametrize(
    ("tokenizer", "stdin", "message"),
    [
        (WordsConfig(), "a xyz film\nqqq\na\n", "2 of 3 lines have items that are not in the vocabulary"),
        (CharactersConfig(), "a fiXm\na\n", "1 of 2 lines have items that are not in the vocabulary"),
        (CharactersConfig(), "a film\n", ""),
    ],
)
def test_what_the_model_cannot_read_is_counted(
    seqlab, tokenizer: TrainedTokenizerConfig, stdin: str, message: str, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", "lines", 1, tokenizer=tokenizer)
    result = seqlab("label", run, *FAST, stdin=stdin.encode())
    assert result.status == 0
    assert message in result.err
    assert ("not in the vocabulary" in result.err) == bool(message)


def test_tokens_on_lines_of_their_own_are_reported(seqlab, runs: dict[Unit, list[Path]], tmp_path: Path) -> None:
    tokens = "a\nfilm\n\nit\nis\ndull\n"
    warning = "line 3 is empty, and each line before it has one word: words that are labeled alone have no context"
    result = seqlab("label", runs["words"][0], *FAST, stdin=tokens.encode())
    assert len(result.out.splitlines()) == 6
    assert warning in result.err
    (tmp_path / "a.conll").write_text(tokens)
    result = seqlab("label", runs["words"][0], *FAST, "--input", tmp_path / "a.conll#0")
    assert [len(line.split()) for line in result.out.splitlines()] == [2, 3]
    assert warning not in result.err
