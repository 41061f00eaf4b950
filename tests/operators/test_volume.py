"""Projections of a density: sums along axes, closed forms, poses, shifts, contrast, the exact transpose and least
squares."""

import math
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from unveil.errors import UnveilError
from unveil.operators import Optics, ctf, random_rotations, relion_rotations, volume
from unveil.random import make_generator, normal

SIZE = 20
QUARTER = torch.tensor([[[0.0, 0, -1], [0, 1, 0], [1, 0, 0]]])  # the x axis of the molecule to z, its z axis to -x
CENTRES = torch.tensor(
    [[0.0, 0, 0], [4, 1, -2], [-2, 3, 4], [1, -5, 0]], dtype=torch.float64
)  # (x, y, z) from the centre
AMPLITUDES = torch.tensor([0.5, 1.0, 0.7, -0.4], dtype=torch.float64)
WIDTH = 1.6  # voxels: nothing beyond the highest frequency


def blobs(size, centres, amplitudes):
    """(1, 1, D, D, D): Gaussians at `centres` (n, 3), (x, y, z)."""
    r = torch.arange(size, dtype=torch.float64) - size // 2
    z, y, x = torch.meshgrid(r, r, r, indexing="ij")
    square = (torch.stack([x, y, z], -1) - centres[:, None, None, None]).square().sum(-1)
    return (amplitudes[:, None, None, None] * torch.exp(-square / (2 * WIDTH**2))).sum(0)[None, None]


def projected(size, centres, amplitudes, rotations, shifts):
    """(1, P, D, D): the integrals of `blobs` along z after the turn and the shift."""
    r = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(r, r, indexing="ij")
    at = torch.einsum("pij,nj->pni", rotations.double(), centres)[..., :2] + shifts.double()[:, None]
    square = (torch.stack([x, y], -1) - at[:, :, None, None]).square().sum(-1)
    amplitudes = amplitudes * WIDTH * math.sqrt(2 * math.pi)
    return (amplitudes[:, None, None] * torch.exp(-square / (2 * WIDTH**2))).sum(1)[None]


def error(y, expected):
    """The largest over projections of |y - expected| / |expected|."""
    expected = expected.to(y)
    return float(((y - expected).flatten(2).norm(dim=2) / expected.flatten(2).norm(dim=2)).max())


@pytest.fixture
def x(device):
    return blobs(SIZE, CENTRES, AMPLITUDES).to(device)


@pytest.fixture
def poses(device):
    generator = make_generator(device, 1)
    shifts = 2 * torch.rand(6, 2, generator=generator, device=device) - 1
    return random_rotations(6, generator), shifts


def test_along_an_axis_it_is_the_sum(x, device):
    identity = torch.eye(3)[None]
    turn = torch.tensor([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])  # y to z, z to -y
    y = volume(SIZE, torch.cat([identity, QUARTER, turn]).to(device)).A(x)
    sums = [x[0, 0].sum(0), x[0, 0].sum(2).T.flip(1).roll(1, 1), x[0, 0].sum(1).flip(0).roll(1, 0)]
    assert error(y, torch.stack(sums)[None]) < 0.006


@pytest.mark.parametrize("size", [SIZE, SIZE + 1])
def test_of_gaussians_it_is_the_integral(size, poses):
    x = blobs(size, CENTRES, AMPLITUDES).to(poses[0].device)
    y = volume(size, *poses).A(x)
    expected = projected(size, CENTRES, AMPLITUDES, poses[0].cpu(), poses[1].cpu())
    assert error(y, expected) < 0.01


ROT, TILT, PSI = (torch.tensor(angles) for angles in ([20.0, -110.0, 75.0], [35.0, 80.0, 140.0], [-60.0, 10.0, 200.0]))


