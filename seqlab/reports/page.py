"""HTML of a page: one file with its style, its script and its contents, without requests to other hosts.

Text of the data cannot become markup or script. It enters the page only as JSON in a data block, in which `<`, `>`, `&`
and all characters beyond ASCII are escaped, and the script adds it to the document only as text. Besides, the content
security policy of the page allows this one script and style, by their hashes, and no requests.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from seqlab.base.json_text import json_text

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("dom.js", "charts.js", "examples.js", "sections.js", "page.js")
ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
"""Characters with which markup could begin or end, as escapes of JSON."""
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>seqlab report</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><div></div></header>
<nav aria-label="Sections"><ul></ul></nav>
<main id="content" tabindex="-1">
<noscript><p>This page is drawn by JavaScript, which is switched off here.</p></noscript>
</main>
<footer>Written by seqlab report. This file is complete: it loads nothing from elsewhere.</footer>
<script type="application/json" id="contents">{contents}</script>
<script>{script}</script>
</body>
</html>
"""


def render_page(contents: dict[str, Any]) -> str:
    """Return the HTML of a page, given the values that its script shows; see `seqlab.reports.contents`."""
    style, script = _style(), _script()
    return TEMPLATE.format(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        contents=escape_json(contents),
    )


def escape_json(value: Any) -> str:
    """Format a value as JSON that can stand between the tags of an HTML script element: ASCII without `<`, `>`, `&`."""
    return json_text(value, ensure_ascii=True).translate(ESCAPES)


@cache
def _style() -> str:
    return (STATIC / "page.css").read_text("utf-8")


@cache
def _script() -> str:
    return "\n".join((STATIC / name).read_text("utf-8") for name in SCRIPTS)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
