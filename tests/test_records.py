"""JSON records of a run: whatever the file holds by now, it is read right or refused in one line."""

import json
import os

import pytest
from pydantic import BaseModel

from unveil import records
from unveil.errors import UnveilError
from unveil.records import read_json, read_record, sealed


class Row(BaseModel):
    step: int
    gain: float
    sides: tuple[int, ...] = ()


BAD = {
    "nothing": b"",
    "half": b'{"step": 1, "ga',
    "a list": b"[1, 2]",
    "a number": b"3",
    "not UTF-8": b'{"step": "\xff\xfe"}',
    "deep": b'{"step": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "many digits": b'{"step": ' + b"9" * 10_000 + b"}",
}
WRONG = {
    "missing": {"step": 1},
    "text": {"step": "1", "gain": 1.0},
    "a fraction": {"step": 1.5, "gain": 1.0},
    "truth": {"step": True, "gain": 1.0},
    "a list": {"step": [1], "gain": 1.0},
    "null": {"step": 1, "gain": None},
    "nested": {"step": 1, "gain": {"a": 1}},
}


def refused(call, *arguments):
    with pytest.raises(UnveilError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_object_is_one_line(kind, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(BAD[kind])
    for read in (lambda: read_json(path, "mend it"), lambda: read_record(path, Row, "mend it")):
        message = refused(read)
        assert message.startswith(f"{path}: damaged (")
        assert message.endswith("; mend it")


@pytest.mark.parametrize("kind", WRONG)
def test_keys_of_wrong_types_are_named(kind, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(WRONG[kind]))
    message = refused(read_record, path, Row)
    assert "damaged (gain" in message if kind in ("missing", "null", "nested") else "damaged (step" in message


def test_missing_files_folders_and_too_large_ones(tmp_path, monkeypatch):
    assert "no such file" in refused(read_json, tmp_path / "none.json")
    assert "no such file" in refused(read_json, tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "no such file" in refused(read_json, tmp_path / "fifo")
    (tmp_path / "a.json").write_text('{"step": 1}')
    monkeypatch.setattr(records, "MOST", 0)
    assert "MiB" in refused(read_json, tmp_path / "a.json")


def test_a_seal_tells_what_was_changed(tmp_path):
    path = tmp_path / "a.json"
    record = {"step": 3, "gain": 0.1 + 0.2, "sides": [1, 2]}
    path.write_text(json.dumps(sealed(record)))
    assert read_record(path, Row, "mend it") == Row(step=3, gain=0.1 + 0.2, sides=(1, 2))
    path.write_text(path.read_text().replace("0.3000", "0.3001"))
    assert "changed since it was written" in refused(read_record, path, Row, "mend it")
    path.write_text(json.dumps(record))
    assert read_record(path, Row).step == 3, "what has no seal is read as it is"
