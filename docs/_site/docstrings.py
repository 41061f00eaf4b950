"""Docstrings as the library writes them, made Markdown: "name: what it is" is a list's item, and signs are signs."""

import re
from typing import Any

import griffe

__all__ = ["Plain"]

NAME = r"[a-z_]\w*(?:, [a-z_]\w*)*"
ITEM = re.compile(rf"(?:^|(?<=[.;] ))({NAME}): +(?=\S)")
"""Where a paragraph begins to say what one argument, or several, are."""


class Plain(griffe.Extension):
    """Changes each docstring once, when it was read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of `obj`."""
        if obj.docstring is not None:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """Return Markdown that shows the docstring `text` as it was meant."""
    parts = (formatted(part) for block in re.split(r"\n\s*\n", text) for part in paragraphs(block.splitlines()))
    return "\n\n".join(parts)


def paragraphs(lines: list[str]) -> list[list[str]]:
    """Return the lines of a block by paragraphs: items end where a sentence begins on a line of its own."""
    parts: list[list[str]] = []
    for line in lines:
        ends = bool(parts) and ITEM.match(parts[-1][0]) and parts[-1][-1].endswith(".")
        if not parts or (ends and line[:1].isupper()) or (ITEM.match(line) and not ITEM.match(parts[-1][0])):
            parts.append([])
        parts[-1].append(line)
    return parts


def formatted(lines: list[str]) -> str:
    """Return a paragraph: a list of its items, code and formulas as they are, or prose."""
    if ITEM.match(lines[0]):
        words = ITEM.split(" ".join(line.strip() for line in lines))[1:]
        return "\n".join(f"- **{name}**: {signs(what.strip())}" for name, what in zip(words[::2], words[1::2]))
    code = lines[0].startswith((" ", ">>>"))
    return "\n".join(line if code or line.startswith("    ") else signs(line) for line in lines)


def signs(line: str) -> str:
    """Return the line with < and * as signs, but inside of `code`."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*") for part in parts)
