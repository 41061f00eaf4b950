"""The documentation is true: commands and keys exist, Python runs, extensions pass what the library's own must pass.

Pages, links and anchors are checked by `mkdocs build --strict` in .ci/run.
"""

import importlib.util
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import typer
import yaml
from pydantic import BaseModel

from unveil.cli.app import app
from unveil.config import Config
from unveil.instruments.registry import INSTRUMENTS
from unveil.losses import Loss, Recorruption
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.noises import families
from unveil.operators import Identity
from unveil.random import make_generator, normal, uniform

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"), ROOT / "README.md"])
PROGRAM = typer.main.get_command(app)


def blocks(page, kind):
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.S)


def lines(page):
    """The lines of a page's bash blocks that call unveil, as words."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    for line in text.splitlines():
        for part in re.split(r"&&|\|\||[|>]", line.split("  #")[0]):
            words = shlex.split(part, comments=True)
            if words[:1] == ["unveil"] and words[1:2] != ["--install-completion"]:
                yield words[1:]


COMMANDS = [pytest.param(words, id=f"{page.stem}: {' '.join(words)}"[:90]) for page in PAGES for words in lines(page)]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_and_options_exist(words):
    name, *rest = words
    command = PROGRAM.commands[name]
    context = command.make_context(name, list(rest), parent=PROGRAM.make_context("unveil", [name]))
    system = next((word for word in rest if word in INSTRUMENTS), None)
    for text in context.params.get("sets") or []:
        key, _, value = text.partition("=")
        assert value, text
        assert known(key.split("."), system), text


def known(path, system):
    """Whether a key is one of the configuration; of `operator` one of the system's, where the command names it."""
    section = Config
    for name in path:
        if section is Config and name in ("operator", "noise"):
            kinds = {kind: found.section for kind, found in INSTRUMENTS.items()} if name == "operator" else families()
            chosen = [kinds[system]] if name == "operator" and system else kinds.values()
            return any(path[1] in kind.model_fields for kind in chosen)
        if name not in section.model_fields:
            return False
        section = section.model_fields[name].annotation
        section = section if isinstance(section, type) and issubclass(section, BaseModel) else BaseModel
    return True


@pytest.mark.parametrize(
    ("path", "system"), [("training.step", None), ("operator.mask", "cryoem"), ("noise.red", None)]
)
def test_a_key_that_is_none_is_told(path, system):
    assert not known(path.split("."), system)


def test_there_are_commands_of_every_kind():
    assert len(COMMANDS) > 60
    assert {param.values[0][0] for param in COMMANDS} == set(PROGRAM.commands) - {"report"}


# --- Python


PYTHON = [page for page in PAGES if page.is_relative_to(ROOT / "docs") and blocks(page, "python")]


