"""`seqlab export --format arpa` and `seqlab import`: round trips and errors."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_language_models import TinyRuns

from seqlab.export.arpa import arpa_words
from seqlab.runs import RunFolder
from seqlab.text import load_tokenizer

ARPA = "\\data\\\nngram 1=3\n\n\\1-grams:\n-99 <s>\n-0.3 </s>\n-0.3 dog\n\n\\end\\\n"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> TinyRuns:
    return TinyRuns(tmp_path_factory.getbasetemp() / "language_models")


def test_reserved_names_survive_export_and_import(seqlab, tmp_path: Path) -> None:
    """Text can contain the names of special tokens, such as `<unk>` in the Penn Treebank."""
    (tmp_path / "text.txt").write_text("the <unk> sat\nthe </s> <s> <pad> saw \\u003c\nthe <unk> saw\n" * 3)
    options = ("--data.tokenizer.kind", "words", "--model.family", "ngram_lm", "--data.valid", tmp_path / "text.txt")
    trained = seqlab("train", "--data.train", tmp_path / "text.txt", *options, "--run_dir", tmp_path / "run")
    assert trained.status == 0, trained.err
    exported = seqlab("export", tmp_path / "run", "--format", "arpa", "--out", tmp_path / "lm.arpa")
    assert (exported.status, exported.out) == (0, f"{tmp_path / 'lm.arpa'}\n".encode())
    assert seqlab("export", tmp_path / "run", "--format", "arpa").out.decode().endswith("run/export/model.arpa\n")
    imported = seqlab("import", tmp_path / "lm.arpa", "--run_dir", tmp_path / "again")
    assert (imported.status, imported.out) == (0, f"{tmp_path / 'again'}\n".encode())
    found, expected = (
        json.loads(seqlab("perplexity", tmp_path / name, tmp_path / "text.txt", "--json").out)
        for name in ("again", "run")
    )
    assert found["nats_per_token"] == pytest.approx(expected["nats_per_token"], rel=1e-6)
    assert found["unknown"] == 0
    assert "ngram_lm" in seqlab("info", tmp_path / "again").out.decode()


def test_log_probs_of_impossible_words_are_null_in_json(seqlab, tmp_path: Path) -> None:
    """Without `<unk>` in the file, other words have probability 0; JSON has no infinity."""
    (tmp_path / "lm.arpa").write_text(ARPA)
    seqlab("import", tmp_path / "lm.arpa", "--run_dir", tmp_path / "run")
    (tmp_path / "dog").write_text("dog\ncat\n")
    (tmp_path / "cat").write_text("cat\ncat\n")
    # Unknown words are n/a in any case, so the impossible word must be in the vocabulary.
    (tmp_path / "other.txt").write_text("cat dog\n" * 3)
    options = ("--data.tokenizer.kind", "words", "--model.family", "ngram_lm", "--data.valid", tmp_path / "other.txt")
    seqlab("train", "--data.train", tmp_path / "other.txt", *options, "--run_dir", tmp_path / "words")
    run_dir = tmp_path / "over_words"
    seqlab("import", tmp_path / "lm.arpa", "--run_dir", run_dir, "--tokenizer", tmp_path / "words")

    def parse_strict_json(text: bytes) -> list[Any]:
        def refuse(name: str) -> None:
            raise AssertionError(name)

        return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]

    known, impossible = parse_strict_json(seqlab("score", run_dir, "--tgt", tmp_path / "dog", "--json").out)
    assert known["log_prob"] == pytest.approx(-0.6 * math.log(10), rel=1e-6)
    assert (impossible["log_prob"], impossible["token_log_probs"][0], impossible["unknown"]) == (None, None, [])
    per_line = seqlab("perplexity", run_dir, tmp_path / "dog", "--per_line", "--json").out
    assert [line["log_prob"] for line in parse_strict_json(per_line)] == [known["log_prob"], None]
    both = ("score", run_dir, "--tgt", tmp_path / "cat", tmp_path / "dog", "--likeliest")
    assert [line["likeliest"] for line in parse_strict_json(seqlab(*both, "--json").out)] == [2, None]
    assert seqlab(*both).out == b"2\nn/a\n"


def test_invalid_arguments_and_files_are_refused(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    run_dir, other = runs("ngram_lm"), runs("gru_lm")
    file = tmp_path / "lm.arpa"
    assert seqlab("export", run_dir, "--format", "arpa", "--out", file).status == 0
    content = file.read_bytes()
    (tmp_path / "damaged.arpa").write_bytes(content[:-20])
    (tmp_path / "damaged.arpa.gz").write_bytes(gzip.compress(content)[:-20])
    (tmp_path / "folder").mkdir()
    (tmp_path / "words.arpa").write_text(ARPA)
    for arguments, message in [
        (["export", run_dir, "--format", "arpa", "--out", file], f"{file} exists already: choose another `--out`"),
        (
            ["export", other, "--format", "arpa"],
            "has `model.family: language_model`: only models of the family `ngram_lm`",
        ),
        (
            ["export", run_dir, "--format", "arpa", "--quantization", "int8"],
            "there is no option `--quantization` (see",
        ),
        (["import", tmp_path / "none.arpa"], f"There is no file {tmp_path / 'none.arpa'}"),
        (["import", tmp_path / "damaged.arpa", "--tokenizer", run_dir], "damaged.arpa, line"),
        (["import", tmp_path / "damaged.arpa.gz", "--tokenizer", run_dir], "cannot be unpacked"),
        (["import", file], "contain a space or `▁`: add `--tokenizer RUN` for a run with the same tokens"),
        (
            ["import", file, "--tokenizer", tmp_path / "folder"],
            f"There is no run {tmp_path / 'folder'} with a tokenizer",
        ),
        (
            ["import", tmp_path / "words.arpa", "--tokenizer", run_dir],
            "none of the words before this line is in the",
        ),
        (["import", file, "--run_dir", tmp_path / "folder"], "exists already: choose another `--run_dir`"),
        (["import", file, "--run_dir", run_dir], "exists already: add `--overwrite` to replace it, or choose"),
    ]:
        if arguments[0] == "import" and "--run_dir" not in arguments:
            arguments = [*arguments, "--run_dir", tmp_path / "new"]
        result = seqlab(*arguments)
        assert (result.status, result.out) == (2, b""), arguments
        assert message in result.err
        assert not (tmp_path / "new").exists()
    assert file.read_bytes() == content
    assert not list(tmp_path.glob(".*"))
    replaced = seqlab("import", file, "--run_dir", tmp_path / "new", "--tokenizer", run_dir)
    assert replaced.status == 0
    assert seqlab("import", file, "--run_dir", tmp_path / "new", "--tokenizer", run_dir, "--overwrite").status == 0
    assert RunFolder(tmp_path / "new").exists()


WORDS = """\\data\\
ngram 1=4
ngram 2=1

