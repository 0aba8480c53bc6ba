"""The page in headless Chromium: elements, no errors, narrow windows, keyboard, contrast, print, hostile text."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.trained import Trained

from seqlab.diagnosis.diagnosis import Diagnosis
from seqlab.diagnosis.finding import Finding
from seqlab.diagnosis.measurement import Measurement
from seqlab.reports.contents import page_contents
from seqlab.reports.page import render_page
from seqlab.reports.run_contents import open_runs

pytest.importorskip("playwright", reason="pip install -e '.[test]'")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="apt-get install chromium")
DIAGNOSIS = Diagnosis(
    run="runs/a",
    findings=[Finding("clipping", "the loss fell", 0.9, "seqlab train runs/a")],
    left_out=[("does it leak?", "there are no validation rows")],
    minutes=1.0,
    measurements=[
        Measurement("loss in nats", "the run", 0.51, 0.02),
        Measurement("loss in nats", "linear model", 0.75, float("nan")),
        Measurement("gradient", "norm", 0.125, 0.01),
    ],
)
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> \" & ' \u2028\u0000\u202e"
CONTRAST = """() => {
  const channels = (color) => { const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const linear = (c) => c <= 10.31475 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const paper = (element) => {
    if (!element) return [255, 255, 255];
    const [r, g, b, a] = channels(getComputedStyle(element).backgroundColor);
    return a === 1 ? [r, g, b] : paper(element.parentElement).map((c, i) => a * [r, g, b][i] + (1 - a) * c);
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest("script, .skip")) continue;
    const style = getComputedStyle(element), ink = channels(element.closest("svg") ? style.fill : style.color);
    const [high, low] = [light(ink), light(paper(element))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), walker.currentNode.data.slice(0, 40)]);
  }
  return found;
}"""
"""The contrast of each visible text with the color behind it, as WCAG 2.2 defines it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(trained_row: Callable[[str], Trained], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a page for a translator, for two labelers, and for a translator whose texts are hostile."""
    folder = tmp_path_factory.mktemp("pages")
    translator = page_contents(open_runs([trained_row("transformer").run]))
    translator["runs"][0]["diagnosis"] = DIAGNOSIS.to_json()
    labelers = page_contents(open_runs([trained_row(name).run for name in ("transformer_labeller", "cnn_labeller")]))
    hostile = replace_texts(translator)
    for name, contents in (("translator", translator), ("labelers", labelers), ("hostile", hostile)):
        (folder / f"{name}.html").write_text(render_page(contents), encoding="utf-8")
    return {path.stem: path for path in folder.iterdir()}


def replace_texts(contents: Any, key: str = "") -> Any:
    """Replace all texts except those that name the parts of the page, and the keys of the data, by a hostile one."""
    if isinstance(contents, dict):
        is_data = key in ("data", "counts", "dropped", "left_out")
        return {(HOSTILE if is_data else name): replace_texts(each, name) for name, each in contents.items()}
    if isinstance(contents, list):
        return [replace_texts(each, key) for each in contents]
    return HOSTILE if isinstance(contents, str) and key not in ("panel", "output_kind") else contents


def open_page(browser: Any, path: Path, width: int = 1280, **context: Any) -> tuple[Any, list[str]]:
    """Open a page; return it with a list to which its errors are added."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, errors


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["translator", "labelers", "hostile"])
def test_a_page_has_no_errors_and_fits_its_window(browser: Any, pages: dict[str, Path], name: str, width: int) -> None:
    page, errors = open_page(browser, pages[name], width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []


def test_a_page_shows_findings_and_measurements(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(browser, pages["translator"])
    section = page.locator("#diagnosis")
    [finding] = DIAGNOSIS.findings
    assert section.locator(".finding h3").all_text_contents() == [finding.title]
    assert finding.command in section.locator(".finding").text_content()
    assert section.locator("caption").all_text_contents()[:2] == ["loss in nats", "gradient"]
    rows = [row.locator("th, td").all_text_contents() for row in section.locator("tbody tr").all()]
    assert rows[:3] == [["the run", "0.51", "0.02"], ["linear model", "0.75", "–"], ["norm", "0.125", "0.01"]]


def test_a_page_shows_the_contents(browser: Any, pages: dict[str, Path], trained_row: Callable[[str], Trained]) -> None:
    page, _ = open_page(browser, pages["translator"])
    run = json.loads(page.locator("#contents").text_content())["runs"][0]
    links = page.locator("nav a").all_text_contents()
    assert links == page.locator("h2").all_text_contents()
    assert {"Overview", "Curves", "Worst examples", "Data", "Config", "Left out"} <= {*links}
    assert page.locator("h1").text_content() == run["name"]
    panels = list(dict.fromkeys(each["panel"] for each in run["curves"]))
    assert sorted(page.locator("#curves figcaption").all_text_contents()) == sorted(panels)
    curves = page.locator("#curves path.curve")
    assert curves.count() == len(run["curves"])
    assert all(each.get_attribute("d").startswith("M") for each in curves.all())
    assert page.locator("#worst li").count() == len(run["predictions"]["worst"])
    assert run["predictions"]["worst"][0]["input"] in page.locator("#worst li").first.text_content()
    page.get_by_role("radio", name="minutes").check()
    assert "minutes" in page.locator("#curves svg[role=img]").first.get_attribute("aria-label")


def test_runs_are_beside_each_other_with_their_confusion(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(browser, pages["labelers"])
    runs = json.loads(page.locator("#contents").text_content())["runs"]
    boxes = [each.bounding_box() for each in page.locator("#overview .beside > div").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    for run, matrix in zip(runs, page.locator("#confusion table").all(), strict=True):
        shown = [text.replace("·", "0") for text in matrix.locator("td").all_text_contents()]
        counts = run["predictions"]["confusion"]["counts"]
        assert [int(text) for text in shown] == [count for row in counts for count in row]
    assert page.locator("#comparison tbody tr").count() > 0


def test_the_attention_and_the_curves_follow_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(browser, pages["translator"])
    run = json.loads(page.locator("#contents").text_content())["runs"][0]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("#worst summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    piece = run["predictions"]["worst"][0]["pieces"][0]
    weights = piece["weights"][1]
    reading = page.locator("#worst output").first.text_content()
    assert f"attends to {piece['src'][weights.index(max(weights))]} {max(weights):.2f}" in reading
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator("#curves svg[role=img]").first.focus()
    page.keyboard.press("End")
    assert f"steps {run['curves'][0]['step'][-1]}" in page.locator("#curves output").first.text_content()


def test_pointing_at_an_output_token_shows_its_weights(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(browser, pages["translator"])
    page.locator("#worst summary").first.click()
    token = page.locator("#worst [role=option]").first
    token.hover()
    assert token.get_attribute("aria-selected") == "true"
    assert any(each.get_attribute("style") for each in page.locator("#worst .weight i").all())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["translator", "labelers"])
def test_every_text_has_enough_contrast(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    page, _ = open_page(browser, pages[name], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = page.evaluate(CONTRAST)
    assert len(found) > 100
    assert [text for ratio, text in found if ratio < 4.5] == []


def test_a_printed_page_has_its_contents_without_controls(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(browser, pages["labelers"], 800, color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("fieldset").first.is_visible()
    assert page.locator("#confusion table").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [text for ratio, text in page.evaluate(CONTRAST) if ratio < 4.5] == []
    assert page.pdf().startswith(b"%PDF")


def test_hostile_text_is_only_text(browser: Any, pages: dict[str, Path]) -> None:
    page, errors = open_page(browser, pages["hostile"])
    shown = page.locator("h1").text_content()
    assert shown == HOSTILE.replace("\u2028", "⟨2028⟩").replace("\u0000", "⟨0000⟩").replace("\u202e", "⟨202E⟩")
    assert page.evaluate("window.hacked") is None
    assert (page.locator("script").count(), page.locator("img").count()) == (2, 0)
    assert errors == []


def test_the_policy_blocks_injected_scripts(browser: Any, pages: dict[str, Path]) -> None:
    """Even markup that reached the document would not run."""
    page, errors = open_page(browser, pages["translator"])
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\">')")
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hacked = 1'}))")
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in error for error in errors)


def test_a_watched_page_reloads_and_keeps_its_position(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    from playwright.sync_api import expect

    text = pages["translator"].read_text("utf-8")
    contents = json.loads(text.partition('id="contents">')[2].partition("</script>")[0])
    file = tmp_path / "watched.html"
    file.write_text(render_page(contents | {"reload_seconds": 2}), encoding="utf-8")
    page, errors = open_page(browser, file, 800)
    page.get_by_role("radio", name="minutes").check()
    page.locator("#config summary").click()
    page.evaluate("window.scrollTo(0, 700)")
    contents["runs"][0]["name"] = "later"
    file.write_text(render_page(contents | {"reload_seconds": 100}), encoding="utf-8")
    expect(page.locator("h1")).to_have_text("later")
    expect(page.get_by_role("radio", name="minutes")).to_be_checked()
    expect(page.locator("#config details")).to_have_attribute("open", "")
    while page.evaluate("window.scrollY") != 700:
        page.wait_for_timeout(50)
    assert errors == []
