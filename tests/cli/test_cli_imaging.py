"""The command line on incomplete measurements: each command on a tiny run, and one clear line for each wrong input."""

import json
import math

import numpy as np
import pytest
import torch
import yaml
from test_cli import call, refused

from unveil.cli.device import torch_device
from unveil.config_file import load_config
from unveil.data import open_images
from unveil.evaluation import estimate_error, psnr
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import inpainting
from unveil.random import make_generator
from unveil.runs import open_run
from unveil.training.setup import indices, open_source, split

SIDE, COUNT, SIGMA = 16, 3, 0.05
SAMPLING = ("--set", "sampling.samples=2", "--set", "sampling.steps=3")


def write_masks(path, *shape, key=2):
    keep = torch.rand(*shape, generator=make_generator("cpu", key)) < 0.6
    np.save(path, keep.numpy())
    return keep


def write_measurements(folder, count=COUNT, key=1):
    """x.npy and y.npy; the masks of y are those of `write_masks`, one for each."""
    t = torch.linspace(0, 6, SIDE)
    shifts = torch.arange(count)[:, None, None]
    x = 0.5 + 0.2 * torch.sin(t[:, None] + shifts) + 0.2 * torch.cos(1.3 * t - shifts)
    keep = write_masks(folder / "mask.npy", count, SIDE, SIDE)
    y = torch.where(keep, x + SIGMA * torch.randn(x.shape, generator=make_generator("cpu", key)), 0.0)
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "y.npy", y.numpy())
    return y, keep


