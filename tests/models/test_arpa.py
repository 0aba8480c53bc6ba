r"""ARPA files: round trips, and files of KenLM and SRILM."""

import gzip
import logging
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from seqlab.data.batch import TextBatch
from seqlab.models.arpa import read_arpa, read_words, write_arpa
from seqlab.models.ngram import NgramConfig, NgramModel

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
LINES = ["the cat sat", "the cat saw the dog", "a dog sat", "the dog saw a cat"]
KENLM = """\\data\\
ngram 1=9
ngram 2=15
ngram 3=15

\\1-grams:
-1.20412	<unk>	0
0	<s>	-0.028028725
-0.78914666	</s>	0
-0.8888496	the	-0.2662679
-0.8888496	cat	-0.12493875
-0.8888496	sat	-0.35902193
-0.8888496	saw	-0.12493875
-0.8888496	dog	-0.12493875
-0.8888496	a	-0.12493875

\\2-grams:
-0.687805	cat </s>	0
-0.19818912	sat </s>	0
-0.687805	dog </s>	0
-0.9168783	<s> the	-0.30103
-0.6538916	saw the	-0.30103
-0.81446177	the cat	-0.30103
-0.6538916	a cat	-0.30103
-0.74422514	cat sat	-0.30103
-0.74422514	dog sat	-0.30103
-0.74422514	cat saw	-0.30103
-0.74422514	dog saw	-0.30103
-0.35167387	the dog	-0.30103
-0.6538916	a dog	-0.30103
-0.7361421	<s> a	-0.30103
-0.6538916	saw a	-0.30103

\\3-grams:
-0.21996789	a cat </s>
-0.087885916	cat sat </s>
-0.087885916	dog sat </s>
-0.4527126	the dog </s>
-0.21400324	cat saw the
-0.3872345	<s> the cat
-0.21400324	saw a cat
-0.46838805	the cat sat
-0.22907133	a dog sat
-0.46838805	the cat saw
-0.46838805	the dog saw
-0.40988374	<s> the dog
-0.1411726	saw the dog
-0.21400324	<s> a dog
-0.21400324	dog saw a

\\end\\
"""
"""Output of `lmplz -o 3 --discount_fallback` for LINES."""
KENLM_WORDS = ["the", "cat", "sat", "saw", "dog", "a"]

SRILM = """A file in the style of SRILM: any text may precede the header.

\\data\\
ngram  1=       6
ngram 2=3
ngram 3=1
ngram 4=0

\\1-grams:
-0.7 </s>
-99 <s> -0.5
-1.5 <unk>
-0.6\ta -0.25
-0.9  b\t
-99 c

\\2-grams:
-0.2 <s> a -0.125
-0.3 a b
-0.4 a <unk>

\\3-grams:
-0.1 <s> a b

\\4-grams:

\\end\\
"""


def read_model(path: Path, words: list[str]) -> NgramModel:
    return read_arpa(path, [*SPECIAL, *words], pad_id=PAD, bos_id=BOS, eos_id=EOS)


def write_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text(text, encoding="utf-8")
    return path


def fit_model(lines: list[str], words: list[str], order: int) -> NgramModel:
    ids = {word: i for i, word in enumerate([*SPECIAL, *words])}
    model = NgramModel(NgramConfig(order=order), len(ids), PAD, BOS, EOS)
    model.fit([[ids[word] for word in line.split()] for line in lines])
    return model


def assert_same(found: NgramModel, expected: NgramModel, atol: float) -> None:
    assert (found.vocab_size, found.eos_id, len(found.trie)) == (
        expected.vocab_size,
        expected.eos_id,
        len(expected.trie),
    )
    for level, expected_level in zip(found.trie, expected.trie, strict=True):
        assert torch.equal(level.keys, expected_level.keys)
        torch.testing.assert_close(level.log_probs, expected_level.log_probs, rtol=0, atol=atol)
        torch.testing.assert_close(level.backoffs, expected_level.backoffs, rtol=0, atol=atol)


