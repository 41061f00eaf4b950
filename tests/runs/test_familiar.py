"""What a run learned from is told when the run is judged by it, and so are copies of one measurement."""

import shutil

import numpy as np
import pytest

from small import SIGMA, configure, measure
from unveil.data import Gaps, open_images
from unveil.errors import UnveilWarning
from unveil.runs import create_run
from unveil.runs.familiar import learned_from
from unveil.training.setup import split


@pytest.fixture
def data(tmp_path):
    return measure(tmp_path / "data", count=5)


def begin(data, folder, share=0.4):
    return create_run(folder, configure(data, share, noise={"sigma": SIGMA}))


def test_images_that_were_learned_from_are_counted(data, tmp_path):
    run, source = begin(data, tmp_path / "run"), open_images(data)
    training, held_out = split(source, run.config)
    assert (len(training), len(held_out)) == (3, 2)
    assert learned_from(run, held_out) is None
    assert learned_from(run, None) is None, "those held out"
    assert learned_from(run, source).startswith("the run learned from 3 of the 5 images: ")
    moved = [
        shutil.copy(training.file(0), tmp_path / "moved.tif"),
        shutil.copy(held_out.file(0), tmp_path / "other.tif"),
    ]
    assert "learned from 1 of the 1 image" in learned_from(run, open_images(moved[0])), "wherever they lie"
    assert learned_from(run, open_images(moved[1])) is None
    assert "3 of the 5" in learned_from(run, Gaps(source, 0.99, None).raw), "whatever counts as missing"
    assert learned_from(run, open_images(measure(tmp_path / "others", count=2, side=40))) is None


def test_images_of_a_stack_are_told_one_by_one(tmp_path):
    np.save(tmp_path / "y.npy", np.random.default_rng(0).normal(0.5, 0.1, (5, 32, 32)).astype(np.float32))
    run = begin(tmp_path / "y.npy", tmp_path / "run")
    assert "learned from 3 of the 5" in learned_from(run, open_images(tmp_path / "y.npy"))


@pytest.mark.parametrize(("count", "share"), [(1, 0.1), (3, 0)])
def test_where_no_image_is_held_out_it_is_said(tmp_path, count, share):
    run = begin(measure(tmp_path / "few", count=count), tmp_path / "run", share)
    assert "no image was held out" in learned_from(run, None)


def test_copies_are_told(data, tmp_path, recwarn):
    begin(data, tmp_path / "before")
    assert not recwarn.list
    shutil.copy(data / "m1.tif", data / "copy of m1.tif")
    shutil.copy(data / "m1.tif", data / "m9.tif")
    with pytest.warns(UnveilWarning, match="m1.tif holds the same as copy of m1.tif, and 1 more: .*leave copies out"):
        begin(data, tmp_path / "run")
