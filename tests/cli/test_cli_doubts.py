"""Input that is not of the kind a run was trained on, and references that do not fit: one line, and beside the
figures."""

import contextlib
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from unveil.cli import main

TINY = ["training.steps=2", "training.warmup=1", "training.batch=2", "training.crop=16", "estimator.widths=[4]",
        "sampling.inflation=0"]  # fmt: skip
SETS = [word for setting in TINY for word in ("--set", setting)]


def scene(seed: int) -> np.ndarray:
    """Squares of 16 pixels of random grey in [0.2, 0.8]."""
    return np.random.default_rng(seed).uniform(0.2, 0.8, (4, 4)).repeat(16, 0).repeat(16, 1)


def noisy(seed: int, sigma: float = 0.1) -> np.ndarray:
    return scene(seed) + sigma * np.random.default_rng(100 + seed).standard_normal((64, 64))


def folder(path: Path, **images: np.ndarray) -> Path:
    path.mkdir()
    for name, image in images.items():
        np.save(path / f"{name}.npy", image)
    return path


def twelve_bits(image: np.ndarray) -> np.ndarray:
    return (4000 * image).clip(0, 4095).astype("u2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on images of 12 bits."""
    here = tmp_path_factory.mktemp("doubts")
    data = folder(here / "data", **{f"y{i}": twelve_bits(noisy(i)) for i in range(3)})
    assert call("init", data, "--out", here / "c.yaml", *SETS) == ""
    assert call("train", here / "c.yaml", "--out", here / "run") == ""
    return here / "run"


def call(*words, code=0) -> str:
    """What `unveil *words` prints to stderr; it ends with `code`."""
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), contextlib.redirect_stderr(text):
        warnings.simplefilter("default")  # each anew
        patch.setattr(sys, "argv", ["unveil", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
    assert (caught.value.code or 0) == code, text.getvalue()
    return text.getvalue()


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (twelve_bits, ""),
        (lambda y: (255 * y).clip(0, 255).astype("u1"), "of type uint16, and these are uint8"),
        (lambda y: (65535 * y).clip(0, 65535).astype("u2"), "units of the training data"),
        (lambda y: y.astype("f4"), "of type uint16, and these are float32"),
    ],
    ids=["its own", "8 bits", "16 bits", "float"],
)
def test_input_on_another_scale(convert, said, run, tmp_path):
    data = folder(tmp_path / "d", a=convert(noisy(7)))
    text = call("denoise", run, data, "--out", tmp_path / "out")
    assert said in text
    assert len(text.splitlines()) == (1 if said else 0)


def test_input_of_another_noise_level(run, tmp_path):
    data = folder(tmp_path / "d", a=twelve_bits(noisy(7, 0.03)))
    text = call("denoise", run, data, "--out", tmp_path / "out")
    assert "noise level found" in text
    sigma = text.split("--sigma ")[1].split()[0]
    assert call("denoise", run, data, "--out", tmp_path / "out2", "--sigma", sigma) == "", "the advice can be followed"


def test_doubtful_figures_say_so_everywhere(run, tmp_path):
    data = folder(tmp_path / "d", a=twelve_bits(noisy(7)), b=twelve_bits(noisy(8)))
    wrong = folder(tmp_path / "wrong", b=scene(8) * 255 / 4000, a=scene(7) * 255 / 4000)
    right = folder(tmp_path / "right", b=4000 * scene(8), a=4000 * scene(7))
    words = ("evaluate", run, data, "--sampled", 0, "--reference")
    assert "not on the scale" in call(*words, wrong)
    record, page = json.loads((run / "evaluation.json").read_text()), (run / "report.html").read_text()
    (line,) = record["warnings"]
    assert "not on the scale" in line
    assert 'class="headline warning"' in page
    assert call(*words, right) == ""
    assert json.loads((run / "evaluation.json").read_text())["warnings"] == []
    assert 'class="headline warning"' not in (run / "report.html").read_text()


def test_training_says_what_the_images_contradict(tmp_path):
    data = folder(tmp_path / "d", a=noisy(0, 0.03), b=noisy(1, 0.03), c=noisy(2, 0.2))
    config = tmp_path / "c.yaml"
    assert "levels differ" in call("init", data, "--out", config, *SETS)
    assert "levels differ" in call("train", config, "--out", tmp_path / "run")
    assert call("train", config, "--out", tmp_path / "run") == "", "it has been said"


def test_training_says_that_the_noise_does_not_fit_before_it_starts(tmp_path):
    data = folder(tmp_path / "d", **{f"y{i}": noisy(i) for i in range(4)})
    config = tmp_path / "c.yaml"
    assert call("init", data, "--out", config, *SETS) == ""
    words = ("train", config, "--out", tmp_path / "run", "--set", "training.steps=1", "--set")
    (line,) = call(*words, "noise.sigma=0.15").splitlines()
    assert line.startswith(f"unveil: warning: {data}: the noise model does not fit: ")
    assert not (tmp_path / "run" / "evaluation.json").exists()


def test_evaluate_exits_with_5_where_the_noise_does_not_fit(run, tmp_path):
    """Everything is written first; and not where the noise is as the run's."""
    data = folder(tmp_path / "d", **{f"y{i}": twelve_bits(noisy(7 + i, 0.14)) for i in range(4)})
    assert "the noise model does not fit: " in call("evaluate", run, data, "--sampled", 0, code=5)
    record = json.loads((run / "evaluation.json").read_text())
    assert record["fit"]["verdict"] == "does not fit"
    assert record["not_valid"] == ["psnr_noise", "psnr_estimate"]
    assert "not valid: the noise model does not fit" in (run / "report.html").read_text()
    data = folder(tmp_path / "e", **{f"y{i}": twelve_bits(noisy(7 + i)) for i in range(4)})
    assert call("evaluate", run, data, "--sampled", 0) == ""
    assert json.loads((run / "evaluation.json").read_text())["fit"]["verdict"] == "fits"
