"""Low-pass kernels: the noise they leave is white and of the stated level, and dilated risks stay unbiased."""

import math

import pytest
import torch
import torch.nn.functional as F
from risk_statistics import Biased, Case, Spy, check_unbiased, draw, make_case, nonlinear

from unveil.errors import UnveilError
from unveil.problem import Problem
from unveil.random import make_generator, normal
from unveil.risks import R2R, SURE, AmbientTweedie, LowPass, box, daubechies4, dilate


def uneven(k):
    """White, of sum one, and of a level that is not 1 / k: 0.58 at k = 2."""
    return LowPass((0.7, 0.3) + (0.0,) * (k - 2), k) if k > 1 else box(1)


def told_as_block_means(k):
    """A kernel whose noise is said to be sigma / k, as that of block means is."""

    class Wrong(LowPass):
        @property
        def gain(self):
            return 1 / self.step

    kernel = uneven(k)
    return Wrong(kernel.taps, kernel.step)


KERNELS = {
    "box 1": box(1),
    "box 2": box(2),
    "box 3": box(3),
    "box 8": box(8),
    "daubechies4 2": daubechies4(2),
    "daubechies4 4": daubechies4(4),
    "daubechies4 8": daubechies4(8),
    "uneven 2": uneven(2),
    "binomial by 3": LowPass((0.25, 0.5, 0.25), 3),
}


def check_noise(kernel, device, dtype, level=None):
    """Raises Biased unless white noise comes out of `kernel` white and at `level`, its gain by default."""
    shape = (400, 2, *(kernel.extent(size) for size in (6, 7)))
    z = kernel(normal(torch.empty(shape, device=device, dtype=dtype), make_generator(device, 3))).double()
    assert z.shape == (400, 2, 6, 7)
    z = z / (kernel.gain if level is None else level)
    n = z.numel()
    if abs(z.square().mean() - 1) > 4 * (2 / n) ** 0.5:
        raise Biased(f"level {float(z.square().mean()) ** 0.5:.3f} of the stated")
    assert abs(z.mean()) < 4 / n**0.5
    for down in range(4):
        for across in range(-3, 4):
            if (down, across) > (0, 0):
                a = z[..., down:, max(across, 0) : 7 + min(across, 0)]
                b = z[..., : 6 - down, max(-across, 0) : 7 + min(-across, 0)]
                if abs((a * b).mean()) > 5 / a.numel() ** 0.5:  # 24 offsets
                    raise Biased(f"correlated at {down}, {across}")


@pytest.mark.parametrize("name", KERNELS)
def test_the_noise_is_white_and_of_the_stated_level(name, device, dtype):
    check_noise(KERNELS[name], device, dtype)


def test_a_wrong_level_is_rejected(device, dtype):
    check_noise(uneven(2), device, dtype)
    with pytest.raises(Biased, match="level"):
        check_noise(uneven(2), device, dtype, level=1 / 2)


def test_correlated_noise_is_rejected(device, dtype):
    kernel = object.__new__(LowPass)  # what the constructor refuses
    object.__setattr__(kernel, "taps", (0.25, 0.5, 0.25))
    object.__setattr__(kernel, "step", 2)
    with pytest.raises(Biased, match="correlated"):
        check_noise(kernel, device, dtype)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_daubechies_filters_are_orthonormal(k):
    kernel = daubechies4(k)
    assert len(kernel.taps) == 3 * k - 2
    assert kernel.gain == pytest.approx(1 / k, abs=1e-12)
    assert sum(kernel.taps) == pytest.approx(1, abs=1e-12)
    assert abs(kernel.worst_correlation()[1]) < 1e-12


def test_daubechies_iterates_the_filter_by_two(device):
    y = normal(torch.empty(1, 1, 46, 52, device=device, dtype=torch.float64), make_generator(device, 1))
    twice = daubechies4(2)(daubechies4(2)(y))
    torch.testing.assert_close(daubechies4(4)(y), twice)
    torch.testing.assert_close(daubechies4(8)(y), daubechies4(2)(twice))


def test_daubechies_keeps_ramps(device):
    """Two vanishing moments of its wavelet: a ramp comes out a ramp of k times the slope."""
    ramp = torch.arange(64, device=device, dtype=torch.float64).expand(1, 1, 64, 64)
    z = daubechies4(4)(ramp)
    torch.testing.assert_close(z[..., 1:] - z[..., :-1], torch.full_like(z[..., 1:], 4))


def test_daubechies_aliases_less_than_block_means():
    """The energy that the kernel passes above the new Nyquist frequency, of white images."""

    def passed(taps):
        energy = torch.fft.rfft(torch.tensor(taps, dtype=torch.float64), 512).abs().square()
        return float(energy[129:].sum() / energy.sum())

    assert passed(daubechies4(2).taps) < 0.75 * passed(box(2).taps)


def test_box_is_the_mean_of_blocks(device, dtype):
    y = normal(torch.empty(2, 3, 12, 18, device=device, dtype=dtype), make_generator(device, 2))
    for k in (1, 2, 3):
        torch.testing.assert_close(box(k)(y), F.avg_pool2d(y, k))
    nearly = LowPass((0.5 + 1e-9, 0.5 - 1e-9), 2)  # takes the general way
    torch.testing.assert_close(nearly(y), F.avg_pool2d(y, 2))


