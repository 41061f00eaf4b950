"""Closure quantities, station gains and scan averages, on visibilities of which the truth is known."""

from dataclasses import replace

import pytest
import torch

from unveil.errors import UnveilError
from unveil.instruments.interferometry.averages import average_scans, drop_short, scans_of
from unveil.instruments.interferometry.closures import closures, cycles, quotients
from unveil.instruments.interferometry.coverage import Coverage
from unveil.instruments.interferometry.example import STATIONS, TRACK, sources
from unveil.instruments.interferometry.gains import corrupt, fit_gains, stations_of
from unveil.instruments.interferometry.nearest import nearest_source
from unveil.instruments.interferometry.selfcal import FITS, TURNS, misfit, self_calibrate, worst
from unveil.instruments.interferometry.simulated import SYSTEMATIC, Observation, model_visibilities
from unveil.instruments.interferometry.uvtrack import uv_track
from unveil.random import make_generator

FIELD, FLUX = 130.0, 2.4


@pytest.fixture(scope="module")
def coverage():
    found = uv_track(STATIONS, **TRACK)
    return drop_short(found, torch.zeros(len(found), dtype=torch.complex128), 1e8)[0]


@pytest.fixture(scope="module")
def truth(coverage):
    x = sources(1, 32, make_generator("cpu", 5))
    return model_visibilities(coverage, x, FIELD, FLUX / float(x.sum()))[0]


def with_noise(coverage, v, generator):
    return v + coverage.sigma * torch.view_as_complex(
        torch.randn(*v.shape, 2, generator=generator, dtype=torch.float64)
    )


def as_noisy(coverage, truth, ratio):
    """The same points with noise of `ratio` of each visibility, so that first order holds."""
    return replace(coverage, sigma=ratio * truth.abs())


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_as_many_as_independent_closures_of_all_pairs(count):
    pairs = [(str(i), str(j)) for i in range(count) for j in range(i + 1, count)]
    phases, amplitudes = cycles(pairs), quotients(pairs)
    assert len(phases) == (count - 1) * (count - 2) / 2 == torch.linalg.matrix_rank(phases)
    assert len(amplitudes) == count * (count - 3) / 2
    assert (phases.abs().sum(1) == 3).all()  # triangles


def test_missing_pairs_and_separate_stations_leave_closed_walks():
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("e", "f"), ("g", "e"), ("f", "g")]
    rows = cycles(pairs)
    assert sorted(rows.abs().sum(1).tolist()) == [3, 4]
    phase = dict(zip("abcdefg", torch.randn(7, dtype=torch.float64)))
    stations = torch.stack([phase[i] - phase[j] for i, j in pairs])
    assert (rows @ stations).abs().max() < 1e-12


def test_gains_change_no_closure_quantity(coverage, truth):
    noisy = as_noisy(coverage, truth, 0.05)
    v = with_noise(noisy, truth, make_generator("cpu", 1))
    other = corrupt(noisy, v, make_generator("cpu", 2), 0.3)
    assert (other.angle() - v.angle()).abs().mean() > 0.5
    scaled = replace(noisy, sigma=noisy.sigma * (other / v).abs())
    a, b = closures(noisy, v).chi2(truth[None]), closures(scaled, other).chi2(truth[None])
    torch.testing.assert_close(a, b, rtol=1e-8, atol=0)


def test_chi2_of_the_truth_is_one(coverage, truth):
    noisy, generator = as_noisy(coverage, truth, 0.05), make_generator("cpu", 3)
    found, draws = [], 12
    for _ in range(draws):
        closed = closures(noisy, corrupt(noisy, with_noise(noisy, truth, generator), generator, 0.0))
        found.append(torch.cat(closed.chi2(truth[None])))
    mean = torch.stack(found).mean(0)
    for value, count in zip(mean.tolist(), closed.counts):
        assert abs(value - 1) < 4 * (2 / (draws * count)) ** 0.5
    wrong = torch.cat(closed.chi2(truth.conj()[None]))
    assert wrong[0] > 5  # a source that is turned by 180 degrees has the same amplitudes
    assert abs(wrong[1] - 1) < 0.5


def test_gains_are_found(coverage, truth):
    noisy = as_noisy(coverage, truth, 0.01)
    generator = make_generator("cpu", 4)
    v = corrupt(noisy, with_noise(noisy, truth, generator), generator)
    gains = fit_gains(noisy, v, truth)
    residual = ((v / gains - truth) / noisy.sigma).abs().square().sum()
    freedom = 2 * len(truth) - 2 * int(torch.cat(stations_of(noisy)).max() + 1) + int(scans_of(noisy).max() + 1)
    assert abs(residual / freedom - 1) < 4 * (2 / freedom) ** 0.5 + 0.05  # and what the prior takes


