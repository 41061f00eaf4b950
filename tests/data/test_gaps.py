"""Saturated and dead pixels are gaps: read as NaN, not measured, not learned from, and not judged."""

import numpy as np
import pytest
import tifffile
import torch

from unveil.data import Gaps, MemorySource, open_images
from unveil.dataset import Dataset
from unveil.errors import UnveilError
from unveil.losses import Hide, Recorruption, Stein
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.training.batches import make_batches

NAN = float("nan")


def images(count=3, side=16):
    return {str(i): torch.rand(1, side, side, generator=make_generator("cpu", i)) for i in range(count)}


def test_saturated_pixels_are_those_from_a_number_in_the_files_on(tmp_path):
    y = np.array([[0, 254, 255], [10, 255, 4]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", y)
    for value_range in (None, (0.0, 300.0)):
        source = Gaps(open_images(tmp_path, value_range=value_range), 255.0, None)
        assert torch.equal(source.read(0)[0].isnan(), torch.from_numpy(y == 255))
        assert torch.equal(source.read(0, (0, 1, 2, 2))[0].isnan(), torch.from_numpy(y[:, 1:] == 255))
        assert not source.raw.read(0).isnan().any()
        part = source.subset([0])
        assert part.gaps
        assert torch.equal(part.read(0).isnan(), source.read(0).isnan())
        assert not part.raw.read(0).isnan().any()


def test_dead_pixels_are_the_same_in_all_images():
    dead = torch.zeros(1, 16, 16, dtype=torch.bool)
    dead[0, 3, 5] = dead[0, 9, 0] = True
    source = Gaps(MemorySource(images()), None, dead)
    for i in range(3):
        assert torch.equal(source.read(i).isnan(), dead)
    assert torch.equal(source.read(1, (2, 4, 6, 6)).isnan(), dead[:, 2:8, 4:10])
    with pytest.raises(UnveilError, match="of 16x16 pixels, another detector's"):
        Gaps(MemorySource(images(side=20)), None, dead).read(0)


def test_other_sources_refuse_nan():
    with pytest.raises(UnveilError, match="NaN or infinite"):
        MemorySource({"0": torch.full((1, 4, 4), NAN)}).read(0)
    infinite = Gaps(MemorySource({"0": torch.full((1, 4, 4), float("inf"))}), None, torch.ones(1, 4, 4).bool())
    assert infinite.read(0).isnan().all(), "whatever a dead pixel holds"
    with pytest.raises(UnveilError, match="NaN or infinite"):
        Gaps(MemorySource({"0": torch.full((1, 4, 4), float("inf"))}), None, torch.zeros(1, 4, 4).bool()).read(0)


def with_gaps(count=4, side=16):
    y = torch.stack(list(images(count, side).values()))
    gaps = torch.rand(y.shape, generator=make_generator("cpu", 9)) < 0.1
    return y, gaps, Measurement.with_gaps(torch.where(gaps, NAN, y), Identity(), Gaussian(0.1))


def test_nan_is_not_measured():
    y, gaps, m = with_gaps()
    assert torch.equal(m.operator.measured, ~gaps)
    assert torch.equal(m.y, torch.where(gaps, 0, y))
    assert Measurement.with_gaps(y, Identity(), Gaussian(0.1)).operator.measured is None
    torch.testing.assert_close(m[1:3].operator.mean(m[1:3].y), m.operator.mean(m.y)[1:3])
    data = Dataset(Gaps(MemorySource(images(4)), 0.9, None), Identity(), Gaussian(0.1))
    for found in (data[2], data.window(2, (0, 0, 16, 16))):
        assert torch.equal(found.operator.measured, images(4)["2"][None] < 0.9 - 1e-6)


def test_a_window_and_coarser_pixels_know_the_gaps():
    y, gaps, m = with_gaps()
    part = m.window((2, 3, 8, 6))
    assert torch.equal(part.operator.measured, ~gaps[..., 2:10, 3:9])
    coarse = m.coarser(2)
    blocks = gaps.reshape(4, 1, 8, 2, 8, 2).any(-1).any(-2)
    assert torch.equal(coarse.operator.measured, ~blocks)
    expected = y.reshape(4, 1, 8, 2, 8, 2).mean((-3, -1))
    torch.testing.assert_close(coarse.y[~blocks], expected[~blocks])


@pytest.mark.parametrize("scale", [1, 2])
def test_batches_keep_the_gaps(scale):
    """A pixel whose block has a gap is none: crops of one scale, and of several."""
    source = Gaps(MemorySource({"0": torch.linspace(0, 1, 64 * 64).reshape(1, 64, 64)}), 0.7, None)
    data = Dataset(source, Identity(), Gaussian(0.01))
    m = make_batches(data, 32, 16, (scale,), False)(make_generator("cpu", 0))
    assert 0.2 < float(m.operator.measured.float().mean()) < 0.95
    assert float(m.y.max()) < 0.7
    known = m.y[m.operator.measured.expand_as(m.y)]
    assert float((known == 0).float().mean()) < 0.01


def test_losses_do_not_see_what_lies_in_gaps():
    y, gaps, m = with_gaps()
    other = Measurement.with_gaps(torch.where(gaps, NAN, y).clone(), Identity(), Gaussian(0.1))
    for loss in (Recorruption(), Stein(), Hide(Recorruption())):
        f = lambda m: 0.8 * m.y  # noqa: E731
        assert torch.equal(loss(f, m, make_generator("cpu", 1)), loss(f, other, make_generator("cpu", 1)))
    wrong = Recorruption()(lambda m: 0.8 * m.y + 5.0 * gaps, m, make_generator("cpu", 1))
    assert torch.equal(wrong, Recorruption()(lambda m: 0.8 * m.y, m, make_generator("cpu", 1)))


def test_as_many_entries_are_hidden_as_are_missing():
    """So that a network learns to fill them in; of whole images none is."""
    y, gaps, m = with_gaps(200, 16)
    shares = []

    def f(seen):
        measured = seen.operator.measured
        shares.append(1.0 if measured is None else float(measured.float().mean() / (~gaps).float().mean()))
        return seen.y

    Hide(Recorruption(), share=0.3, keep=0.5)(f, m, make_generator("cpu", 1))
    assert shares[-1] == pytest.approx(1 - 0.5 * 0.1, abs=0.01)
    Hide(Recorruption(), share=0.02, keep=0.5)(f, m, make_generator("cpu", 1))
    assert shares[-1] == pytest.approx(1 - 0.5 * 0.02, abs=0.005)
    Hide(Recorruption())(f, Measurement(y, Identity(), Gaussian(0.1)), make_generator("cpu", 1))
    assert shares[-1] == 1.0
