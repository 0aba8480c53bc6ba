"""Documentation pages: valid links, a short README, complete indexes, and figures that equal their stored data."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_have_existing_targets(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        if ROOT / "docs" / "reference" in linked.parents and not linked.exists():
            continue  # generated with the site: test_site.py builds it and fails for dead links
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_pages_are_linked_in_the_index_of_their_folder() -> None:
    for folder in ("how_to", "explanations", "results"):
        index = (ROOT / "docs" / folder / "README.md").read_text(encoding="utf-8")
        for page in (ROOT / "docs" / folder).glob("*.md"):
            assert page.name == "README.md" or f"({page.name})" in index, page


def test_figures_equal_their_stored_data_and_are_linked(tmp_path: Path) -> None:
    """Figures are equal byte for byte with the version of matplotlib in constraints.txt."""
    specification = importlib.util.spec_from_file_location("draw", RESULTS / "draw.py")
    assert specification is not None
    assert specification.loader is not None
    draw = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(draw)
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    stored = {path.stem for path in (RESULTS / "curves").iterdir()}
    assert stored == {path.stem for path in (RESULTS / "figures").iterdir()}
    for path in sorted((RESULTS / "curves").glob("*.json")):
        curves = json.loads(path.read_text(encoding="utf-8"))
        assert f"figures/{path.stem}.svg" in text
        for lines in curves["panels"].values():
            assert all(len(line["x"]) == len(line["y"]) > 0 for line in lines.values())
        draw.draw(curves, tmp_path / f"{path.stem}.svg")
        figure = f"{path.stem}.svg"
        assert (tmp_path / figure).read_bytes() == (RESULTS / "figures" / figure).read_bytes()
