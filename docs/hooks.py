"""MkDocs hooks: add the generated pages, resolve links to files of the repository, and render formulas as MathML."""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from generate import api, commands, config_fields, notebooks, parts, recipes, repository
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
CODE_SPAN = re.compile(r"(?<!</span>)<code>[^<]*</code>")
OPTION = re.compile(r"(?<![\w-])--?\w[\w.-]*")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def generated_pages() -> dict[str, str]:
    """Return the generated reference pages by their path in the site."""
    found = {**commands.pages(), **config_fields.pages(), **recipes.pages(), **parts.pages()}
    return found | api.pages(ROOT) | repository.examples(ROOT)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Generate the pages, and name those of whole folders in the navigation."""
    config.extra["generated"] = generated_pages()
    config.nav = with_folders(config.nav or [], config.extra["generated"])
    return config


def with_folders(nav: list[Any], pages: Iterable[str]) -> list[Any]:
    """Replace each `FOLDER/*` of a navigation by the pages of the folder."""
    found: list[Any] = []
    for item in nav:
        if isinstance(item, str) and item.endswith("/*"):
            found += [page for page in pages if page.rpartition("/")[0] == item[:-2]]
        elif isinstance(item, dict):
            found.append({key: with_folders(v, pages) if isinstance(v, list) else v for key, v in item.items()})
        else:
            found.append(item)
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the notebooks, and the files of the repository that pages link to."""
    made: dict[str, str | bytes] = {**config.extra["generated"], **notebooks.files(ROOT)}
    texts = {uri: text for uri, text in made.items() if uri.endswith(".md") and isinstance(text, str)}
    texts |= {file.src_uri: file.content_string for file in files.documentation_pages()}
    made |= repository.linked_pages(ROOT, texts)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rank a page in the search, and point links to files of the repository at their pages in the site."""
    uri = page.file.src_uri
    page.meta.setdefault("search", search_options(uri))
    in_repository = uri.removeprefix(f"{repository.FOLDER}/")
    source = in_repository if in_repository != uri else f"docs/{uri}"
    return repository.with_site_links(source, uri, markdown)


def search_options(uri: str) -> dict[str, Any]:
    """Rank commands and config fields above the Python API, and leave source files out of the search."""
    if uri.startswith(f"{repository.FOLDER}/"):
        return {"exclude": True}
    is_generated = uri.startswith("reference/")
    return {"boost": 0.5 if uri.startswith(api.FOLDER) else 2 if is_generated else 1}


def on_page_content(content: str, **_: Any) -> str:
    """Render the formulas of a page, and mark the options in its code spans, which are not broken after `--`."""
    content = CODE_SPAN.sub(lambda span: OPTION.sub(r'<span class="option">\g<0></span>', span[0]), content)
    return FORMULA.sub(math_ml, content)


def math_ml(formula: re.Match[str]) -> str:
    """Convert a formula from LaTeX to MathML, which browsers render themselves."""
    display = "inline" if formula[1] == "span" else "block"
    return f'<{formula[1]} class="formula">{convert(html.unescape(formula[2]).strip(), display=display)}</{formula[1]}>'