def test_visibilities_are_averaged_by_scan_and_pair():
    generator, sigma = make_generator("cpu", 6), torch.tensor([1.0, 2.0]).repeat(200).double()
    times = torch.cat([torch.arange(200), torch.arange(200) + 3600]).double() / 3600
    pairs = (("a", "b"),) * 100 + (("a", "c"),) * 100 + (("a", "b"),) * 200
    points = Coverage(torch.full_like(sigma, 5e9), torch.zeros_like(sigma), sigma, pairs, times)
    v = with_noise(points, torch.full((400,), 3.0 - 4.0j, dtype=torch.complex128), generator)
    mean, values = average_scans(points, v)
    assert [len(mean), *scans_of(mean).tolist()] == [3, 0, 0, 1]
    assert mean.pairs == (("a", "b"), ("a", "c"), ("a", "b"))
    expected = (torch.tensor([100, 100, 200]).double() * (1 + 0.25) / 2) ** -0.5
    torch.testing.assert_close(mean.sigma, expected)
    assert (((values - (3 - 4j)) / mean.sigma).abs() < 4).all()
    assert (average_scans(points, v, 0.1)[0].sigma > 0.1 * values.abs()).all()


def test_an_observation_of_a_known_source_is_calibrated(coverage):
    """With an estimator that knows the candidates: it must end at the right one, whatever the stations did.

    Where the source is no closure quantity tells: of spectra and visibilities only the moduli are compared.
    """
    x = sources(60, 32, make_generator("cpu", 7))
    brightness = FLUX / float(x.sum((1, 2, 3)).mean())
    models = model_visibilities(coverage, x, FIELD, brightness)
    generator = make_generator("cpu", 8)
    coverage = replace(coverage, sigma=torch.hypot(coverage.sigma, SYSTEMATIC * models[17].abs()))
    v = corrupt(coverage, with_noise(coverage, models[17], generator), generator)

    def image(points, visibilities):
        return x[((visibilities.abs() - models.abs()) / points.sigma).square().sum(1).argmin()][None]

    closed = closures(coverage, v)
    seen = Observation(coverage, v, FLUX, FIELD)
    near = closed.chi2(model_visibilities(coverage, nearest_source(seen, 32, generator), FIELD, 1.0))
    true = closed.chi2(models[17:18])
    assert all(a < b + 0.5 for a, b in zip(near, true))  # no farther than the truth, which is of the family
    found = self_calibrate(seen, image, x[17:18] / 2, brightness)
    assert torch.equal(found.x[0], x[17])
    for value, count in zip(found.fits[1], closed.counts):
        assert abs(value - 1) < 4 * (2 / count) ** 0.5
    ratio = (found.visibilities / models[17]).abs()  # without gains, but for a factor common to all
    assert abs(ratio.median() - 1) < 0.1
    assert (ratio / ratio.median() - 1).abs().median() < 0.03
    assert len(found.fits) == 2, "the start fits: one turn"
    ahead = iter((5, 7, 9, 11))
    wrong = self_calibrate(seen, lambda *_: x[(k := next(ahead)) : k + 1], x[3:4], brightness)
    assert worst(wrong.fits[0]) > FITS
    assert len(wrong.fits) - 1 == TURNS == 4
    assert torch.equal(wrong.x[0], x[11])
    last = self_calibrate(seen, image, x[9:10], brightness, turns=1)  # each turn begins with the last one's image
    torch.testing.assert_close(wrong.gains, last.gains)
    assert worst((float("nan"), 3.0)) == 3.0


@pytest.mark.parametrize(
    ("fits", "said"),
    [
        (((1.1, 0.9), (0.9, 1.9)), None),
        (((5.0, 3.0), (0.9, 1.9)), None),
        (((5.0, 3.0), (2.0, 2.6)), "chi^2 2.6: the source is unlike those that were simulated"),
        (
            ((1.3, 1.0), (1.0, 2.7)),
            "chi^2 2.7: a simulated source does (1.3), so the network learned at other points",
        ),
        (((float("nan"), 1.0), (float("nan"), 2.7)), "a simulated source does"),
    ],
)
def test_why_an_image_does_not_fit(fits, said):
    assert (misfit(fits) is None) if said is None else (said in misfit(fits))


def test_without_times_there_are_no_scans():
    one = torch.ones(1)
    with pytest.raises(UnveilError, match="no times or no stations"):
        scans_of(Coverage(one, one, one))
    with pytest.raises(UnveilError, match="no baseline is as long"):
        drop_short(Coverage(one, one, one), one + 0j, 1e9)
