"""HTML of a page: text of the data cannot end the data block, and the policy allows only the script of the page."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.reports.page import escape_json, render_page

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "<img src=x onerror=alert(1)>",
    "\"'`&amp;&lt;",
    "\u2028\u2029\u0000\u0007\u0085\u202e",
    "\ud800",
    "]]>",
]


class Elements(HTMLParser):
    """The tags of a page and the text of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.texts[self.cdata_elem][-1] += data


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_the_data_block(text: str) -> None:
    empty, page = (Elements(render_page({"runs": [], "text": each})) for each in ("", text))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in empty.tags]
    assert json.loads(page.texts["script"][0])["text"] == text


@given(st.text())
def test_escaped_json_is_ascii_without_markup_and_reads_back(text: str) -> None:
    escaped = escape_json({text: text})
    assert re.fullmatch(r"[\x20-\x7e]*", escaped)
    assert not re.search("[<>&]", escaped)
    assert json.loads(escaped) == {text: text}


def test_the_policy_names_the_hashes_of_script_and_style_and_forbids_requests() -> None:
    page = Elements(render_page({"runs": []}))
    policy = next(str(attrs["content"]) for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs)
    for text in (page.texts["script"][1], page.texts["style"][0]):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(",
        page.texts["script"][1],
    )
