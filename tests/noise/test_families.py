"""The contract of every noise family: moments at every exposure, scale, variance, rows, precision, refusals."""

from dataclasses import fields, replace

import pytest
import torch
from noise_statistics import CHANNELS, FAR, KERNEL, MAKE, SCATTER, SHARES, B, check_noise, every_family, low, of_family

from unveil.errors import UnveilError
from unveil.measurement import Measurement
from unveil.noise import NOISES, Correlated
from unveil.operators import Identity
from unveil.random import make_generator, normal
from unveil.shapes import expand

EXPOSURES = [0.15, 0.6, 1.0, 4.0, 30.0]


def test_every_family_is_tested():
    assert MAKE.keys() == NOISES.keys()
    for name, make in MAKE.items():
        assert type(make(torch.ones(2))) is NOISES[name]


# --- moments, at every exposure


@every_family
def test_moments(name, u, parameter, generator):
    for noise in (MAKE[name](parameter), MAKE[name](torch.tensor(2.0))):
        check_noise(noise.sample(u, generator), u, noise)


@every_family
@pytest.mark.parametrize("t", EXPOSURES)
def test_moments_at_an_exposure(t, name, u, parameter, generator):
    """y_t is sampled with the variance of y over t; t a number, or one for each sample."""
    noise = MAKE[name](parameter)
    for share in (t, t * low(u.device, u.dtype).flip(0)):
        exposed = noise.exposed(share)
        check_noise(exposed.sample(u, generator), u, exposed)
        expected = noise.variance(u) / (expand(share, u) if torch.is_tensor(share) else share)
        torch.testing.assert_close(exposed.variance(u), expected)
        torch.testing.assert_close(exposed.exposed(2.0).variance(u), noise.exposed(2 * share).variance(u))


@every_family
@pytest.mark.parametrize("t", SHARES)
def test_noisier_is_the_noise_at_that_exposure(t, name, u, parameter, generator):
    noise = MAKE[name](parameter)
    y = noise.sample(u, generator)
    kept = y.clone()
    for share in (torch.full_like(parameter, t), t * torch.linspace(1, 0.3, B).to(parameter)):
        y_t = noise.noisier(y, share, generator)
        assert torch.equal(y, kept)
        check_noise(y_t, u, noise.exposed(share))
        again = noise.exposed(share).noisier(y_t, 0.5 * torch.ones_like(share), generator)  # half of a share is a share
        check_noise(again, u, noise.exposed(share / 2))


@every_family
def test_all_of_the_exposure_is_the_measurement(name, u, parameter, generator):
    noise = MAKE[name](parameter)
    y = noise.sample(u, generator)
    torch.testing.assert_close(noise.noisier(y, torch.ones_like(parameter), generator), y)
    torch.testing.assert_close(noise.exposed(1.0).variance(u), noise.variance(u))


@every_family
def test_a_mean_over_pixels_is_a_longer_exposure(name, u, parameter, generator):
    """k x k pixels of one brightness: k^2 times the exposure; and a mean of exposures is the exposure of their sum."""
    noise = MAKE[name](parameter)
    for k in (2, 3):
        fine = u.repeat_interleave(k, -1).repeat_interleave(k, -2)
        coarse = Measurement(noise.sample(fine, generator), Identity(), noise).coarser(k)
        check_noise(coarse.y, u, coarse.noise)
        if not isinstance(noise, Correlated):
            torch.testing.assert_close(coarse.noise.variance(u), noise.exposed(k**2).variance(u))
    t, more = 0.4, 2.1
    both = (t * noise.exposed(t).sample(u, generator) + more * noise.exposed(more).sample(u, generator)) / (t + more)
    check_noise(both, u, noise.exposed(t + more))


@every_family
def test_a_level_over_columns_is_rejected(name, u, parameter, generator):
    noise = MAKE[name](parameter)
    over_columns = replace(noise, **{next(iter(vars(noise))): torch.ones(())})
    sampled = u + (over_columns.variance(u).sqrt() * parameter) * normal(u, generator)
    with pytest.raises(AssertionError):
        check_noise(sampled, u, noise)


# --- scale, level, variance


@every_family
def test_scaled_is_the_noise_of_the_scaled_data(name, u, parameter, generator):
    noise = MAKE[name](parameter)
    for a in (3.0, 0.2, torch.linspace(2.0, 0.5, B).to(parameter)):
        factor = expand(a, u) if torch.is_tensor(a) else a
        check_noise(factor * noise.sample(u, generator), factor * u, noise.scaled(a))
        torch.testing.assert_close(noise.scaled(a).variance(factor * u), factor**2 * noise.variance(u))
        single = MAKE[name](torch.ones((), device=u.device, dtype=u.dtype))
        torch.testing.assert_close(single.scaled(a).variance(factor * u), factor**2 * single.variance(u))


