"""The distance between sets of features: against closed forms, and on photographs that were distorted."""

import math
from itertools import pairwise

import pytest
import scipy.fft
import scipy.linalg
import torch
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle

from features import features
from frechet import frechet_distance
from unveil.data import heldout_photographs, training_photographs
from unveil.errors import UnveilError
from unveil.random import make_generator


def normal(generator, *shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")


def random_law(d, generator):
    """Mean (d,) and covariance (d, d) of a Gaussian, far from diagonal, with units that differ from one to the next."""
    units = torch.logspace(-1, 1, d, dtype=torch.float64)
    factor = units[:, None] * normal(generator, d, d)
    return units * normal(generator, d), factor @ factor.T / d


def with_exact_moments(n, mean, cov, generator):
    """n samples whose empirical mean and unbiased covariance are `mean` and `cov`: no Monte Carlo error is left."""
    z = normal(generator, n, len(mean))
    z = z - z.mean(0)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T.cov().reshape(len(mean), -1)), z.T, upper=False).T
    return mean + z @ torch.linalg.cholesky(cov).T


def closed_form(mean_a, cov_a, mean_b, cov_b, root=None):
    """In standardised units, by scipy's Schur decomposition of the product: another way than the code's."""
    unit = cov_a.diagonal().sqrt()
    shift = (mean_b - mean_a) / unit
    a, b = (c / unit / unit[:, None] for c in (cov_a, cov_b))
    product = scipy.linalg.sqrtm((a @ b).numpy()).real if root is None else root(a @ b)
    return float(shift.square().sum() + a.trace() + b.trace() - 2 * product.trace())


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_closed_form_of_gaussians(d):
    generator = make_generator("cpu", d)
    law_a, law_b = random_law(d, generator), random_law(d, generator)
    expected = closed_form(*law_a, *law_b)
    a, b = with_exact_moments(d + 5, *law_a, generator), with_exact_moments(3 * d + 7, *law_b, generator)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    if d > 1:  # the tolerance tells the root of the matrix from the roots of its entries
        wrong = closed_form(*law_a, *law_b, root=lambda m: m.abs().sqrt())
        assert abs(wrong - expected) > 0.01 * expected


def test_closed_form_in_two_dimensions():
    # tr M^{1/2} = (tr M + 2 (det M)^{1/2})^{1/2} for 2 x 2; the reference's deviations are 1, so nothing is rescaled
    cov_a, cov_b = torch.tensor([[1, 0.8], [0.8, 1]]).double(), torch.tensor([[2, -0.9], [-0.9, 1]]).double()
    product = cov_a @ cov_b
    expected = 9 + 16 + 2 + 3 - 2 * math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    generator = make_generator("cpu", 0)
    a = with_exact_moments(10, torch.zeros(2).double(), cov_a, generator)
    b = with_exact_moments(10, torch.tensor([3.0, 4.0]).double(), cov_b, generator)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("d", [2, 10])
def test_samples_of_gaussians_by_monte_carlo(d):
    generator = make_generator("cpu", 7, d)
    law_a, law_b = random_law(d, generator), random_law(d, generator)
    factors = [torch.linalg.cholesky(cov) for _, cov in (law_a, law_b)]
    found = []
    for _ in range(24):
        a, b = (mean + normal(generator, 8000, d) @ f.T for (mean, _), f in zip((law_a, law_b), factors))
        found.append(frechet_distance(a, b))
    found = torch.tensor(found, dtype=torch.float64)
    error = found.std() / len(found) ** 0.5
    expected = closed_form(*law_a, *law_b)
    assert abs(found.mean() - expected) < 4.5 * error
    assert error < 0.01 * expected


def test_units_and_axes_of_the_features_do_not_matter_and_the_reference_comes_first():
    generator = make_generator("cpu", 3)
    a, b = (with_exact_moments(50, *random_law(6, generator), generator) for _ in range(2))
    distance = frechet_distance(a, b)
    units, order = torch.logspace(-3, 3, 6).double(), torch.randperm(6, generator=generator)
    assert frechet_distance((a * units + 7)[:, order], (b * units + 7)[:, order]) == pytest.approx(distance, rel=1e-8)
    assert frechet_distance(b, a) != pytest.approx(distance, rel=0.01)


def test_a_feature_that_the_reference_does_not_vary_keeps_its_unit():
    a, b = (normal(make_generator("cpu", k), 50, 3) for k in range(2))
    a[:, 2] = 0.3
    b[:, 2] = 0.3
    without = frechet_distance(a[:, :2], b[:, :2])
    assert frechet_distance(a, b) == pytest.approx(without)
    assert frechet_distance(a, b + torch.tensor([0, 0, 2.0]).double()) == pytest.approx(without + 4)


@pytest.fixture(scope="module")
def photographs():
    """A part of seven scenes (of two views of one scene, one): x (7, 1, 192, 192) in [0, 1], 252 patches."""
    found = {**training_photographs(), **heldout_photographs()}
    del found["motorcycle_right"]
    return torch.stack([x[:, :192, :192].mean(0, keepdim=True) for x in found.values()]).double()


@pytest.fixture(scope="module")
def reference(photographs):
    return features(photographs)


def per_image(f, x):
    return torch.stack([torch.from_numpy(f(image[0].numpy()))[None] for image in x])


