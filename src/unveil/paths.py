"""Paths in a configuration. In a file they are relative to its folder, so that it means the same from everywhere.

In memory, and where a command states them, they are relative to the working directory. Absolute paths stay as they are.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

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

    What is not as the section says stays as it is, and so do the words and numbers that may stand in a path's place.
    """
    result = deepcopy(dict(values))
    for (*sections, name), kinds in _path_fields(section).items():
        place: Any = result
        for key in sections:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(place.get(name), str) and not _other(place[name], kinds):
            place[name] = change(place[name])
    return result


def path_keys(section: type[BaseModel]) -> set[tuple[str, ...]]:
    """Return the keys of `section`, and of the sections in it, that hold a path."""
    return set(_path_fields(section))


def _path_fields(section: type[BaseModel]) -> dict[tuple[str, ...], set[Any]]:
    """Return the keys that hold a path, each with all the words (`Literal`) and types that it may hold."""
    found: dict[tuple[str, ...], set[Any]] = {}
    for key, field in section.model_fields.items():
        parts = [*field.metadata, *_parts(field.annotation)]
        if _MARK in parts:
            words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
            found.setdefault((key,), set()).update(words, [float] if float in parts else [])
        for part in parts:
            if isinstance(part, type) and issubclass(part, BaseModel):
                for inner, kinds in _path_fields(part).items():
                    found.setdefault((key, *inner), set()).update(kinds)
    return found


def _other(text: str, kinds: set[Any]) -> bool:
    """Return whether text is one of the words, or a number where there may be one, and so no path."""
    try:
        return text in kinds or (float in kinds and float(text) is not None)
    except ValueError:
        return False


_MARK = get_args(FilePath)[1]


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the annotation and, of unions and the like, all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