def log10_prob(model: NgramModel, words: list[str], text: str) -> float:
    """Return the log10-probability of the last word of a text."""
    ids = torch.tensor([[[*SPECIAL, *words].index(word) for word in text.split()]])
    score = model.score(TextBatch(ids[:, :-1], ids[:, 1:], torch.zeros(1), ids.size(1) - 1))[0, -1]
    return score.item() / math.log(10)


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
@pytest.mark.parametrize(("order", "boundaries"), [(1, "lines"), (2, "lines"), (4, "lines"), (3, "continuous")])
def test_written_models_read_back_unchanged(tmp_path: Path, name: str, order: int, boundaries: Any) -> None:
    draw = random.Random(order)
    words = [" ", "▁", "\u00a0", "\u3000", "ß", "\t", "\r", "\x85", "\\u", "1", "-2.5", "\\data\\", "日本"]
    model = NgramModel(NgramConfig(order=order), 4 + len(words), PAD, BOS, EOS)
    model.fit([[UNK + draw.randrange(1 + len(words)) for _ in range(9)] for _ in range(30)], boundaries)
    write_arpa(model, [*SPECIAL, *words], tmp_path / name)
    assert_same(read_model(tmp_path / name, words), model, 1e-6)
    assert read_words(tmp_path / name) == words
    content = (tmp_path / name).read_bytes()
    assert (content[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_reserved_names_are_escaped(tmp_path: Path) -> None:
    words = [" ", "\\u0020", "<unk>", "<s>", "</s>", "<pad>", "x"]
    model = NgramModel(NgramConfig(order=2), 4 + len(words), PAD, BOS, EOS)
    model.fit([[3, *range(4, 4 + len(words))], [8, 6, 5]])
    write_arpa(model, [*SPECIAL, *words], tmp_path / "model.arpa")
    assert_same(read_model(tmp_path / "model.arpa", words), model, 1e-6)
    assert read_words(tmp_path / "model.arpa") == words


def test_estimated_model_equals_kenlm(tmp_path: Path) -> None:
    path = write_file(tmp_path, KENLM)
    assert read_words(path) == KENLM_WORDS
    assert_same(read_model(path, KENLM_WORDS), fit_model(LINES, KENLM_WORDS, 3), 2e-6)  # KenLM computes in fp32


def test_written_file_equals_kenlm_file(tmp_path: Path) -> None:
    """The order of n-grams may differ. Bos has -99, as in the format's definition, instead of KenLM's 0."""

    def numbers(content: str) -> dict[str, list[float]]:
        rows = (line.split("\t") for line in content.splitlines() if "\t" in line)
        return {ngram: [float(log_prob), *map(float, backoff or ["0"])] for log_prob, ngram, *backoff in rows}

    def headers(content: str) -> list[str]:
        return [line for line in content.splitlines() if "\t" not in line]

    write_arpa(fit_model(LINES, KENLM_WORDS, 3), [*SPECIAL, *KENLM_WORDS], tmp_path / "model.arpa")
    text, expected_text = (tmp_path / "model.arpa").read_text(), KENLM.replace("0\t<s>", "-99\t<s>")
    assert headers(text) == headers(expected_text)
    found, expected = numbers(text), numbers(expected_text)
    assert found.keys() == expected.keys()
    assert all(found[ngram] == pytest.approx(expected[ngram], abs=1e-6) for ngram in expected)


def test_srilm_file_is_read(tmp_path: Path) -> None:
    model, words = read_model(write_file(tmp_path, SRILM), ["a", "b", "c"]), ["a", "b", "c"]
    assert len(model.trie) == 3
    for text, expected in {
        "<s> a": -0.2,
        "<s> a b": -0.1,
        "b a b": -0.3,
        "b a </s>": -0.25 - 0.7,
        "<s> a <unk>": -0.125 - 0.4,
        "<s> b": -0.5 - 0.9,
        "<s> a a": -0.125 - 0.25 - 0.6,
        "b b": -0.9,
        "a c": -math.inf,
        "a <s>": -math.inf,
        "a <pad>": -math.inf,
    }.items():
        assert log10_prob(model, words, text) == pytest.approx(expected), text


def test_words_missing_from_file_or_vocabulary_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Words of the file keep their scores. Other words of the vocabulary share the probability of `<unk>`."""
    words = ["dog", "the", "cat", "saw", "zebra", "yak"]  # neither `sat` nor `a`
    path = write_file(tmp_path, KENLM)
    with caplog.at_level(logging.WARNING):
        model = read_model(path, words)
    unknown, missing = (record.getMessage() for record in caplog.records)
    assert unknown.endswith("2 of its 9 words are not in the vocabulary, so n-grams with them are left out: sat, a")
    assert missing.endswith(
        "lacks 2 of the 9 words of the vocabulary, which share the probability of its `<unk>`: zebra, yak"
    )
    full = read_model(path, KENLM_WORDS)
    for text in ("<s> the cat saw", "<s> the dog", "the the", "saw the dog </s>"):
        assert log10_prob(model, words, text) == log10_prob(full, KENLM_WORDS, text)
    unk_share = log10_prob(full, KENLM_WORDS, "<s> the <unk>") - math.log10(3)
    for word in ("zebra", "yak", "<unk>"):
        assert log10_prob(model, words, f"<s> the {word}") == pytest.approx(unk_share, abs=1e-6)
    assert log10_prob(model, words, "yak dog") == log10_prob(full, KENLM_WORDS, "<unk> dog")


@pytest.mark.parametrize("is_natural", [False, True])
def test_logarithms_to_another_base_are_reported(
    is_natural: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = KENLM.splitlines()
    if is_natural:
        lines = [
            f"{float(line.split()[0]) * math.log(10)}{line[len(line.split()[0]) :]}" if "\t" in line else line
            for line in lines
        ]
    (tmp_path / "lm.arpa").write_text("\n".join(lines) + "\n")
    words = [*SPECIAL, "the", "cat", "sat", "saw", "dog", "a"]
    read_arpa(tmp_path / "lm.arpa", words, pad_id=PAD, bos_id=BOS, eos_id=EOS)
    assert ("the probabilities of its 1-grams sum to 0.071 instead of 1" in caplog.text) == is_natural


def test_distributions_stay_normalized_with_missing_words(tmp_path: Path) -> None:
    """The probabilities in each context sum to one for any number of missing words."""
    words = [*KENLM_WORDS, *(f"new{i}" for i in range(50))]
    model = read_model(write_file(tmp_path, KENLM), words)
    names = ["</s>", "<unk>", *words]
    for context in ("<s>", "<s> the", "the cat", "dog", "new7", "<unk>"):
        assert sum(10 ** log10_prob(model, words, f"{context} {name}") for name in names) == pytest.approx(1, abs=1e-5)


def test_missing_words_are_impossible_without_unk(tmp_path: Path) -> None:
    text = KENLM.replace("-1.20412\t<unk>\t0\n", "").replace("ngram 1=9", "ngram 1=8")
    model = read_model(write_file(tmp_path, text), [*KENLM_WORDS, "zebra"])
    assert log10_prob(model, [*KENLM_WORDS, "zebra"], "<s> the zebra") == -math.inf
    assert log10_prob(model, [*KENLM_WORDS, "zebra"], "<s> the <unk>") == -math.inf


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "data", "line 51: expected `.end.`, but the file ends here: it is truncated, or not an ARPA file"),
        ("ngram 2=15", "ngram 3=15", "line 3: expected `ngram 2=` and a number, but found `ngram 3=15`"),
        ("ngram 2=15", "ngram 2=many", "line 3: expected `ngram 2=` and a number, but found `ngram 2=many`"),
        (KENLM[KENLM.index("ngram 1") : KENLM.index("\\1-")], "", "line 2: expected `ngram 1=` and a number, but"),
        ("ngram 2=15", "ngram 2=16", "line 34: the header declares 16 2-grams, but 15 precede this line"),
        ("\\2-grams:", "\\3-grams:", "line 17: expected `.2-grams:`, but found `.3-grams:`"),
        ("\\end\\", "\\4-grams:", "line 51: expected `.end.`, but found `.4-grams:`"),
        ("\\end\\", "", "line 51: expected `.end.`, but the file ends here"),
        (
            "-0.6538916\tsaw the",
            "x\tsaw the",
            "line 22: expected a log-probability of at most 0, 2 words, an",
        ),
        ("-0.6538916\tsaw the", "0.5\tsaw the", "line 22: expected a log-probability of at most 0"),
        ("-0.6538916\tsaw the", "nan\tsaw the", "line 22: expected a log-probability"),
        ("saw the\t-0.30103", "saw the\tinf", "line 22: expected a log-probability"),
        ("saw the\t-0.30103", "saw", "line 22: expected a log-probability"),
        ("saw the\t-0.30103", "saw the dog sat", "line 22: expected a log-probability"),
        ("0\t<s>", "-1\tthe", "line 10: the word `the` occurs twice, but must occur once"),
        ("\tsaw the\t", "\tthe cat\t", "line 23: this n-gram occurs twice, but must occur once"),
        ("\tcat saw\t", "\tcat the\t", "line 39: the first 2 words of this 3-gram are missing from the 2-grams"),
        (
            "\tsaw the\t",
            "\tsaw yak\t",
            "line 22: expected words that are among the 1-grams, but found `-0.6538916\tsaw",
        ),
        ("\t</s>", "\tend", "line 17: `</s>` is missing from the words before this line"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert KENLM.count(old) >= 1
    path = write_file(tmp_path, KENLM.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as raised:
        read_model(path, KENLM_WORDS)
    assert str(raised.value).startswith(f"{path}, line ")


def test_damaged_compressed_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.arpa.gz"
    path.write_bytes(gzip.compress(KENLM.encode())[:200])
    with pytest.raises(ValueError, match="cannot be unpacked, the file is damaged"):
        read_model(path, KENLM_WORDS)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_bytes(KENLM.replace("\tdog\t", "\tH\u00fcndin\t").encode("latin-1"))
    with pytest.raises(ValueError, match="line 14: expected a word in UTF-8, but found"):
        read_words(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "must name all 6 ids, but has 5 names"),
        (["x", ""], "the name of id 5 is empty"),
        (["x", "x"], "ids 4 and 5 are both written `x`"),
    ],
)
def test_invalid_token_names_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    model = NgramModel(NgramConfig(), 6, PAD, BOS, EOS)
    with pytest.raises(ValueError, match=message):
        write_arpa(model, [*SPECIAL, *words], tmp_path / "model.arpa")
    assert not (tmp_path / "model.arpa").exists()
