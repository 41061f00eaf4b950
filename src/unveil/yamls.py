"""The part of YAML that a configuration needs: keys with values, lists and text, each key once.

A scalar is its text, or None where it is empty, ~ or null: the key that it belongs to says whether that is a number. So
a folder may be called 007, no or 2024-01-01, and 1e-3 is a number, which YAML itself reads as text. Anchors, aliases
and tags, by which a few bytes make gigabytes or call code, are refused, and so is what is larger or deeper than a
configuration is.
"""

from typing import Any

import yaml

from unveil.errors import UnveilError

__all__ = ["MOST_BYTES", "read_yaml"]

MOST_BYTES = 2**18
MOST_NODES = 10_000
MOST_LEVELS = 20

NULL = ("", "~", "null", "Null", "NULL")


def read_yaml(text: str, where: str, advice: str) -> Any:
    """Return what `text` holds: dicts with keys of text, lists, text and None.

    where: the text comes from, and advice: what to do, for the message. Raises UnveilError, with the line, where it is
    not valid YAML or holds what a configuration does not.
    """
    try:
        if len(text) > MOST_BYTES:
            raise _Refused(f"has more than {MOST_BYTES:,} bytes, more than a configuration")
        node = yaml.compose(text, _Loader)
        return None if node is None else _value(node)
    except _Refused as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UnveilError(f"{where}: {line}{error.problem}; {advice}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "no reason given"
        raise UnveilError(f"{where}: not valid YAML{line} ({' '.join(str(reason).split())}); {advice}") from None


class _Refused(yaml.MarkedYAMLError):
    """YAML, but not what a configuration holds."""

    def __init__(self, problem: str, mark: yaml.Mark | None = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """Composes nodes, of which none is shared, none has a tag, and there are not too many."""

    levels = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise _Refused("anchors (&) and aliases (*) are not read: write the values out", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused("tags (!) are not read: leave it out", event.start_mark)
        self.nodes += 1
        self.levels += 1
        if self.nodes > MOST_NODES:
            raise _Refused(f"has more than {MOST_NODES:,} values, more than a configuration", event.start_mark)
        if self.levels > MOST_LEVELS:
            raise _Refused(f"more than {MOST_LEVELS} levels one in another", event.start_mark)
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return None if node.style is None and node.value in NULL else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for name, value in node.value:
        key = _value(name)
        if not isinstance(key, str):
            raise _Refused("a key must be text", name.start_mark)
        if key in values:
            raise _Refused(f"{key!r:.60} is there already, in line {lines[key]}: keep one", name.start_mark)
        values[key], lines[key] = _value(value), name.start_mark.line + 1
    return values