def write_config(folder, **sections):
    values = {
        "seed": 5,  # holds out the last of three
        "data": {"path": str(folder / "y.npy"), "validation": 0.4},
        "operator": {"kind": "inpainting", "mask": str(folder / "mask.npy")},
        "noise": {"sigma": SIGMA},
        "estimator": {"widths": [4]},
        "training": {"steps": 3, "batch": 4, "warmup": 1, "validate_every": 3, "checkpoint_every": 3},
        **sections,
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(values))
    return folder / "c.yaml"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """y.npy, x.npy, mask.npy, c.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("imaging")
    write_measurements(folder)
    code, text = call("train", write_config(folder), "--out", folder / "run")
    assert code == 0, text
    return folder


def test_the_run_folder_holds_the_system(workspace):
    run = open_run(workspace / "run")
    assert run.config.operator.kind == "inpainting"
    assert run.config == load_config(workspace / "c.yaml")
    text = (workspace / "run" / "config.yaml").read_text()
    assert f"  mask: {workspace / 'mask.npy'}  # " in text
    assert run.noise.sigma == SIGMA


def test_dry_runs_write_nothing(workspace, tmp_path):
    before = sorted(workspace.rglob("*"))
    for words in [
        ("train", workspace / "c.yaml", "--out", tmp_path / "no"),
        ("denoise", workspace / "run", workspace / "y.npy", "--out", tmp_path / "no"),
        ("sample", workspace / "run", workspace / "y.npy", "--out", tmp_path / "no"),
        ("evaluate", workspace / "run"),
    ]:
        assert call(*words, "--dry-run")[0] == 0
    assert sorted(workspace.rglob("*")) == before
    assert not (tmp_path / "no").exists()


def test_denoise_writes_the_estimate_through_each_measurements_own_mask(workspace, tmp_path):
    assert call("denoise", workspace / "run", workspace / "y.npy", "--out", tmp_path)[0] == 0
    operator = inpainting(torch.from_numpy(np.load(workspace / "mask.npy")))
    f, source = open_run(workspace / "run").estimator(operator), open_images(workspace / "y.npy")
    names = ["unveil-output.json", "y.npy", *(f"y_{i:04d}.png" for i in range(COUNT))]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    estimates = torch.from_numpy(np.load(tmp_path / "y.npy"))[:, None]
    for i in range(COUNT):
        estimate = estimates[i]
        with torch.no_grad():
            right, wrong = (
                f(Measurement(source.read(i)[None], operator.select(torch.tensor([k])), Gaussian(SIGMA)))[0]
                for k in (i, (i + 1) % COUNT)
            )
        torch.testing.assert_close(estimate, right, rtol=0, atol=1e-5)
        assert (estimate - wrong).abs().max() > 0.05


def test_sample_writes_samples_mean_and_deviation(workspace, tmp_path, capsys):
    words = ("sample", workspace / "run", workspace / "y.npy", *SAMPLING, "--out")
    assert call(*words, tmp_path / "a", "--seed", 1)[0] == 0
    assert "what inpainting does not see stands at its mean in every sample" in capsys.readouterr().out
    assert call(*words, tmp_path / "b", "--seed", 1)[0] == 0
    assert call(*words, tmp_path / "c", "--seed", 2)[0] == 0
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["unveil-output.json", "y"]

    def read(path):
        return torch.from_numpy(np.load(path))[:, None]

    def drawn(out):
        return torch.stack([read(tmp_path / out / "y" / f"sample_{k:03d}.npy") for k in range(2)])

    samples = drawn("a")
    assert samples.shape == (2, COUNT, 1, SIDE, SIDE)
    assert samples.isfinite().all()
    assert samples.std(0).amax((1, 2, 3)).min() > 0
    torch.testing.assert_close(read(tmp_path / "a" / "y" / "mean.npy"), samples.mean(0))
    torch.testing.assert_close(read(tmp_path / "a" / "y" / "deviation.npy"), samples.std(0))
    assert torch.equal(drawn("b"), samples)
    assert not torch.equal(drawn("c"), samples)


def test_evaluate_and_report_on_the_held_out_measurement(workspace):
    run = open_run(workspace / "run")
    assert call("evaluate", run.folder, "--sampled", 1, *SAMPLING)[0] == 0
    record = json.loads((run.folder / "evaluation.json").read_text())
    ((i,), (row,)) = indices(split(open_source(run.config), run.config)[1]), record["images"]
    assert i > 0, "not the first, or its mask could be another's unseen"
    held_out = run.measurements()[1]
    assert row["name"] == held_out.source.name(0) == open_source(run.config).name(i)
    where = torch_device("auto")
    f, m = run.estimator(held_out.operator).to(where), held_out[0].to(where)
    estimated = estimate_error(f, m, make_generator(where, 0, 0))
    assert row["psnr_estimate"] == pytest.approx(psnr(float(estimated)), abs=0.05), "through its own mask"
    assert row["psnr_hidden"] is None or math.isfinite(row["psnr_hidden"])
    assert row["psnr_mmse"] is None
    (run.folder / "report.html").unlink()
    assert call("report", run.folder)[0] == 0
    assert "data:image/png;base64," in (run.folder / "report.html").read_text()


def test_evaluate_with_a_reference(workspace, monkeypatch):
    monkeypatch.setattr("unveil.report.results.comparison", lambda *_: b"")  # the pictures take seconds
    words = (workspace / "y.npy", "--reference", workspace / "x.npy", "--sampled", 0)
    assert call("evaluate", workspace / "run", *words)[0] == 0
    record = json.loads((workspace / "run" / "evaluation.json").read_text())
    assert [math.isfinite(row["psnr_mmse"]) for row in record["images"]] == [True] * COUNT
    assert record["mean"]["psnr_mmse"] > record["mean"]["psnr_noisy"] + 3, "a grey level beats black holes"
    hidden = [row["psnr_hidden"] for row in record["images"]]  # of some hundred entries: one may not be resolved
    assert any(value is not None and 25 < value < 45 for value in hidden)
    assert [row["name"] for row in record["evidence"]["error"]["images"]] == ["y_0000", "y_0001", "y_0002"]


def test_training_again_resumes_or_is_done(workspace, tmp_path):
    before = (workspace / "run" / "model.safetensors").read_bytes()
    assert call("train", workspace / "run")[0] == 0
    assert call("train", workspace / "run" / "config.yaml", "--out", tmp_path / "again")[0] == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == before


# --- what is wrong is said in one line, before there is a folder


def train_refused(workspace, tmp_path, *sets):
    words = [word for text in sets for word in ("--set", text)]
    line = refused("train", workspace / "c.yaml", *words, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    return line


@pytest.mark.parametrize("shape", [(SIDE, SIDE + 1), (COUNT, SIDE + 1, SIDE), (COUNT + 1, SIDE, SIDE), (SIDE,)])
def test_a_mask_of_another_shape(shape, workspace, tmp_path):
    write_masks(tmp_path / "mask.npy", *shape)
    line = train_refused(workspace, tmp_path, f"operator.mask={tmp_path / 'mask.npy'}")
    assert "operator.mask" in line
    assert str(shape) in line
    assert "mask.npy" in line


def test_a_mask_that_measures_nothing(workspace, tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros((SIDE, SIDE), bool))
    assert "measures no pixel" in train_refused(workspace, tmp_path, f"operator.mask={tmp_path / 'mask.npy'}")


def test_a_mask_that_is_not_there_or_no_mask(workspace, tmp_path):
    assert "absent.npy does not exist" in train_refused(workspace, tmp_path, f"operator.mask={tmp_path / 'absent.npy'}")
    (tmp_path / "text.npy").write_text("1 0 1")
    line = train_refused(workspace, tmp_path, f"operator.mask={tmp_path / 'text.npy'}")
    assert "operator.mask" in line
    assert "cannot be read" in line
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    assert "not numbers" in train_refused(workspace, tmp_path, f"operator.mask={tmp_path / 'words.npy'}")


def test_unknown_kinds_and_keys(workspace, tmp_path):
    line = train_refused(workspace, tmp_path, "operator.kind=inpaint")
    assert "operator.kind is inpaint; choose one of identity, inpainting" in line
    line = train_refused(workspace, tmp_path, "operator.maks=m.npy")
    assert "unknown key operator.maks; did you mean operator.mask? known here: kind, mask" in line
    bare = write_config(tmp_path, operator={"mask": "m.npy"})
    assert "operator.kind is None; choose one of" in refused("train", bare, "--out", tmp_path / "run")
    assert "operator.mask is missing" in refused(
        "train", write_config(tmp_path, operator={"kind": "inpainting"}), "--out", tmp_path / "run"
    )
    for wrong, words in (
        (3, "operator = 3"),
        (None, "operator is empty"),
        ("mri", "operator = 'mri'"),
        (["mri"], "operator = "),
    ):
        assert words in refused("train", write_config(tmp_path, operator=wrong), "--out", tmp_path / "run")
    track = {"kind": "interferometry", "pixels": 8, "field_of_view": 1.0, "track": {"stations": "s.txt", "start": 0}}
    assert "operator.track.right_ascension is missing" in refused(
        "train", write_config(tmp_path, operator=track), "--out", tmp_path / "run"
    )


def test_settings_that_do_not_suit_the_system(workspace, tmp_path):
    assert "noise.sigma" in train_refused(workspace, tmp_path, "noise.sigma=estimate")
    assert "preconditioned" in train_refused(workspace, tmp_path, "estimator.form=equivariant")
    assert "'turn'" in train_refused(workspace, tmp_path, "loss.symmetry=[turn]")


def test_input_of_another_shape_number_or_colour(workspace, tmp_path):
    run = workspace / "run"
    for name, shape in [("wide", (COUNT, SIDE, SIDE + 1)), ("few", (COUNT - 1, SIDE, SIDE))]:
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, np.float32))
    np.save(tmp_path / "colour.npy", np.zeros((COUNT, SIDE, SIDE, 3), np.float32))
    for command in ("denoise", "sample", "evaluate"):
        out = () if command == "evaluate" else ("--out", tmp_path / "out")
        line = refused(command, run, tmp_path / "wide.npy", *out)
        assert "operator.mask" in line
        assert f"{COUNT} measurements are {SIDE}x{SIDE + 1}" in line
        assert f"{COUNT - 1} measurements" in refused(command, run, tmp_path / "few.npy", *out)
        line = refused(command, run, tmp_path / "colour.npy", *out)
        assert "has 3 channels, and" in line
        assert "trained on 1" in line
    assert not (tmp_path / "out").exists()


def test_a_reference_of_another_shape(workspace, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((COUNT, SIDE, SIDE + 1), np.float32))
    line = refused("evaluate", workspace / "run", workspace / "y.npy", "--reference", tmp_path / "x.npy")
    assert "references of the same shape" in line


def test_no_samples_where_nothing_taught_the_levels_below(workspace, tmp_path):
    config = write_config_beside(workspace, tmp_path, loss={"recipe": "ambient"})
    run = tmp_path / "run"
    assert call("train", config, "--out", run)[0] == 0
    assert "recipe" in refused("sample", run, workspace / "y.npy", "--out", tmp_path / "samples")
    assert call("evaluate", run, "--sampled", "1")[0] == 0
    assert json.loads((run / "evaluation.json").read_text())["images"][0]["spread_over_error"] is None


def write_config_beside(workspace, folder, **sections):
    """The configuration of the workspace's data, in another folder."""
    values = {**yaml.safe_load((workspace / "c.yaml").read_text()), **sections}
    (folder / "c.yaml").write_text(yaml.safe_dump(values))
    return folder / "c.yaml"