@pytest.mark.parametrize("page", PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs_in_its_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    run(page)


def run(page, chosen=lambda block: True):
    """The names that the Python of a page leaves."""
    sys.modules["page"] = module = type(sys)("page")  # where dataclasses look for their annotations
    for number, block in enumerate(filter(chosen, blocks(page, "python"))):
        exec(compile(block, f"{page.name}:{number}", "exec"), vars(module))
    return vars(module)


@pytest.fixture(scope="module")
def extensions():
    return run(ROOT / "docs" / "extending.md", lambda block: "\nclass " in block)


MOST = 4.5
"""Standard errors, of some hundred means."""


def moments(z, mean, variance):
    """Fails unless draws z (n, ...) have these, where their fourth moment says how far the variance may be off."""
    n = len(z)
    assert ((z.mean(0) - mean).abs() < MOST * (variance / n).sqrt()).all()
    square = (z - mean) ** 2
    assert ((square.mean(0) - variance).abs() < MOST * square.std(0) / n**0.5).all()


def test_the_family_has_the_law_that_it_says(extensions):
    noise, generator = extensions["Modes"](0.3, 4.0), make_generator("cpu", 1)
    u = torch.tensor([0.5, 2.0, 6.0], dtype=torch.float64).expand(40_000, 3)
    y = noise.sample(u, generator)
    moments(y, u[0], noise.variance(u[0][None])[0])
    estimate = noise.estimated_variance(y)
    error = estimate.std(0) / len(y) ** 0.5
    assert ((estimate.mean(0) - noise.variance(u[:1])[0]).abs() < MOST * error).all()
    for t in (0.2, 0.7):
        m = Measurement(y, Identity(), noise)
        view, rest = m.recorrupt(torch.full((len(y),), t, dtype=y.dtype), generator)
        moments(view.y, u[0], noise.exposed(t).variance(u[:1])[0])
        moments(rest.y, u[0], noise.exposed(1 - t).variance(u[:1])[0])
        product = (view.y - u) * (rest.y - u)
        assert (product.mean(0).abs() < MOST * product.std(0) / len(y) ** 0.5).all(), "independent"


def test_the_instrument_is_linear_with_its_adjoint(extensions):
    generator = make_generator("cpu", 2)
    masks = torch.rand(4, 8, 6, generator=generator, dtype=torch.float64)
    operator = extensions["Snapshot"](masks)
    x = normal(torch.empty(3, 4, 8, 6, dtype=torch.float64), generator)
    y = normal(torch.empty(3, 1, 8, 6, dtype=torch.float64), generator)
    operator.check_adjoint(y, generator, tolerance=1e-12)
    torch.testing.assert_close(operator.A(2 * x - x.flip(0)), 2 * operator.A(x) - operator.A(x).flip(0))
    z = operator.prox_l2(x, y, torch.full((3,), 5.0, dtype=torch.float64))
    gradient = 5 * operator.A_adjoint(operator.A(z) - y) + z - x
    assert float(gradient.norm()) < 1e-3 * float(x.norm())
    shown = torch.rand(1, 1, 8, 6, generator=generator) < 0.5
    part = operator.hide(shown)
    gap = (part.A(x) * y).sum() - (x * part.A_adjoint(y)).sum()
    assert abs(float(gap)) < 1e-10
    assert not part.A(x)[~shown.expand(3, 1, 8, 6)].any()
    several = operator._like(masks=torch.rand(3, 4, 8, 6, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(several.select(torch.tensor([2])).A(x[2:]), several.A(x)[2:])


@pytest.mark.parametrize("family", ["gaussian", "modes"])
def test_the_loss_is_unbiased(extensions, family):
    noise = Gaussian(0.3) if family == "gaussian" else extensions["Modes"](0.1, 3.0)

    class Forgets(Loss):
        """A residual that keeps the noise of its target."""

        def __call__(self, f, m, generator):
            view, rest = m.recorrupt(torch.full_like(m.level, 0.5), generator)
            return rest.mean_square(rest.y - view.predict(f(view)))

    assert abs(bias(extensions["Halves"](), noise)) < MOST
    assert abs(bias(Recorruption(ratio=lambda like, _: torch.full_like(like, 2**0.5)), noise)) < MOST
    assert abs(bias(Forgets(), noise)) > 3 * MOST


def bias(loss, noise):
    """Mean of (loss - what a supervised one is at half the exposure), in standard errors."""
    generator = make_generator("cpu", 3)
    x = uniform(torch.empty(4000, 1, 6, 6, dtype=torch.float64), 0.2, 1.0, generator)

    def f(m):
        return 0.6 * m.y + 0.2 * m.y.roll(1, -1) + 0.05 * m.y**2

    y = noise.sample(x, generator)
    value = loss(f, Measurement(y, Identity(), noise), generator)
    half = noise.exposed(0.5)
    other = Measurement(half.sample(x, generator), Identity(), half)
    gap = value - (f(other) - x).square().flatten(1).mean(1)
    return float(gap.mean() / (gap.std() / len(gap) ** 0.5))


# --- what stands beside the pages


def test_the_navigation_names_every_page():
    named = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1])
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    notebooks = {f"notebooks/{path.stem}.md" for path in ROOT.glob("examples/notebooks/*.ipynb")}
    assert set(named) == pages | notebooks


def test_a_notebook_becomes_a_page(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {
            "cell_type": "code",
            "source": ["f(x)"],
            "outputs": [
                {"output_type": "stream", "text": ["said\n"]},
                {"data": {"image/png": "cGljdHVyZQ==", "text/plain": ["<Figure>"]}},
                {"data": {"text/html": ["<div>shown</div>"], "text/plain": ["shown"]}},
            ],
        },
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    text, pictures = loaded("notebooks").page(tmp_path / "n.ipynb")
    assert pictures == {"n_0.png": b"picture"}
    wanted = ["# Title", "Words.", "```py\nf(x)\n```", "```text\nsaid\n```", "](n_0.png)", "<div>shown</div>"]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    assert "<Figure>" not in text


def test_every_result_has_a_command():
    commands = loaded("commands")
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        made = commands.commands(path)
        assert made, path.name
        assert all(line.split()[0] in ("python", "unveil", "#") for line in made), (path.name, made)
    assert commands.shortened("python a.py --work w --json x.json --seed 1") == "python a.py --seed 1"


def loaded(name):
    """A module of docs/_site."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docstrings_become_lists(monkeypatch):
    griffe = type(sys)("griffe")  # of the extra docs
    griffe.Extension = griffe.Object = object
    monkeypatch.setitem(sys.modules, "griffe", griffe)
    text = """Return A x of y (B, *image), `*args`.

x: an image,
    (B, *image). y, z: two; None: no
more. sigma: > 0, < 1.
Raises UnveilError: never.

    <A x, y> * 2

>>> 2 * 3 < 7
True"""
    assert loaded("docstrings").plain(text).splitlines() == [
        r"Return A x of y (B, \*image), `*args`.",
        "",
        r"- **x**: an image, (B, \*image).",
        "- **y, z**: two; None: no more.",
        "- **sigma**: > 0, &lt; 1.",
        "",
        "Raises UnveilError: never.",
        "",
        "    <A x, y> * 2",
        "",
        ">>> 2 * 3 < 7",
        "True",
    ]


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == version
    assert f"## {version} - " in (ROOT / "CHANGELOG.md").read_text()
    from unveil import __version__

    assert __version__ == version


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda path: path.name)
def test_templates_and_workflows_are_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text()), Mapping)
