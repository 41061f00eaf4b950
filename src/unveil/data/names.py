"""Names of images: unique, and the stems of files on every file system, so that nobody who writes has to look again.

Some file systems ignore case, some the way an accent is composed; Windows forbids <>:"/\\|?*, a dot or a space at the
end and the names of its devices; most allow 255 bytes. Brackets and spaces within stay as they are.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

__all__ = ["file_names", "unique_stems"]

_FORBIDDEN = set('<>:"/\\|?*')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}
_COMPRESSED = (".gz", ".fz")
_LONGEST = 180
"""Bytes of UTF-8: what is written adds numbers, extensions and the marks of temporary files."""


def file_names(files: Sequence[tuple[Path, int]]) -> list[str]:
    """Return a name for each image of each of `files`, (path, number of images).

    It is the stem, and a number if there are several.

    Where two stems are the same, the extension too.
    """
    short = [_numbered(_bare(path).stem, n) for path, n in files]
    long = [_numbered(path.name.replace(".", "_"), n) for path, n in files]
    taken = Counter(_same(name) for group in short for name in group)
    groups = [b if any(taken[_same(name)] > 1 for name in a) else a for a, b in zip(short, long)]
    return unique_stems([name for group in groups for name in group])


def unique_stems(names: Sequence[str]) -> list[str]:
    """Return `names` as stems of files, no two of them the same file anywhere: a later one of two gets a number."""
    used: set[str] = set()
    unique = []
    for name in map(_stem, names):
        candidate, number = name, 2
        while _same(candidate) in used:
            candidate, number = f"{name}_{number}", number + 1
        used.add(_same(candidate))
        unique.append(candidate)
    return unique


def _bare(path: Path) -> Path:
    """Return `path` without the extension of a compression."""
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSED and path.stem.strip(".") else path


def _numbered(name: str, images: int) -> list[str]:
    stem = _stem(name)
    return [stem] if images == 1 else [f"{stem}_{k:0{max(4, len(str(images - 1)))}d}" for k in range(images)]


def _stem(name: str) -> str:
    """Return `name` without what some file system forbids, bytes that are no UTF-8 included."""
    allowed = (c not in _FORBIDDEN and unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in name)
    stem = "".join(c if fine else "_" for c, fine in zip(name, allowed))
    stem = stem.encode()[:_LONGEST].decode(errors="ignore").strip(" .")
    if stem.partition(".")[0].rstrip().casefold() in _DEVICES:
        stem = f"_{stem}"
    return stem or "image"


def _same(name: str) -> str:
    """Return what is equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
