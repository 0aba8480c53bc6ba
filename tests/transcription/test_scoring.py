"""Log-probabilities of texts given recordings, over all CTC paths."""

import json
import math
from itertools import groupby, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from system.conftest import run_in_process

import seqlab

from .conftest import RATE, write_corpus


class Corpus(NamedTuple):
    """A manifest, and its recordings and texts."""

    manifest: Path
    paths: list[str]
    texts: list[str]


@pytest.fixture(scope="module")
def new_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    manifest = Path(write_corpus(tmp_path_factory.mktemp("new"), "new", 10, 7))
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return Corpus(manifest, [str(manifest.parent / row["audio"]) for row in rows], [row["text"] for row in rows])


def test_scores_are_sums_over_paths_of_frame_log_probs(trained: Path, new_corpus: Corpus) -> None:
    """Compared with torch's CTC loss and, for a snippet of four frames, with the sum over all paths."""
    run = seqlab.load(trained, device="cpu", precision="fp32")
    plain = [text.lower().rstrip(".") for text in new_corpus.texts]
    scores = run.score(new_corpus.paths, new_corpus.texts)
    for log_probs, text, score in zip(run.frame_log_probs(new_corpus.paths), plain, scores, strict=True):
        assert np.allclose(np.logaddexp.reduce(log_probs, axis=1), 0, atol=1e-4)
        [ids] = run.tokenizer.encode([text])
        torch_nll = torch.nn.functional.ctc_loss(
            torch.tensor(log_probs)[:, None],
            torch.tensor([ids]),
            torch.tensor([len(log_probs)]),
            torch.tensor([len(ids)]),
            blank=run.model.blank_id,
            reduction="sum",
        )
        assert score.log_prob == pytest.approx(-float(torch_nll), abs=1e-2)
        assert score.num_tokens == len(ids) + 1

    samples, rate = soundfile.read(new_corpus.paths[0], dtype="float32")
    snippet = (samples[: round(0.17 * RATE)], rate)
    [log_probs] = run.frame_log_probs([snippet])
    paths = product(range(log_probs.shape[1]), repeat=len(log_probs))
    totals: dict[tuple[int, ...], float] = {}
    for path in paths:
        output = tuple(each for each, _ in groupby(path) if each != run.model.blank_id)
        log_prob = sum(float(log_probs[frame, each]) for frame, each in enumerate(path))
        totals[output] = np.logaddexp(totals.get(output, -math.inf), log_prob)
    for text in ("", "a", "ab", "aa", "b"):
        [ids] = run.tokenizer.encode([text])
        assert run.score([snippet], [text])[0].log_prob == pytest.approx(totals[tuple(ids)], abs=1e-3)


def test_the_batch_does_not_change_scores(trained: Path, new_corpus: Corpus) -> None:
    run = seqlab.load(trained, device="cpu", precision="fp32")
    together = run.score(new_corpus.paths, new_corpus.texts)
    in_reverse = run.score(new_corpus.paths[::-1], new_corpus.texts[::-1], batch_seconds=2)[::-1]
    one_by_one = [run.score([path], [text])[0] for path, text in zip(new_corpus.paths, new_corpus.texts, strict=True)]
    assert [each.log_prob for each in together] == pytest.approx([each.log_prob for each in one_by_one], abs=1e-3)
    assert [each.log_prob for each in together] == pytest.approx([each.log_prob for each in in_reverse], abs=1e-3)


def test_the_correct_text_has_a_higher_score_than_another(trained: Path, new_corpus: Corpus) -> None:
    run = seqlab.load(trained, device="cpu")
    correct = run.score(new_corpus.paths, new_corpus.texts)
    shuffled = run.score(new_corpus.paths, new_corpus.texts[1:] + new_corpus.texts[:1])
    assert all(one.log_prob > other.log_prob for one, other in zip(correct, shuffled, strict=True))