\\1-grams:
-99\t<s>
-0.5\t</s>
-0.5\tdog\t-0.1
-0.6\tcat

\\2-grams:
-0.2\tdog cat

\\end\\
"""


@pytest.mark.parametrize("has_byte_order_mark", [False, True])
def test_without_unk_words_missing_from_the_file_have_probability_zero(
    seqlab, tmp_path: Path, has_byte_order_mark: bool
) -> None:
    """A byte order mark before the file has no effect."""
    (tmp_path / "lm.arpa").write_text(WORDS, encoding="utf-8-sig" if has_byte_order_mark else "utf-8")
    imported = seqlab("import", tmp_path / "lm.arpa", "--run_dir", tmp_path / "run")
    assert imported.status == 0
    assert "has no `<unk>` and lacks 1 of the 5 words of the vocabulary, which are never generated" in imported.err
    (tmp_path / "text").write_text("dog cat\ncow dog\n")
    found = json.loads(seqlab("perplexity", tmp_path / "run", tmp_path / "text", "--json").out)
    assert (found["perplexity"], found["tokens"], found["unknown"]) == (None, 6, 1)
    assert found["known_perplexity"] == pytest.approx(10 ** ((0.5 + 0.2 + 0.5 + 0.5 + 0.1 + 0.5) / 5))


def test_unk_in_capitals_is_the_unknown_word(seqlab, tmp_path: Path) -> None:
    text = WORDS.replace("ngram 1=4", "ngram 1=5").replace("-0.6\tcat", "-0.6\tcat\n-0.9\t<UNK>")
    (tmp_path / "upper.arpa").write_text(text)
    (tmp_path / "lower.arpa").write_text(text.replace("<UNK>", "<unk>"))
    scores = []
    for name in ("upper", "lower"):
        imported = seqlab("import", tmp_path / f"{name}.arpa", "--run_dir", tmp_path / name)
        assert (imported.status, "never" in imported.err) == (0, False)
        scores.append(seqlab("generate", tmp_path / name, "--beam_size", "3", "--json", "--prompt", "dog").out)
    assert scores[0] == scores[1]


def test_translation_with_a_language_model_without_unk(seqlab, run_dir: Path, tmp_path: Path) -> None:
    """The tokens with probability 0 are counted in a warning, and prefixes that contain them are refused."""
    tokens = arpa_words(load_tokenizer(run_dir / "tokenizer"))
    words = [token for token in tokens if token.isalpha() and not set(token) & set("zwei")][:3]
    unigrams = "".join(f"-0.7\t{word}\n" for word in words)
    text = f"\\data\\\nngram 1={len(words) + 2}\n\n\\1-grams:\n-99\t<s>\n-0.5\t</s>\n{unigrams}\n\\end\\\n"
    (tmp_path / "lm.arpa").write_text(text)
    lm = tmp_path / "lm"
    assert seqlab("import", tmp_path / "lm.arpa", "--run_dir", lm, "--tokenizer", run_dir).status == 0
    options = ("--lm", lm, "--lm_weight", "0.0001", "--beam_size", "2")
    result = seqlab("translate", run_dir, *options, stdin=b"one\n")
    assert f"gives probability 0 to {len(tokens) - len(words) - 3} of the {len(tokens)} tokens" in result.err
    (tmp_path / "prefixes").write_text("zwei\n")
    refused = seqlab("translate", run_dir, *options, "--prefix", tmp_path / "prefixes", stdin=b"one\n")
    assert refused.status == 2
    assert "to which the language model gives probability 0: leave it out" in refused.err


def test_exporting_a_model_of_continuous_text_warns(seqlab, runs: TinyRuns, tmp_path: Path) -> None:
    run_dir = runs("ngram_lm", documents="continuous")
    result = seqlab("export", run_dir, "--format", "arpa", "--out", tmp_path / "lm.arpa")
    assert "was trained on continuous text, without <s>" in result.err


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\x85", "\x1c", "\u2009"])
def test_words_with_unicode_spaces_are_read_and_written(seqlab, tmp_path: Path, space: str) -> None:
    """ARPA files separate words by ASCII spaces and tabs only."""
    word = f"10{space}000"
    unigrams = ["-99\t<s>\t-0.3", "-1\t</s>", "-1\t<unk>", "-0.5\ta\t-0.2", f"-0.9\t{word}"]
    text = "\n".join(["\\data\\", "ngram 1=5", "ngram 2=1", "", "\\1-grams:", *unigrams, "", "\\2-grams:"])
    (tmp_path / "lm.arpa").write_bytes(f"{text}\n-0.1\ta {word}\n\n\\end\\\n".encode())
    for source, run_dir in (("lm.arpa", "run"), ("copy.arpa", "copy")):
        result = seqlab("import", tmp_path / source, "--run_dir", tmp_path / run_dir)
        assert (result.status, "not in the vocabulary" in result.err) == (0, False)
        (tmp_path / "line").write_text(f"a {word}\n", encoding="utf-8", newline="")
        log10 = float(seqlab("score", tmp_path / run_dir, "--tgt", tmp_path / "line").out) / math.log(10)
        assert log10 == pytest.approx(-0.3 - 0.5 - 0.1 - 1)  # backoff of <s>, a, `a WORD`, </s>
        out = ("--out", tmp_path / "copy.arpa", "--overwrite")
        assert seqlab("export", tmp_path / run_dir, "--format", "arpa", *out).status == 0


def test_an_empty_word_is_refused(seqlab, tmp_path: Path) -> None:
    text = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1\t</s>\n-1\t<unk>\n-0.9\t\t-0.1\n\n\\end\\\n"
    (tmp_path / "lm.arpa").write_text(text)
    result = seqlab("import", tmp_path / "lm.arpa", "--run_dir", tmp_path / "run")
    assert (result.status, "lm.arpa, line 7: expected a log-probability" in result.err) == (2, True)
