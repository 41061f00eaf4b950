"""The examples run as they stand, but for fewer steps; the notebooks are those of their sources, with outputs."""

import json
import re
import runpy
import sys
from pathlib import Path

import matplotlib
import pytest

import unveil

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(EXAMPLES.glob("notebooks/*.ipynb"))
MOST_BYTES = 10**6


SMALL = {
    "training": {"batch": 2},
    "estimator": {"widths": [4]},
    "sampling": {"samples": 2, "steps": 2, "inflation": 0.0},
}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """No screen, and whatever is learned learned briefly."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    learn, sample = unveil.learn, unveil.Model.sample

    def briefly(y, *, steps, settings=None, **rest):
        assert steps >= 100
        merged = {
            part: {**(settings or {}).get(part, {}), **SMALL.get(part, {})} for part in {*SMALL, *(settings or {})}
        }
        if "operator" in rest:
            merged["estimator"] |= {"iterations": 1, "prior": "white"}
        return learn(y, steps=2, settings=merged, **rest)

    monkeypatch.setattr(unveil, "learn", briefly)
    monkeypatch.setattr(unveil.Model, "sample", lambda model, y, n, **_: sample(model, y, n, steps=2))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_does_all_that_it_says(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--out", "out"])
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {word.rpartition("/")[2] for word in re.findall(r"out/[\w./]+", said)} <= made
    assert len(made) >= 1


def code(notebook):
    """The code cells of a notebook."""
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook):
    names = {"display": lambda shown: shown._repr_html_()}
    for number, cell in enumerate(code(notebook)):
        exec(compile("".join(cell["source"]), f"{notebook.name}:{number}", "exec"), names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_that_of_its_source_and_was_executed(notebook):
    parts = re.split(r"^# %%.*\n", notebook.with_suffix(".py").read_text(), flags=re.M)
    written = [part.strip() for part in parts[1:] if not all(re.match("#|$", line) for line in part.splitlines())]
    cells = code(notebook)
    assert ["".join(cell["source"]) for cell in cells] == written, "make it again: examples/README.md says how"
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert notebook.stat().st_size < MOST_BYTES


def test_there_are_scripts_and_notebooks():
    assert (len(SCRIPTS), len(NOTEBOOKS)) == (3, 2)
