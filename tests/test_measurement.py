"""A measurement: its parts are sliced, scaled, thinned and hidden together, and what is not measured is zero."""

import dataclasses

import numpy as np
import pytest
import torch

from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.noise.base import Noise
from unveil.operators import Identity, birdcage_coils, cartesian_mask, inpainting, mri
from unveil.random import make_generator
from unveil.shapes import expand

DOUBLE = torch.float64
SIDE = 6  # and the size of the batches: a (B,) that is not expanded meets columns


def masks(device):
    return inpainting((torch.rand(SIDE, SIDE, SIDE, generator=make_generator("cpu", 1)) < 0.6).to(device), channels=2)


def coils(device):
    each = torch.stack([cartesian_mask(SIDE, SIDE, 2, 0.2, make_generator("cpu", 2, i)) for i in range(SIDE)])
    return mri(each.to(device), birdcage_coils(3, SIDE, SIDE, torch.complex128).to(device))


OPERATORS = {"identity": lambda device: Identity(), "masks": masks, "coils": coils}
NOISES = {
    "gaussian": lambda device: Gaussian(torch.linspace(0.1, 0.6, SIDE, dtype=DOUBLE, device=device)),
    "one gaussian": lambda device: Gaussian(0.2),
    "poisson": lambda device: Poisson(torch.linspace(0.05, 0.3, SIDE, dtype=DOUBLE, device=device)),
}
EVERY = pytest.mark.parametrize(
    ("name", "family"), [(n, f) for n in OPERATORS for f in NOISES if n != "coils" or f != "poisson"]
)


def measure(name, family, device, key=0):
    """x of a positive brightness, and its measurement."""
    operator, noise = OPERATORS[name](device), NOISES[family](device)
    shape = operator.image_shape or (2, SIDE, SIDE)
    generator = make_generator(device, 3, key)
    x = 0.5 + torch.rand(SIDE, *shape, generator=generator, dtype=DOUBLE, device=device)
    return x, Measurement(noise.sample(operator.A(x), generator), operator, noise)


def same(a, b):
    """Whether two measurements are, to the bit."""
    probe = a.operator.image(a.y) + torch.linspace(0, 1, SIDE).to(a.y)
    assert torch.equal(a.y, b.y)
    assert torch.equal(a.predict(probe), b.predict(probe))
    assert torch.equal(a.level, b.level)
    assert torch.equal(a.noise.variance(a.y), b.noise.variance(b.y))


@EVERY
def test_slicing_takes_data_operator_and_noise_together(name, family, device):
    x, m = measure(name, family, device)
    rows = torch.tensor([4, 0, 4], device=device)
    part = m[rows]
    assert len(part) == 3
    assert type(part.noise) is type(m.noise)
    assert torch.equal(part.y, m.y[rows])
    torch.testing.assert_close(part.predict(x[rows]), m.predict(x)[rows], rtol=0, atol=1e-12)
    torch.testing.assert_close(part.level, m.level[rows])
    torch.testing.assert_close(part.mean_square(part.y), m.mean_square(m.y)[rows])
    same(part[torch.tensor([2, 1], device=device)], m[torch.tensor([4, 0], device=device)])
    same(m[1:5][::2], m[torch.tensor([1, 3], device=device)])
    same(m[torch.arange(SIDE, device=device) < 2], m[:2])
    if name != "identity":
        other = dataclasses.replace(part, operator=m[torch.tensor([1, 2, 3], device=device)].operator)
        assert not torch.equal(other.y, part.y), "another's mask"


@EVERY
def test_what_is_not_measured_is_zero(name, family, device):
    _, m = measure(name, family, device)
    measured = m.operator.project(torch.ones_like(m.y)) != 0
    assert not m.y[~measured].any()
    assert measured.all() == (name == "identity")
    junk = m.at(m.y + 7 * ~measured)
    same(junk, m)
    view, rest = m.recorrupt(torch.full((SIDE,), 0.5, dtype=DOUBLE, device=device), make_generator(device, 4))
    scaled = m.scaled(torch.full((SIDE,), 0.5, device=device).double(), torch.ones(SIDE, device=device).double())
    for other in (view, rest, scaled):
        assert not other.y[~measured].any()