def test_the_angles_of_relion_turn_the_axes(device):
    """By hand and by SciPy: the axes turn by rot about z, by tilt about the new y, by psi about the new z."""
    rotations = relion_rotations(ROT, TILT, PSI)
    turned = Rotation.from_euler("ZYZ", torch.stack([ROT, TILT, PSI], 1).numpy(), degrees=True).as_matrix()
    torch.testing.assert_close(rotations, torch.from_numpy(turned).mT)
    (quarter,) = relion_rotations(torch.tensor([90.0]), torch.tensor([0.0]), torch.tensor([0.0]))
    y_axis = torch.tensor([0.0, 1, 0], dtype=torch.float64)  # the turned x axis lies along it
    torch.testing.assert_close(quarter @ y_axis, torch.tensor([1.0, 0, 0], dtype=torch.float64), atol=1e-12, rtol=0)
    direction = relion_rotations(ROT[:1], TILT[:1], PSI[:1])[0, 2]  # from which the molecule is seen
    a, b = math.radians(20), math.radians(35)
    expected = [math.sin(b) * math.cos(a), math.sin(b) * math.sin(a), math.cos(b)]
    torch.testing.assert_close(direction, torch.tensor(expected, dtype=torch.float64))


def test_projections_by_the_angles_of_relion(x, device):
    """A blob at r is seen at (X . r, Y . r), X and Y being the turned axes; by the transposed matrices it is not."""
    turned = Rotation.from_euler("ZYZ", torch.stack([ROT, TILT, PSI], 1).numpy(), degrees=True)
    axes = torch.from_numpy(np.stack([turned.apply(axis) for axis in np.eye(3)], 1))  # (P, 3, 3), rows X, Y and Z
    expected = projected(SIZE, CENTRES, AMPLITUDES, axes, torch.zeros(3, 2))
    rotations = relion_rotations(ROT, TILT, PSI).float().to(device)
    assert error(volume(SIZE, rotations).A(x), expected) < 0.01
    assert error(volume(SIZE, rotations.mT).A(x), expected) > 0.5


def test_angles_that_are_none():
    with pytest.raises(UnveilError, match=r"have shapes \(3,\), \(3,\), \(2,\): pass degrees"):
        relion_rotations(ROT, TILT, PSI[:2])
    with pytest.raises(UnveilError, match="finite"):
        relion_rotations(ROT, TILT, PSI * math.nan)


