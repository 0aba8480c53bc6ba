"""`seqlab evaluate`, compared with sacrebleu and, for transcripts, with jiwer."""

import gzip
import json
import math
import sys
from pathlib import Path

import jiwer
import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF, TER

from seqlab.inference.files import all_lines, input_stream

HYPOTHESES = ["the cat sat on the mat .", "a dog runs\u2028fast", "", "Hello, world!", "two men walk down a street"]
REFERENCES = [
    "the cat is on the mat .",
    "a dog\u2028runs fast",
    "something",
    "Hello, world!",
    "two men walk the street",
]
OTHER_REFERENCES = [
    "a cat sat on the mat .",
    "dogs run fast",
    "nothing",
    "Hi, world!",
    "two men are walking down a street",
]
BASELINE_HYPOTHESES = ["cat mat", "a dog runs", "x", "Hello world", "men walk"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write hypotheses, two sets of references and the baseline's hypotheses to files; one file is compressed."""
    found = {}
    for name, lines in (
        ("hyp", HYPOTHESES),
        ("ref", REFERENCES),
        ("other", OTHER_REFERENCES),
        ("base", BASELINE_HYPOTHESES),
    ):
        content = "".join(f"{line}\n" for line in lines).encode()
        found[name] = tmp_path / (f"{name}.gz" if name == "other" else name)
        found[name].write_bytes(gzip.compress(content) if name == "other" else content)
    return found


def test_short_references_without_a_chosen_metric_give_a_warning(seqlab, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("yes\nno\n")
    warning = "the references have 1.0 words per line, too few for the 4-grams of BLEU: choose --metrics"
    assert warning in seqlab("evaluate", path, "--ref", path).err
    assert warning not in seqlab("evaluate", path, "--ref", path, "--metrics", "bleu").err


@pytest.mark.parametrize("references", [["ref"], ["ref", "other"]])
def test_values_and_signatures_match_sacrebleu(seqlab, files: dict[str, Path], references: list[str]) -> None:
    texts = [{"ref": REFERENCES, "other": OTHER_REFERENCES}[name] for name in references]
    paths = [files[name] for name in references]
    command = ("evaluate", files["hyp"], "--ref", *paths, "--metrics", "bleu", "chrf", "ter", "exact_match")
    results = json.loads(seqlab(*command, "--json").out)
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF()), ("ter", TER())):
        expected = metric.corpus_score(HYPOTHESES, texts)
        assert results[name]["value"] == pytest.approx(expected.score, abs=1e-9)
        assert results[name]["signature"] == str(metric.get_signature())
    matches = sum(any(h == text[i] for text in texts) for i, h in enumerate(HYPOTHESES))
    assert results["exact_match"]["value"] == pytest.approx(100 * matches / len(HYPOTHESES))
    printed = seqlab(*command).out.decode().splitlines()
    assert [line.partition("|")[0] for line in printed] == ["BLEU", "chrF2", "TER", "exact_match"]
    assert f"= {results['bleu']['value']:.2f} (" in printed[0]
    assert results["bleu"]["signature"] in printed[0]


def test_columns_of_tables_are_hypotheses_and_references(seqlab, files: dict[str, Path], tmp_path: Path) -> None:
    further = [line if index % 2 else "" for index, line in enumerate(OTHER_REFERENCES)]
    table, records = tmp_path / "test.tsv", tmp_path / "hyp.jsonl"
    rows = zip(REFERENCES, further, strict=True)
    table.write_text("".join(f"word\t{first}\t{other}\n" for first, other in rows), encoding="utf-8")
    records.write_text("".join(json.dumps({"best": line}) + "\n" for line in HYPOTHESES), encoding="utf-8")
    (tmp_path / "further").write_text("".join(f"{line}\n" for line in further), encoding="utf-8")
    options = ("--metrics", "bleu", "wer", "exact_match", "--json")
    found = seqlab("evaluate", f"{records}#best", "--ref", f"{table}#1", f"{table}#2", *options)
    plain = seqlab("evaluate", files["hyp"], "--ref", files["ref"], tmp_path / "further", *options)
    assert found.out == plain.out
    bleu = BLEU()
    expected = bleu.corpus_score(HYPOTHESES, [REFERENCES, [line or None for line in further]])
    result = json.loads(found.out)["bleu"]
    assert result["value"] == pytest.approx(expected.score, abs=1e-9)
    assert result["signature"] == str(bleu.get_signature())
    assert result["signature"].startswith("nrefs:var|")