def test_parts_of_a_measurement_do_not_change(device):
    _, m = measure("masks", "gaussian", device)
    with pytest.raises(dataclasses.FrozenInstanceError):
        m.y = m.y + 1


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros((1, 1, 4, 4), np.float32), r"y is a numpy.ndarray: pass a tensor"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.uint8), r"y is a tensor of torch.uint8"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.complex64), r"y is a tensor of torch.complex64"),
    ],
)
def test_what_is_no_tensor_of_floating_point_is_refused(y, message):
    with pytest.raises(UnveilError, match=message) as caught:
        Measurement(y, Identity(), Gaussian(0.1))
    assert "\n" not in str(caught.value)


def test_the_level(device):
    """Of Gaussian noise as stated; of counts the root of the mean variance over the entries that are measured."""
    _, m = measure("masks", "gaussian", device)
    torch.testing.assert_close(m.level, m.noise.sigma)
    _, m = measure("masks", "poisson", device)
    kept = m.operator.project(torch.ones_like(m.y)) != 0
    mean = torch.stack([y[k].mean() for y, k in zip(m.y, kept)])
    torch.testing.assert_close(m.level, (m.noise.gain * mean).sqrt())
    for sigma in (0.2, torch.tensor([0.2]), torch.full((SIDE, 1, 1, 1), 0.2)):
        assert Measurement(m.y, m.operator, Gaussian(sigma)).level.tolist() == pytest.approx([0.2] * SIDE)
    for sigma, said in ((torch.ones(1, SIDE), "sigma is a map of shape"), (torch.ones(SIDE - 1), "sigma has shape")):
        with pytest.raises(UnveilError, match=said):
            _ = Measurement(m.y, m.operator, Gaussian(sigma)).level


# --- less exposure


SHARES = torch.linspace(0.3, 0.8, SIDE, dtype=DOUBLE)


def views(name, family, device, draws=3000):
    """A x, and of so many measurements of it their two views, (draws, B, ...), with one of each."""
    x, m = measure(name, family, device)
    generator = make_generator(device, 5)
    clean, many = m.predict(x), m[torch.arange(SIDE, device=device).repeat(draws)]
    many = many.at(many.noise.sample(clean.repeat(draws, 1, 1, 1), generator))
    view, rest = many.recorrupt(SHARES.to(device).repeat(draws), generator)
    each = [part.y.unflatten(0, (draws, SIDE)) for part in (view, rest, many)]
    return clean, each, view[:SIDE], rest[:SIDE]


@pytest.mark.parametrize(("name", "family"), [("masks", "gaussian"), ("masks", "poisson")])
def test_two_views_are_independent_and_have_the_noise_that_they_say(name, family, device):
    """Mean A x, variance that of their exposures, no covariance: in standard errors of all measured entries."""
    clean, (view, rest, y), m_t, m_rest = views(name, family, device)
    share = expand(SHARES.to(device), clean)
    torch.testing.assert_close(share * view + (1 - share) * rest, y, rtol=0, atol=1e-10)
    kept = m_t.operator.project(torch.ones_like(clean)) != 0
    n = len(view)

    def worst(samples, expected):
        """Of the means of `samples` (n, ...), in their standard errors."""
        error = samples.std(0) / n**0.5
        return float(((samples.mean(0) - expected) / error)[kept].abs().max())

    for seen, m in ((view, m_t), (rest, m_rest)):
        assert worst(seen, clean) < 4.8, "some 250 entries"
        assert worst((seen - clean).square(), m.noise.variance(clean)) < 4.8
    assert worst((view - clean) * (rest - clean), 0.0) < 4.8
    assert worst((view - clean) * (y - clean), 0.0) > 6, "the test sees what is not independent"
    assert worst((view - clean).square(), m_rest.noise.variance(clean)) > 6


