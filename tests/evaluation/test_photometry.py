"""The flux of stars: an estimate that loses a fifth of that of faint ones is caught, exact ones are not."""

import pytest
import torch

from unveil.evaluation.fields import Subject, photometry
from unveil.evaluation.fields.photometry import FEWEST, Photometry
from unveil.evaluation.fields.sources import aperture_sums, find_sources
from unveil.measurement import Measurement
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, inpainting
from unveil.random import make_generator

BACKGROUND, FAINT, BRIGHT = 0.1, 2.0, 8.0


def stars(key):
    """Twelve of deviation 1.3 pixels, every other one faint, about the places of a grid: (1, 1, 100, 130), places."""
    where = torch.cartesian_prod(torch.arange(20, 100, 30), torch.arange(20, 120, 30)).double()
    where = where + 4 * torch.rand(12, 2, generator=make_generator("cpu", key)) - 2
    x = torch.full((100, 130), BACKGROUND)
    for k, place in enumerate(where):
        down, across = (torch.exp(-((torch.arange(n) - p) ** 2) / (2 * 1.3**2)) for n, p in zip(x.shape, place))
        spot = down[:, None] * across
        x += (FAINT if k % 2 else BRIGHT) * spot / spot.sum()
    return x[None, None], where


def losing(x, share):
    """x, or as much of y as it takes: faint stars a share fainter."""
    box = torch.nn.functional.conv2d(x - BACKGROUND, torch.ones(1, 1, 15, 15), padding=7)
    return torch.where(box < (FAINT + BRIGHT) / 2, 1 - share, 1.0)


def states(make, noise, count):
    found = []
    for key in range(count):
        x, _ = stars(key)
        generator = make_generator("cpu", key, 1)
        m = Measurement(noise.sample(x, generator), Identity(), noise)
        f = make(x)
        kept = Photometry().look(Subject(f, m, f(m), None, generator))
        found.append(Photometry().found({"sky": kept}))
    return found


def alarms(found):
    return sum(one.state == "bad" for one in found)


@pytest.mark.parametrize(("noise", "count"), [(Gaussian(0.015), 40), (Poisson(0.003), 20)], ids=str)
def test_a_fifth_of_the_flux_of_faint_stars_is_missed_and_none_that_is_there(noise, count):
    exact = states(lambda x: lambda m: x, noise, count)
    assert alarms(exact) <= count / 20, "5%"
    z = torch.tensor([(one.values["faint_kept"] - 1) / one.values["faint_se"] for one in exact])
    assert 0.75 < float(z.square().mean()) ** 0.5 < 1.3
    assert 0.8 < sum(one.values["chi_square"] for one in exact) / count < 1.3
    lost = states(lambda x: lambda m: BACKGROUND + losing(x, 0.2) * (x - BACKGROUND), noise, 10)
    assert alarms(lost) >= 9
    assert sum(one.values["faint_kept"] for one in lost) / 10 == pytest.approx(0.8, abs=0.03)
    assert sum(one.values["bright_kept"] for one in lost) / 10 == pytest.approx(1.0, abs=0.01)


def test_what_follows_the_noise_is_known_better():
    noise = Gaussian(0.015)
    (kept,) = states(lambda x: lambda m: m.y, noise, 1)
    assert kept.state == "good"
    assert kept.values["slope"] == pytest.approx(1, abs=1e-5)
    (lost,) = states(lambda x: lambda m: BACKGROUND + losing(x, 0.2) * (m.y - BACKGROUND), noise, 1)
    (blind,) = states(lambda x: lambda m: BACKGROUND + losing(x, 0.2) * (x - BACKGROUND), noise, 1)
    assert lost.values["faint_se"] < 0.3 * blind.values["faint_se"]
    assert "the fainter ones 80" in lost.said
    assert lost.said.endswith(": lost, beyond its error.")


