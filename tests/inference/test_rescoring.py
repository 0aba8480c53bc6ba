"""Rescoring hypotheses of one run with another run, from Python and on the command line."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import seqlab
from seqlab.cli.main import main
from seqlab.inference.engine import PairScore
from seqlab.inference.rescoring import RescoringEngine
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.text import SentencePieceBpeConfig, train_tokenizer

LINES = ["the dog sees a cat.", "a man rides.", "", "the red horse eats quickly on the street."]
SEARCH: dict[str, int] = {"beam_size": 4, "max_length": 9}
MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def rescorer(make_run: MakeRun) -> Path:
    return make_run(seed=7, steps=(1, 2))


def test_the_hypothesis_with_the_best_score_of_the_other_run_is_chosen(run_folder: Path, rescorer: Path) -> None:
    translator = seqlab.load(run_folder, precision="fp32")
    rescored = seqlab.load(run_folder, precision="fp32", rescore=rescorer)
    scorer = seqlab.load(rescorer, precision="fp32")
    rows = translator.src_tokenizer.encode(LINES)
    config = {"num_hypotheses": 4, **SEARCH}
    beams = translator.translate_detailed(LINES, **config)
    found = rescored.translate_detailed(LINES, **config)
    num_changed = 0
    for beam, chosen in zip(beams, found, strict=True):
        assert sorted(h.text for h in chosen.hypotheses) == sorted(h.text for h in beam.hypotheses)
        num_changed += [h.text for h in chosen.hypotheses] != [h.text for h in beam.hypotheses]
        ranks = [(not h.finished, -h.score) for h in chosen.hypotheses]
        assert ranks == sorted(ranks)
    assert num_changed > 0
    assert rescored.translate(LINES, **SEARCH) == [each.text for each in found]
    assert found[LINES.index("")].hypotheses[0].score == 0.0
    bests = rescored.engine.decode(rows, SearchConfig(**SEARCH))
    expected = scorer.engine.score(rows, [best[0].ids for best in bests])
    for row, best, score in zip(rows, bests, expected, strict=True):
        assert len(best) == 1
        if row:
            log_probs = score.token_log_probs[: best[0].num_tokens]  # eos counts only in finished hypotheses
            assert best[0].token_log_probs == pytest.approx(log_probs, rel=1e-5)
            assert best[0].score == pytest.approx(sum(log_probs) / len(log_probs), rel=1e-5)


def test_rescoring_with_the_same_run_keeps_the_ranking(run_folder: Path) -> None:
    """Neither the probabilities nor the coverage penalties change."""
    config = {"num_hypotheses": 4, "coverage_penalty": 0.5, **SEARCH}
    without = seqlab.load(run_folder, precision="fp32").translate_detailed(LINES, **config)
    rescored = seqlab.load(run_folder, precision="fp32", rescore=run_folder).translate_detailed(LINES, **config)
    for expected, found in zip(without, rescored, strict=True):
        assert [each.text for each in found.hypotheses] == [each.text for each in expected.hypotheses]
        scores = [[each.score for each in line.hypotheses] for line in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_results_do_not_depend_on_batches_or_processes(run_folder: Path, rescorer: Path) -> None:
    run = seqlab.load(run_folder, precision="fp32", rescore=[rescorer, run_folder])
    expected = run.translate_detailed(LINES, **SEARCH)
    assert run.translate_detailed(LINES, batch_tokens=1, **SEARCH) == expected
    two_processes = seqlab.load(run_folder, precision="fp32", rescore=[rescorer, run_folder], processes=2)
    assert two_processes.translate_detailed(LINES, **SEARCH) == expected


def test_translate_command_with_rescoring(run_folder: Path, rescorer: Path, monkeypatch: Any, capfdbinary: Any) -> None:
    options = [str(each) for name, value in SEARCH.items() for each in (f"--{name}", value)]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{line}\n" for line in LINES).encode())))
    assert (
        main(["translate", str(run_folder), *options, "--precision", "fp32", "--json", "--rescore", str(rescorer)]) == 0
    )
    found = [json.loads(line)["hypotheses"][0] for line in capfdbinary.readouterr().out.decode().splitlines()]
    expected = seqlab.load(run_folder, precision="fp32", rescore=rescorer).translate_detailed(LINES, **SEARCH)
    assert [each["text"] for each in found] == [each.text for each in expected]
    assert [each["score"] for each in found] == pytest.approx([each.score for each in expected])


def test_invalid_options_are_refused(run_folder: Path, rescorer: Path, make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match="`rescore` chooses between the hypotheses of a beam, but `beam_size: 1`"):
        seqlab.load(run_folder, rescore=rescorer).translate(LINES, beam_size=1)
    with pytest.raises(ValueError, match="`rescore` needs the engine `torch`"):
        seqlab.load(run_folder, rescore=rescorer, engine="ctranslate2")
    other = train_tokenizer(
        SentencePieceBpeConfig(vocab_size=300), [*LINES, "eine ganz andere Zeile, und noch eine"] * 9
    )
    with pytest.raises(ValueError, match="have different src vocabularies"):
        seqlab.load(run_folder, rescore=make_run(other=other))


def test_outputs_at_the_length_limit_of_the_rescorer_are_rescored(make_run: MakeRun, run_folder: Path) -> None:
    """With learned positions, the rescorer cannot read one more token."""
    rescorer = make_run(seed=5, positions="learned", max_length=12)
    found = seqlab.load(run_folder, precision="fp32", rescore=rescorer).translate_detailed(
        LINES, beam_size=3, max_length=30
    )
    assert any(not each.hypotheses[0].finished for each in found)
    for each in found:
        best = each.hypotheses[0]
        assert best.score == pytest.approx(best.log_prob / max(1, best.num_tokens))


def test_unfinished_hypotheses_rank_after_finished_ones() -> None:
    """Even if more probable: their score does not include eos."""

    class Beam:
        def decode(self, src_rows: Any, config: SearchConfig, **_: Any) -> list[list[Hypothesis]]:
            return [[Hypothesis([5], -1.0, -1.0, True, [-0.5, -0.5]), Hypothesis([6], -0.1, -0.1, False, [-0.1])]]

    class Scorer:
        def score(self, src_rows: Any, tgt_rows: Any, **_: Any) -> list[PairScore]:
            return [PairScore(-2.0, 2, [-1.0, -1.0]), PairScore(-20.5, 2, [-0.5, -20.0])]

    engine = RescoringEngine(Beam(), Scorer())  # type: ignore[arg-type]
    ((best,),) = engine.decode([[3]], SearchConfig(beam_size=2))
    assert (best.ids, best.score) == ([5], -1.0)


def test_impossible_hypotheses_rank_after_improbable_ones() -> None:
    class Beam:
        def decode(self, src_rows: Any, config: SearchConfig, **_: Any) -> list[list[Hypothesis]]:
            return [[Hypothesis([], -1.0, -1.0, True, [-1.0]), Hypothesis([5] * 9, -9.0, -9.0, True, [-0.9] * 10)]]

    class Scorer:
        def score(self, src_rows: Any, tgt_rows: Any, **_: Any) -> list[PairScore]:
            return [PairScore(IMPOSSIBLE_LOG_PROB, 1, [IMPOSSIBLE_LOG_PROB]), PairScore(-150.0, 10, [-15.0] * 10)]

    [found] = RescoringEngine(Beam(), Scorer()).decode([[4]], SearchConfig(beam_size=2, length_alpha=0.0))  # type: ignore[arg-type]
    assert [each.ids for each in found] == [[5] * 9]


def test_rescoring_is_in_fp32_by_default(run_folder: Path, rescorer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqlab.nn.precision.supports_bf16", lambda device: True)
    run = seqlab.load(run_folder, rescore=rescorer)
    engines = (run.engine.engine, run.engine.scorer)
    assert [each.members[0].model.projection.weight.dtype for each in engines] == [torch.bfloat16, torch.float32]