def test_density_near_the_border_has_no_ghosts(device):
    """Without the window's correction, or with linear interpolation, this errs by several per cent."""
    rotations = random_rotations(8, make_generator(device, 2))
    size, centre, amplitude = (
        32,
        torch.tensor([[0.0, 9.0, -6.0]], dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
    )
    y = volume(size, rotations).A(blobs(size, centre, amplitude).to(device))
    assert error(y, projected(size, centre, amplitude, rotations.cpu(), torch.zeros(8, 2))) < 0.01


def test_shifts_by_whole_pixels_move_the_image(x, poses):
    rotations = poses[0][:2]
    shifts = torch.tensor([[3.0, -2.0], [0.0, 5.0]], device=x.device)  # along x, along y
    still, moved = volume(SIZE, rotations).A(x), volume(SIZE, rotations, shifts).A(x)
    torch.testing.assert_close(moved[:, 0], still[:, 0].roll((-2, 3), (-2, -1)), rtol=0, atol=1e-10)
    torch.testing.assert_close(moved[:, 1], still[:, 1].roll(5, -2), rtol=0, atol=1e-10)


def test_each_projection_has_its_contrast(x, poses):
    optics = Optics(4.0, 300.0, 2.7, 0.1, torch.linspace(8e3, 2e4, 6), defocus_v=9e3, defocus_angle=30.0)
    transfer = ctf((SIZE, SIZE), optics).to(x.device)
    clear = volume(SIZE, *poses).A(x)
    blurred = torch.fft.ifft2(torch.fft.fft2(clear) * transfer).real
    torch.testing.assert_close(volume(SIZE, *poses, transfer).A(x), blurred, rtol=0, atol=1e-10)
    one = volume(SIZE, *poses, transfer[4]).A(x)
    torch.testing.assert_close(one[:, 4], blurred[:, 4], rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("batch", [1, 2])
def test_the_adjoint_is_exact(size, batch, poses, monkeypatch):
    rotations, shifts = poses
    optics = Optics(4.0, 300.0, 2.7, 0.1, torch.linspace(8e3, 2e4, 6), defocus_v=9e3, defocus_angle=30.0)
    operator = volume(size, rotations, shifts, ctf((size, size), optics).to(rotations.device))
    generator = make_generator(rotations.device, 3)
    y = normal(torch.empty(batch, 6, size, size, dtype=torch.float64, device=rotations.device), generator)
    operator.check_adjoint(y, generator, 1e-10)
    back = operator.A_adjoint(y)
    assert back.shape == (batch, 1, size, size, size)
    monkeypatch.setattr(sys.modules["unveil.instruments.cryoem.volume"], "POINTS", 50)  # one projection at a time
    torch.testing.assert_close(operator.A_adjoint(y), back, rtol=0, atol=1e-10)
    x = normal(back, generator)
    image = operator.A(x)
    monkeypatch.undo()
    torch.testing.assert_close(operator.A(x), image, rtol=0, atol=1e-10)
    torch.testing.assert_close(operator.A(x[-1:]), image[-1:], rtol=0, atol=1e-10)


def test_gradients_are_those_of_the_map(poses):
    operator = volume(4, *(pose[:2] for pose in poses))
    generator = make_generator(poses[0].device, 4)
    x = normal(torch.empty(1, 1, 4, 4, 4, dtype=torch.float64, device=poses[0].device), generator).requires_grad_()
    y = operator.A(x).detach().requires_grad_()
    how = {"fast_mode": True, "nondet_tol": 1e-10}  # on a GPU sums have no fixed order
    assert torch.autograd.gradcheck(operator.A, x, **how)
    assert torch.autograd.gradcheck(operator.A_adjoint, y, **how)
    assert torch.autograd.gradgradcheck(lambda x: operator.A(x) ** 2, x, **how)


def test_least_squares_recovers_the_density(device):
    """From defoci whose zeros differ: no frequency is lost in all projections."""
    size, count, generator = 12, 60, make_generator(device, 5)
    defoci = torch.tensor([8e3, 12e3, 17e3]).repeat(20)
    transfer = ctf((size, size), Optics(6.0, 300.0, 2.7, 0.1, defoci)).to(device)
    shifts = 2 * torch.rand(count, 2, generator=generator, device=device) - 1
    operator = volume(size, random_rotations(count, generator), shifts, transfer)
    x = blobs(size, CENTRES / 2, AMPLITUDES).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x_hat = operator.A_dagger(operator.A(x))
    assert x_hat.shape == x.shape
    assert (x_hat - x).norm() < 0.02 * x.norm()
    assert (operator.A_adjoint(operator.A(x)) / count - x).norm() > 0.5 * x.norm()


def test_random_rotations_are_uniform(device):
    """E[R] = 0, E[R_ij R_kl] = delta_ik delta_jl / 3, within 4 standard errors; the angle has density (1 - cos) /
    pi."""
    n = 4000
    rotations = random_rotations(n, make_generator(device, 6))
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3, device=device).expand(n, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(n, device=device), rtol=0, atol=1e-5)
    flat = rotations.flatten(1).double()
    assert (flat.mean(0).abs() < 4 * (1 / (3 * n)) ** 0.5).all()
    second = flat.T @ flat / n - torch.eye(9, device=device) / 3
    assert (second.abs() < 4 * (0.2 / n) ** 0.5).all()
    trace = rotations.diagonal(dim1=1, dim2=2).sum(1).double()  # 1 + 2 cos: mean 0, variance 1, third moment 1
    assert abs(trace.mean()) < 4 / n**0.5
    assert abs((trace**3).mean() - 1) < 4 * (15 / n) ** 0.5  # sixth moment of a trace on SO(3): 15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((8, torch.eye(3)), "rotations \\(P, 3, 3\\)"),
        ((1, torch.eye(3)[None]), "side >= 2"),
        ((8, torch.zeros(0, 3, 3)), "rotations"),
        ((8, torch.stack([torch.eye(3), -torch.eye(3)])), "rotations\\[1\\] is no rotation"),
        ((8, 1.1 * torch.eye(3)[None]), "rotations\\[0\\] is no rotation"),
        ((8, torch.full((1, 3, 3), math.nan)), "rotations\\[0\\] is no rotation"),
        ((8, torch.eye(3)[None], torch.zeros(2, 2)), "shifts have shape"),
        ((8, torch.eye(3)[None], None, torch.ones(8, 5)), "transfer has shape"),
        ((8, torch.eye(3)[None], None, torch.ones(3, 8, 8)), "transfer has shape"),
    ],
)
def test_what_does_not_fit(arguments, words):
    with pytest.raises(UnveilError, match=words) as caught:
        volume(*arguments)
    assert "\n" not in str(caught.value)
