"""README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


@pytest.mark.parametrize("block", BLOCKS)
def test_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block, names)
    drawn = names.get("samples", names.get("x"))
    assert drawn.shape[:3] == (8, 2, 1)
    assert callable(names["f"])


def test_there_are_blocks():
    assert len(BLOCKS) == 2


def test_the_first_screen_shows_both_commands_and_a_picture_that_exists():
    screen = "\n".join(README.read_text().splitlines()[:20])
    assert "pip install . && unveil demo" in screen
    assert "pip install '.[test]' && pytest" in screen
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", screen)
    assert (README.parent / picture).is_file()
