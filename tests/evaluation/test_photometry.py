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


def test_replicas_are_small_against_the_scale_on_which_an_estimate_bends():
    """As the noise does to first order: bends of a noise's deviation do not count."""

    def bent(x):
        first = []

        def f(m):
            first.append(m.y)
            return m.y + (m.y - first[:2][-1]).square() / 0.015  # the first is of all of the exposure

        return f

    (kept,) = states(bent, Gaussian(0.015), 1)
    (blind,) = states(lambda x: lambda m: x, Gaussian(0.015), 1)
    assert kept.values["faint_se"] < 0.05 * blind.values["faint_se"]


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


def test_an_aperture_s_sum_is_less_the_ring_s_mean():
    """Radii of 5, and from 7 to 10 pixels, where it was asked for."""
    x = torch.rand(1, 2, 40, 50, generator=make_generator("cpu", 3)).double()
    where = torch.tensor([[12, 30], [28, 11]])
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    for (row, column), found in zip(where, aperture_sums(x, where)):
        d = torch.hypot(rows - row, columns - column)
        inside, ring = d <= 5, (d > 7) & (d <= 10)
        light = x[0].sum(0)
        assert float(found) == pytest.approx(float(light[inside].sum() - inside.sum() * light[ring].mean()))


def spot_of(significance, sigma, channels):
    """A spot of deviation 1.5 in the middle (1, C, 61, 61), which stands out of the ring by so many deviations."""
    side = torch.arange(-30.0, 31).double()
    d = torch.hypot(side[:, None], side)
    spot, ring = torch.exp(-0.5 * (d / 1.5) ** 2) * (d < 7), ((d > 7) & (d <= 10)).double()
    kernel = spot / spot.sum() - ring / ring.sum()
    amplitude = significance * sigma * channels**0.5 * float(kernel.norm() / (kernel * spot).sum()) / channels
    return amplitude * spot.expand(1, channels, -1, -1).float()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_source_is_what_stands_out_by_four_and_a_half_deviations(channels):
    sky = [Measurement(spot_of(z, 0.02, channels), Identity(), Gaussian(0.02)) for z in (4.4, 4.6)]
    assert [find_sources(m).tolist() for m in sky] == [[], [[30, 30]]]


def test_a_background_that_is_curved_hides_no_source():
    side = torch.arange(-60.0, 61)
    bowl = 0.002 * (side[:, None] ** 2 + side**2)  # it is below its ring by 14 deviations of the noise, everywhere
    star = torch.nn.functional.pad(spot_of(25, 0.05, 1), [30] * 4)
    assert find_sources(Measurement(bowl + star, Identity(), Gaussian(0.05))).tolist() == [[60, 60]]


def beside(angle, light, sigma):
    """A star of 3 x 3 pixels of 1, and light in an eighth of the ring from 3.5 to 6.5 pixels about it."""
    side = torch.arange(-30.0, 31).double()
    d, at = torch.hypot(side[:, None], side), torch.atan2(side[:, None], side) % (2 * torch.pi)
    eighth = (at * 4 / torch.pi - angle) % 8 < 1
    y = (d < 1.5).float() + light * ((d > 3.5) & (d <= 6.5) & eighth)
    found = find_sources(Measurement(y[None, None].float(), Identity(), Gaussian(sigma)))
    return [30, 30] in found.tolist()


@pytest.mark.parametrize("angle", [0, 0.5, 1, 2.5, 4, 5.5, 7])
def test_what_has_light_beside_it_is_no_point(angle):
    """From half of its own on, in any direction; beyond 3 standard errors, of .19 deviations of a pixel."""
    assert beside(angle, 0.45, 1e-3)
    assert not beside(angle, 0.55, 1e-3)
    assert not beside(angle, 0.75, 0.03)
    assert beside(angle, 0.55, 0.2)


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
    rest = torch.tensor([2.0, 1.0, 4.0, 13.0, 12.0, 18.0, 33.0, 37.0], dtype=torch.double)  # in another order
    lost = torch.tensor([-0.5, 0.1, -0.3, 0.2, -1.0, 2.0, 0.5, -3.0], dtype=torch.double)
    variance = torch.tensor([0.1, 0.2, 0.3, 0.4, 1.0, 2.0, 3.0, 4.0], dtype=torch.double)
    order = torch.tensor([3, 7, 0, 5, 1, 6, 2, 4])
    one = Photometry().found({"sky": photometry.Sources(*(v[order] for v in (found, rest, lost, variance)))})
    got = one.values
    assert (got["faint_flux"], got["bright_flux"]) == pytest.approx((5, 25))
    assert (got["faint_kept"], got["bright_kept"]) == pytest.approx((1 - 0.5 / 20, 1 - 1.5 / 100))
    assert (got["faint_se"], got["bright_se"]) == pytest.approx((0.05, 10**0.5 / 100))
    weighted = float((found * rest).sum())
    assert got["slope"] == pytest.approx(1 + float((found * lost).sum()) / weighted)
    assert got["slope_se"] == pytest.approx(float((found.square() * variance).sum()) ** 0.5 / weighted)
    assert got["exposure"] == pytest.approx(2 / 3)
    squares, known = [float(part.square().sum() / v.sum()) for part, v in zip(lost.split(4), variance.split(4))], 4 * 4
    assert got["chi_square"] == pytest.approx(sum(squares) / 2 * (known - 2) / known)
    (chart,) = one.charts
    ((kept,), (se,)) = chart.curves.values(), chart.errors.values()
    assert chart.x == pytest.approx([5, 25]), "of groups of 3 or more"
    assert kept == pytest.approx([got["faint_kept"], got["bright_kept"]])
    assert se == pytest.approx([got["faint_se"], got["bright_se"]])


def judged(*halves):
    """What is said of sources of flux 1, ten in each half, of which a share is gained at a standard error."""
    lost, variance = (torch.tensor([half[k] for half in halves]).double().repeat_interleave(10) for k in (0, 1))
    found = torch.arange(20.0).double()
    one = Photometry().found({"sky": photometry.Sources(found, torch.ones_like(found), lost, 10 * variance.square())})
    return one.state, one.said.rpartition(": ")[2]


FINE = (0.0, 0.001)


@pytest.mark.parametrize(
    ("half", "state", "words"),
    [
        ((-0.04, 0.001), "good", "within its error, or 5%."),  # no loss to speak of
        ((-0.06, 0.001), "bad", "lost, beyond its error."),
        ((+0.06, 0.001), "bad", "too much, beyond its error."),
        ((-0.26, 0.1), "bad", "lost, beyond its error."),  # Student's 98.5% of 40 is 2.54
        ((-0.24, 0.1), "unsure", "a loss is not told from its error."),
        ((-0.04, 0.025), "good", "within its error, or 5%."),
        ((-0.04, 0.035), "unsure", "a loss is not told from its error."),
    ],
)
def test_the_verdict_is_by_the_worse_half(half, state, words):
    assert judged(half, FINE) == judged(FINE, half) == (state, words)


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


def test_few_sources_and_narrow_images_tell_nothing():
    def look(x):
        m = Measurement(Gaussian(0.01).sample(x, make_generator("cpu", 1)), Identity(), Gaussian(0.01))
        return Photometry().look(Subject(lambda m: m.y, m, m.y, None, make_generator("cpu", 2)))

    x, _ = stars(0)
    assert len(look(x[..., :66, :]).found) == 8
    assert look(x[..., :66, :96]) is None, "six"
    strip = (x[..., :40, :] - BACKGROUND).repeat(1, 1, 1, 3)
    assert len(look(strip).found) == 12
    assert look(strip[..., 1:, :]) is None
