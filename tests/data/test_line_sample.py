"""Statistics of samples of lines: scripts without spaces between words."""

import pytest

from seqlab.data.line_sample import LineSample
from seqlab.training.validation import warn_of_word_metric


@pytest.mark.parametrize(
    "line",
    [
        *("我们今天去北京大学图书馆看书学习", "私は昨日カレーを食べました"),
        *("ผมไปโรงเรียนทุกวันจันทร์ครับ", "ខ្ញុំទៅសាលារៀនជារៀងរាល់ថ្ងៃ"),
        *("ຂ້ອຍໄປໂຮງຮຽນທຸກມື້", "ကျွန်တော်ကျောင်းသွားတယ်", "ང་སློབ་གྲྭར་འགྲོ་གི་ཡོད།", "ꦲꦏꦸꦩꦔꦤ꧀ꦱꦼꦒ", "ꆈꌠꁱꂷꆈꌠꁱꂷ"),
        *("𠀀𠀁𪛖𲎰", "ｱｲｳｴｵ", "ខ្ញុំ\u200bទៅ\u200bសាលារៀន", "2023年12月31日23点59分"),
        "风继续吹过来 不忍再远离你",  # a space between two clauses
    ],
)
def test_scripts_without_spaces_between_words(line: str) -> None:
    assert LineSample([line] * 3).is_unspaced
    assert LineSample([line] * 3).lacks_word_spaces


@pytest.mark.parametrize("line", ["我们 今天 去 北京 大学", "ผม ไป โรงเรียน ทุก วัน", "私 は 昨日 カレー を 食べ まし た"])
def test_text_of_these_scripts_that_was_divided_into_words(line: str) -> None:
    assert LineSample([line]).is_unspaced
    assert not LineSample([line]).lacks_word_spaces


@pytest.mark.parametrize("line", ["나는 학교에 간다", "the cat sat", "यह एक है", "ＡＢＣ ＤＥＦ", "می‌شود که", "12 34"])
def test_scripts_with_spaces_between_words(line: str) -> None:
    assert not LineSample([line]).is_unspaced


@pytest.mark.parametrize(("metric", "is_reported"), [("bleu", True), ("wer", True), ("chrf", False), ("nll", False)])
def test_validation_by_words_of_text_without_spaces_is_reported(
    metric: str, is_reported: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_word_metric(metric, ["我们今天去北京大学图书馆看书学习"])
    assert ("without spaces between words" in caplog.text) == is_reported
    caplog.clear()
    warn_of_word_metric(metric, ["the cat sat on the mat"])
    assert not caplog.text