def test_sizes_and_extents():
    for kernel in KERNELS.values():
        for side in range(len(kernel.taps), 40):
            size = kernel.size(side)
            assert kernel.extent(size) <= side < kernel.extent(size + 1)
            if kernel.step > 1:
                assert kernel(torch.zeros(1, 1, side, side)).shape[-1] == size


@pytest.mark.parametrize(
    ("taps", "step", "message"),
    [
        ((0.25, 0.5, 0.25), 2, r"correlation 0\.167 between samples 1 apart.*box\(2\)"),
        ((0.25, 0.5, 0.25), 1, r"correlation 0\.667 between samples 1 apart"),
        ((0.125, 0.375, 0.375, 0.125), 2, r"correlation 0\.3"),  # bilinear
        ((0.5, 0.4), 2, r"sum to 0\.9"),
        ((0.5, math.nan), 2, "sum to nan"),
        ((), 2, "sum to 0"),
        ((1.0,), 0, ">= 1, not 0"),
    ],
)
def test_kernels_refuse(taps, step, message):
    with pytest.raises(UnveilError, match=message) as caught:
        LowPass(taps, step)
    assert "\n" not in str(caught.value)


def test_families_refuse():
    with pytest.raises(UnveilError, match=r"powers of two.*box\(3\)"):
        daubechies4(3)
    with pytest.raises(UnveilError, match="powers of two"):
        daubechies4(0)
    with pytest.raises(UnveilError, match="side >= 1"):
        box(0)


# --- dilation with kernels


def dilation_case(device, dtype, batch=12):
    case = make_case("identity", device, dtype, channels=2, height=16, width=48, batch=batch)
    return Case(Problem(), case.x, case.sigma)


def behind(combine, case):
    """generator -> the noiseless signal that `combine` makes of x from the draws of the generator."""

    def target(generator):
        spy = Spy(case.problem)
        combine(spy)(lambda y, s: y, case.clean, case.sigma, generator)
        return spy.y

    return target


def check_dilation(risk, kernel, factors, device, dtype, **options):
    case = dilation_case(device, dtype)
    combine = lambda inner: dilate(inner, factors, kernel)  # noqa: E731
    check_unbiased(combine(risk), case, nonlinear, repeats=100, target=behind(combine, case), **options)


@pytest.mark.parametrize("inner", [SURE, R2R, AmbientTweedie])
@pytest.mark.parametrize(("kernel", "factors"), [(daubechies4, (1, 2, 4)), (daubechies4, (2,)), (uneven, (1, 2))])
def test_dilated_risks_are_unbiased(kernel, factors, inner, device, dtype):
    check_dilation(inner(), kernel, factors, device, dtype, sensitivity=0.08)


def test_block_means_by_eight_and_three_are_unbiased(device, dtype):
    check_dilation(SURE(), box, (1, 8), device, dtype, sensitivity=0.15)
    check_dilation(SURE(), box, (2, 3, 8, 1), device, dtype, sensitivity=0.15)


def test_a_dilation_told_the_level_of_block_means_is_rejected(device, dtype):
    with pytest.raises(Biased):
        check_dilation(SURE(), told_as_block_means, (1, 2), device, dtype, sensitivity=1e9)


@pytest.mark.parametrize("side", [176, 88, 64])
def test_windows_of_any_multiple_of_the_largest_factor(side, device):
    """Eight on photographs of 180 pixels: all samples come out alike, from parts inside the window."""
    y = torch.rand(40, 1, side, side, generator=make_generator(device, 1), device=device)
    for kernel, size in ((box, side // 8), (daubechies4, (side - 22) // 8 + 1)):
        spy = Spy()
        dilate(spy, (1, 2, 4, 8), kernel)(lambda y, s: y, y, torch.ones(40, device=device), make_generator(device, 2))
        assert spy.y.shape == (40, 1, size, size)
        assert sorted({round(1 / float(s)) for s in spy.sigma}) == [1, 2, 4, 8]


def test_samples_are_the_kernel_s_of_a_part_of_the_window(device, dtype):
    """Daubechies by 4 takes 14 x 46 pixels of 16 x 48 for 2 x 10 samples: nine places, each drawn."""
    y, _ = draw(dilation_case(device, dtype, batch=200))
    spy = Spy()
    dilate(spy, (4,), daubechies4)(nonlinear, y, y[:, 0, 0, 0].abs(), make_generator(device, 1))
    options = [daubechies4(4)(y[..., top:, left:])[..., :2, :10] for top in range(3) for left in range(3)]
    assert spy.y.shape == options[0].shape == (200, 2, 2, 10)
    same = torch.stack([torch.isclose(spy.y, option, atol=1e-4).flatten(1).all(1) for option in options])
    assert (same.sum(0) == 1).all()
    assert ((same.sum(1) - 200 / 9).abs() < 4 * (200 / 9) ** 0.5).all()


def test_dilation_refuses_kernels_that_do_not_fit(device):
    with pytest.raises(UnveilError, match="powers of two"):
        dilate(SURE(), (1, 3), daubechies4)
    with pytest.raises(UnveilError, match="correlation"):
        dilate(SURE(), (1, 2), lambda k: LowPass((0.25, 0.5, 0.25), k))
    y = torch.zeros(2, 1, 8, 8, device=device)
    with pytest.raises(UnveilError, match=r"8x8.*10 taps"):
        dilate(SURE(), (1, 4), daubechies4)(nonlinear, y, torch.ones(2, device=device), make_generator(device, 1))
