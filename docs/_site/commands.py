"""The table of docs/benchmarks.md: each file of results, with the command that made it, as the file itself says."""

import json
from pathlib import Path
from typing import Any

__all__ = ["on_page_markdown"]

HERE = "<!-- commands -->"
RESULTS = Path("benchmarks/results")
RUNS = "--work", "--json", "--plot"
"""Options that name files of whoever measured."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table where the page asks for it."""
    return markdown.replace(HERE, table()) if HERE in markdown else markdown


def table() -> str:
    """Return a row for each file of results: its name, and its commands."""
    rows = [f"| `{path.name}` | {'<br>'.join(f'`{line}`' for line in commands(path))} |" for path in found()]
    return "\n".join(["| results | command |", "|---|---|", *rows])


def found() -> list[Path]:
    """Return the files of results, by name."""
    return sorted(RESULTS.glob("*.json"))


def commands(path: Path) -> list[str]:
    """Return the commands that made a file of results, without the names of scratch files."""
    record = json.loads(path.read_text(encoding="utf-8"))
    stated = record.get("command", record.get("commands"))
    if stated is None:
        stated = [run["command"] for run in record["runs"]]
    lines = [line for text in ([stated] if isinstance(stated, str) else stated) for line in text.split(" ; ")]
    return list(dict.fromkeys(shortened(line) for line in lines))


def shortened(command: str) -> str:
    """Return the command without the options `RUNS` and their values."""
    words, kept = command.split(), []
    while words:
        word = words.pop(0)
        if word in RUNS:
            words = words[1:]
        else:
            kept.append(word)
    return " ".join(kept).replace("|", "\\|")
