"""Text metrics against sacrebleu and hand-counted examples."""

import json
import math
import random
import subprocess
import sys

import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF, TER

from seqlab.evaluation import METRICS, evaluate

WORDS = ["Ein", "Mann", "mit", "einem", "Hut", "steht", "vor", "dem", "roten", "Haus", ",", "und", "läuft", "."]
NUMBER_METRICS = ("label_macro_f1", "mae", "rmse", "r2", "log_loss", "label_log_loss")
EXCLUDED = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "entity_f1",
    "entity_f1_strict",
    *NUMBER_METRICS,
    "repeated",
    "length_error",
)
"""Metrics of labels (as many per line as in the reference), of numbers, and of errors that correct lines may have."""
NOT_INSTALLED = ("bleu_ja_mecab", "bleu_flores200")
"""Metrics with tokenizers that are not installed with seqlab."""
TEXT_METRICS = [name for name in METRICS if name not in (*EXCLUDED, *NOT_INSTALLED)]


def random_lines(seed, count=60):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 14))) for _ in range(count)]


def add_noise(originals, seed):
    draw = random.Random(seed)
    return [" ".join(w if draw.random() < 0.8 else draw.choice(WORDS) for w in line.split()) for line in originals]


REFERENCES = [random_lines(0), [line or "Ein" for line in add_noise(random_lines(0), 1)]]
HYPOTHESES = add_noise(random_lines(0), 2)
ERROR_RATES = ("ter", "wer", "cer", "missing")
"""Metrics for which lower is better."""


@pytest.mark.parametrize("num_references", [1, 2])
@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU), ("chrf", CHRF), ("ter", TER)])
def test_scores_and_signatures_match_sacrebleu(name, metric, num_references):
    references = REFERENCES[:num_references]
    sacrebleu_metric = metric()
    expected = sacrebleu_metric.corpus_score(HYPOTHESES, references)
    score = evaluate(HYPOTHESES, references, [name])[name]
    assert score.value == pytest.approx(expected.score, rel=1e-12)
    assert score.name == expected.name
    assert score.signature == str(sacrebleu_metric.get_signature())
    assert f"nrefs:{num_references}|" in score.signature
    assert score.higher_is_better == (name != "ter")


def test_bleu_is_cased_with_13a_tokenization():
    signature = evaluate(HYPOTHESES, REFERENCES[:1])["bleu"].signature
    assert signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    upper = [line.upper() for line in REFERENCES[0]]
    assert evaluate(upper, REFERENCES[:1])["bleu"].value < 20
    assert evaluate(["Hello, you there now!"], [["Hello , you there now !"]])["bleu"].value == pytest.approx(100)


@pytest.mark.parametrize(("name", "tokenize"), [("bleu_zh", "zh"), ("bleu_char", "char")])
def test_bleu_of_text_without_spaces(name: str, tokenize: str) -> None:
    hypotheses, references = ["我喜欢吃苹果", "今天天气很好 OK."], [["我喜欢吃梨", "今天的天气好 OK."]]
    expected = BLEU(tokenize=tokenize).corpus_score(hypotheses, references)
    found = evaluate(hypotheses, references, [name])[name]
    assert found.value == pytest.approx(expected.score)
    assert f"|tok:{tokenize}|" in found.signature
    assert found.value > evaluate(hypotheses, references, ["bleu"])["bleu"].value == 0


def test_missing_tokenizers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    with pytest.raises(ValueError, match=r"BLEU's tokenizer `ja-mecab` is not installed: .*sacrebleu\[ja\]"):
        evaluate(["a"], [["a"]], ["bleu_ja_mecab"])