def test_impossible_texts_and_unreadable_recordings_have_no_finite_score(trained: Path, new_corpus: Corpus) -> None:
    run = seqlab.load(trained, device="cpu")
    too_short = (np.zeros(10, np.float32), RATE)
    empty, letter, unknown, long, fault = run.score(
        [too_short, too_short, new_corpus.paths[0], new_corpus.paths[0], "nowhere.wav"],
        ["", "a", "axb", "ab" * 500, "a"],
    )
    assert empty.log_prob == 0
    assert letter.log_prob == long.log_prob == -math.inf
    assert (unknown.log_prob, unknown.unknown) == (None, ["x"])
    assert unknown.fault == f"{new_corpus.paths[0]}: its text has 'x', which the vocabulary does not have."
    assert not long.fault
    assert fault.log_prob is None
    assert "nowhere.wav" in fault.fault
    with pytest.raises(ValueError, match=r"`texts` must have one text for each recording \(1\), but has 2 instead"):
        run.score([too_short], ["a", "b"])


def test_scores_are_in_fp32_by_default(trained: Path, new_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if transcripts are in bf16."""
    monkeypatch.setattr("seqlab.nn.precision.supports_bf16", lambda device: True)
    default, half, full = (
        [
            each.log_prob
            for each in seqlab.load(trained, device="cpu", precision=name).score(new_corpus.paths, new_corpus.texts)
        ]
        for name in ("auto", "bf16", "fp32")
    )
    assert default == full != half


def test_the_score_command_writes_one_score_per_recording(trained: Path, new_corpus: Corpus, tmp_path: Path) -> None:
    """Paths in a column are relative to its file; paths in a plain list, to the current folder."""
    table = ["--src", f"{new_corpus.manifest}#audio", "--tgt", f"{new_corpus.manifest}#text"]
    status, done = run_in_process("score", str(trained), *table, "--precision", "fp32", "--buffer_lines", "3")
    expected = seqlab.load(trained, device="cpu", precision="fp32").score(new_corpus.paths, new_corpus.texts)
    assert status == 0, done.stderr.decode()
    assert [float(line) for line in done.stdout.splitlines()] == pytest.approx(
        [each.log_prob for each in expected], abs=1e-3
    )

    (tmp_path / "list").write_text(f"{new_corpus.paths[0]}\nnowhere.wav\n\n{new_corpus.paths[1]}\n")
    (tmp_path / "texts").write_text(f"{new_corpus.texts[0]}\na\n\n{new_corpus.texts[1]}\n")
    files = ["--src", str(tmp_path / "list"), "--tgt", str(tmp_path / "texts")]
    status, done = run_in_process("score", str(trained), *files)
    assert status == 3
    assert [line == b"n/a" for line in done.stdout.splitlines()] == [False, True, True, False]
    assert "nowhere.wav" in done.stderr.decode()
    status, done = run_in_process("score", str(trained), *files, "--json")
    assert [json.loads(line)["num_tokens"] for line in done.stdout.splitlines()][2] == 1

    (tmp_path / "short").write_text("a\na\n")
    status, done = run_in_process("score", str(trained), *files[:2], "--tgt", str(tmp_path / "short"))
    assert (status, b"has 4 lines but" in done.stderr, b"short has 2" in done.stderr) == (2, True, True)

    (tmp_path / "reversed").write_text("a\na\na\na\n")
    status, done = run_in_process("score", str(trained), *files, str(tmp_path / "reversed"), "--likeliest")
    assert done.stdout.splitlines()[::3] == [b"1", b"1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tgt", "TEXTS"], "name the list of recordings with `--src`"),
        (["--tgt", "TEXTS", "--src", "TEXTS", "--engine", "ctranslate2"], "`--engine` is for other runs"),
        (["--tgt", "TEXTS", "--src", "TEXTS", "--processes", "2"], "`--processes` is for other runs"),
    ],
)
def test_options_that_do_not_apply_to_recordings_are_refused(
    trained: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "texts").write_text("a\n")
    arguments = [str(tmp_path / "texts") if each == "TEXTS" else each for each in options]
    status, done = run_in_process("score", str(trained), *arguments)
    assert (status, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
