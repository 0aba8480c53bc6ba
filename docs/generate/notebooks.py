"""Site pages of the notebooks, with their stored outputs.

Notebooks are stored with the text and PNG figures of one complete run, which tests/notebooks checks.
So the pages need neither Jupyter nor an execution, which would take 20 minutes.
"""

import base64
import json
from pathlib import Path
from typing import Any

from generate.markup import fenced

FOLDER = "explanations"


def files(root: Path) -> dict[str, str | bytes]:
    """Return a page for each notebook, its figures, and the notebook itself."""
    found: dict[str, str | bytes] = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        content = path.read_text(encoding="utf-8")
        text, figures = page(path.stem, json.loads(content)["cells"])
        found |= {f"{FOLDER}/{path.stem}.md": text, f"{FOLDER}/{path.name}": content}
        found |= {f"{FOLDER}/{name}": figure for name, figure in figures.items()}
    return found


def page(name: str, cells: list[dict[str, Any]]) -> tuple[str, dict[str, bytes]]:
    """Convert the cells of a notebook to Markdown and its figures by file name."""
    parts: list[str] = []
    figures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(fenced(source, "python"))
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                figure = f"figures/{name}_{len(figures) + 1}.png"
                figures[figure] = base64.b64decode(data["image/png"])
                parts.append(f"![Figure {len(figures)}]({figure})")
            else:
                parts.append(fenced("".join(output.get("text", data.get("text/plain", ""))), "text", "output"))
    head, *rest = parts
    title, _, introduction = head.partition("\n")
    download = f"[Download this notebook]({name}.ipynb)"
    return "\n\n".join([title, download, introduction.strip(), *rest]), figures
