"""RELION's tables of particles (.star): the same table for results, only its images' names are others.

A table is a loop of columns, `_rlnImageName` one of them, whose entries are number@stack, from 1
(https://relion.readthedocs.io). All else of the file stays as it is, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["image_names", "with_image_names"]

_COLUMN = "_rlnImageName"
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")


def image_names(text: str) -> list[str]:
    """Return the images' names in the table `text`, a row each; empty where it has no such column."""
    return [value.group() for _, value in _entries(text.splitlines())]


def with_image_names(text: str, names: Sequence[str]) -> str:
    """Return the table `text` with these names, one a row, of which there are as many."""
    lines = text.splitlines(keepends=True)
    for (k, value), name in zip(_entries(lines), names, strict=True):
        lines[k] = lines[k][: value.start()] + name + lines[k][value.end() :]
    return "".join(lines)


def _entries(lines: Sequence[str]) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield (number of the line, the image's name in it) for each row of the loop that names images."""
    columns: list[str] | None = None  # of the loop that is being read
    for k, line in enumerate(lines):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "loop_" or words[0].startswith("data_"):
            columns = [] if words[0] == "loop_" else None
        elif columns is not None and words[0].startswith("_"):
            columns.append(words[0])
        elif columns is not None and _COLUMN in columns:
            values = list(_VALUE.finditer(line))
            if len(values) > columns.index(_COLUMN):
                yield k, values[columns.index(_COLUMN)]
