"""Declared commands: parsing of options by their types, help, error messages and required options."""

from typing import Annotated, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.cli.declared import DeclaredCommand
from seqlab.commands import AsArgument, AsOption, Command, UsageError
from seqlab.inference.options import SETTINGS, Count, File
from seqlab.registry import Parts


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FileOptions:
    """The files.

    They are not opened.
    """

    files: list[File]
    """to read"""
    out: Annotated[File, AsOption]
    """to write; 100% of it"""
    hidden: int = Field(default=1, init=False)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Options(FileOptions):
    """Do nothing."""

    word: str
    """without an annotation"""
    count: Count | None = None
    """how many (default: all)"""
    rate: float = 0.0
    """of them"""
    kind: Literal["plain", "other"] = "plain"
    """of its name"""
    sizes: Annotated[tuple[Count, ...], "K"] = (1, 2)
    """in turn"""
    flag: bool = False
    """or not"""
    choice: Annotated[bool, "true | false"] = False
    """or not"""
    search: Annotated[str | None, Parts("search")] = None
    """one of"""


received: list[Options] = []
COMMAND = DeclaredCommand("nothing", Command(Options, received.append, single_process=True))


def run(*arguments: str) -> Options:
    """Run the command; return the options that its function receives."""
    assert COMMAND.run(COMMAND.make_parser().parse(arguments)) == 0
    return received.pop()


def test_options_are_converted_to_their_types() -> None:
    defaults = run("a", "b", "word", "--out", "c")
    assert defaults == Options(files=["a", "b"], out="c", word="word")
    options = run(
        "a", "word", "--out", "c", "--count", "3", "--rate", ".5", "--kind", "other", "--sizes", "4", "5", "--flag"
    )
    assert (options.count, options.rate, options.kind, options.sizes, options.flag) == (3, 0.5, "other", (4, 5), True)
    assert [run("a", "w", "--out", "c", "--choice", each).choice for each in ("true", "false")] == [True, False]


def test_paths_may_contain_bytes_that_are_not_utf_8() -> None:
    assert run("a\udcff", "word", "--out", "c\udcff").files == ["a\udcff"]


def test_help_shows_values_defaults_and_headings() -> None:
    text = " ".join(COMMAND.make_parser().format_help().split())
    for line in (
        "FILE [FILE ...] WORD",
        "--out FILE to write; 100% of it",
        "--count N how many (default: all)",
        "--rate X of them (default: 0.0)",
        "--kind plain | other of its name (default: plain)",
        "--sizes K [K ...] in turn (default: 1 2)",
        "--flag or not --choice true | false or not (default: False)",
        f"--search VALUE one of: {', '.join(Parts('search'))}",
        "Do nothing.",
        "positional arguments: FILE to read WORD without an annotation",
        "The files: --out FILE",
    ):
        assert line in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "`--count` must be at least 1, but is 0 instead."),
        (["--count", "x"], "`--count` must be a valid integer, but is 'x' instead."),
        (["--kind", "othr"], "must be 'plain' or 'other', but is 'othr' instead; the nearest is `other`."),
        (["--sizes", "1", "0"], r"`--sizes\[1\]` must be at least 1, but is 0 instead."),
        (["--choice", "maybe"], "`--choice` must be a valid boolean, but is 'maybe' instead."),
        (["--hidden", "2"], "there is no option `--hidden`"),
    ],
)
def test_errors_of_invalid_values_name_the_option(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(").replace(")", r"\)")):
        run("a", "word", "--out", "c", *arguments)
    assert not received


def test_an_option_without_a_default_is_required() -> None:
    with pytest.raises(UsageError, match="the following arguments are required: --out"):
        run("a", "word")


def test_single_process_commands_refuse_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="`seqlab nothing` runs in a single process"):
        run("a", "word", "--out", "c")


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ListOptions:
    """Read any number of files."""

    run: File
    """run folder"""
    files: Annotated[list[File], AsArgument] = ()  # type: ignore[assignment]
    """to read"""
    flag: bool = False
    """or not"""


@pytest.mark.parametrize(
    "arguments",
    ["run a.wav b.wav --flag", "run --flag a.wav b.wav", "--flag run a.wav b.wav", "run a.wav --flag b.wav"],
)
def test_arguments_may_follow_options(arguments: str) -> None:
    parser = DeclaredCommand("list", Command(ListOptions, lambda _: None)).make_parser()
    parsed = parser.parse(arguments.split())
    assert (parsed.run, parsed.files, parsed.flag) == ("run", ["a.wav", "b.wav"], True)
    with pytest.raises(UsageError, match="there is no option `--flaw`; the nearest is `--flag`"):
        parser.parse(["run", "--flaw", "a.wav"])