@every_family
def test_the_variance_of_the_data_estimates_the_variance(name, u, parameter, generator):
    """estimated_variance(y) has the mean variance(u), at every exposure."""
    noise = MAKE[name](parameter)
    for each in (noise, noise.exposed(0.1), noise.exposed(9.0)):
        ratio = each.estimated_variance(each.sample(u, generator)).double() / each.variance(u).double() - 1
        error = of_family(SCATTER, each, u)
        assert (ratio.flatten(1).mean(1).abs() <= FAR * (error.flatten(1).mean(1) / u[0].numel()) ** 0.5 + 1e-6).all()


@every_family
def test_additive_noise_does_not_know_the_signal(name, u, parameter):
    noise = MAKE[name](parameter)
    assert torch.equal(noise.variance(u), noise.variance(u + 1)) == noise.additive


@every_family
def test_level_is_the_root_of_the_mean_variance(name, u, parameter):
    """Of the measured entries alone."""
    keep = torch.rand(u.shape, generator=make_generator(u.device, 2), device=u.device) < 0.5
    noise = MAKE[name](parameter)
    level = noise.level(u, lambda v: torch.stack([row[k].mean() for row, k in zip(v, keep)]))
    expected = torch.stack([v[k].mean() for v, k in zip(noise.estimated_variance(u), keep)]).sqrt()
    torch.testing.assert_close(level, expected)
    assert level.shape == (B,)
    assert level.dtype == u.dtype
    torch.testing.assert_close(
        MAKE[name](torch.tensor(2.0)).level(u, lambda v: v.flatten(1).mean(1))[:1],
        MAKE[name](torch.tensor([2.0])).level(u[:1], lambda v: v.flatten(1).mean(1)),
    )


def test_an_image_without_a_photon_is_told_the_noise_of_one(parameter):
    """A level of 0 would be an infinite weight. One photon, wherever it fell, has the level that it had before."""
    noise, mean = MAKE["poisson"](parameter), lambda v: v.flatten(1).mean(1)
    dark = torch.zeros(B, 1, 4, 5).to(parameter)
    one = dark.clone()
    one[:, 0, 2, 3] = noise.gain
    torch.testing.assert_close(noise.level(one, mean), noise.gain / 20**0.5)
    torch.testing.assert_close(noise.level(dark, mean), noise.gain / 20**0.5)
    generator = make_generator(parameter.device, 1)
    assert noise.stein(lambda y: y, dark, dark, mean, generator).eq(0).all()


# --- rows, devices, precisions, draws


@every_family
def test_select_and_to(name, u, parameter, device):
    noise, which = MAKE[name](parameter), torch.tensor([5, 0, 5, 23], device=device)
    torch.testing.assert_close(noise.select(which).variance(u[which]), noise.variance(u)[which])
    for single in (torch.tensor(2.0), torch.tensor([2.0])):  # one for all: of whichever
        common = MAKE[name](single)
        torch.testing.assert_close(common.select(which).variance(u[which]), common.variance(u)[which])
    moved = noise.to("cpu").to(device)
    assert type(moved) is type(noise)
    assert torch.equal(moved.variance(u), noise.variance(u))


@every_family
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_the_precision_is_that_of_the_data(name, precision, device):
    u = torch.rand(3, 2, 4, 5, device=device, dtype=precision)
    for other in (torch.float32, torch.float64):
        for parameter in (torch.tensor(1.0, dtype=other), torch.linspace(1, 2, 3, dtype=other)):
            noise, generator = MAKE[name](parameter.to(device)), make_generator(device, 1)
            y = noise.sample(u, generator)
            t = torch.full((3,), 0.5, device=device, dtype=precision)
            view, rest = Measurement(y, Identity(), noise).recorrupt(t, generator)
            for value in (y, noise.variance(u), view.y, rest.y, view.level, noise.scaled(t).exposed(0.3).variance(u)):
                assert value.dtype == precision
                assert value.device.type == device.type


@every_family
def test_the_generator_decides(name, u, parameter, device):
    noise, rng = MAKE[name](parameter), torch.get_rng_state()
    t = torch.full_like(parameter, 0.5)
    for draw in (
        lambda g: noise.sample(u, g),
        lambda g: noise.noisier(noise.sample(u, make_generator(device, 9)), t, g),
    ):
        a, b, c = (draw(make_generator(device, seed)) for seed in (1, 1, 2))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), rng)


