"""Docstrings as the library writes them, made Markdown: lines "name: what it is" are a list, and signs are signs."""

import re
from typing import Any

import griffe

__all__ = ["Plain"]

ITEM = re.compile(r"((?:[A-Za-z_]\w*)(?:, \w+)*): +(?=\S)")
"""The start of a line that says what one argument, or several, are."""


class Plain(griffe.Extension):
    """Changes each docstring once, when it was read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of `obj`."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """Return Markdown that shows the docstring `text` as it was meant."""
    lines, item = [], False
    for line in text.splitlines():
        found, indented = ITEM.match(line), line.startswith("    ")
        if found and not line.startswith("Raises"):
            lines += ["" if not item else None, f"- **{found[1]}**: {signs(line[found.end() :])}"]
            item = True
        elif item and indented:
            lines.append(f"    {signs(line.strip())}")
        else:
            lines += ["" if item and line.strip() else None, line if indented or ">>>" in line else signs(line)]
            item = False
    return "\n".join(line for line in lines if line is not None)


def signs(line: str) -> str:
    """Return the line with < and * as signs, but inside of `code`."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)
