"""Pages of the notebooks in examples/notebooks, as they were executed: words, code, what it said, pictures."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["on_files"]

NOTEBOOKS = Path("examples/notebooks")


def on_files(files: Any, config: Any) -> Any:
    """Add notebooks/NAME.md, and its pictures, for each notebook."""
    from mkdocs.structure.files import File

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        text, pictures = page(path)
        for name, content in {f"{path.stem}.md": text, **pictures}.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by their names."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    pictures: dict[str, bytes] = {}
    parts = [part for cell in cells for part in of_cell(cell, path.stem, pictures)]
    title, *rest = parts
    note = f"*`{path.as_posix()}`, as it was executed.*"
    heading, _, opening = title.partition("\n")
    return "\n\n".join([heading, note, opening.strip(), *rest]) + "\n", pictures


def of_cell(cell: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """Yield the parts of a cell; what it drew goes into `pictures`."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```py\n{source}\n```"
    for output in cell["outputs"]:
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{stem}_{len(pictures)}.png"
            pictures[name] = base64.b64decode("".join(data["image/png"]))
            yield f"![What the code above draws]({name})"
        elif "text/html" in data:
            yield "".join(data["text/html"])
        elif text := "".join(output.get("text", data.get("text/plain", []))):
            yield f"```text\n{text.rstrip()}\n```"