def test_bleu_precisions_and_lengths_match_sacrebleu():
    expected = BLEU().corpus_score(HYPOTHESES, REFERENCES)
    extra = evaluate(HYPOTHESES, REFERENCES)["bleu"].extra
    assert extra["precisions"] == pytest.approx(expected.precisions)
    assert (extra["brevity_penalty"], extra["hypothesis_length"], extra["reference_length"]) == (
        pytest.approx(expected.bp),
        expected.sys_len,
        expected.ref_len,
    )


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_correct_lines_have_the_best_score_and_order_does_not_matter(name):
    full = [line for line in REFERENCES[0] if len(line.split()) >= 4]
    assert evaluate(full, [full], [name])[name].value == pytest.approx(0 if name in ERROR_RATES else 100)
    order = random.Random(5).sample(range(len(HYPOTHESES)), len(HYPOTHESES))
    shuffled = evaluate([HYPOTHESES[i] for i in order], [[r[i] for i in order] for r in REFERENCES], [name])[name]
    assert shuffled.value == pytest.approx(evaluate(HYPOTHESES, REFERENCES, [name])[name].value, rel=1e-12)


def test_exact_match_compares_lines_without_normalization():
    hypotheses = ["drei", "Drei", "drei ", "", "vier", "u\u0308ber"]
    first = ["drei", "drei", "drei", "", "fünf", "\u00fcber"]
    second = ["x", "x", "x", "x", "vier", "x"]
    one, both = (evaluate(hypotheses, refs, ["exact_match"])["exact_match"] for refs in ([first], [first, second]))
    assert (one.value, dict(one.extra)) == (pytest.approx(100 * 2 / 6), {"correct": 2, "lines": 6})
    assert (both.value, dict(both.extra)) == (pytest.approx(100 * 3 / 6), {"correct": 3, "lines": 6})
    assert both.signature == "nrefs:2|case:mixed|unit:line|norm:none"


def test_results_are_in_the_given_order_and_can_be_printed():
    scores = evaluate(HYPOTHESES, REFERENCES, ["ter", "exact_match", "bleu", "chrf"])
    assert list(scores) == ["ter", "exact_match", "bleu", "chrf"]
    for score in scores.values():
        assert score.as_line().startswith(f"{score.name}|{score.signature} = {score.value:.2f}")
        assert json.loads(json.dumps(score.as_dict()))["value"] == score.value
        assert math.isfinite(score.value)
    correct = scores["exact_match"].extra["correct"]
    assert scores["exact_match"].as_line().endswith(f" (correct = {correct}, lines = 60)")
    assert "brevity_penalty = " in scores["bleu"].as_line()


def test_empty_hypotheses_have_the_worst_score():
    references = [["Ein Mann geht nach Hause .", "Ein Hund ."]]
    scores = evaluate(["", ""], references, TEXT_METRICS)
    assert {name: scores[name].value for name in TEXT_METRICS} == {
        name: 100 * (name in ERROR_RATES) for name in TEXT_METRICS
    }


@pytest.mark.parametrize(
    ("hypotheses", "references", "metrics", "message"),
    [
        (["a", "b"], [["a", "b", "c"]], ["bleu"], r"2 hypotheses and 3 references\."),
        (["a"], [["a"], []], ["bleu"], r"1 hypotheses and 0 references in reference 2 of 2\."),
        ([], [[]], ["bleu"], "at least 1 line"),
        (["a"], ["a"], ["bleu"], "one list of lines for each reference file"),
        (["a"], [], ["bleu"], "one list of lines for each reference file"),
        (
            ["a"],
            [["a"]],
            ["blue"],
            r"must be one of bleu, .*chrf, ter, wer, .* but is 'blue' instead; the nearest is `bleu`",
        ),
        (["a"], [["a"]], ["BLEU"], "is 'BLEU' instead; the nearest is `bleu`"),
        (["a"], [["a"]], ["bleu,chrf"], "is 'bleu,chrf' instead; separate names by spaces"),
    ],
)
def test_invalid_input_is_refused(hypotheses, references, metrics, message):
    with pytest.raises(ValueError, match=message):
        evaluate(hypotheses, references, metrics)


def test_importing_evaluation_loads_neither_torch_nor_sacrebleu():
    code = "import sys, seqlab.evaluation; print([m for m in ('torch', 'sacrebleu') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
