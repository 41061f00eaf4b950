"""Results say how they were made, and nothing of the machine they were made on."""

import json
import sys
from argparse import Namespace

from common import write


def test_a_command_names_files_and_no_folders(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    words = [str(tmp_path / "noise.py"), "--train", str(tmp_path / "photos"), f"--work={tmp_path}/w", "--cases",
             "poisson:2/known", "--ratio", "3/4", "--json", str(tmp_path / "new" / "out.json")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    write(tmp_path / "new" / "out.json", Namespace(seed=3, threads=1, device="cpu"), {"psnr": 1.0})
    found = json.loads((tmp_path / "new" / "out.json").read_text())
    assert found["command"] == (
        "python benchmarks/noise.py --train photos --work=w --cases poisson:2/known --ratio 3/4 --json out.json"
    )
    assert (found["seed"], found["psnr"]) == (3, 1.0)
