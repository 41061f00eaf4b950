"""What is wrong with a configuration, in one line: pydantic finds it, and the words are those of the configuration."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from unveil.instruments.registry import INSTRUMENTS
from unveil.noises import sections
from unveil.renamed import present_name

__all__ = ["one_line"]

SHOWN = 60
"""Characters of a wrong key or value."""

WORDS = {
    "string_type": "must be text",
    "string_unicode": "is not Unicode: rename it",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list, e.g. [1, 2]",
    "model_type": "must be keys with values, one a line and indented",
    "model_attributes_type": "must be keys with values, one a line and indented, of which kind is one",
    "invalid_key": "a key must be text",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
}
LIMITS = {
    "greater_than": ("gt", "must be > {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be < {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "too_short": ("min_length", "must have at least {} of them"),
    "too_long": ("max_length", "must have at most {} of them"),
    "literal_error": ("expected", "must be {}"),
}


UNIONS = (
    ("noise", "gaussian", "sigma"),
    *(("noise", "poisson-gaussian", name) for name in ("gain", "read", "offset")),
    ("sampling", "inflation"),
    ("operator", "tomography", "axis"),
)
"""Where a key may be a number or a name."""
KINDS: dict[tuple[Any, ...], Callable[[], Mapping[str, type[BaseModel]]]] = {
    ("operator",): lambda: {kind: found.section for kind, found in INSTRUMENTS.items()},
    ("noise",): sections,
}
"""Sections of which there are several kinds."""


def one_line(error: ValidationError, section: type[BaseModel], version: int) -> str:
    """Return the first wrong key of a configuration, its value and what is wrong with it.

    section: of the whole configuration, and version: which one this release reads.
    """
    errors = error.errors()
    errors = [e for e in errors if e["loc"] == ("version",)] or errors  # what follows from it is no slip
    first = next(
        (e for e in errors if e["type"] == "extra_forbidden"), errors[0]
    )  # a slip, for which another key is missing
    location, given = first["loc"], first["input"]
    words = [_words(first)]
    for union in UNIONS:
        if location[: len(union)] == union:  # pydantic goes on with the member that failed
            words = [_words(e) for e in errors if e["loc"][: len(union)] == union]
            location = union
            if union[0] == "noise" and isinstance(given, str):
                words += ["estimate"] * (union[2] == "sigma") + [f"the file of a map, as {union[2]}.tif"]
    named = location
    if tuple(location[:1]) in KINDS and len(location) > 1:
        named = (location[0], *location[2:])  # pydantic puts the kind in between
    key = ".".join(map(_text, named))
    if first["type"] == "extra_forbidden":
        if (now := present_name(key)) != key:
            return f"unknown key {key}: it is called {now} since configuration version {version}"
        near = _nearest(named, _known(location, section), section)
        meant = f"; did you mean {' or '.join(near)}?" if near else ";"
        return f"unknown key {key}{meant} known here: {', '.join(_known(location, section))}"
    if first["type"] == "missing":
        key = "data.path" if key == "data" else key
        return f"{key} is missing; add it, or pass --set {key}=..."
    if key == "version":
        return (
            f"written for configuration version {_shown(given)}, this is {version}: use the unveil release that wrote "
            "it, or start a new run with unveil init"
        )
    if first["type"].startswith("union_tag"):
        kind = given.get("kind") if isinstance(given, Mapping) else given
        if key == "noise" and (refusal := _refusal(kind)):
            return f"{key}.kind is {_text(kind)}, {refusal}"
        return f"{key}.kind is {_text(kind)}; choose one of {', '.join(KINDS[tuple(location[:1])]())}"
    if given is None and first["type"] in ("model_type", "model_attributes_type"):
        return f"{key} is empty; remove the line, or give its keys"
    value = "" if isinstance(given, Mapping | BaseModel) and first["type"] == "value_error" else f" = {_shown(given)}"
    return f"{key or 'configuration'}{value}: {', or '.join(dict.fromkeys(words))}"


def _refusal(kind: object) -> str | None:
    """Return why noise of that kind is known and not supported; None where it is not known, or supported."""
    from unveil.identifiability.noise import FAMILIES  # loads torch, which a right configuration does not need

    family = FAMILIES.get(str(kind).lower().replace("_", "-"))
    return None if family is None or not family.instead else family.refusal


def _words(error: Any) -> str:
    kind = error["type"]
    if kind in LIMITS:
        name, words = LIMITS[kind]
        return words.format(error["ctx"][name])
    return WORDS.get(kind) or " ".join(error["msg"].removeprefix("Value error, ").split())


def _text(part: object) -> str:
    """Return a key as it is written, in quotes where that would not be one short line."""
    text = str(part)
    return text if text.isprintable() and len(text) <= SHOWN else f"{text[:SHOWN]!r}"


def _shown(value: Any) -> str:
    """Return a value as it is written; a file gives numbers as text."""
    if isinstance(value, list | tuple):
        shown = f"[{', '.join(map(_shown, value[:SHOWN]))}]"
        return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 4]} ..."
    if isinstance(value, str) and len(value) <= SHOWN and value.isprintable():
        try:
            float(value)
        except ValueError:
            return repr(value)
        return value
    try:
        shown = repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 4]} ..."


def _nearest(named: Sequence[int | str], here: Sequence[str], section: type[BaseModel]) -> list[str]:
    """Return the keys most like this one, of its section; if none is, those of others that are called so."""
    *above, name = map(str, named)
    found = [".".join([*above, one]) for one in get_close_matches(name, here)]
    others = (key.rpartition(".") for key in _keys(section))
    return (
        found or [*dict.fromkeys(f"{at}.{one}" for at, _, one in others if one == name and at != ".".join(above))][:3]
    )


def _keys(section: type[BaseModel], *above: str) -> Iterator[str]:
    """Yield all keys, as "section.name"; of sections of several kinds those of each."""
    for name, field in section.model_fields.items():
        kinds = [*KINDS[(name,)]().values()] if (name,) in KINDS and not above else [field.annotation]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, *above, name)
        yield ".".join([*above, name])


def _known(location: Sequence[int | str], section: type[BaseModel]) -> list[str]:
    path = location[:-1]
    if tuple(path[:1]) in KINDS:  # then comes its kind
        section, path = KINDS[tuple(path[:1])]()[str(path[1])], path[2:]
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        for kind in (annotation, *get_args(annotation)):  # a section, or one that may be null
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                section = kind
    return list(section.model_fields)
