"""Known answers: what can be learned, what cannot, and which frequencies or pixels are then named."""

import json

import pytest
import torch
from known import (
    columns,
    microscope,
    mirrored,
    multiplier,
    numbers_of,
    radius,
    telescope,
    turned,
)

from unveil.errors import UnveilError
from unveil.identifiability import (
    TOLERANCE,
    check_operator,
    commutes,
    equivariance_gap,
    hidden_frequencies,
    name_hidden,
)
from unveil.instruments.cryoem.ctf import Optics
from unveil.operators import Identity, Operator, cartesian_mask, ctf, inpainting, mri, random_mask, tomography
from unveil.random import make_generator
from unveil.symmetry import Rotate, make_symmetry


def judge(operator, *symmetries, **options):
    symmetry = make_symmetry(symmetries) if symmetries else None
    return check_operator(operator, symmetry, generator=make_generator("cpu", 0), **options)


def hidden_set(verdict):
    return {tuple(k) for k in hidden_frequencies(verdict.seen).tolist()}


# --- inpainting


@pytest.fixture(params=[1, 2])
def holes(request):
    mask = random_mask(8, 8, 0.5, make_generator("cpu", 1))
    return mask, inpainting(mask, request.param)


def test_inpainting_alone(holes):
    mask, operator = holes
    verdict = judge(operator)
    missing = int((~mask).sum())
    assert not verdict.learnable
    assert verdict.seen.hidden == missing * operator.image_shape[0]
    assert torch.equal(verdict.seen.pixels > 0.5, ~mask)
    assert name_hidden(verdict.seen) == f"{missing} of 64 pixels"
    assert f"never seen: {missing} of 64 pixels" in verdict.reasons
    assert verdict.text.startswith("cannot: ")
    assert "add shift or" in verdict.what_to_change[0]
    assert verdict.measured == int(mask.sum()) * operator.image_shape[0]
    assert verdict.needed == 64 * operator.image_shape[0]
    assert any("are less than" in reason for reason in verdict.reasons)


def test_inpainting_and_shifts(holes):
    verdict = judge(holes[1], "shift")
    assert verdict.learnable
    assert verdict.text.startswith("can be learned: ")
    assert verdict.gaps["shift"] > 0.5
    # The mean over all shifts of a mask is the share of its ones, everywhere.
    torch.testing.assert_close(verdict.seen.eigenvalues, torch.ones_like(verdict.seen.eigenvalues))
    assert verdict.what_to_change == []
    assert verdict.needed == holes[1].image_shape[0]


def test_inpainting_and_a_product(holes):
    assert judge(holes[1], "flip", "shift").learnable


def test_inpainting_in_a_corner_and_flips():
    """Flips show the other corners and nothing else."""
    mask = torch.zeros(8, 8)
    mask[:3, :4] = 1
    verdict = judge(inpainting(mask), "flip")
    assert not verdict.learnable
    assert torch.equal(verdict.seen.pixels > 0.5, torch.arange(8).expand(8, 8).T.sub(3.5).abs() < 1)


def test_masks_of_many_measurements_without_a_symmetry():
    masks = torch.rand(40, 8, 8, generator=make_generator("cpu", 2)) < 0.4
    assert judge(inpainting(masks)).learnable
    masks[:, 2, 5] = False
    verdict = judge(inpainting(masks))
    assert not verdict.learnable
    assert verdict.seen.hidden == 1
    assert "1 of 64 pixels" in verdict.text
    assert "the 40 operators together see 63 of 64" in verdict.reasons[0]


# --- Cartesian masks in the Fourier plane


REAL = columns(12, 0, 1, 2, 5)


def test_a_mask_commutes_with_shifts():
    verdict = judge(multiplier(REAL), "shift")
    assert not verdict.learnable
    assert verdict.gaps["shift"] < 1e-9
    assert hidden_set(verdict) == numbers_of(~mirrored(REAL))
    assert verdict.seen.hidden == (~mirrored(REAL)).sum()
    assert "A commutes with shift, which therefore teaches nothing" in verdict.reasons
    assert "(kx = -6, -4 to -3, 3 to 4)" in verdict.text
    assert "quarter or rotate" in verdict.what_to_change[0]
    assert "shift" not in verdict.what_to_change[0]


