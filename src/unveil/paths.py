"""Paths in a configuration. In a file they are relative to its folder, so that it means the same from everywhere.

In memory, and where a command states them, they are relative to the working directory. Absolute paths stay as they are.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel

__all__ = ["FilePath", "from_folder", "moved", "path_keys", "to_folder"]


def _named(path: str) -> str:
    if "\0" in path:
        raise ValueError("holds a NUL character, which no file name can")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError("is no UTF-8, as configurations are: rename it, or name a link to it") from None
    return path


FilePath = Annotated[str, AfterValidator(_named)]
"""A path to a file or folder, as text."""


def from_folder(folder: Path) -> Callable[[str], str]:
    """Return the map of a path relative to `folder` to the same relative to the working directory."""
    base = os.path.realpath(folder)  # of a link to a folder the parent is another one
    return lambda path: path if os.path.isabs(path) else _relative(os.path.normpath(os.path.join(base, path)), None)


def to_folder(folder: Path) -> Callable[[str], str]:
    """Return the map of a path relative to the working directory to the same relative to `folder`."""
    base = os.path.realpath(folder)
    return lambda path: path if os.path.isabs(path) else _relative(os.path.abspath(path), base)


def _relative(path: str, base: str | None) -> str:
    try:
        return os.path.relpath(path, base)
    except ValueError:  # on another drive
        return path


def moved(values: Mapping[str, Any], section: type[BaseModel], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a copy of `values`, of `section`, in which each path is changed.

    What is not as the section says stays as it is.
    """
    result = deepcopy(dict(values))
    for *sections, name in path_keys(section):
        place: Any = result
        for key in sections:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(place.get(name), str):
            place[name] = change(place[name])
    return result


def path_keys(section: type[BaseModel]) -> set[tuple[str, ...]]:
    """Return the keys of `section`, and of the sections in it, that hold a path."""
    found: set[tuple[str, ...]] = set()
    for key, field in section.model_fields.items():
        for part in (*field.metadata, *_parts(field.annotation)):
            if part is _MARK:
                found.add((key,))
            elif isinstance(part, type) and issubclass(part, BaseModel):
                found |= {(key, *inner) for inner in path_keys(part)}
    return found


_MARK = get_args(FilePath)[1]


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the annotation and, of unions and the like, all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