# --- refusals


@every_family
@pytest.mark.parametrize(
    "wrong", [0.0, -0.1, float("nan"), float("inf"), [0.1, 0.0], [0.1, float("nan")], [1.0] * 99 + [-1.0]]
)
def test_refusals(name, wrong):
    values = [torch.tensor(wrong), *([wrong] if isinstance(wrong, float) else [])]
    for value in values:
        with pytest.raises(
            UnveilError, match=r"(sigma|gain|looks) must be finite and > 0, not (0|-0\.1|nan|inf|-1): give"
        ) as caught:
            NOISES[name](*[value] * len(fields(NOISES[name])))
        assert len(str(caught.value)) < 120


@every_family
@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_factors_and_exposures_are_positive(name, wrong, parameter, u, generator):
    noise = MAKE[name](parameter)
    m = Measurement(u, Identity(), noise)
    for call in (
        lambda: noise.scaled(wrong),
        lambda: noise.exposed(wrong),
        lambda: m.noisier(torch.full_like(parameter, wrong), generator),
        lambda: m.recorrupt(torch.full_like(parameter, wrong), generator),
    ):
        with pytest.raises(UnveilError):
            call()


@every_family
def test_more_exposure_cannot_be_made_of_a_measurement(name, parameter, u, generator):
    m, t = Measurement(u, Identity(), MAKE[name](parameter)), torch.full_like(parameter, 0.5)
    t[3] = 1.5
    with pytest.raises(UnveilError, match=r"t is 1\.5"):
        m.noisier(t, generator)
    with pytest.raises(UnveilError):
        m.recorrupt(torch.ones_like(t), generator)


@every_family
def test_one_parameter_for_each_sample(name, parameter, u, generator):
    for call in (lambda y: MAKE[name](parameter).sample(y, generator), lambda y: MAKE[name](parameter).variance(y)):
        with pytest.raises(UnveilError, match="for a batch of 7"):
            call(u[:7])


# --- correlated noise alone


def test_a_window_of_correlated_noise_is_noise_of_a_window(u, parameter, generator):
    """Drawn larger and cut: the covariance is that of the definition, next to the edges too."""
    noise = MAKE["correlated"](parameter)
    wide = u.repeat(1, 1, 1, 2)
    check_noise(noise.sample(wide, generator)[..., B - 9 : -9], wide[..., B - 9 : -9], noise)


def test_correlated_noise_that_is_coarser_by_sample(u, generator):
    noise = Correlated(torch.tensor(0.1), KERNEL, 0.2, 0.1, CHANNELS)
    k = torch.tensor([1, 2, 3], device=u.device).repeat(B // 3)
    coarse = noise.coarser(k)
    y = coarse.sample(u, generator)
    for scale in (1, 2, 3):
        which = (k == scale).nonzero()[:, 0]
        check_noise(y[which], u[which], noise.coarser(scale))


def test_what_flips_and_turns_leave_alone():
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]])
    assert Correlated(1.0, cross, 0.1, 0.1).turns
    assert not Correlated(1.0, cross, 0.1, 0.0).turns
    assert not Correlated(1.0, cross[1:2]).turns
    assert not Correlated(1.0, cross + torch.eye(3)).turns


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rows": 1.0}, "rows is 1"),
        ({"columns": -0.1}, "columns is -0.1"),
        ({"rows": 0.5, "columns": 0.5}, "leave a share"),
        ({"kernel": torch.zeros(3, 3)}, "kernel must hold finite numbers"),
        ({"kernel": torch.ones(3)}, "kernel has shape"),
        ({"covariance": torch.ones(2, 3)}, "covariance has shape"),
        ({"covariance": torch.tensor([[1.0, 0.0], [0.0, float("nan")]])}, "must be finite and symmetric"),
        ({"covariance": torch.tensor([[1.0, 0.2], [0.5, 1.0]])}, "must be finite and symmetric"),
        ({"covariance": torch.tensor([[1.0, 2.0], [2.0, 1.0]])}, "an eigenvalue below 0"),
    ],
)
def test_refusals_of_correlated_noise(wrong, words):
    with pytest.raises(UnveilError, match=words):
        Correlated(1.0, **wrong)


def test_correlated_noise_is_of_images_of_its_channels(device, generator):
    for shape, words in (((2, 6), "neighbours"), ((2, 3, 4, 4), "data have 3")):
        y = torch.zeros(shape, device=device)
        with pytest.raises(UnveilError, match=words):
            Correlated(1.0, covariance=CHANNELS).sample(y, generator)
