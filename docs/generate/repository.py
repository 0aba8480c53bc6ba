"""Generate site pages for repository files that the documentation links to, and rewrite the links.

On GitHub a page of docs/ links to `../../examples/custom_model.py`. The site has a separate page for that file.
"""

import ast
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

from generate import notebooks
from generate.markup import fenced, outside_code, prose, table

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FOLDER = "repository"
LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".sh": "bash"}
EXAMPLES = "reference/examples.md"
"""Page of the folder `examples`."""


def linked_pages(root: Path, texts: dict[str, str]) -> dict[str, str]:
    """Render all files outside docs/ that are reachable by links from the texts.

    `texts` maps the path of each page in the site to its Markdown.
    """
    found: dict[str, str] = {}
    pending = [target for uri, text in texts.items() for target in outside_targets(f"docs/{uri}", text)]
    pending.append("CHANGELOG.md")
    while pending:
        path = pending.pop()
        uri = site_uri(path)
        if uri in found or uri in texts or path == "examples":
            continue
        if not (root / path).exists():
            raise ValueError(f"A page links to {path}, which does not exist.")
        found[uri] = render_page(root / path, path)
        if path.endswith(".md"):
            pending += outside_targets(path, found[uri])
    return found


def outside_targets(source: str, text: str) -> Iterable[str]:
    """Yield the repository paths outside docs/ that a text at the repository path `source` links to."""
    found: list[str] = []

    def note(part: str) -> str:
        found.extend(match[2] for match in LINK.finditer(part))
        return part

    outside_code(text, note)
    for target in found:
        path = repository_path(source, target)
        if path is not None and not path.startswith("docs/"):
            yield path


def repository_path(source: str, target: str) -> str | None:
    """Resolve a relative link from a file of the repository; None for links to other hosts and within the page."""
    file = target.partition("#")[0]
    if not file or re.match(r"[a-z]+:", file):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), file))


def site_uri(path: str) -> str:
    """Return the page of the site that shows a file or folder of the repository."""
    if path.startswith("notebooks/") and path.endswith(".ipynb"):
        return f"{notebooks.FOLDER}/{posixpath.basename(path)[: -len('.ipynb')]}.md"
    if path == "examples":
        return EXAMPLES
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{FOLDER}/{path}" if path.endswith(".md") else f"{FOLDER}/{path}.md"


def with_site_links(source: str, uri: str, text: str) -> str:
    """Rewrite the links of a text with the path `source` in the repository and `uri` in the site."""

    def rewritten(match: re.Match[str]) -> str:
        path = repository_path(source, match[2])
        if path is None or (path.startswith("docs/") and source.startswith("docs/")):
            return match[0]
        _, separator, anchor = match[2].partition("#")
        target = posixpath.relpath(site_uri(path), posixpath.dirname(uri) or ".")
        return f"{match[1]}{target}{separator}{anchor}{match[3]}"

    return outside_code(text, lambda part: LINK.sub(rewritten, part))


def render_page(file: Path, path: str) -> str:
    """Return the Markdown page of a file, or of all Python files of a folder."""
    if path.endswith(".md"):
        return file.read_text(encoding="utf-8")
    if file.is_dir():
        inner = [render_code(each, "##", each.name) for each in sorted(file.glob("*.py"))]
        return "\n\n".join([f"# {path}", *inner])
    return render_code(file, "#", path)


def render_code(file: Path, heading: str, title: str) -> str:
    """Return a heading and the content of a file as a code block."""
    return f"{heading} {title}\n\n{fenced(file.read_text(encoding='utf-8'), LANGUAGES.get(file.suffix, 'text'))}"


def examples(root: Path) -> dict[str, str]:
    """Write the page that lists the examples, and one page per example."""
    paths = sorted((root / "examples").glob("*.py"))
    rows = []
    for path in paths:
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        target = os.path.relpath(site_uri(f"examples/{path.name}"), posixpath.dirname(EXAMPLES))
        rows.append((f"[{path.name}]({target})", prose(docstring.partition("\n")[0])))
    text = "Short scripts to copy. The tests run each of them."
    listing = "\n\n".join(["# Examples", text, table(["file", "content"], rows)])
    return {EXAMPLES: listing} | {site_uri(f"examples/{p.name}"): render_page(p, f"examples/{p.name}") for p in paths}
