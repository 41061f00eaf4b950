"""Texture statistics of patches: their units, orientations, and what must leave them alone."""

import functools
import math

import pytest
import torch

from features import FLOOR, features
from unveil.data import heldout_photographs
from unveil.errors import UnveilError
from unveil.random import make_generator

MEAN, DEVIATION, RESIDUAL, RESIDUAL_ABS = 0, 1, 2, 3
STRENGTH = [slice(4 + 8 * s, 8 + 8 * s) for s in range(3)]  # of scale s, orientations 0, 45, 90, 135 degrees
STRENGTH_ABS = [slice(8 + 8 * s, 12 + 8 * s) for s in range(3)]


@functools.cache
def photograph():
    return heldout_photographs()["astronaut"].mean(0)[None, None].double()


def noise(sigma, *shape):
    return sigma * torch.randn(shape, generator=make_generator("cpu", 1), dtype=torch.float64)


def test_white_noise_has_its_level_and_the_sparsity_of_a_gaussian():
    sigma = 0.1
    v = features(noise(sigma, 1, 1, 512, 512)).mean(0)
    # 512^2 correlated responses in patches of 1024: a relative error of 0.2%, a bias of the log of 0.3%.
    expected = math.log(math.hypot(sigma, FLOOR))
    for k in (DEVIATION, RESIDUAL, *range(4, 8)):
        assert float(v[k]) == pytest.approx(expected, abs=0.01)
    sparsity = v[STRENGTH[0]] - v[STRENGTH_ABS[0]]
    torch.testing.assert_close(sparsity, torch.full_like(sparsity, math.log(math.pi / 2) / 2), atol=0.01, rtol=0)


def test_a_gaussian_of_the_same_power_is_less_sparse_than_spikes():
    spikes = torch.zeros(1, 1, 128, 128)
    spikes[..., 4::8, 4::8] = 0.8
    v = features(spikes).mean(0)
    assert (v[STRENGTH[0]] - v[STRENGTH_ABS[0]] > 0.45).all()


@pytest.mark.parametrize("k", range(4))
def test_a_grating_answers_at_its_orientation_and_scale(k):
    theta = k * math.pi / 4
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    along = x * math.cos(theta) + y * math.sin(theta)
    gratings = torch.stack([0.5 + 0.2 * torch.sin(math.sqrt(3) / 2**s * along) for s in range(3)])
    v = features(gratings[:, None], patch=128)
    strength = torch.stack([v[:, part] for part in STRENGTH])  # (scale, grating, orientation)
    for s in range(3):
        assert int(strength[s, s].argmax()) == k
        assert int(strength[s, :, k].argmax()) == s
        # cos^3 of the angle between derivative and wave; at 90 degrees nothing but the border is left
        for side in (1, 3):
            assert strength[s, s, k] - strength[s, s, (k + side) % 4] == pytest.approx(1.5 * math.log(2), abs=0.15)
        assert strength[s, s, k] - strength[s, s, (k + 2) % 4] > 1


def test_brightness_moves_the_mean_alone_and_contrast_the_logs_by_its_log():
    x = photograph()
    v, brighter, stronger = features(x), features(x + 0.25), features(4 * x)
    shift = torch.zeros(v.shape[1], dtype=torch.float64)
    shift[MEAN] = 0.25
    torch.testing.assert_close(brighter, v + shift)
    busy = v[:, 1:] > math.log(50 * FLOOR)  # where the floor does not matter
    assert busy.float().mean() > 0.1
    torch.testing.assert_close((stronger - v)[:, 1:][busy], math.log(4) + 0 * v[:, 1:][busy], atol=1e-3, rtol=0)


def test_flat_patches_and_ramps_have_the_floor():
    ramp = torch.arange(96, dtype=torch.float64).expand(96, 96) / 96
    for x in (torch.zeros(96, 96), torch.full((96, 96), 0.7), ramp, ramp.T):
        v = features(x[None, None])[4]  # the patch in the middle; to a ramp only the cut tails of the filters answer
        assert v.isfinite().all()
        torch.testing.assert_close(
            v[[2, 3, *range(4, 12)]], torch.full((10,), math.log(FLOOR)).double(), atol=3e-3, rtol=0
        )


def test_turning_the_image_turns_the_orientations():
    x = photograph()
    v = features(x, patch=256)[0]
    turned = features(x.rot90(1, (2, 3)), patch=256)[0]
    for part in (STRENGTH[0], STRENGTH_ABS[0]):
        torch.testing.assert_close(turned[part], v[part].roll(2))
        mirrored = features(x.flip(3), patch=256)[0]
        torch.testing.assert_close(mirrored[part], v[part][[0, 3, 2, 1]])
    torch.testing.assert_close(turned[:4], v[:4])


def test_patches_are_a_partition_in_rows_and_images_do_not_meet():
    x = photograph()[..., :96, :128]
    v = features(x)
    assert v.shape == (12, 28)
    assert v.dtype == torch.float64
    means = x.reshape(3, 32, 4, 32).mean((1, 3)).flatten()
    torch.testing.assert_close(v[:, MEAN], means)
    pair = torch.cat([x, 1 - x])
    # a batch of two sums in another order than a batch of one: rounding of float64, and no more
    torch.testing.assert_close(features(pair), torch.cat([v, features(1 - x)]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(features(pair.flip(0)), torch.cat([features(1 - x), v]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("h", "w", "n"), [(8, 8, 1), (31, 100, 3), (33, 63, 1), (70, 64, 4)])
def test_sides_that_are_no_multiple_of_the_patch(h, w, n):
    v = features(photograph()[..., :h, :w])
    assert v.shape == (n, 28)
    assert v.isfinite().all()


def test_colour_adds_three_statistics_for_each_difference_of_channels():
    x = heldout_photographs()["coffee"][None].double()
    gray = x.mean(1, keepdim=True)
    v = features(x)
    assert v.shape == (64, 34)
    torch.testing.assert_close(v[:, :28], features(gray))
    difference = (x[:, :-1] - x[:, 1:]) / 2**0.5
    for c in range(2):
        alone = features(difference[:, c : c + 1])
        torch.testing.assert_close(v[:, 28 + c :: 2], alone[:, [MEAN, DEVIATION, RESIDUAL]])
    assert features(gray.expand(1, 3, 256, 256)).isfinite().all()


@pytest.mark.parametrize(
    ("images", "patch", "message"),
    [
        (torch.zeros(3, 64, 64), 32, r"shape \(3, 64, 64\)"),
        (torch.zeros(1, 1, 64, 64, dtype=torch.uint8), 32, "torch.uint8"),
        (torch.zeros(0, 1, 64, 64), 32, r"shape \(0, 1, 64, 64\)"),
        (torch.zeros(1, 1, 64, 7), 32, "64 x 7 pixels"),
        (torch.zeros(1, 1, 64, 64), 4, "patches of 4"),
        (torch.full((1, 1, 64, 64), torch.nan), 32, "NaN"),
    ],
)
def test_what_it_cannot_use_is_said_in_one_line(images, patch, message):
    with pytest.raises(UnveilError, match=message) as caught:
        features(images, patch)
    assert "\n" not in str(caught.value)
