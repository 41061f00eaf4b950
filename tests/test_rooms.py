"""Imports go one way, as CONTRIBUTING.md says: each room from those before it."""

import ast
from pathlib import Path

import pytest

import unveil

ROOT = Path(unveil.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
ORDER = [
    "noise", "linalg", "symmetry", "operators", "measurement", "data", "instruments", "dataset", "estimators", "losses",
    "checks", "identifiability", "diffusion", "training", "evaluation", "runs", "report", "model", "cli",
]  # fmt: skip


def rooms(path):
    """The rooms that the file imports from when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unveil"):
            names = [node.module] if "." in node.module else [f"unveil.{alias.name}" for alias in node.names]
            yield from (name.split(".")[1] for name in names)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_from_those_before_it(room):
    files = [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").is_file() else sorted((ROOT / room).rglob("*.py"))
    assert files
    before = ORDER[: ORDER.index(room) + 1]
    for file in files:
        later = [other for other in rooms(file) if other in ORDER and other not in before]
        assert not later, f"{file.relative_to(ROOT)} imports from {later}"


def test_the_order_is_the_documented_one():
    text = CONTRIBUTING.read_text()
    places = [text.index(f"`{room}`") for room in ORDER]
    assert places == sorted(places)
