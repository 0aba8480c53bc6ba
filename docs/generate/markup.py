"""Markdown from the plain text of docstrings and help."""

import re
from collections.abc import Callable, Iterable, Sequence

CODE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1\s*?$|(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
"""A fenced block or a code span."""


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to the parts of a Markdown text that are not code."""
    parts, end = [], 0
    for found in CODE.finditer(text):
        parts += [change(text[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*parts, change(text[end:])])


def prose(text: str) -> str:
    """Escape characters that Markdown would interpret, in plain text with code spans."""
    return outside_code(text, lambda part: re.sub(r"([*<$])", r"\\\1", part))


def paragraphs(text: str) -> str:
    """Convert a docstring to Markdown; a paragraph with indented lines becomes a fenced block."""
    found = []
    for paragraph in text.strip("\n").split("\n\n"):
        is_verbatim = re.search(r"^ +\S", paragraph, re.MULTILINE) is not None
        found.append(fenced(paragraph, "text") if is_verbatim else prose(paragraph))
    return "\n\n".join(found)


def fenced(text: str, language: str, css_class: str = "") -> str:
    """Write a fenced code block; the fence is longer than any in the text."""
    longest = max(map(len, re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    info = f" {{ .{language} .{css_class} }}" if css_class else language
    return f"{fence}{info}\n{text.rstrip()}\n{fence}"


def definition(term: str, text: str) -> str:
    """Write an entry of a definition list, with the term as code."""
    return f"`{term}`\n:   {prose(' '.join(text.split())) or '&nbsp;'}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; each cell is one line of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
