"""Parallel text in other layouts than one sentence on each line of two files: refused by name, or noted."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from seqlab.data.columns import parse_column
from seqlab.data.corpus import Corpus
from seqlab.data.parallel_text import note_text
from seqlab.data.prepare import prepare
from seqlab.data.readers import iter_lines, read_lines
from seqlab.data.survey import Survey, survey_corpus
from seqlab.tasks.labelling.config import LabellingConfig
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.tasks.translation.config import TranslationConfig
from seqlab.text import CharactersConfig

TMX = '<?xml version="1.0"?>\n<tmx version="1.4"><body><tu><tuv xml:lang="de"><seg>eins</seg></tuv></tu></body></tmx>\n'
XLIFF = '<xliff version="1.2"><file><body><trans-unit id="1"><source>one</source></trans-unit></body></file></xliff>\n'
SGM = '<srcset setid="newstest" srclang="any">\n<doc docid="1"><seg id="1">one &amp; two</seg></doc>\n</srcset>\n'
SEGMENTS = {
    "a.tmx": TMX,
    "b.txt": TMX.replace("?>\n", "?> "),
    "c.xlf": XLIFF,
    "d.de": XLIFF,
    "e.sgm": SGM,
    "f.en": SGM,
    "g.de": '<!DOCTYPE mteval SYSTEM "ftp://jaguar">\n',
    "h.sgm": '<?xml version="1.0"?>\n',
    "i.tmx.gz": TMX,
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_files_of_segments_are_refused_by_name(name: str, tmp_path: Path) -> None:
    raw = SEGMENTS[name].encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    for read in (lambda: list(read_lines(path)), lambda: list(Corpus.from_specs(str(path)).blocks())):
        with pytest.raises(ValueError, match=rf"{name} is a file of segments with markup \(TMX, XLIFF or SGM\)"):
            read()


@pytest.mark.parametrize("first", ["<!DOCTYPE html>", "<html lang='en'>", '\ufeff<?xml version="1.0"?>', "  <HTML>"])
def test_a_page_is_no_text_for_any_command(first: str, tmp_path: Path) -> None:
    """Such as the message of a server in place of the file."""
    content, path = f"{first}\n<p>404 Not Found\n".encode(), tmp_path / "train.txt"
    path.write_bytes(content)
    for read in (
        lambda: list(iter_lines(BytesIO(content), "standard input")),
        lambda: list(Corpus.from_specs(str(path)).blocks()),
        lambda: survey_corpus(Corpus.from_specs(str(path))),
    ):
        with pytest.raises(
            ValueError, match=r"(train\.txt|standard input): is an HTML or XML page, not a table or text"
        ):
            read()
    path.write_text("<b>bold</b> text\n<htmlish> is a word\n", "utf-8")
    assert len(list(read_lines(path))) == 2


def survey(tmp_path: Path, src: str, tgt: str | None) -> Survey:
    (tmp_path / "a.src").write_text(src, "utf-8")
    (tmp_path / "a.tgt").write_text(src if tgt is None else tgt, "utf-8")
    return survey_corpus(Corpus.from_specs(f"{tmp_path}/a.src", f"{tmp_path}/a.{'src' if tgt is None else 'tgt'}"))


TWO_TEXTS = "ein Haus ||| a house\nzwei ||| two\n"
LAYOUTS: dict[str, tuple[str, str | None, str]] = {
    "two texts on a line": (TWO_TEXTS, "a house\ntwo\n", r"a\.src: each line has ' \|\|\| ', .*two files, .*a\.tsv#0"),
    "two texts in one file": (TWO_TEXTS, None, r"a\.src: each line has ' \|\|\| '"),
    "a table in one file": (
        "ein Haus\ta house\nzwei\ttwo\n",
        None,
        r"a\.src: each line has '\\t', which separates two",
    ),
    "two texts in the target": ("a house\ntwo\n", TWO_TEXTS, r"a\.tgt: each line has ' \|\|\| '"),
    "a web page": ("<!DOCTYPE html>\n<p>404\n", "a\nb\n", r"a\.src: is an HTML or XML page, .* \(<!DOCTYPE html>\)"),
    "lines of IWSLT": ("<url>http://ted</url>\nHaus\n", "<url>http://ted</url>\nhouse\n", r"a\.src, line 1: is markup"),
    "documents of WikiExtractor": ('<doc id="12" title="x">\nx\n', "a\nb\n", r"a\.src, line 1: is markup"),
    "chapters of Europarl": ('<CHAPTER ID="011">\nx\n', "a\nb\n", r"a\.src, line 1: is markup"),
    "documents of WMT": ('<doc docid="1">\n<seg>x</seg>\n', "a\nb\n", r"a\.src, line 1: is markup"),
    "one line more": ("a\nb\nc\n", "a\nb\n", r"a\.src has 3 lines but .*a\.tgt has 2"),
    "one line fewer": ("a\nb\n", "a\nb\nc\n", r"a\.src has 2 lines but .*a\.tgt has 3"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_other_layouts_are_refused_with_what_to_do(case: str, tmp_path: Path) -> None:
    src, tgt, message = LAYOUTS[case]
    with pytest.raises(ValueError, match=message):
        survey(tmp_path, src, tgt)


@pytest.mark.parametrize(
    ("src", "tgt"),
    [
        ("gehen\tV;PST\nHaus\tN;PL\n", "ging\nHäuser\n"),  # a tab starts tags
        ("a ||| b\nplain\n", "x\ny\n"),
        ("<b> bold\nplain\n", "x\ny\n"),
        ("one line ||| \n", "x\n"),
        ("same\ntext\n", None),
    ],
)
def test_texts_with_some_marks_are_read(src: str, tgt: str | None, tmp_path: Path) -> None:
    assert len(survey(tmp_path, src, tgt)) == src.count("\n")


def test_two_columns_of_one_table_are_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "train.en-de.tsv"
    path.write_text('one\teins\n"two\tzwei\nshe said "hi"\tsie sagte "hi"\n', "utf-8")
    rows = list(Corpus.from_specs(f"{path}#0", f"{path}#1").rows())
    assert rows == [("one", "eins"), ('"two', "zwei"), ('she said "hi"', 'sie sagte "hi"')]


def test_markup_and_quotation_marks_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_text("<2en> eins\n>>eng<< zwei\nan &quot; &apos;s\nx <2en>\n", "utf-8")
    (tmp_path / "t.tsv").write_text('de\ten\n"eins"\tone\nzwei\t"two" x\n', "utf-8")
    notes = note_text([Corpus.from_specs(f"{tmp_path}/a.de"), Corpus.from_specs(f"{tmp_path}/t.tsv#de")])
    assert [note.count for note in notes] == [2, 1, 1]
    assert [note.since for note in notes] == [1, 1, 2]
    assert [note.first.rpartition("/")[2] for note in notes] == ["a.de, line 1", "a.de, line 3", "t.tsv, line 2"]
    for note, part in zip(notes, ["language tag", "escapes of the Moses tokenizer", "quotation marks"], strict=True):
        assert part in note.text


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("Gr\ufffd\ufffde", "have U+FFFD"),
        ("GrÃ¼ÃŸe", "UTF-8 that was decoded as Latin-1"),
        ("itâ€™s", "UTF-8 that was decoded as Latin-1"),
        ("ein Sa@@ tz", "have subword marks"),
        ("▁ein ▁Sa tz", "have subword marks"),
        ("<s> ein Satz </s>", "have tokens such as `<s>`"),
        ("[CLS] ein Satz [SEP]", "have tokens such as `<s>`"),
        ("&Uuml;ber&nbsp;uns &#8211;", "have HTML entities"),
        ('{"de": "ein Satz"}', "have JSON records"),
        ('<doc id="12" url="https://de.wikipedia.org" title="Haus">', "have only a tag"),
        ("</P>", "have only a tag"),
        ("1\tein Satz", "targets have a tab"),
        ("ein\0 Satz", "have invisible characters"),
        ("\ufeffein Satz", "have invisible characters"),
        ("SÃO João, <unk> @-@ a@b @@ {x} __ — Ü&A; &#124; <b>x</b> <unk>", None),
    ],
)
def test_text_that_other_programs_wrote_is_noted(line: str, part: str | None, tmp_path: Path) -> None:
    for name in "st":
        (tmp_path / name).write_text(f"ein Satz\n{line}\n", "utf-8")
    notes = note_text([Corpus.from_specs(f"{tmp_path}/s", f"{tmp_path}/t")])
    found = [note for note in notes if "Moses" not in note.text]
    assert [part in note.text for note in found if part] == [True] * bool(part)
    assert len(found) == bool(part)
    assert all(note.first.endswith(", line 2") for note in found)


def test_one_file_as_both_sides_is_reported(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("".join(f"eins {i}\n" for i in range(30)), "utf-8")
    config = TranslationConfig(train_src=[f"{tmp_path}/t"], train_tgt=[f"{tmp_path}/t"])
    lines = prepare(config, [tokenizer, tokenizer], tmp_path / "cache", num_workers=1).report.lines()
    assert "  all targets equal their sources: is one of the files named twice?" in lines


def test_the_prepared_data_have_the_notes(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("de\ten\n" + "".join(f'"eins {i}"\tone {i}\n' for i in range(30)), "utf-8")
    config = LanguageModellingConfig(train=[f"{tmp_path}/t.tsv#de"], valid=f"{tmp_path}/t.tsv#en")
    for _ in ("new", "from the cache"):
        [note] = prepare(config, [tokenizer], tmp_path / "cache", num_workers=1).reading.changes_after(1)
        assert str(note).startswith("30 cells are in quotation marks, which were removed (the first: ")
        assert note.first == f"{tmp_path}/t.tsv, line 2"


def test_version_1_leaves_the_quotation_marks(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('de\ten\n"eins"\tone\n', "utf-8")
    for version, expected in ((1, ['"eins"']), (2, ["eins"])):
        assert list(parse_column(f"{tmp_path}/t.tsv#de", reading=version).values()) == expected


SUBTITLES = "1\n00:00:01,000 --> 00:00:04,000\nein Haus\n\n2\n00:00:05,000 --> 00:00:06,000\nzwei\n"
CATALOG = '# Translators\nmsgid ""\nmsgstr ""\n\nmsgid "a house"\nmsgstr "ein Haus"\n'
OTHER_FORMATS = {
    "a.srt": (SUBTITLES, "has subtitles with their times"),
    "b.vtt": ("WEBVTT\n\n00:01.000 --> 00:04.000\nein Haus\n", "has subtitles with their times"),
    "lines.lrc": ("[00:12.00]ein Haus\n", "has subtitles with their times"),
    "lines.sub": ("{10}{25}ein Haus\n", "has subtitles with their times"),
    "lines.sbv": ("0:00:01.000,0:00:04.000\nein Haus\n", "has subtitles with their times"),
    "c.po": (CATALOG, "is a catalog of messages and their translations"),
    "d.txt": ("WEBVTT\n\n00:01.000 --> 00:04.000\nein Haus\n", "has subtitles with their times"),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_subtitles_and_catalogs_are_refused_by_name(name: str, tmp_path: Path) -> None:
    text, message = OTHER_FORMATS[name]
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=rf"{name} {message}"):
        list(read_lines(tmp_path / name))


@pytest.mark.parametrize("text", [SUBTITLES, CATALOG, "{1}{25}ein Haus\n{26}{50}zwei\n"])
@pytest.mark.parametrize("sides", [1, 2])
def test_subtitles_and_catalogs_under_other_names_are_refused(sides: int, text: str, tmp_path: Path) -> None:
    for name in ("a.de", "a.en"):
        (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"a\.de (has subtitles|is a catalog)"):
        survey_corpus(Corpus.from_specs(*[f"{tmp_path}/a.de", f"{tmp_path}/a.en"][:sides]))


ONE_LINE = ["{0}{1} files were copied", "[00:12.30] she came in", 'msgid "a house" is a key', "<html> starts a page"]


@pytest.mark.parametrize("line", ONE_LINE)
def test_a_sentence_that_looks_like_a_line_of_another_format_is_read(line: str, tmp_path: Path) -> None:
    """A program's strings are translated in a pipeline: no input is refused for its first line alone."""
    (tmp_path / "a.txt").write_text(f"{line}\none two\nthree\n", "utf-8")
    assert list(read_lines(tmp_path / "a.txt")) == [line, "one two", "three"]
    assert len(survey_corpus(Corpus.from_specs(f"{tmp_path}/a.txt"))) == 3


