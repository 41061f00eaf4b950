"""Sensitivities estimated from the centre of k-space against those that measured; what is refused; how runs keep
them."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from unveil.checks.measurements import contradicted, findings
from unveil.cli import main
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.instruments.mri import MRISection
from unveil.instruments.mri.calibration import left_over, sampled_centre
from unveil.instruments.mri.espirit import espirit
from unveil.instruments.mri.inside import estimate
from unveil.operators import birdcage_coils, build_operator, cartesian_mask, mri
from unveil.random import make_generator

SIDE, COILS = 48, 5
MASK = cartesian_mask(SIDE, SIDE, 3, 0.25, make_generator("cpu", 2))


def body(radius: float = 0.75) -> torch.Tensor:
    """Two ellipses with stripes and a smooth phase, (SIDE, SIDE)."""
    axis = torch.linspace(-1, 1, SIDE)
    rows, columns = axis[:, None], axis[None]
    inside = (columns**2 + (1.2 * rows) ** 2 < radius**2).float()
    x = inside * (0.6 + 0.3 * torch.cos(11 * columns + 5 * rows))
    return x * torch.polar(torch.ones(SIDE, SIDE), 1.5 * rows + 0.8 * columns**2)


def measured(sigma: float, mask=MASK, x=None, maps=None, key=1) -> torch.Tensor:
    x = body() if x is None else x
    A = mri(mask, birdcage_coils(COILS, SIDE, SIDE) if maps is None else maps)
    y = A.A(torch.stack([x.real, x.imag])[None])
    return A.project(y + sigma * torch.randn(y.shape, generator=make_generator("cpu", key)))


def section(tmp_path: Path, mask=MASK) -> MRISection:
    np.save(tmp_path / "mask.npy", mask.numpy())
    return MRISection(mask=str(tmp_path / "mask.npy"), coils="estimate")


def source(*ys: torch.Tensor) -> MemorySource:
    return MemorySource({str(i): y[0] for i, y in enumerate(ys)})


@pytest.mark.parametrize(("sigma", "least"), [(0.0, 0.998), (0.02, 0.998), (0.1, 0.98)])
def test_they_are_those_that_measured_up_to_a_phase_that_makes_x_real(sigma, least, tmp_path):
    """In strong noise too, where patches by a share of the largest singular value alone gave a cosine of .4."""
    operator = estimate(section(tmp_path), source(measured(sigma), measured(sigma, key=2)))
    true, x = birdcage_coils(COILS, SIDE, SIDE), body()
    for maps in operator.sensitivities:
        torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(SIDE, SIDE), rtol=0, atol=1e-4)
        inner = (maps.conj() * true).sum(0)[x.abs() > 0.2]
        assert inner.abs().min() > least
        seen = inner * x[x.abs() > 0.2]  # S^H S_true x
        assert seen.imag.square().sum() < 0.02 * seen.abs().square().sum()
        assert seen.real.min() > 0
    assert operator.measurement_shape == (2 * COILS, SIDE, SIDE)
    assert operator.count == 2


def test_a_narrow_centre_serves(tmp_path):
    mask = cartesian_mask(SIDE, SIDE, 3, 10 / SIDE, make_generator("cpu", 2))
    assert sampled_centre(mask)[1] >= 10
    maps = estimate(section(tmp_path, mask), source(measured(0.01, mask))).sensitivities[0]
    assert (maps.conj() * birdcage_coils(COILS, SIDE, SIDE)).sum(0).abs()[body().abs() > 0.2].min() > 0.99


def test_the_sampled_centre():
    mask = torch.zeros(40, 60, dtype=torch.bool)
    mask[20 - 6 : 20 + 6, 30 - 5 : 30 + 5] = True
    assert sampled_centre(mask) == (12, 10)
    assert sampled_centre(torch.ones(40, 60, dtype=torch.bool)) == (24, 24)
    mask[20, 30] = False
    with pytest.raises(UnveilError, match="8x8 middle of k-space") as caught:
        sampled_centre(mask)
    assert "\n" not in str(caught.value)


def test_what_they_leave_of_the_centre_tells_right_from_wrong():
    true = birdcage_coils(COILS, SIDE, SIDE)
    for sigma in (0.0, 0.05):
        y = measured(sigma)
        assert left_over(y, mri(MASK, true))[0] < 0.005
        for wrong in (true.flip(0), true.conj().resolve_conj(), true.mT):
            assert left_over(y, mri(MASK, wrong))[0] > 0.1
            (line,) = contradicted("mri", source(y), mri(MASK, wrong))
            assert "operator.coils leave" in line
        assert contradicted("mri", source(y), mri(MASK, true)) == []
    assert left_over(y, mri(MASK, 7j * true))[0] == pytest.approx(left_over(y, mri(MASK, true))[0], abs=1e-5)
    assert left_over(measured(1.0), mri(MASK, true))[0] < 0.02  # noise alone is no fault of theirs


def test_a_field_of_view_smaller_than_the_body_is_said():
    y, true = measured(0.01), birdcage_coils(COILS, SIDE, SIDE)
    share, line = findings("mri", source(y), mri(MASK, true))
    assert share == f"{float(MASK.float().mean()):.1%} of k-space is measured"
    assert "explain 99." in line or "explain 100" in line
    half = SIDE // 2 - SIDE // 6  # of the columns that are kept: the others fold onto them
    coil_images = true * body(0.95)
    images = coil_images.roll(-SIDE // 6, -1)[..., : 2 * half] + 0
    images[..., : SIDE // 3] += coil_images.roll(-SIDE // 6, -1)[..., 2 * half :]
    k = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(images, dim=(-2, -1)), norm="ortho"), dim=(-2, -1))
    mask = torch.ones(SIDE, 2 * half, dtype=torch.bool)
    y = torch.cat([k.real, k.imag])[None] + 0.01 * torch.randn(1, 2 * COILS, SIDE, 2 * half)
    maps = espirit(k[:, 12:36, half - 12 : half + 12], SIDE, 2 * half)[0]
    assert any("field of view is smaller" in line for line in findings("mri", source(y), mri(mask, maps)))


@pytest.mark.parametrize(
    ("y", "mask", "words"),
    [
        (torch.randn(1, 2, SIDE, SIDE), MASK, r"2 real channels, .*save kspace\[None\]"),
        (torch.randn(1, 6, SIDE, SIDE), torch.arange(SIDE) % 2 == 0, "^0 .*estimate: operator.mask does not measure"),
        (torch.randn(1, 6, SIDE, SIDE) * (torch.arange(SIDE) % 2), MASK, "is 0, which operator.mask calls measured"),
        (
            torch.fft.ifftshift(measured(0.01), dim=(-2, -1)),
            MASK,
            r"zero frequency in the corner.*save np\.fft\.fftshift",
        ),
    ],
    ids=["one coil", "no centre", "empty centre", "in the corner"],
)
def test_what_is_refused_in_one_line(y, mask, words, tmp_path):
    with pytest.raises(UnveilError, match=words) as caught:
        estimate(section(tmp_path, mask), source(y))
    assert "\n" not in str(caught.value)
    with pytest.raises(UnveilError, match="or set it to estimate"):
        build_operator(MRISection(mask=str(tmp_path / "mask.npy")), (6, SIDE, SIDE), 1)


def test_coils_that_are_given_as_measurements_are_told_from_slices():
    """Of two or three it cannot be told: one smooth image is another times something smooth."""
    coils = torch.stack([torch.stack(parts) for parts in zip(*measured(0.01)[0].chunk(2))])
    lines = findings("mri", source(*coils[:, None]), mri(MASK))
    assert any("one scan's by several coils: if they are, save kspace[None]" in line for line in lines)
    draw = make_generator("cpu", 4)
    blobs = torch.nn.functional.interpolate(torch.rand(8, 1, 12, 12, generator=draw), size=SIDE, mode="bicubic")
    slices = [body(0.6 + 0.04 * i) * blob[0] for i, blob in enumerate(blobs)]
    one = mri(MASK)
    y = one.A(torch.stack([torch.stack([x.real, x.imag]) for x in slices]))
    y = one.project(y + 0.01 * torch.randn(y.shape, generator=draw))
    assert not any("several coils" in line for line in findings("mri", source(*y[:, None]), one))


def call(*words, code=0) -> str:
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(text), contextlib.redirect_stdout(text):
        patch.setattr(sys, "argv", ["unveil", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
    assert (caught.value.code or 0) == code, text.getvalue()
    return " ".join(text.getvalue().split())


def test_a_run_keeps_them_and_goes_on_with_them(tmp_path):
    y = torch.cat([measured(0.05, key=i)[..., 12:36, 12:36] for i in range(3)])
    k = torch.complex(*y.chunk(2, 1)).numpy()
    np.save(tmp_path / "k.npy", k)  # which tells its mask, too
    tiny = ["training.steps=1", "training.warmup=0", "training.batch=1", "estimator.widths=[4]", "loss.camera=0",
            "estimator.iterations=1", "sampling.inflation=0", "loss.equivariance=0", "noise.sigma=0.05",
            "operator.coils=estimate"]  # fmt: skip
    sets = [word for setting in tiny for word in ("--set", setting)]
    said = call("init", "mri", tmp_path / "k.npy", "--out", tmp_path / "c.yaml", *sets)
    assert "the coils' sensitivities explain " in said
    call("train", tmp_path / "c.yaml", "--out", tmp_path / "run")
    kept = tmp_path / "run" / "estimated" / "coils.npy"
    assert np.load(kept).shape == (3, COILS, 24, 24)
    assert (np.load(kept.with_name("mask.npy"))[0, 0] == MASK[12:36, 12:36].numpy()).all()
    assert "trained already" in call("train", tmp_path / "c.yaml", "--out", tmp_path / "run")
    call("evaluate", tmp_path / "run", "--sampled", 0)
    k[:, :, :, [2, 21]] = 0
    np.save(tmp_path / "other.npy", k)  # of another mask
    call("reconstruct", tmp_path / "run", tmp_path / "other.npy", "--out", tmp_path / "images")
    np.save(kept, np.load(kept)[::-1])
    assert "estimated/coils.npy: is not what operator.coils was" in call("evaluate", tmp_path / "run", code=2)