def test_bleu_is_the_default_and_the_hypotheses_may_be_piped(seqlab, files: dict[str, Path]) -> None:
    from_file = seqlab("evaluate", files["hyp"], "--ref", files["ref"])
    piped = seqlab("evaluate", "-", "--ref", files["ref"], stdin=files["hyp"].read_bytes())
    assert from_file.out == piped.out
    expected = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert f" = {expected:.2f} " in from_file.out.decode()


def test_bleu_of_text_that_looks_tokenized_comes_with_a_warning(seqlab, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tokenized").write_text("a b .\n" * 20)
    command = ("evaluate", tmp_path / "tokenized", "--ref", tmp_path / "tokenized")
    assert "look tokenized" in seqlab(*command).err
    assert "look tokenized" not in seqlab(*command, "--metrics", "chrf").err
    assert "look tokenized" not in seqlab("evaluate", files["hyp"], "--ref", files["ref"]).err


def test_sources_add_the_lexical_complexity(seqlab, files: dict[str, Path]) -> None:
    from seqlab.evaluation.complexity import lexical_complexity

    command = ("evaluate", files["hyp"], "--ref", files["ref"], "--src", files["other"])
    line = seqlab(*command).out.decode().splitlines()[-1]
    assert line.startswith("alternatives|nrefs:1|case:mixed|unit:token|norm:none|align:ibm1")
    found = json.loads(seqlab(*command, "--baseline", files["base"], "--json").out)
    for name, lines in (("alternatives", HYPOTHESES), ("baseline_alternatives", BASELINE_HYPOTHESES)):
        assert found[name]["value"] == pytest.approx(math.exp(lexical_complexity(OTHER_REFERENCES, lines)))
        assert found[name]["of_references"] == pytest.approx(math.exp(lexical_complexity(OTHER_REFERENCES, REFERENCES)))


@pytest.mark.parametrize(
    ("hypothesis", "reference", "options", "warning"),
    [
        ("the ca@@ t", "the cat", [], "1 of 2 hypotheses have subword marks (`@@` or `▁`), but none of the references"),
        ("the cat &apos;s", "the cat 's", [], "1 of 2 hypotheses have escapes of the Moses tokenizer"),
        (
            "the cat",
            "the c\u200bat",
            [],
            "1 of 2 references have invisible characters, such as U+200B, but none of the",
        ),
        ("the cat", "the c\u200bat", ["--normalize", "plain"], ""),
        ("the c\ufffdt", "the cat", [], "1 of 2 hypotheses have U+FFFD"),
        ("the cat", "The cat", [], "1 of 2 references have capital letters, but none of the hypotheses"),
        ("the cat", "The cat", ["--normalize", "lower"], ""),
        ("it’s", "it's", [], "1 of 2 hypotheses have typographic apostrophes"),
        ("it’s", "it's", ["--normalize", "plain"], ""),
        ("the cat", "the cat", [], ""),
    ],
)
def test_marks_that_only_one_text_has_are_reported(
    hypothesis: str, reference: str, options: list[str], warning: str, seqlab, tmp_path: Path
) -> None:
    for name, line in (("hyp", hypothesis), ("ref", reference)):
        (tmp_path / name).write_text(f"{line}\nand so on\n", encoding="utf-8")
    result = seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "wer", *options)
    assert warning in result.err
    assert result.err.count("warning: ") == bool(warning)