def test_quarter_turns_show_more_of_a_mask_but_not_all():
    """Unseen are exactly the frequencies in neither the mask nor its turn, k and -k being one for real images."""
    verdict = judge(multiplier(REAL), "quarter")
    unseen = ~(mirrored(REAL) | turned(mirrored(REAL)))
    assert 0 < unseen.sum() < (~mirrored(REAL)).sum()
    assert not verdict.learnable
    assert hidden_set(verdict) == numbers_of(unseen)
    assert verdict.seen.hidden == unseen.sum()
    assert "(ky = -6, -4 to -3, 3 to 4 and kx = -6, -4 to -3, 3 to 4)" in verdict.text


def test_of_complex_images_k_and_minus_k_are_two():
    mask = torch.fft.fftshift(REAL)  # the zero frequency in the middle, as MRI has it
    verdict = judge(mri(mask), "quarter")
    unseen = ~((REAL != 0) | turned(REAL) | turned(turned(REAL)) | turned(turned(turned(REAL))))
    assert hidden_set(verdict) == numbers_of(unseen)
    assert verdict.seen.hidden == 2 * unseen.sum()
    alone = judge(mri(mask))
    assert hidden_set(alone) == numbers_of(REAL == 0)
    assert alone.seen.hidden == 2 * (REAL == 0).sum()


@pytest.mark.parametrize(
    ("make", "symmetries"),
    [
        (lambda: multiplier(columns(16, -1, 0, 1, 4)), ("rotate",)),
        (lambda: multiplier(columns(16, -1, 0, 1, 4)), ("rotate", "flip")),
        (lambda: mri(cartesian_mask(16, 16, 3, 0.2, make_generator("cpu", 5))), ("shift", "rotate")),
    ],
)
def test_a_mask_and_all_rotations(make, symmetries):
    verdict = judge(make(), *symmetries)
    assert verdict.learnable
    assert verdict.gaps["rotate"] > 0.3
    assert 0.6 < verdict.seen.judged / torch.tensor(make().image_shape).prod() < 0.65  # pi 0.9^2 / 4
    assert "judged below 0.9 of the highest frequency" in verdict.text


def test_small_rotations_are_enough_to_see_that_a_mask_does_not_commute():
    small = Rotate(5.0)
    gap = equivariance_gap(multiplier(columns(16, -1, 0, 1, 4)), small, (1, 16, 16), make_generator("cpu", 0))
    assert not commutes(gap, small)


def test_one_mask_for_each_image():
    masks = torch.stack([cartesian_mask(10, 10, 2, 0.2, make_generator("cpu", 3, i)) for i in range(12)])
    verdict = judge(mri(masks), "shift")
    assert verdict.learnable
    assert verdict.moved is None
    assert not judge(mri(masks[:1]), "shift").learnable


def test_a_low_pass_and_rotations():
    """A disc of frequencies stays where it is: rings outside it are named."""
    verdict = judge(multiplier((radius(16) < 3.5).float()), "rotate")
    assert not verdict.learnable
    assert "radii 4 to 11" in verdict.text


# --- interferometry


def test_points_of_the_fourier_plane_and_shifts():
    verdict = judge(telescope(16, (4, 0), (0, 2), (3, -1)), "shift")
    assert not verdict.learnable
    sampled = {(0, 4), (2, 0), (-1, 3), (0, -4), (-2, 0), (1, -3)}
    everything = numbers_of(torch.ones(16, 16, dtype=torch.bool))
    assert everything - hidden_set(verdict) == sampled
    assert verdict.seen.hidden == 250
    assert "among them the mean of the image" in verdict.text


@pytest.mark.parametrize(
    ("points", "named"), [(((4, 0), (0, 4)), "radii 0 to 3, 5 to 7"), (((6, 0), (0, 6)), "radii 0 to 5")]
)
def test_points_and_all_rotations_show_their_rings_alone(points, named):
    verdict = judge(telescope(16, *points), "rotate")
    assert not verdict.learnable
    assert named in verdict.text
    assert "among them the mean of the image" in verdict.text


