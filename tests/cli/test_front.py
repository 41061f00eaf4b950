"""What scripts and shells ask of the command line: JSON alone on stdout, short options, completion, a list uncut."""

import json
import os
import subprocess
import sys

import pytest
from test_cli import call, told

from unveil.cli.app import app
from unveil.cli.screen import console, figures, json_to_stdout

WITHOUT_FIGURES = {"reconstruct", "sample", "view", "report"}
"""Commands that print where results are, and nothing that a script would read."""


def test_help_and_version_have_short_options(capsys):
    shown = []
    for words in (["-h"], ["--help"], ["train", "-h"], ["train", "--help"], ["-V"], ["--version"]):
        assert call(*words)[0] == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[2] == shown[3]
    assert "CONFIG|RUN" in shown[2]
    assert shown[4] == shown[5]
    assert shown[4].startswith("unveil 0.")


def test_the_list_of_commands_is_not_cut(capsys):
    call("--help")
    text = capsys.readouterr().out
    listed = "".join(text.split("Commands:")[1].split())
    assert "..." not in listed
    for command in app.registered_commands:
        first = (command.callback.__doc__ or "").split("\n\n")[0]
        assert "".join(first.split()) in listed


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"COMP_WORDS": "unveil re", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "unveil re"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "unveil re", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_commands(shell, asked):
    script = "import sys; sys.argv = ['unveil']; from unveil.cli import main; main()"
    environment = {**os.environ, **asked, "_UNVEIL_COMPLETE": f"complete_{shell}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert "reconstruct" in done.stdout
    assert "report" in done.stdout
    assert "train" not in done.stdout


def test_every_command_that_prints_figures_has_json():
    options = {command.callback.__name__: command.callback.__annotations__ for command in app.registered_commands}
    assert {name for name, hints in options.items() if "json" not in hints} == WITHOUT_FIGURES


def test_check_tells_json_with_its_exit_code(tmp_path, capsys):
    found, said = told(capsys, "init", "inpainting", "--out", tmp_path / "c.yaml")
    assert found["system"] == "inpainting"
    found, said = told(capsys, "check", tmp_path / "c.yaml")
    assert found["learnable"] is True
    assert "can be learned" in said
    found, said = told(capsys, "check", tmp_path / "c.yaml", "--set", "loss.symmetry=[]", code=4)
    assert found["learnable"] is False
    assert found["reasons"]


def test_wrong_input_prints_no_json(tmp_path, capsys):
    capsys.readouterr()
    assert call("estimate", tmp_path / "none", "--json")[0] == 2
    assert capsys.readouterr().out == ""
    assert not console.stderr


def test_json_has_no_number_that_json_has_not(capsys):
    figures({"not": "asked for"})
    with json_to_stdout(True):
        figures({"a": float("nan"), "b": [1.5, float("inf")], "c": ({"d": 2},)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": [{"d": 2}]}
