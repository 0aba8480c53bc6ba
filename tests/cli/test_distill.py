"""`seqlab distill`: order of the output, resuming after an interruption, and errors."""

import gzip
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from reference.random_runs import write_run

from seqlab.base.atomic_io import with_checksum
from seqlab.runs.folder import RunFolder
from seqlab.tasks.translation.distillation import Distilled, WorkFile, append_json, distill
from seqlab.tasks.translation.load_with_torch import load_with_torch as load
from seqlab.tasks.translation.run import Run
from seqlab.tasks.translation.translator import Translation

LINES = ["abc", "", "d", "abc", "jihgfedcba abc", "e f", "g", "h i", "", "j"]
SMALL = ("--beam_size", "2", "--max_length", "8", "--precision", "fp32")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "src").write_text("".join(f"{line}\n" for line in LINES))
    (tmp_path / "ref").write_text("k l\n" * len(LINES))
    return tmp_path


def test_outputs_match_translate_and_statistics_are_reported(seqlab, run_dir: Path, corpus: Path) -> None:
    expected = seqlab("translate", run_dir, "--input", corpus / "src", *SMALL).out
    (corpus / "ref").write_bytes(expected.replace(b"\n", b" x\n", 1))
    options = ("distill", run_dir, "--src", corpus / "src", "--ref", corpus / "ref", "--out", corpus / "out", *SMALL)
    result = seqlab(*options, "--json")
    assert (corpus / "out").read_bytes() == expected
    assert {path.name for path in corpus.iterdir()} == {"src", "ref", "out"}
    report = json.loads(result.out)
    assert (report["lines"], report["different_sources"]) == (10, 8)
    assert report["same_as_reference"] == 0.9
    assert report["references_words_per_source_word"] > report["words_per_source_word"] > 0
    again = seqlab(*options)
    assert (again.status, f"{corpus / 'out'} exists" in again.err) == (2, True)
    assert len(seqlab(*options, "--overwrite").out.splitlines()) == 5


def test_an_older_run_reads_quotation_marks_as_translate_does(seqlab, tmp_path: Path) -> None:
    folder = RunFolder(write_run(tmp_path / "older"))
    folder.write_description({name: value for name, value in folder.read_description().items() if name != "reading"})
    (tmp_path / "t.tsv").write_text('"abc"\tx\n"d e"\tx\nf\ty\n')
    source = tmp_path / "t.tsv#0"
    expected = seqlab("translate", folder.path, "--input", source, *SMALL).out
    assert seqlab("distill", folder.path, "--src", source, "--out", tmp_path / "out", *SMALL).status == 0
    assert (tmp_path / "out").read_bytes() == expected
    (tmp_path / "t.tsv").write_text("abc\tx\nd e\tx\nf\ty\n")
    assert seqlab("translate", folder.path, "--input", source, *SMALL).out != expected


