"""Documentation site: a build without warnings, a complete reference, and no files from other hosts."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reference.shared import SharedFolder

from seqlab.built_in import BUILT_IN, COMMANDS
from seqlab.cli.main import find_command
from seqlab.cli.recipes import read_table
from seqlab.runs.config import Config
from seqlab.runs.fields import list_fields

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[2]
ADDRESS_ATTRIBUTES = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
"""HTML tag -> attribute with an address that browsers load; for `link`, it depends on `rel`."""


class LoadedAddresses(HTMLParser):
    """Parser that collects the addresses that browsers load for a page, and the ids of its elements."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the id and the address of a tag."""
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        if tag == "link" and not {"canonical", "next", "prev", "alternate"} & set((values.get("rel") or "").split()):
            self.addresses.append(values.get("href") or "")
        elif tag in ADDRESS_ATTRIBUTES:
            self.addresses.append(values.get("src") or "")
        self.addresses += re.findall(r"url\(([^)]*)\)", values.get("style") or "")
        self.addresses += (values.get("srcset") or "").split()


@pytest.fixture(scope="module")
def site(shared: SharedFolder) -> Path:
    """Build the site; warnings are errors."""
    return shared.build("site", build)


def build(folder: Path) -> None:
    """Build the site with the command that CI uses."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "SEQLAB_NO_PLUGINS": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr


def text_of(page: Path) -> str:
    """Return the text of a page without its tags."""
    text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    for name, character in {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#124;": "|", "&amp;": "&"}.items():
        text = text.replace(name, character)
    return text


def test_pages_load_no_files_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 80
    for page in pages:
        for address in LoadedAddresses(page).addresses:
            assert not re.match(r"\s*['\"]?(\w+:)?//", address), f"{page}: {address}"
        assert 'class="mermaid"' not in page.read_text(encoding="utf-8")  # the theme would load a script
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text), sheet
    for script in (site / "assets").glob("*.js"):
        assert "//" not in re.sub(r"^\s*//.*$", "", script.read_text(encoding="utf-8"), flags=re.MULTILINE), script


def test_commands_have_pages_with_their_options(site: Path) -> None:
    index = text_of(site / "reference" / "commands" / "index.html")
    for name in (name for commands in COMMANDS.values() for name in commands):
        page = text_of(site / "reference" / "commands" / name / "index.html")
        for action in find_command(name).make_parser()._actions:
            argument = action.option_strings[-1] if action.option_strings else str(action.metavar)
            assert argument in page or (action.option_strings and argument in index), f"{name}: {argument}"


def test_config_page_has_all_fields(site: Path) -> None:
    page = site / "reference" / "config" / "index.html"
    ids, text = LoadedAddresses(page).ids, " ".join(text_of(page).split())
    for field in list_fields(Config):
        assert field.key in ids
        assert field.text.replace("`", "").partition(".")[0] in text, field.key
        assert field.family in text


def test_reference_lists_all_recipes_parts_and_public_names(site: Path) -> None:
    recipes = text_of(site / "reference" / "recipes" / "index.html")
    for recipe, task, *others in read_table()[1:]:
        assert recipe in recipes
        assert f"{task[:1].upper()}{task[1:]}" in recipes
        assert all(cell in recipes for cell in others), recipe
    parts = text_of(site / "reference" / "parts" / "index.html")
    for kind, entries in BUILT_IN.items():
        assert kind == "command" or all(name in parts for name in entries), kind
    import seqlab

    for package in ("seqlab", "seqlab.models", "seqlab.nn", "seqlab.optim", "seqlab.testing"):
        ids = LoadedAddresses(site / "reference" / "api" / package / "index.html").ids
        exported = seqlab if package == "seqlab" else getattr(seqlab, package.partition(".")[2])
        modules = {"data", "models", "nn", "objectives", "optim", "search", "testing"} if package == "seqlab" else set()
        assert {f"{package}.{name}" for name in exported.__all__ if name not in modules} <= ids


def test_notebooks_have_pages_with_their_figures(site: Path) -> None:
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = site / "explanations" / notebook.stem / "index.html"
        text = page.read_text(encoding="utf-8")
        figures = re.findall(r'<img [^>]*src="([^"]+\.png)"', text)
        assert len(figures) >= 4
        assert all((page.parent / figure).resolve().is_file() for figure in figures)
        assert "<math" in text or "$" not in text_of(page), page
        assert 'class="arithmatex"' not in text
