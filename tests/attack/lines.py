"""Attacks by unusual lines on commands that work line by line, and by unusual bytes in any input file."""

import random
from collections.abc import Iterator, Sequence

from attack.files import Finding
from attack.options import WORKING_ARGUMENTS, format_command
from attack.trial import Outcome, run
from attack.workspace import Workspace

PIECES = (
    *(b"", b" ", b"\t", b"\r", b"drei", b"hundert", b"0", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x0b", b"\x1b[2J"),
    *(
        b"\x00",
        b"\x7f",
        b"\xf0\x9f\x98\x80",
        b"e\xcc\x81",
        b"\xef\xbb\xbf",
        b"</s>",
        b"<pad>",
        b"<unk>",
        b"\xe2\x96\x81",
    ),
    *(
        b'"',
        b"'",
        b"\\",
        b"{",
        b"]",
        b",",
        b"#",
        b"%s",
        b"a" * 500,
        "漢字かな".encode(),
        "שלום".encode(),
        b"\xe2\x80\x8b",
    ),
    *(b"\xed\x9f\xbf", b"1e999", b"NaN", b"-0", b"\xcc\x81" * 50, b"x/y;z|w", b"http://a.b/c?d=e&f", b"<b>&amp;</b>"),
    *(b"\xe2\x96\x81", b"\xe2\x80\x8b"),
)
INVALID_UTF8 = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\x80")
"""Bytes that are not valid UTF-8."""
LONG_LINE = b"drei " * 300_000
"""A line that is longer than commands accept."""
COMMANDS: dict[str, Sequence[str]] = {
    "translate": ("runs/transformer", "--input", "FILE"),
    "label": ("runs/gru_labeller", "--input", "FILE"),
    "generate": ("runs/gru_lm", "--max_length", "4", "--prompts", "FILE"),
    "score": ("runs/gru_lm", "--tgt", "FILE"),
}


def try_lines(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Pass unusual lines to a command. It must write one line each, and exit with status 3 if a line is too long."""
    for _ in range(count):
        command = rng.choice(list(COMMANDS))
        lines = [random_line(rng) for _ in range(rng.randrange(1, 8))]
        has_long_line, has_invalid_utf8 = rng.random() < 0.15, rng.random() < 0.15
        if has_long_line:
            lines.insert(rng.randrange(len(lines) + 1), LONG_LINE)
        if has_invalid_utf8:
            lines.insert(rng.randrange(len(lines) + 1), b"a" + rng.choice(INVALID_UTF8))
        path = workspace.folder / "lines.txt"
        path.write_bytes(b"\n".join(lines) + b"\n" * rng.randrange(2))
        argv = [command, *(path.name if each == "FILE" else each for each in COMMANDS[command])]
        argv += rng.choice(((), ("--json",), ("--buffer_lines", "1")))
        outcome = run(argv, folder=workspace.folder)
        num_lines = path.read_bytes().removesuffix(b"\n").count(b"\n") + 1
        starts = [each[:30] for each in lines]
        yield (
            f"{format_command(argv)}: {starts}",
            check_lines(outcome, num_lines, has_long_line, has_invalid_utf8, bool(path.stat().st_size)),
        )


def check_lines(
    outcome: Outcome, num_lines: int, has_long_line: bool, has_invalid_utf8: bool, has_lines: bool
) -> str | None:
    """Return the fault of a command on `num_lines` lines; None if there is none."""
    if outcome.fault is not None:
        return outcome.fault
    if has_invalid_utf8:
        return None if outcome.status == 2 else f"status {outcome.status} for bytes that are not UTF-8"
    if outcome.status != (3 if has_long_line else 0) and has_lines:
        return f"status {outcome.status}: {outcome.message}"
    num_outputs = outcome.stdout.count(b"\n")
    return (
        None if num_outputs == num_lines or not has_lines else f"{num_outputs} output lines for {num_lines} input lines"
    )


def random_line(rng: random.Random) -> bytes:
    """Join up to five random pieces."""
    return rng.choice((b"", b" ")).join(rng.choice(PIECES) for _ in range(rng.randrange(6)))


def try_corpora(workspace: Workspace, rng: random.Random, count: int) -> Iterator[Finding]:
    """Damage an input file of a command: text, a table or a list of recordings."""
    pairs = [
        (command, index)
        for command, argv in WORKING_ARGUMENTS.items()
        for index, each in enumerate(argv)
        if (workspace.folder / each.partition("#")[0]).is_file()
    ]
    for _ in range(count):
        command, index = rng.choice(pairs)
        argv = list(WORKING_ARGUMENTS[command])
        name, _, column = argv[index].partition("#")
        content = (workspace.folder / name).read_bytes()
        position = rng.randrange(len(content) + 1)
        piece = rng.choice((*PIECES, *INVALID_UTF8, LONG_LINE, b"\n", b"\n\n", b"\t\t", b'""', content))
        damaged = workspace.folder / "corpora" / f"damaged{(workspace.folder / name).suffix}"
        damaged.write_bytes(content[:position] + piece + content[position + rng.randrange(9) :])
        argv[index] = f"corpora/{damaged.name}" + (f"#{column}" if column else "")
        yield (
            f"{format_command([command, *argv])}: {piece[:30]!r} at {position}",
            run([command, *argv], folder=workspace.folder).fault,
        )