def test_a_noisier_measurement_is_the_first_view(device):
    _, m = measure("masks", "gaussian", device)
    t = SHARES.to(device)
    view = m.noisier(t, make_generator(device, 6))
    same(view, m.recorrupt(t, make_generator(device, 6))[0])
    torch.testing.assert_close(view.level, m.level / t.sqrt())
    whole = m.noisier(torch.ones(SIDE, dtype=DOUBLE, device=device), make_generator(device, 6))
    same(whole, m)


# --- other signals


@EVERY
def test_scaled_is_the_measurement_of_the_scaled_image(name, family, device):
    """a y + mu A 1 = A (a x + mu 1) + a n; of counts without mu, for a brighter image would have other noise."""
    x, m = measure(name, family, device)
    a = torch.linspace(0.2, 1.5, SIDE, dtype=DOUBLE, device=device)
    mu = torch.linspace(-1, 0.5, SIDE, dtype=DOUBLE, device=device)
    scaled = m.scaled(a, mu)
    moved = expand(a, x) * x + (expand(mu, x) if m.noise.additive else 0)
    noise = expand(a, m.y) * (m.y - m.predict(x))
    torch.testing.assert_close(scaled.y, m.predict(moved) + noise, rtol=0, atol=1e-10)
    torch.testing.assert_close(scaled.level, a * m.level)
    assert scaled.operator is m.operator


@pytest.mark.parametrize("family", NOISES)
def test_means_over_pixels_have_more_exposure(family, device):
    _, m = measure("identity", family, device)
    coarse = m.coarser(2)
    torch.testing.assert_close(coarse.y, torch.nn.functional.avg_pool2d(m.y, 2))
    torch.testing.assert_close(coarse.level, m.level / 2)
    count = 20_000
    u = torch.full((count, 1, 2, 2), 0.7, dtype=DOUBLE, device=device)
    noise = Gaussian(0.2) if family != "poisson" else Poisson(0.1)
    coarse = Measurement(noise.sample(u, make_generator(device, 7)), Identity(), noise).coarser(2)
    ratio = float(coarse.y.var() / coarse.noise.variance(u[:1, :, :1, :1]).mean())
    assert abs(ratio - 1) < 4 * (2 / count) ** 0.5


def test_the_middle_of_k_space_is_a_measurement_with_more_exposure(device):
    _, m = measure("coils", "gaussian", device)
    coarse = m.coarser(2)
    assert coarse.operator.image_shape == (2, SIDE // 2, SIDE // 2)
    assert coarse.y.shape == (SIDE, 6, SIDE // 2, SIDE // 2)
    torch.testing.assert_close(coarse.level, m.level / 2)
    assert measure("masks", "gaussian", device)[1].coarser(2) is None
    with pytest.raises(UnveilError, match="cannot be dilated by 4"):
        m.coarser(4)


# --- splitting, devices


@EVERY
def test_hidden_entries_are_not_told(name, family, device):
    _, m = measure(name, family, device)
    shown = torch.rand(SIDE, 1, *m.y.shape[2:], generator=make_generator(device, 8), device=device) < 0.5
    seen, hidden = m.hide(shown), m.hide(~shown)
    assert torch.equal(seen.y, m.y * shown)
    assert torch.equal(seen.y + hidden.y, m.y)
    ones = torch.ones_like(m.y)
    counts = [part.operator.project(ones).flatten(1).sum(1) for part in (seen, hidden, m)]
    torch.testing.assert_close(counts[0] + counts[1], counts[2])
    total = counts[0] * seen.mean_square(m.y) + counts[1] * hidden.mean_square(m.y)
    torch.testing.assert_close(total, counts[2] * m.mean_square(m.y))
    same(m.hide(shown)[1:3], m[1:3].hide(shown[1:3]))
    assert seen.noise is m.noise


@EVERY
def test_all_of_it_moves_to_another_device(name, family, monkeypatch):
    x, m = measure(name, family, torch.device("cpu"))
    monkeypatch.setattr(Noise, "_positive", lambda *arguments: None)  # there are no numbers to be looked at
    there = m.to("meta")
    assert there.y.device.type == "meta"
    assert there.predict(x.to("meta")).shape == m.y.shape
    assert there.noise.variance(there.y).device.type == "meta"
    same(m.to("cpu"), m)
