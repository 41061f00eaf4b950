"""What the commands write: no input is touched, no results are lost or mixed, and stopped work goes on to the same
bits."""

import json
import os
import shutil

import imageio.v3 as iio
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import torch
from astropy.io import fits
from pydicom.data import get_testdata_file
from test_cli import SETS, call, refused, write_images

from unveil.cli import batch, sample
from unveil.cli.failures import Failures
from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.estimators import Tiled
from unveil.evaluation.components import component_names
from unveil.random import make_generator

SAMPLING = ("--set", "sampling.steps=2", "--set", "sampling.samples=2")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with data/, unveil.yaml and a tiny trained run/."""
    folder = tmp_path_factory.mktemp("results")
    write_images(folder / "data", side=32)
    assert call("init", folder / "data", "--out", folder / "unveil.yaml", *SETS)[0] == 0
    assert call("train", folder / "unveil.yaml", "--out", folder / "run", "--set", "training.steps=2")[0] == 0
    return folder


@pytest.fixture
def run(workspace):
    return workspace / "run"


@pytest.fixture
def data(workspace, tmp_path):
    return shutil.copytree(workspace / "data", tmp_path / "data")


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Inputs


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_no_command_writes_over_its_input(run, data, tmp_path, monkeypatch, force):
    monkeypatch.chdir(data)
    os.link(data / "y0.tif", tmp_path / "hard.tif")
    (tmp_path / "soft").symlink_to(data)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "y1.tif").symlink_to(data / "y1.tif")
    (tmp_path / "hard").mkdir()
    os.link(data / "y0.tif", tmp_path / "hard" / "y0.tif")
    before = content(tmp_path)
    for words in [
        ("denoise", run, data, "--out", data),
        ("denoise", run, data, "--out", tmp_path / "soft"),
        ("denoise", run, "y0.tif", "--out", "."),
        ("denoise", run, "y1.tif", "--out", tmp_path / "linked"),
        ("denoise", run, "y0.tif", "--out", tmp_path / "hard"),
        ("sample", run, data, "--out", data),
        ("whiten", data, "--out", data),
        ("whiten", data / "y0.tif", "--out", data),
        ("init", data, "--out", data / "y0.tif"),
    ]:
        options = [] if words[0] in ("denoise", "sample") and not force else ["--force"]
        refused(*words, *options)
        assert content(tmp_path) == before, words


def test_a_picture_is_not_written_over_the_image_it_is_of(run, tmp_path, monkeypatch):
    iio.imwrite(tmp_path / "scan.png", np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8))
    before = content(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "scan.png" in refused("denoise", run, "scan.png", "--out", ".", "--force")
    assert "scan.png" in refused("whiten", "scan.png", "--out", "scan", "--force")
    assert content(tmp_path) == before


# Results


def test_results_of_another_call_are_replaced_whole_and_only_when_asked(run, data, tmp_path):
    out = tmp_path / "out"
    words = ("sample", run, data, "--out", out, "--set", "sampling.steps=2")
    assert call(*words, "--set", "sampling.samples=3")[0] == 0
    (out / "y0" / "notes.txt").write_text("mine")
    before = content(out)
    again = (*words, "--set", "sampling.samples=1")
    assert "another call" in refused(*again)
    assert "another call" in refused("denoise", run, data, "--out", out)
    assert "another call" in refused(*again, "--dry-run")
    assert content(out) == before
    assert call(*again, "--force") == (0, "")
    assert sorted(content(out / "y0")) == ["mean.png", "mean.tif", "notes.txt", "sample_000.png", "sample_000.tif"]
    assert (out / "y0" / "notes.txt").read_text() == "mine"


def test_a_file_of_the_user_is_not_written_over(run, data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "y1.png").write_text("mine")
    assert "y1.png" in refused("denoise", run, data, "--out", tmp_path / "out")
    assert content(tmp_path / "out") == {"y1.png": b"mine"}


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_results_do_not_go_into_a_run(run, data, force):
    before = content(run)
    for command in ("denoise", "sample"):
        assert "is a run's folder" in refused(command, run, data, "--out", run, *force)
    assert content(run) == before


def test_a_manifest_from_elsewhere_removes_nothing_outside(run, data, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("../data/y0.tif", "/etc/passwd", "a/../../x"):
        (out / "unveil-output.json").write_text(json.dumps({"call": {}, "files": [name]}))
        assert "unveil-output.json" in refused("denoise", run, data, "--out", out, "--force")
    (out / "aside").symlink_to(data)
    (out / "unveil-output.json").write_text(json.dumps({"call": {}, "files": ["aside/y2.tif"]}))
    refused("denoise", run, data, "--out", out, "--force")
    assert (data / "y2.tif").is_file()


def test_an_evaluation_replaces_the_one_before_whole(run, data, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    assert call("evaluate", run, data, "--sampled", 2, *SAMPLING)[0] == 0
    before = content(run)
    assert "images/y1/sample_001.tif" in before
    assert "the reference has 1 images" in refused("evaluate", run, data, "--reference", data / "y0.tif")
    assert content(run) == before  # a call that is refused removes nothing
    (data / "y1.tif").rename(data / "other.tif")
    assert call("evaluate", run, data, "--sampled", 1, *SAMPLING)[0] == 0
    left = [name for name in content(run) if name.startswith("images/")]
    kept = [f"images/{name}/{what}.tif" for name in ("other", "y0", "y2") for what in ("measured", "estimate", "noise")]
    kept += [f"images/other/{what}.tif" for what in ("sample_000", "sample_001", "deviation", *component_names(2))]
    strips = [f"images/{name}.png" for name in ("other", "y0", "y2")]
    assert sorted(left) == sorted(["images/unveil-output.json", *kept, *strips])
    assert "y1" not in (run / "evaluation.json").read_text()


def test_an_evaluation_does_not_replace_what_is_not_its_own(run, data, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    assert call("denoise", run, data, "--out", run / "images")[0] == 0
    before = content(run)
    assert "another command" in refused("evaluate", run, data, "--sampled", 0)
    assert content(run) == before


def test_an_evaluation_does_not_write_over_its_input(run, data, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    shutil.copytree(data, run / "images")
    iio.imwrite(run / "images" / "z.png", np.zeros((32, 32), np.uint8))
    before = content(run)
    assert "z.png" in refused("evaluate", run, run / "images")
    assert content(run) == before


def test_a_configuration_is_not_written_over(workspace, tmp_path):
    text = "# mine\n" + (workspace / "unveil.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text)
    assert "config.yaml" in refused("train", tmp_path / "config.yaml", "--out", tmp_path)
    assert "config.yaml" in refused("check", tmp_path / "config.yaml", "--out", tmp_path, "--force")
    assert content(tmp_path) == {"config.yaml": text.encode()}


def test_check_replaces_its_findings_only_when_asked(workspace, tmp_path):
    words = ("check", workspace / "unveil.yaml", "--out", tmp_path / "found")
    assert call(*words)[0] == 0
    before = content(tmp_path)
    assert "another call" in refused(*words, "--set", "seed=7")
    assert content(tmp_path) == before


def test_the_demo_replaces_results_only_when_asked(tmp_path, monkeypatch):
    from unveil.cli import demo

    few = {name: torch.rand(1, 64, 64, generator=make_generator("cpu", k)) for k, name in enumerate("ab")}
    monkeypatch.setattr(demo, "training_photographs", lambda: few)
    monkeypatch.setattr(demo, "heldout_photographs", lambda: {"c": few["a"]})
    monkeypatch.setattr(demo, "train_with_bar", lambda *words: None)
    monkeypatch.setattr(demo, "evaluate_and_report", lambda *words: None)
    words = ("demo", "--out", tmp_path / "demo", *SETS, *SAMPLING)
    assert call(*words)[0] == 0
    before = content(tmp_path / "demo")
    assert "reference/c.tif" in before
    assert "another call" in refused(*words, "--seed", 1)
    assert content(tmp_path / "demo") == before
    assert call(*words, "--seed", 1, "--force")[0] == 0
    after = content(tmp_path / "demo")
    assert after["measurements/training/a.tif"] != before["measurements/training/a.tif"]
    assert json.loads(after["run/run.json"])["seed"] == 1


# Going on


def interrupted_at(monkeypatch, module, name, k):
    """The k-th call of module.name is Ctrl-C."""
    calls, original = [], getattr(module, name)

    def patched(*words, **options):
        calls.append(0)
        if len(calls) == k:
            raise KeyboardInterrupt
        return original(*words, **options)

    monkeypatch.setattr(module, name, patched)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    ("module", "name", "command"),
    [(Tiled, "forward", "denoise"), (sample, "draw_samples", "sample"), (batch, "write_like", "sample")],
)
def test_stopped_work_goes_on_to_the_same_bits(run, data, tmp_path, monkeypatch, module, name, command, k):
    np.save(data / "z.npy", np.random.default_rng(0).random((3, 32, 32), dtype=np.float32))
    words = (command, run, data, *(SAMPLING if command == "sample" else ()), "--out")
    assert call(*words, tmp_path / "whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, module, name, k)
        code, text = call(*words, tmp_path / "broken")
        assert code == 130
        assert "again" in text
    first = tmp_path / "broken" / ("y0.tif" if command == "denoise" else "y0/sample_000.tif")
    if name != "write_like":
        changed = first.stat().st_mtime_ns
    assert call(*words, tmp_path / "broken")[0] == 0
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    if name != "write_like":
        assert first.stat().st_mtime_ns == changed


def test_work_on_other_content_under_the_same_names_does_not_go_on(run, data, tmp_path):
    words = ("denoise", run, data, "--out", tmp_path / "out")
    assert call(*words)[0] == 0
    (data / "y0.tif").rename(data / "y.tif")
    (data / "y1.tif").rename(data / "y0.tif")
    (data / "y.tif").rename(data / "y1.tif")
    assert "another call" in refused(*words)
    assert call(*words, "--force")[0] == 0


def test_a_stack_goes_on_within(run, tmp_path, monkeypatch):
    np.save(tmp_path / "stack.npy", np.random.default_rng(0).random((4, 32, 32), dtype=np.float32))
    words = ("denoise", run, tmp_path / "stack.npy", "--out")
    assert call(*words, tmp_path / "whole")[0] == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, Tiled, "forward", 3)
        assert call(*words, tmp_path / "broken")[0] == 130
    assert not (tmp_path / "broken" / "stack.npy").exists()
    with monkeypatch.context() as patch:
        interrupted_at(patch, Tiled, "forward", 3)  # two are left, and so two calls
        assert call(*words, tmp_path / "broken")[0] == 0
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_what_a_kill_left_is_swept(run, data, tmp_path):
    out = tmp_path / "out"
    words = ("denoise", run, data, "--out", out)
    assert call(*words)[0] == 0
    before = content(out)
    (out / "y2.tif").unlink()
    (out / ".y2.01234567.tif").write_bytes(b"half")
    (out / ".unveil-parts").mkdir()
    (out / ".unveil-parts" / ".2.01234567.npy").write_bytes(b"half")
    (out / ".mine.01234567.tif").write_bytes(b"the user's")
    assert call(*words)[0] == 0
    assert content(out) == {**before, ".mine.01234567.tif": b"the user's"}


# Images that cannot be used


def test_unreadable_images_are_listed_and_the_others_done(run, data, tmp_path, capsys):
    whole = (data / "y1.tif").read_bytes()
    (data / "y1.tif").write_bytes(whole[: len(whole) // 2])
    (data / "y2.png").write_bytes(b"no picture")
    code, text = call("denoise", run, data, "--out", tmp_path / "out")
    assert code == 3, text
    assert "2 of the input could not be used" in text
    _, *lines = text.splitlines()
    assert sorted(("y1.tif" in line, "y2.png" in line) for line in lines) == [(False, True), (True, False)]
    assert sorted(p.suffix + p.stem for p in (tmp_path / "out").glob("y*")) == [".pngy0", ".pngy2", ".tify0", ".tify2"]


def test_an_evaluation_leaves_out_what_cannot_be_read(run, data, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    reference = shutil.copytree(data, tmp_path / "reference")
    whole = (data / "y1.tif").read_bytes()
    (data / "y1.tif").write_bytes(whole[: len(whole) // 2])
    code, text = call("evaluate", run, data, "--reference", reference, "--sampled", 0)
    assert code == 3
    assert "y1.tif" in text
    assert [row["name"] for row in json.loads((run / "evaluation.json").read_text())["images"]] == ["y0", "y2"]


def test_many_unreadable_images_are_ten_lines_and_a_count(capsys):
    failures = Failures()
    for i in range(12):
        failures.add(UnveilError(f"image {i} is broken"))
    with pytest.raises(SystemExit) as stop:
        failures.end(done=5)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 3
    assert (len(lines), lines[10], lines[11]) == (12, "  image 9 is broken", "  and 2 more")


def test_a_stack_with_a_hole_is_written_image_by_image(run, tmp_path):
    v = np.random.default_rng(0).random((3, 32, 32), dtype=np.float32)
    v[1, 0, 0] = np.nan
    np.save(tmp_path / "stack.npy", v)
    words = ("denoise", run, tmp_path / "stack.npy", "--out", tmp_path / "out")
    for _ in range(2):
        code, text = call(*words)
        assert code == 3
        assert "image 1" in text
        assert sorted(p.name for p in (tmp_path / "out").glob("*.*")) == [
            *(f"stack_000{i}.{e}" for i in (0, 2) for e in ("png", "tif")),
            "unveil-output.json",
        ]


def test_an_estimate_that_is_not_finite_is_not_written(run, data, tmp_path, monkeypatch):
    def nan_for_the_second(f, m, forward=Tiled.forward):
        calls.append(0)
        return forward(f, m) * (torch.nan if len(calls) == 2 else 1)

    calls = []
    monkeypatch.setattr(Tiled, "forward", nan_for_the_second)
    code, text = call("denoise", run, data, "--out", tmp_path / "out")
    assert code == 3
    assert "NaN" in text
    assert sorted(p.name for p in (tmp_path / "out").glob("*.tif")) == ["y0.tif", "y2.tif"]


# Units


def test_estimates_are_in_the_units_of_integers(run, tmp_path):
    v = np.random.default_rng(0).integers(80, 120, (32, 32), dtype=np.uint8)
    v[0, 0] = 255
    iio.imwrite(tmp_path / "a.png", v)
    assert call("denoise", run, tmp_path / "a.png", "--out", tmp_path / "out")[0] == 0
    estimate = tifffile.imread(tmp_path / "out" / "a.tif")
    assert estimate.dtype == np.float32
    assert 50 < estimate.mean() < 150
    assert call("denoise", run, tmp_path / "a.png", "--dtype", "input", "--out", tmp_path / "same")[0] == 0
    rounded = tifffile.imread(tmp_path / "same" / "a.tif")
    assert rounded.dtype == np.uint8
    assert np.array_equal(rounded, np.rint(estimate).clip(0, 255))


def test_samples_of_a_stack_are_files_with_its_axes(run, tmp_path):
    v = np.random.default_rng(0).integers(0, 9999, (2, 3, 32, 32)).astype(np.uint16)
    said = {"axes": "TZYX", "unit": "um", "finterval": 2.0}
    tifffile.imwrite(tmp_path / "h.tif", v, imagej=True, resolution=(5, 5), metadata=said)
    assert call("sample", run, tmp_path / "h.tif", *SAMPLING, "--out", tmp_path / "out")[0] == 0
    folder = tmp_path / "out" / "h"
    drawn = {}
    for name in ("sample_000", "sample_001", "mean", "deviation"):
        with tifffile.TiffFile(folder / f"{name}.tif") as file:
            assert file.series[0].axes == "TZYX"
            assert file.imagej_metadata["finterval"] == 2.0
            drawn[name] = file.asarray()
    pair = np.stack([drawn["sample_000"], drawn["sample_001"]])
    np.testing.assert_allclose(drawn["mean"], pair.mean(0), rtol=1e-4, atol=1)
    np.testing.assert_allclose(drawn["deviation"], pair.std(0, ddof=1), rtol=1e-3, atol=1)
    assert len(list(folder.glob("sample_001_000?.png"))) == 6


def test_names_that_are_not_utf8(run, tmp_path, capsys):
    folder = tmp_path / "data"
    write_images(folder, count=2, side=32)
    strange = os.fsdecode(os.fsencode(folder) + b"/\xff[red].tif")
    (folder / "y1.tif").rename(strange)
    assert call("denoise", run, folder, "--out", tmp_path / "o[/x]") == (0, "")
    assert sorted(p.name for p in (tmp_path / "o[/x]").glob("*.tif")) == ["_[red].tif", "y0.tif"]
    assert "o[/x]" in capsys.readouterr().out
    assert call("denoise", run, folder, "--out", tmp_path / "o[/x]") == (0, "")
    assert len(open_images(folder)) == 2


def test_a_folder_of_data_or_a_run_that_is_not_utf8_is_one_line(workspace, data, tmp_path):
    strange = data.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    assert "data.path" in refused("init", strange, "--out", tmp_path / "c.yaml")
    assert "UTF-8" in refused("train", workspace / "unveil.yaml", "--out", strange / "run")


def test_a_picture_shows_what_there_is_all_frames_of_a_file_in_one_window():
    dim = 0.02 + 0.01 * torch.rand(1, 50, 50)
    low, high = batch._window([dim, dim - 0.01])
    assert low == pytest.approx(0.01, abs=1e-3)
    assert high == pytest.approx(0.03, abs=1e-3)
    assert batch._window([dim, torch.rand(3, 50, 50)]) == (0.0, 1.0), "photographs are shown as they are"
    assert batch._window([]) == (0.0, 1.0)
    x = torch.zeros(2, 50, 50)  # complex: the modulus
    x[:, 0, :3] = torch.tensor([[3e4, 0.0, 1.0], [4e4, 2e4, 0.0]])
    black, white = batch._window([x])
    assert black == 0
    assert 0 < white <= 5e4


def test_pictures_of_dim_images_are_not_black(run, tmp_path):
    x = 0.01 + 0.02 * np.linspace(0, 1, 32 * 32).reshape(32, 32)
    np.save(tmp_path / "dim.npy", np.stack([x, x / 2]).astype(np.float32))
    call("denoise", run, tmp_path / "dim.npy", "--out", tmp_path / "out", "--sigma", 0.01)
    estimates, pictures = (
        np.load(tmp_path / "out" / "dim.npy"),
        [iio.imread(tmp_path / "out" / f"dim_000{i}.png").astype(float) for i in (0, 1)],
    )
    assert max(picture.max() for picture in pictures) > 200
    assert np.corrcoef(np.stack(pictures).flatten(), estimates.flatten())[0, 1] > 0.99, "in one window"


def test_files_of_scanners_and_telescopes_give_files_like_them(run, tmp_path):
    """One folder of three formats; extensions of two parts, and a name without one."""
    y = open_images(run.parent / "data").read(0)[0].numpy()
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(y.T[:, :, None], np.diag([2.0, 3, 4, 1])), tmp_path / "in" / "brain.nii.gz")
    fits.PrimaryHDU(y, fits.Header({"BUNIT": "adu"})).writeto(tmp_path / "in" / "sky.fits")
    scan = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    scan.RescaleSlope, scan.RescaleIntercept = 0.0005, 0
    scan.save_as(tmp_path / "in" / "IM1")
    out = tmp_path / "out"
    assert call("denoise", run, tmp_path / "in", "--out", out)[0] == 0
    names = ["IM1.dcm", "brain.nii.gz", "sky.fits"]
    assert sorted(p.name for p in out.iterdir() if p.suffix not in (".png", ".json")) == names
    found = [open_images(out / name).read(0)[0].numpy() for name in names]
    np.testing.assert_allclose(found[1], found[2], atol=1e-5)
    assert found[0].mean() == pytest.approx(float(open_images(tmp_path / "in" / "IM1").read(0).mean()), abs=0.1)
    assert nibabel.load(out / "brain.nii.gz").header.get_zooms() == (2, 3, 4)
    assert fits.getheader(out / "sky.fits")["BUNIT"] == "adu"
    assert pydicom.dcmread(out / "IM1.dcm").SeriesDescription.endswith("denoise")
    before = content(out)
    assert call("denoise", run, tmp_path / "in", "--out", out)[0] == 0
    assert content(out) == before
