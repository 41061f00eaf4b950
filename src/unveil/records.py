"""JSON files of a run, which by now may hold anything: another's content, flipped bits, a half of what was written.

What a run must be able to trust is sealed: its key `sha256` is the hash of all the others.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unveil.errors import UnveilError

__all__ = ["SEAL", "check_seal", "read_json", "read_record", "sealed"]

SEAL = "sha256"
MOST = 256
"""MiB of a file that is read whole."""

Record = TypeVar("Record", bound=BaseModel)


def read_json(path: Path, mend: str = "restore it from a copy") -> dict[str, Any]:
    """Return the object that the JSON file `path` holds.

    mend: what to do when it is damaged, for the error's last words.
    Raises UnveilError for anything else than a file with one JSON object in it.
    """
    return _parse(path, _read(path, mend), mend)


def read_record(path: Path, form: type[Record], mend: str = "restore it from a copy") -> Record:
    """Return the JSON file `path` as a `form`, whose types are held to strictly.

    Raises what `read_json` does, and names the wrong key.
    """
    record = read_json(path, mend)
    try:
        known = json.dumps(record, ensure_ascii=False).encode(
            "utf-8", "replace"
        )  # paths may be no Unicode: ? for what is not
        found = form.model_validate_json(known, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "record"
        given = "" if first["type"] == "missing" else f" = {str(first['input'])[:60]}"
        raise _error(f"{path}: damaged ({key}{given}: {first['msg']})", mend) from None
    check_seal(path, record, mend)
    return found


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """Return `record` with its seal."""
    return {**record, SEAL: _seal(record)}


def check_seal(path: Path, record: dict[str, Any], mend: str = "restore it from a copy") -> None:
    """Raise UnveilError when `record`, read from `path`, has a seal that is not its own."""
    if SEAL in record and record[SEAL] != _seal({key: value for key, value in record.items() if key != SEAL}):
        raise _error(f"{path}: changed since it was written (its sha256 is another)", mend)


def _seal(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _error(wrong: str, mend: str) -> UnveilError:
    return UnveilError(f"{wrong}; {mend}" if mend else wrong)


def _read(path: Path, mend: str) -> bytes:
    if not path.is_file():
        raise _error(f"{path}: no such file", mend)
    try:
        size = path.stat().st_size
        if size > MOST * 2**20:
            raise _error(f"{path}: damaged ({size / 2**20:.0f} MiB, and such files have less than {MOST})", mend)
        return path.read_bytes()
    except OSError as error:
        raise UnveilError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _parse(path: Path, content: bytes, mend: str) -> dict[str, Any]:
    try:
        record = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, not UTF-8, an integer of too many digits, too deep
        reason = " ".join(str(error).split())[:120]
        raise _error(f"{path}: damaged ({reason})", mend) from None
    if not isinstance(record, dict):
        raise _error(f"{path}: damaged (a {type(record).__name__} instead of keys and values)", mend)
    return record