def test_shifts_that_teach_nothing_do_not_blur_what_rotations_show():
    """Left in the product they would bring the corners to where rotations are wrong, and show more than there is."""
    rings = telescope(16, (4, 0), (0, 4))
    alone, both = judge(rings, "rotate"), judge(rings, "shift", "rotate")
    assert both.seen.hidden == pytest.approx(alone.seen.hidden, abs=3)
    assert "A commutes with shift, which therefore teaches nothing" in both.reasons


def test_an_interferometer_with_points_at_every_radius_and_all_rotations():
    points = [(0.0, 0.0), *((0.9 * r, 0.3 * r) for r in torch.arange(0.5, 7.6, 0.5).tolist())]
    assert judge(telescope(16, *points), "rotate").learnable


# --- contrast transfer functions


@pytest.mark.parametrize("symmetries", [("shift",), ("rotate",), ("shift", "rotate"), ("flip", "quarter")])
def test_one_defocus_commutes_with_shifts_and_rotations(symmetries):
    verdict = judge(microscope(32, 5e3), *symmetries)
    values = ctf((32, 32), Optics(2.0, 300.0, 2.7, 0.1, torch.tensor(5e3, dtype=torch.float64)))
    zeros = values**2 < TOLERANCE * (values**2).max()
    assert not verdict.learnable
    assert verdict.moved is None
    assert hidden_set(verdict) == numbers_of(zeros)
    (reason,) = [reason for reason in verdict.reasons if reason.startswith("A commutes with")]
    assert all(name in reason for name in symmetries)
    assert "several operators" in verdict.what_to_change[0]


def test_several_defoci():
    verdict = judge(microscope(32, 4e3, 5e3, 6.1e3, 7e3), "rotate")
    assert verdict.learnable
    assert "the 4 operators together see 1024 of 1024" in verdict.text


def test_a_ring_that_is_never_seen_is_not_shown_by_rotations():
    """A sharp ring does not quite commute on a small square: the rank decides."""
    verdict = judge(multiplier(((radius(16) - 5).abs() > 1.5).float()), "rotate")
    assert not verdict.learnable


# --- others


def test_all_angles_of_a_tomograph_come_with_rotations():
    few = tomography(torch.arange(0, 180, 30.0), 16)
    assert not judge(few).learnable
    assert judge(few, "rotate").learnable


def test_the_amplitude_teaches_nothing_of_what_is_not_seen():
    verdict = judge(inpainting(random_mask(8, 8, 0.5, make_generator("cpu", 1))), "amplitude")
    assert not verdict.learnable
    assert verdict.gaps["amplitude"] == 0
    assert not judge(multiplier(REAL), "shift", "amplitude").learnable


def test_exchangeable_pixels():
    assert judge(inpainting(random_mask(8, 8, 0.5, make_generator("cpu", 1))), "permute").learnable


@pytest.mark.parametrize("symmetries", [(), ("shift",), ("rotate",)])
def test_denoising(symmetries):
    verdict = judge(Identity(), *symmetries, image_shape=(1, 8, 8))
    assert verdict.learnable
    assert "A alone sees 64 of 64" in verdict.text


@pytest.mark.parametrize("symmetries", [(), ("shift",), ("quarter",)])
def test_the_mean_alone_may_be_missing(symmetries):
    verdict = judge(multiplier((radius(8) > 0).float()), *symmetries)
    assert verdict.learnable
    assert verdict.seen.hidden == 1
    assert "only the mean of an image is never seen" in verdict.reasons
    assert "mean" in verdict.what_to_change[0]
    no_lines = judge(multiplier((radius(8) > 1).float()), *symmetries)
    assert not no_lines.learnable
    assert "among them the mean of the image" in no_lines.reasons


def test_the_mean_of_complex_images():
    mask = torch.ones(8, 8)
    mask[4, 4] = 0
    verdict = judge(mri(mask), "shift")
    assert verdict.learnable
    assert verdict.seen.hidden == 2


@pytest.mark.parametrize("noise", ["uniform", "two-valued"])
def test_noise_that_cannot_be_undone(noise):
    verdict = judge(Identity(), image_shape=(1, 8, 8), noise=noise)
    assert not verdict.learnable
    assert verdict.text.startswith(f"cannot: {noise} noise hides")
    assert "Gaussian or Poisson" in verdict.what_to_change[0]
    assert judge(Identity(), image_shape=(1, 8, 8), noise="poisson").learnable