def blurred(x, width):
    return per_image(lambda v: gaussian_filter(v, width), x)


def noisy(x, sigma):
    return x + sigma * normal(make_generator("cpu", 5), *x.shape)


def smoothed(x, weight):
    return per_image(lambda v: denoise_tv_chambolle(v, weight=weight), x)


def quantised(x, step):
    """Rounding to multiples of `step` of the cosine transform of blocks of 8 x 8, as JPEG does."""
    dct = torch.from_numpy(scipy.fft.dct(torch.eye(8).double().numpy(), axis=0, norm="ortho"))
    b, c, h, w = x.shape
    blocks = dct @ x.reshape(b, c, h // 8, 8, w // 8, 8).transpose(3, 4) @ dct.T
    return (dct.T @ (step * (blocks / step).round()) @ dct).transpose(3, 4).reshape(x.shape)


DISTORTIONS = {  # by increasing strength; the first of each is hardly visible
    "blur": (blurred, [0.5, 0.7, 1.0, 1.5, 3.0]),
    "noise": (noisy, [0.01, 0.02, 0.05, 0.1, 0.2]),
    "total variation": (smoothed, [0.01, 0.02, 0.05, 0.1]),
    "quantisation": (quantised, [0.05, 0.1, 0.2, 0.4]),
}


@pytest.fixture(scope="module")
def distorted(photographs):
    """Features of the distorted photographs: name -> one set for each strength."""
    return {
        name: [features(distort(photographs, s)) for s in strengths]
        for name, (distort, strengths) in DISTORTIONS.items()
    }


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distance_grows_with_distortion(reference, distorted, name):
    distances = [0.0] + [frechet_distance(reference, v) for v in distorted[name]]
    assert all(b > 1.2 * a for a, b in pairwise(distances)), distances


def test_no_distance_to_itself(reference):
    assert frechet_distance(reference, reference) < 1e-9


@pytest.mark.parametrize("name", DISTORTIONS)
def test_halves_of_the_same_images_are_nearer_than_any_distortion(reference, distorted, name):
    """Every other patch against the rest: clean, and distorted."""
    clean = frechet_distance(reference[::2], reference[1::2])
    distances = [frechet_distance(reference[::2], v[1::2]) for v in distorted[name]]
    assert min(distances) > 1.5 * clean, (clean, distances)
    assert distances[2] > 3 * clean, (clean, distances)


def test_over_smoothing_is_seen(reference, distorted):
    """A Gaussian blur of 0.7 pixel: paired, and against the chance of halves."""
    clean = frechet_distance(reference[::2], reference[1::2])
    v = distorted["blur"][DISTORTIONS["blur"][1].index(0.7)]
    assert frechet_distance(reference, v) > 10 * clean
    assert frechet_distance(reference[::2], v[1::2]) > 10 * clean


def test_sparsity_is_seen_at_equal_spectra(photographs, reference):
    """Random phases keep the power spectrum of every patch: textures turn into Gaussian noise of the same strength."""
    patches = photographs.unfold(2, 32, 32).unfold(3, 32, 32)
    phase = torch.fft.fft2(normal(make_generator("cpu", 9), *patches.shape))
    phase = phase / phase.abs()
    phase[..., 0, 0] = 1
    scrambled = torch.fft.ifft2(torch.fft.fft2(patches).abs() * phase).real
    x = scrambled.transpose(3, 4).reshape(photographs.shape)
    assert frechet_distance(reference, features(x)) > 3 * frechet_distance(reference[::2], reference[1::2])


def test_the_order_of_images_does_not_matter(photographs, reference):
    x = noisy(photographs, 0.05)
    order = torch.randperm(len(x), generator=make_generator("cpu", 2))
    distance = frechet_distance(reference, features(x))
    assert frechet_distance(reference, features(x[order])) == pytest.approx(distance, rel=1e-9)


def test_colour_is_seen(photographs):
    x = torch.stack([image[:, :192, :192] for image in heldout_photographs().values()]).double()
    light = x.mean(1, keepdim=True)
    faded = light + 0.5 * (x - light)
    assert frechet_distance(features(light), features(faded.mean(1, keepdim=True))) < 1e-9
    assert frechet_distance(features(x), features(faded)) > 1


def test_independent_of_global_state(photographs, reference):
    x = photographs[:4]
    distance = frechet_distance(reference, features(x))
    torch.set_default_dtype(torch.float16)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(123)
            before = torch.get_rng_state()
            assert frechet_distance(reference, features(x.clone().requires_grad_())) == distance
            assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_it_cannot_use_is_said_in_one_line(generator):
    a, b = normal(make_generator("cpu", 0), 20, 3), normal(make_generator("cpu", 1), 20, 4)
    broken = a.clone()
    broken[0, 0] = torch.nan
    for pair, message in (
        ((a, b), "features_a has 3 features and features_b 4"),
        ((a[:3], a), "features_a has 3 patches of 3 features: pass 4 or more"),
        ((a, a[:3]), "features_b has 3 patches of 3 features: pass 4 or more"),
        ((a, broken), "features_b has NaN"),
        ((a[0], a), r"features_a has shape \(3,\)"),
    ):
        with pytest.raises(UnveilError, match=message) as caught:
            frechet_distance(*pair)
        assert "\n" not in str(caught.value)
    assert frechet_distance(a[:4], a) >= 0