IDS = ("u1 a cat\nu2 a dog\n", "u2 a dog\nu1 a cat\n")
ENDING_IDS = ("a cat (u1)\na dog (u2)\n", "a dog (u2)\na cat (u1)\n")
LAUGHTER = "a cat (laughs)\na dog (laughs)\n"


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (*IDS, "the lines begin with the same ids, such as u2"),
        (*ENDING_IDS, "the lines end with the same ids, such as (u2), which"),
        (IDS[0], "u1\nu2\n", None),
        (LAUGHTER, LAUGHTER, None),
    ],
)
def test_ids_of_lines_are_reported(hypotheses: str, references: str, message: str | None, seqlab, tmp_path) -> None:
    (tmp_path / "hyp").write_text(hypotheses, encoding="utf-8")
    (tmp_path / "ref").write_text(references, encoding="utf-8")
    warnings = seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "wer").err
    assert message in warnings if message else "same ids" not in warnings


def test_lines_that_differ_only_in_unicode_normalization_or_spaces_are_counted(seqlab, tmp_path: Path) -> None:
    (tmp_path / "hyp").write_text("caf\u00e9\na b\nc\nd\n", encoding="utf-8")
    (tmp_path / "ref").write_text("cafe\u0301\na  b \nc\ne\n", encoding="utf-8")
    result = seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "exact_match")
    assert "2 of 4 lines differ from the reference only in Unicode normalization or spaces" in result.err
    assert b"= 25.00" in result.out
    same = seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", tmp_path / "hyp", "--metrics", "exact_match")
    assert "Unicode normalization" not in same.err


def test_a_baseline_adds_a_significance_test(seqlab, files: dict[str, Path]) -> None:
    command = ("evaluate", files["hyp"], "--ref", files["ref"], "--baseline", files["base"], "--metrics", "chrf")
    lines = seqlab(*command).out.decode().splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["baseline:", "system:", "chrF2"]
    assert "p = " in lines[2]
    comparison = json.loads(seqlab(*command, "--json").out)["chrf"]
    expected = [CHRF().corpus_score(lines, [REFERENCES]).score for lines in (HYPOTHESES, BASELINE_HYPOTHESES)]
    assert comparison["difference"] == pytest.approx(expected[0] - expected[1], abs=1e-9)
    same_as_baseline = ("evaluate", files["hyp"], "--ref", files["ref"], "--baseline", files["hyp"], "--json")
    assert json.loads(seqlab(*same_as_baseline).out)["bleu"]["p_value"] == 1


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    for read in (lambda: all_lines("-"), lambda: input_stream(None).__enter__()):
        with pytest.raises(ValueError, match="standard input is closed"):
            read()


def test_invalid_arguments_are_reported(seqlab, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "short").write_text("one\n", encoding="utf-8")
    for arguments, message in (
        ([files["hyp"], "--ref", tmp_path / "short"], f"hyp has 5 lines but {tmp_path}/short has 1"),
        (
            [files["hyp"], "--ref", files["ref"], "--baseline", tmp_path / "short"],
            f"hyp has 5 lines but {tmp_path}/short has 1",
        ),
        (
            [files["hyp"], "--ref", files["ref"], tmp_path / "short", "--metrics", "exact_match"],
            f"hyp has 5 lines but {tmp_path}/short has 1",
        ),
        ([files["hyp"], "--ref", tmp_path / "none"], "none: there is no such file."),
        ([files["hyp"], "--ref", f"{tmp_path}/test.tsv#1"], "test.tsv: there is no such file."),
        (
            [files["hyp"], "--ref", f"{files['ref']}#1"],
            "only .tsv, .jsonl, .csv, .conllu, .conll, .json, .parquet, .arrow files have",
        ),
        (
            [files["hyp"], "--ref", files["ref"], "--metrics", "blue"],
            "must be one of bleu, chrf, ter, wer, cer, exact_match, contains, repeated, missing, length_error, "
            "bleu_zh, bleu_ja_mecab, bleu_flores200, bleu_char, "
            "accuracy, macro_f1",
        ),
        (["-", "--ref", "-"], "standard input (`-`) can be read only once"),
        (["-", "--ref", files["ref"], "--baseline", "-"], "standard input (`-`) can be read only once"),
        ([files["hyp"]], "the following arguments are required: --ref"),
        ([files["hyp"], "--ref", files["ref"], "--metric", "bleu"], "the nearest is `--metrics`"),
    ):
        result = seqlab("evaluate", *arguments)
        assert (result.status, result.out) == (2, b"")
        assert message in result.err
        assert result.err.count("\n") == 1