def test_a_wrong_adjoint_ends_the_check():
    class Wrong(Operator):
        image_shape = measurement_shape = (1, 8, 8)

        def _apply(self, x):
            return x

        def _adjoint(self, y):
            return 2 * y

    verdict = judge(Wrong(), "shift")
    assert not verdict.learnable
    assert "adjoint is wrong" in verdict.text
    assert verdict.seen is None


def test_what_cannot_be_checked():
    with pytest.raises(UnveilError, match="image_shape"):
        judge(Identity())
    with pytest.raises(UnveilError, match="noise family"):
        judge(Identity(), image_shape=(1, 8, 8), noise="pink")
    with pytest.raises(UnveilError, match="square"):
        judge(Identity(), "quarter", image_shape=(1, 8, 9))


@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_units_do_not_matter(scale):
    for symmetries, learnable in ((("shift",), False), (("rotate",), True)):
        verdict = judge(multiplier(scale * columns(16, -1, 0, 1, 4)), *symmetries)
        assert verdict.learnable == learnable


def test_the_verdict_is_that_of_the_generator_and_draws_nothing_else():
    state = torch.get_rng_state()
    operator = multiplier(columns(16, -1, 0, 1, 4))
    first, again = judge(operator, "rotate"), judge(operator, "rotate")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.seen.eigenvalues, again.seen.eigenvalues)
    assert first.gaps == again.gaps


def test_figures_are_json():
    verdict = judge(multiplier(REAL), "quarter")
    figures = json.loads(json.dumps(verdict.figures()))
    assert figures["learnable"] is False
    assert figures["with_symmetry"]["rank"] == verdict.moved.rank
    assert figures["alone"]["judged"] == 144
    assert figures["equivariance_gaps"]["quarter"] > 0.1


# --- the noise level


def noisy(operator, x, sigma):
    u = operator.A(x)
    return u + operator.project(sigma * torch.randn(u.shape, generator=make_generator("cpu", 7)))


def every_frequency(side):
    """A Fourier transform without a mask."""
    operator = multiplier(torch.ones(side, side))
    operator.measured = None
    return operator


def smooth(channels=1, side=64):
    r = torch.linspace(0, 3, side)
    return 0.5 + 0.3 * torch.sin(r[:, None] + 2 * r).expand(4, channels, side, side)


@pytest.mark.parametrize("declared", [0.1, 0.05, 0.2])
@pytest.mark.parametrize("operator", [Identity(), microscope(64, 5e3)])
def test_the_declared_level_is_compared_with_the_data(operator, declared):
    verdict = judge(operator, y=noisy(operator, smooth(), 0.1), sigma=declared)
    assert verdict.sigma_found == pytest.approx(0.1, rel=0.06)
    wrong = any("not" in reason and "declared" in reason for reason in verdict.reasons)
    assert wrong == (declared != 0.1)
    assert any("noise.sigma" in change for change in verdict.what_to_change) == wrong


@pytest.mark.parametrize(
    ("operator", "why"),
    [
        (inpainting(random_mask(32, 32, 0.5, make_generator("cpu", 1))), "entries are missing"),
        (telescope(16, (4, 0), (0, 2)), "smaller than 16 x 16"),
        (every_frequency(32), "do not look like images"),
    ],
)
def test_the_level_is_not_looked_for_where_it_cannot_be_found(operator, why):
    y = noisy(operator, torch.rand(4, *operator.image_shape, generator=make_generator("cpu", 1)), 0.1)
    verdict = judge(operator, y=y, sigma=0.1)
    assert verdict.sigma_found is None
    assert any(why in reason for reason in verdict.reasons)


def test_several_operators_need_no_list_of_all_pairs():
    """More operators than pairs that are taken: each is taken once at most, spread over all."""
    h = torch.ones(3000, 8, 8)
    h[::2, :, 4] = 0
    h[1::2, :, 3] = 0
    operator = multiplier(h)
    assert operator.count == 3000
    assert judge(operator).learnable
