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
    """Generate the pages, and expand `FOLDER/*` in the navigation."""
    config.extra["generated"] = generated_pages()
    config.nav = expand_folders(config.nav or [], config.extra["generated"])
    return config


def expand_folders(nav: list[Any], pages: Iterable[str]) -> list[Any]:
    """Replace each `FOLDER/*` of a navigation by the pages of the folder."""
    found: list[Any] = []
    for item in nav:
        if isinstance(item, str) and item.endswith("/*"):
            found += [page for page in pages if page.rpartition("/")[0] == item[:-2]]
        elif isinstance(item, dict):
            found.append({key: expand_folders(v, pages) if isinstance(v, list) else v for key, v in item.items()})
        else:
            found.append(item)
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the notebooks, and linked files of the repository."""
    generated: dict[str, str | bytes] = {**config.extra["generated"], **notebooks.files(ROOT)}
    texts = {uri: text for uri, text in generated.items() if uri.endswith(".md") and isinstance(text, str)}
    texts |= {file.src_uri: file.content_string for file in files.documentation_pages()}
    generated |= repository.linked_pages(ROOT, texts)
    for uri, content in generated.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Set the search rank of a page, and rewrite links to files of the repository."""
    uri = page.file.src_uri
    page.meta.setdefault("search", search_options(uri))
    in_repository = uri.removeprefix(f"{repository.FOLDER}/")
    source = in_repository if in_repository != uri else f"docs/{uri}"
    return repository.with_site_links(source, uri, markdown)


def search_options(uri: str) -> dict[str, Any]:
    """Rank commands and config fields above the Python API, and exclude source files from the search."""
    if uri.startswith(f"{repository.FOLDER}/"):
        return {"exclude": True}
    is_generated = uri.startswith("reference/")
    return {"boost": 0.5 if uri.startswith(api.FOLDER) else 2 if is_generated else 1}


def on_page_content(content: str, **_: Any) -> str:
    """Render formulas as MathML, and mark options in code spans so that CSS prevents a line break after `--`."""
    content = CODE_SPAN.sub(lambda span: OPTION.sub(r'<span class="option">\g<0></span>', span[0]), content)
    return FORMULA.sub(math_ml, content)


def math_ml(formula: re.Match[str]) -> str:
    """Convert a formula from LaTeX to MathML, which browsers render without a script."""
    display = "inline" if formula[1] == "span" else "block"
    return f'<{formula[1]} class="formula">{convert(html.unescape(formula[2]).strip(), display=display)}</{formula[1]}>'