def test_errors_for_unequal_numbers_of_labels_name_file_and_line(seqlab, tmp_path: Path) -> None:
    words = [["1 the _ DET", "2 dog _ NOUN"], ["1 go _ VERB", "2 home _ ADV"]]
    for name, sentences in (("ref", words), ("hyp", [words[0], words[1][:1]])):
        rows = ["\n".join(row.replace(" ", "\t") + "\t_" * 6 for row in sentence) for sentence in sentences]
        (tmp_path / f"{name}.conllu").write_text("".join(f"{each}\n\n" for each in rows))
    hyp, ref = (f"{tmp_path}/{name}.conllu#upos" for name in ("hyp", "ref"))
    message = f"{hyp}, line 4 has 1 label, but {ref}, line 4 has 2"
    for options in (
        (hyp, "--ref", ref, "--metrics", "accuracy"),
        (hyp, "--ref", ref, "--confusion"),
        (ref, "--ref", ref, "--baseline", hyp, "--metrics", "macro_f1"),
    ):
        result = seqlab("evaluate", *options)
        assert (result.status, result.out) == (2, b"")
        assert message in result.err


def test_confusion_makes_accuracy_the_default_metric(seqlab, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("A\nB\nA\n")
    (tmp_path / "truth").write_text("A\nB\nB\n")
    result = seqlab("evaluate", tmp_path / "labels", "--ref", tmp_path / "truth", "--confusion")
    assert result.status == 0
    assert result.out.startswith(b"accuracy|")
    assert b"bleu" not in result.out.lower()


THAI = ["ผมไปโรงเรียนทุกวันจันทร์ครับ", "แมวนั่งอยู่บนเสื่อ"]


def test_text_without_spaces_is_scored_by_characters(seqlab, tmp_path: Path) -> None:
    hyp, ref = tmp_path / "hyp", tmp_path / "ref"
    hyp.write_text("\n".join([THAI[0], THAI[1][:-1]]))
    ref.write_text("\n".join(THAI))
    rate = 100 * jiwer.cer(THAI, [THAI[0], THAI[1][:-1]])
    (score,) = json.loads(seqlab("evaluate", hyp, "--ref", ref, "--normalize", "lower", "--json").out).values()
    assert (score["name"], score["value"]) == ("cer", pytest.approx(rate))


@pytest.mark.parametrize("metric", ["wer", "bleu", "ter", "missing", "repeated", "length_error", "contains"])
def test_metrics_of_words_warn_of_text_without_spaces(seqlab, metric: str, tmp_path: Path) -> None:
    path, divided = tmp_path / "ref", tmp_path / "divided"
    path.write_text("\n".join(THAI))
    divided.write_text("ผม ไป โรงเรียน ทุก วัน\n")
    warning = f"the references are written without spaces between words, which `{metric}` needs"
    assert warning in seqlab("evaluate", path, "--ref", path, "--metrics", metric).err
    assert warning not in seqlab("evaluate", divided, "--ref", divided, "--metrics", metric).err


def test_class_names_of_several_words_are_reported(seqlab, tmp_path: Path) -> None:
    """`accuracy` would count "New York" taken for "New Jersey" as half correct."""
    (tmp_path / "hyp").write_text("New York\n" * 50)
    (tmp_path / "ref").write_text("New York\nNew Jersey\n" * 25)
    (tmp_path / "tags").write_text("O O B-ORG O\n" * 50)
    warning = "the references are few different lines, some of several words"
    assert warning in seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "accuracy").err
    assert warning not in seqlab("evaluate", tmp_path / "tags", "--ref", tmp_path / "tags", "--metrics", "accuracy").err