@pytest.mark.parametrize("missing_bytes", [0, 7])
def test_an_interrupted_command_is_resumed(
    seqlab, run_dir: Path, corpus: Path, missing_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interruption is in the third block. In one case the second block's line in the work file is incomplete."""
    expected = seqlab("translate", run_dir, "--input", corpus / "src", *SMALL).out
    files = ("--src", corpus / "src", "--out", corpus / "out")
    options = ("distill", run_dir, *files, "--buffer_lines", "3", *SMALL)
    requested: list[list[str]] = []

    def translate(self: Run, lines: list[str], **_: object) -> list[Translation]:
        requested.append(list(lines))
        if len(requested) == 3:
            raise KeyboardInterrupt
        return original_translate(self, lines, **_)

    original_translate = Run.translate_detailed
    monkeypatch.setattr(Run, "translate_detailed", translate)
    interrupted = seqlab(*options)
    assert (interrupted.status, "run the same command to resume" in interrupted.err) == (130, True)
    monkeypatch.setattr(Run, "translate_detailed", original_translate)
    work = corpus / "out.work"
    assert not (corpus / "out").exists()
    content = work.read_bytes()
    assert len(content.splitlines()) == 3
    work.write_bytes(content[: len(content) - missing_bytes])
    monkeypatch.setattr(
        Run,
        "translate_detailed",
        lambda self, lines, **_: requested.append(lines) or original_translate(self, lines, **_),
    )
    assert seqlab(*options).status == 0
    assert (corpus / "out").read_bytes() == expected
    assert not work.exists()
    assert [line for block in requested[3:] for line in block] == LINES[3 if missing_bytes else 6 :]


def test_overwriting_can_be_resumed(seqlab, run_dir: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = seqlab("translate", run_dir, "--input", corpus / "src", *SMALL).out
    files = ("--src", corpus / "src", "--out", corpus / "out", "--overwrite")
    options = ("distill", run_dir, *files, "--buffer_lines", "3", *SMALL)
    (corpus / "out").write_text("before\n")
    requested: list[list[str]] = []

    def translate(self: Run, lines: list[str], **options: object) -> list[Translation]:
        requested.append(list(lines))
        if len(requested) == 3:
            raise KeyboardInterrupt
        return original_translate(self, lines, **options)  # type: ignore[arg-type]

    original_translate = Run.translate_detailed
    monkeypatch.setattr(Run, "translate_detailed", translate)
    assert seqlab(*options).status == 130
    assert (corpus / "out").read_text() == "before\n"
    assert seqlab(*options).status == 0
    assert (corpus / "out").read_bytes() == expected
    assert [line for block in requested[3:] for line in block] == LINES[6:]


def test_a_command_interrupted_after_writing_its_output_can_be_completed(
    seqlab, run_dir: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output and work file exist then. The same command completes, and any other command is refused."""
    options = ("distill", run_dir, "--src", corpus / "src", "--out", corpus / "out", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: (_ for _ in ()).throw(KeyboardInterrupt))
        assert seqlab(*options).status == 130
    written = (corpus / "out").read_bytes()
    assert (corpus / "out.work").exists()
    assert "out exists: name another file" in seqlab(*options[:-2], "--precision", "bf16").err
    assert seqlab(*options).status == 0
    assert (corpus / "out").read_bytes() == written
    assert not (corpus / "out.work").exists()
    assert "out exists: name another file" in seqlab(*options).err


def test_a_work_file_with_more_translations_than_lines_is_damaged(seqlab, run_dir: Path, corpus: Path) -> None:
    lines = ["a", "b"]
    run = load(run_dir)
    work = WorkFile(corpus / "w", {"src": "a"})
    with work.open() as (file, _):
        append_json(file, asdict(Distilled(["x"] * 3)))
    with pytest.raises(ValueError, match="w is damaged: it has 3 translations, but there are 2 lines"):
        distill(run, lines, work, beam_size=1)


@pytest.mark.parametrize("changed_option", [("--beam_size", "3"), ("--precision", "bf16"), ("--max_length", "7")])
def test_a_work_file_with_other_settings_is_refused(
    seqlab, run_dir: Path, corpus: Path, changed_option: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Run, lines: list[str], locations: list[str], **options: object) -> list[Translation]:
        if locations[0].endswith(f", line {stops[-1]}"):
            raise KeyboardInterrupt
        return original_translate(self, lines, locations=locations, **options)  # type: ignore[arg-type]

    original_translate = Run.translate_detailed
    options = ("distill", run_dir, "--src", corpus / "src", "--out", corpus / "out", "--buffer_lines", "3")
    stops: list[int] = []
    for line, remaining in ((1, []), (4, [corpus / "out.work"])):
        stops.append(line)
        with monkeypatch.context() as patch:
            patch.setattr(Run, "translate_detailed", stop)
            assert seqlab(*options, *SMALL).status == 130
        assert list(corpus.glob("out*")) == remaining
    changed = list(SMALL)
    changed[changed.index(changed_option[0]) + 1] = changed_option[1]
    result = seqlab(*options, *changed)
    assert (result.status, f"was started with `{changed_option[0][2:]}: " in result.err) == (2, True)


def test_lines_of_a_table_are_counted_with_its_header(
    seqlab, run_dir: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "table.tsv").write_text("src\ttgt\n" + "".join(f"{line}\tk\n" for line in ("a", "b", "c")))
    requested: list[tuple[list[str], list[str]]] = []

    def translate(self: Run, lines: list[str], locations: list[str], **options: object) -> list[Translation]:
        requested.append((list(lines), locations))
        return original_translate(self, lines, locations=locations, **options)  # type: ignore[arg-type]

    original_translate = Run.translate_detailed

    monkeypatch.setattr(Run, "translate_detailed", translate)
    src = f"{corpus / 'table.tsv'}#src"
    assert seqlab("distill", run_dir, "--src", src, "--out", corpus / "out", "--buffer_lines", "2", *SMALL).status == 0
    assert requested == [(["a", "b"], [f"{src}, line 2", f"{src}, line 3"]), (["c"], [f"{src}, line 4"])]


def test_a_work_file_of_another_run_is_refused(seqlab, run_dir: Path, other_run_dir: Path, corpus: Path) -> None:
    run = load(run_dir)
    options = ("--src", corpus / "src", "--out", corpus / "out", *SMALL)
    with WorkFile(corpus / "out.work", {"runs": "others"}).open():
        pass
    result = seqlab("distill", other_run_dir, *options)
    message = "out.work was started with another `runs`: use the same settings to resume it"
    assert (result.status, message in result.err) == (2, True)
    assert "resuming" not in result.err
    assert seqlab("distill", other_run_dir, *options, "--overwrite").status == 0
    work = WorkFile(corpus / "w", {"src": "a", "search": {"beam_size": 1}})
    found = distill(run, ["a", "b"], work, beam_size=1, max_length=4)
    assert found.translations == run.translate(["a", "b"], beam_size=1, max_length=4)
    for identity, message in (
        ({"src": "b"}, r"w was started with another `src`: "),
        ({"search": {"beam_size": 2}}, r"w was started with `beam_size: 1`, not `beam_size: 2`: "),
        ({"engine": "torch"}, r"w was started with `engine: None`, not `engine: torch`: "),
    ):
        with pytest.raises(ValueError, match=message), WorkFile(corpus / "w", identity).open():
            pass


@pytest.mark.parametrize("content", ["my notes", "my notes\n", "5\n", "[]\n"])
def test_other_files_are_not_changed(seqlab, run_dir: Path, corpus: Path, content: str) -> None:
    (corpus / "out.work").write_text(content)
    for more in ((), ("--overwrite",)):
        result = seqlab("distill", run_dir, "--src", corpus / "src", "--out", corpus / "out", *SMALL, *more)
        assert (result.status, "out.work is not a work file of `distill`" in result.err) == (2, True)
        assert (corpus / "out.work").read_text() == content


def test_damaged_work_files_are_reported_with_the_line(corpus: Path) -> None:
    work = WorkFile(corpus / "w", {"src": "a"})
    with work.open():
        pass
    line = json.dumps(with_checksum(asdict(Distilled(["a"])))).encode() + b"\n"
    changed = line.replace(b'["a"]', b'["b"]')
    wrong_type = json.dumps(with_checksum(asdict(Distilled(["a"])) | {"cut": "many"})).encode() + b"\n"
    for damage in (b"{\n", b"[1]\n", b'{"other": 1}\n', changed, wrong_type, b"[" * 100_000 + b"\n"):
        content = (corpus / "w").read_bytes().splitlines(keepends=True)[0] + damage
        (corpus / "w").write_bytes(content)
        with pytest.raises(ValueError, match="w, line 2: damaged"), work.open():
            pass
        assert (corpus / "w").read_bytes() == content


def test_empty_and_incomplete_translations_are_counted(seqlab, run_dir: Path, corpus: Path) -> None:
    options = ("distill", run_dir, "--src", corpus / "src", "--json", "--beam_size", "1", "--buffer_lines", "3")
    cut = ("--out", corpus / "cut", "--min_length_ratio", "9", "--max_length", "3")
    found = json.loads(seqlab(*options, *cut).out)
    assert (found["empty"], found["cut_at_max_length"]) == (0, sum(map(bool, LINES)))
    found = json.loads(seqlab(*options, "--out", corpus / "out", "--max_length", "1").out)
    outputs = (corpus / "out").read_text().splitlines()
    assert found["empty"] == outputs.count("") - LINES.count("") > 0


def test_two_processes_cannot_use_one_work_file(seqlab, run_dir: Path, corpus: Path) -> None:
    options = ("--src", corpus / "src", "--out", corpus / "out", *SMALL)
    with WorkFile(corpus / "out.work", {}).open():
        result = seqlab("distill", run_dir, *options, "--overwrite")
    assert (result.status, "Another process uses" in result.err) == (2, True)
    assert not (corpus / "out").exists()


def test_split_sources_are_counted_after_resuming(seqlab, run_dir: Path, corpus: Path) -> None:
    lines = ["abc", "abc " * 20, "d", "e f " * 20]
    distill(load(run_dir), lines[:2], work := WorkFile(corpus / "kept.work", {}), beam_size=1)
    assert distill(load(run_dir), lines, work, beam_size=1).truncated == 2
    (corpus / "long").write_text("".join(f"{line}\n" for line in lines))
    options = ("--src", corpus / "long", "--out", corpus / "out", "--json", *SMALL)
    assert json.loads(seqlab("distill", run_dir, *options).out)["sources_in_pieces"] == 2


def test_output_names_ending_in_gz_are_compressed(seqlab, run_dir: Path, corpus: Path) -> None:
    seqlab("distill", run_dir, "--src", corpus / "src", "--out", corpus / "out", *SMALL)
    seqlab("distill", run_dir, "--src", corpus / "src", "--out", corpus / "out.gz", *SMALL)
    seqlab("translate", run_dir, "--input", corpus / "src", "--output", corpus / "translated.gz", *SMALL)
    for name in ("out.gz", "translated.gz"):
        assert gzip.decompress((corpus / name).read_bytes()) == (corpus / "out").read_bytes()


def test_invalid_options_are_reported(seqlab, run_dir: Path, corpus: Path) -> None:
    (corpus / "short").write_text("k\n")
    src = (corpus / "src").read_bytes()
    result = seqlab("distill", run_dir, "--src", corpus / "src", "--out", corpus / "src", "--overwrite")
    assert (result.status, "--out and --src are both" in result.err) == (2, True)
    assert (corpus / "src").read_bytes() == src
    for options, message in (
        (("--src", "-"), "--src must be a file"),
        (("--src", corpus / "src", "--out", "-"), "--out must be a file"),
        (("--src", corpus / "src", "--out", corpus), "--out must be a file in an existing folder, but is"),
        (("--src", corpus / "src", "--out", corpus / "none" / "x"), "--out must be a file in an existing folder"),
        (("--src", corpus / "src", "--ref", corpus / "short"), "has 10 lines but"),
        (("--src", corpus / "src", "--buffer_lines", "0"), "`--buffer_lines` must be at least 1, but is 0 instead"),
        (("--src", corpus / "none"), "none: there is no such file"),
        (("--src", corpus / "src", "--checkpoint", "7"), "`checkpoint` must be `best`, `last` or one of 10, 20"),
    ):
        out = () if "--out" in options else ("--out", corpus / "out")
        result = seqlab("distill", run_dir, *out, *options)
        assert (result.status, message in result.err) == (2, True)
        assert not list(corpus.glob("out*"))