def test_sources_are_found_and_their_flux_is_the_aperture_s():
    x, where = stars(1)
    m = Measurement(Gaussian(0.01).sample(x, make_generator("cpu", 1)), Identity(), Gaussian(0.01))
    found = find_sources(m)
    assert torch.cdist(found.double(), where).min(1).values.max() < 1
    assert len(found) == 12
    flux = aperture_sums(x, found).sort().values
    assert flux == pytest.approx([FAINT] * 6 + [BRIGHT] * 6, rel=0.02)
    edge = (torch.arange(100) > 50).float().expand(1, 1, 100, 100)
    line = ((torch.arange(100) - 50).abs() < 2).float().expand(1, 1, 100, 100)
    for extended in (edge, line):
        y = extended + 0.01 * torch.randn(1, 1, 100, 100, generator=make_generator("cpu", 2))
        sky = Measurement(y, Identity(), Gaussian(0.01))
        assert len(find_sources(sky)) < FEWEST / 2


def test_sources_are_found_in_one_part_of_the_exposure_and_looked_at_in_the_rest(monkeypatch):
    """Else those would be found whose noise is bright."""
    x, _ = stars(1)
    noise, generator, seen = Gaussian(0.01), make_generator("cpu", 1), []
    m = Measurement(noise.sample(x, generator), Identity(), noise)
    monkeypatch.setattr(photometry, "find_sources", lambda view: seen.append(view) or find_sources(view))

    def f(m):
        seen.append(m)
        return m.y

    kept = Photometry().look(Subject(f, m, m.y, None, generator))
    view, rest = (one.y for one in seen[:2])
    assert float(((view - x) * (rest - x)).mean()) == pytest.approx(0, abs=4 * 1.5**0.5 * 3**0.5 * 1e-4 / 114)
    assert float((view - x).std()) == pytest.approx(0.01 * 3**0.5, rel=0.03), "a third of it"
    where = find_sources(seen[0])
    assert kept.found.tolist() == pytest.approx(aperture_sums(view, where).tolist())
    assert kept.rest.tolist() == pytest.approx(aperture_sums(rest, where).tolist())


def test_the_figures_are_those_of_their_sums():
    found = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0], dtype=torch.double)
    rest = torch.tensor([2.0, 1.0, 4.0, 3.0, 12.0, 18.0, 33.0, 37.0], dtype=torch.double)
    lost = torch.tensor([-0.5, 0.1, -0.3, 0.2, -1.0, 2.0, 0.5, -3.0], dtype=torch.double)
    variance = torch.tensor([0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0], dtype=torch.double)
    order = torch.tensor([3, 7, 0, 5, 1, 6, 2, 4])
    one = Photometry().found({"sky": photometry.Sources(*(v[order] for v in (found, rest, lost, variance)))})
    got = one.values
    assert (got["faint_flux"], got["bright_flux"]) == pytest.approx((2.5, 25))
    assert (got["faint_kept"], got["bright_kept"]) == pytest.approx((1 - 0.5 / 10, 1 - 1.5 / 100))
    assert (got["faint_se"], got["bright_se"]) == pytest.approx((0.1, 10**0.5 / 100))
    weighted = float((found * rest).sum())
    assert got["slope"] == pytest.approx(1 + float((found * lost).sum()) / weighted)
    assert got["slope_se"] == pytest.approx(float((found.square() * variance).sum()) ** 0.5 / weighted)
    assert got["exposure"] == pytest.approx(2 / 3)


def test_channels_are_summed():
    x, where = stars(1)
    noise = Gaussian(0.01)
    y = noise.sample(torch.cat([torch.full_like(x, BACKGROUND), x], 1), make_generator("cpu", 1))
    found = find_sources(Measurement(y, Identity(), noise))
    assert len(found) == 12
    assert torch.cdist(found.double(), where).min(1).values.max() < 1
    alone = sum(aperture_sums(y[:, k : k + 1], found) for k in (0, 1))
    assert aperture_sums(y, found).tolist() == pytest.approx(alone.tolist())


def test_of_other_images_nothing_is_said():
    generator = make_generator("cpu", 0)
    flat = Measurement(0.1 * torch.randn(1, 1, 64, 64, generator=generator), Identity(), Gaussian(0.1))
    hidden = Measurement(stars(0)[0], inpainting(torch.rand(100, 130, generator=generator) < 0.9), Gaussian(0.01))
    for m in (flat, hidden):
        assert Photometry().look(Subject(lambda m: m.y, m, m.y, None, generator)) is None
    assert Photometry().found({}) is None