def test_an_empty_text_beside_a_tab_is_no_second_text(tmp_path: Path) -> None:
    for name, text in (("x.src", "a house\t\ntwo\t\n"), ("x.tgt", "ein Haus\nzwei\n")):
        (tmp_path / name).write_text(text, "utf-8")
    [corpus] = TranslationConfig(train_src=[f"{tmp_path}/x.src"], train_tgt=[f"{tmp_path}/x.tgt"]).corpora("train")
    assert len(survey_corpus(corpus)) == 2


@pytest.mark.parametrize(
    ("src", "message"),
    [
        ("a house\tein Haus\ntwo\tzwei\n", r"x\.src: each line has '\\t', which .* need `data\.tokenizer\.tags`"),
        ("1\ta house\n2\ttwo\n", r"x\.src: each line has its number and a tab .*x\.tsv#1"),
        ("17\ta house\n18\ttwo\n", r"x\.src: each line has its number and a tab"),
    ],
)
def test_two_texts_or_a_number_on_each_source_are_refused(src: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.src").write_text(src, "utf-8")
    (tmp_path / "x.tgt").write_text("ein Haus\nzwei\n", "utf-8")
    [corpus] = TranslationConfig(train_src=[f"{tmp_path}/x.src"], train_tgt=[f"{tmp_path}/x.tgt"]).corpora("train")
    with pytest.raises(ValueError, match=message):
        survey_corpus(corpus)


def test_numbers_of_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tgt: each line has its number and a tab"):
        survey(tmp_path, "a house\ntwo\n", "1\tein Haus\n2\tzwei\n")


def test_further_references_are_checked_and_noted(tokenizer: Any, tmp_path: Path) -> None:
    for name, end in (("a.src", ""), ("a.tgt", ""), ("b.tgt", "\tzwei"), ("c.tgt", " ||| zwei")):
        (tmp_path / name).write_text("".join(f"eins {i}{end}\n" for i in range(30)), "utf-8")
    paths: dict[str, Any] = {"train_src": [f"{tmp_path}/a.src"], "train_tgt": [f"{tmp_path}/a.tgt"]}
    for name in ("b", "c"):
        references = [f"{tmp_path}/a.tgt", f"{tmp_path}/{name}.tgt"]
        config = TranslationConfig(**paths, valid_src=f"{tmp_path}/a.src", valid_tgt=references)
        if name == "c":
            with pytest.raises(ValueError, match=r"c\.tgt: each line has ' \|\|\| '"):
                prepare(config, [tokenizer, tokenizer], tmp_path / name, num_workers=1)
        else:
            [note] = prepare(config, [tokenizer, tokenizer], tmp_path / name, num_workers=1).reading
            assert note.text.startswith("targets have a tab")
            assert (note.first, note.count) == (f"{tmp_path}/b.tgt, line 1", 30)


def test_tabs_with_a_meaning_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.src").write_text("gehen\tV;PST\nHaus\tN;PL\n", "utf-8")
    (tmp_path / "x.tgt").write_text("ging\nHäuser\n", "utf-8")
    paths: dict[str, Any] = {"train_src": [f"{tmp_path}/x.src"], "train_tgt": [f"{tmp_path}/x.tgt"]}
    for config in (TranslationConfig(**paths, tokenizer=CharactersConfig(tags=True)), LabellingConfig(**paths)):
        [corpus] = config.corpora("train")
        assert len(survey_corpus(corpus)) == 2


@pytest.mark.parametrize("text", ["1\tein Satz\n2\tnoch einer\n", "ein Satz\ta sentence\nzwei\ttwo\n"])
def test_columns_of_texts_for_language_models_are_noted(text: str, tmp_path: Path) -> None:
    (tmp_path / "news.txt").write_text(text, "utf-8")
    [note] = note_text([Corpus.from_specs(f"{tmp_path}/news.txt")])
    assert note.text.startswith("texts have a tab in each line")
    assert note.first == f"{tmp_path}/news.txt, line 1"