def test_files_in_different_unicode_forms_are_reported(seqlab, tmp_path: Path) -> None:
    """Also if no line is correct, so that no line differs in its form only."""
    (tmp_path / "hyp").write_text("un e\u0301te\u0301 froid dans le sud\n", encoding="utf-8")
    (tmp_path / "ref").write_text("un été chaud dans le sud\n", encoding="utf-8")
    warning = "either the hypotheses or the references are not in Unicode normalization form C"
    assert warning in seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref").err
    assert warning not in seqlab("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "wer").err
    assert warning not in seqlab("evaluate", tmp_path / "ref", "--ref", tmp_path / "ref").err


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,234.5", "950", "2,000"], [1234.5, 950, 2000]),
        (["1.234,5", "950", "2.000"], [1234.5, 950, 2000]),
        (["$1,234.50", "$950", "$2,000"], [1234.5, 950, 2000]),
        (["12%", "7%", "100%"], [12, 7, 100]),
    ],
)
def test_numbers_of_a_column_are_compared_as_training_reads_them(
    seqlab, tmp_path: Path, cells: list[str], expected: list[float]
) -> None:
    (tmp_path / "hyp").write_text("".join(f"{value + 2}\n" for value in expected))
    rows = [{"y": cell} for cell in cells]
    (tmp_path / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ("evaluate", tmp_path / "hyp", "--ref", f"{tmp_path / 't.jsonl'}#y", "--metrics", "mae", "--json")
    assert json.loads(seqlab(*command).out)["mae"]["value"] == 2


def test_several_numbers_on_a_line_are_not_thousands(seqlab, tmp_path: Path) -> None:
    for name, lines in (("hyp", "100 200\n300 400\n"), ("ref", "101 200\n300 403\n")):
        (tmp_path / name).write_text(lines)
    command = ("evaluate", tmp_path / "hyp", "--ref", tmp_path / "ref", "--metrics", "mae", "--json")
    assert json.loads(seqlab(*command).out)["mae"]["value"] == 1


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "t.csv#y, line 3: is empty, but must have a number: remove the line"),
        ("nan", "t.csv#y, line 3: must consist of numbers, but is nan: correct it"),
    ],
)
def test_lines_without_numbers_are_refused_with_their_file(seqlab, cell: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"x,y\n0,1\n0,{cell}\n")
    (tmp_path / "h").write_text("1\n2\n")
    done = seqlab("evaluate", tmp_path / "h", "--ref", f"{tmp_path}/t.csv#y", "--metrics", "rmse")
    assert (done.status, done.out) == (2, b"")
    assert message in done.err
    (tmp_path / "h").write_text("\n2\n")
    done = seqlab("evaluate", f"{tmp_path}/t.csv#x", "--ref", tmp_path / "h", "--metrics", "rmse")
    assert f"{tmp_path}/h, line 1: is empty, but must have a number" in done.err


def test_references_without_a_class_are_reported_unless_they_are_predicted(seqlab, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n0,cat\n0,NaN\n0,dog\n0,NaN\n")
    warning = f"{tmp_path}/t.csv#y, line 3 is 'NaN', which stands for a missing value, as do 2 references in all"
    for hypotheses, is_reported in (("cat\ncat\ndog\ndog\n", True), ("cat\nNaN\ndog\ndog\n", False)):
        (tmp_path / "h").write_text(hypotheses)
        done = seqlab("evaluate", tmp_path / "h", "--ref", f"{tmp_path}/t.csv#y", "--metrics", "accuracy")
        assert (warning in done.err) == is_reported


@pytest.mark.parametrize(("reference", "hypothesis"), [("1.0", "1"), ("yes", "Yes"), ("True", "1")])
def test_classes_in_another_spelling_are_reported(seqlab, reference: str, hypothesis: str, tmp_path: Path) -> None:
    (tmp_path / "r").write_text(f"{reference}\n0\n{reference}\n")
    (tmp_path / "h").write_text(f"{hypothesis}\n0\n{hypothesis}\n")
    done = seqlab("evaluate", tmp_path / "h", "--ref", tmp_path / "r", "--metrics", "accuracy")
    warning = f"the class {reference!r} of the references is {hypothesis!r} in the hypotheses: they count as different"
    assert warning in done.err
    assert "the class" not in seqlab("evaluate", tmp_path / "r", "--ref", tmp_path / "r", "--metrics", "accuracy").err
