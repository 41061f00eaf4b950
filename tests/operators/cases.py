"""One small operator of each imaging system, by name: what the property tests of all operators run on."""

from collections.abc import Callable

import torch

from unveil.instruments.interferometry.operator import Visibilities
from unveil.operators import (
    Identity,
    Operator,
    Optics,
    Station,
    Turned,
    birdcage_coils,
    blur,
    cartesian_mask,
    demosaicing,
    gaussian_kernel,
    inpainting,
    interferometry,
    missing_box,
    mri,
    particles,
    random_mask,
    super_resolution,
    tomography,
    uv_track,
)
from unveil.operators.beside import Beside
from unveil.operators.physics import Physics
from unveil.random import make_generator, normal
from unveil.symmetry import Flip, Rotate, Shift, Symmetry

STATIONS = (
    Station("A", (5.1e6, -3.0e5, 3.8e6), 1400.0),
    Station("B", (-1.8e6, -5.0e6, 3.4e6), 5000.0),
    Station("C", (2.2e6, -5.4e6, -2.5e6), 90.0),
)
TRACK = {"right_ascension": 5.0, "declination": 30.0, "frequency": 230e9, "start": 0.0, "stop": 8.0, "cadence": 120.0}
TRACK |= {"bandwidth": 2e9, "integration": 10.0, "minimum_elevation": -90.0}


PARTICLES = Optics(4.0, 300.0, 2.7, 0.1, torch.linspace(9e3, 24e3, 5), defocus_v=12e3, defocus_angle=30.0)
"""Five."""


def masks(height: int, width: int) -> torch.Tensor:
    """(5, height, width)."""
    return torch.rand(5, height, width, generator=make_generator("cpu", 2)) < 0.7


def physics() -> Physics:
    import deepinv

    mask = random_mask(8, 10, 0.7, make_generator("cpu", 7)).float()
    return Physics(deepinv.physics.Inpainting((2, 8, 10), mask=mask), (2, 8, 10))


def turned(operator: Operator, symmetry: Symmetry, count: int) -> Turned:
    """By `count` turns."""
    x = torch.empty(count, *(operator.image_shape or ()), dtype=torch.float64)
    return Turned(operator, symmetry, symmetry.draw(x, make_generator("cpu", 6)))


def without_vectors(operator: Visibilities) -> Visibilities:
    """As where singular vectors are too many."""
    operator.few = False
    return operator


CASES: dict[str, Callable[[], Operator]] = {
    "identity": Identity,
    "inpainting, random pixels": lambda: inpainting(random_mask(8, 10, 0.7, make_generator("cpu", 1)), channels=2),
    "inpainting, a box": lambda: inpainting(missing_box(8, 10, 2, 3, 4, 5)),
    "inpainting, one mask per image": lambda: inpainting(masks(8, 10)),
    "demosaicing": lambda: demosaicing(8, 10, "GRBG"),
    "blur, a kernel without symmetry": lambda: blur(torch.rand(3, 4, generator=make_generator("cpu", 5)), 7, 10, 2),
    "blur, Gaussian": lambda: blur(gaussian_kernel(1.5), 13, 14),
    "super-resolution, bicubic": lambda: super_resolution(2, 8, 12, channels=2),
    "super-resolution, a detector's pixels": lambda: super_resolution(3, 9, 12, kernel=torch.ones(3, 3)),
    "tomography, the whole square": lambda: tomography(torch.arange(0, 180, 20.0), 9),
    "tomography, the axis beside the middle": lambda: tomography(torch.arange(0, 180, 20.0), 9, 12, axis=4.2),
    "tomography, a round field of view": lambda: tomography(torch.arange(0, 360, 15.0), 10, 10, channels=2),
    "mri, one coil": lambda: mri(cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 3))),
    "mri, several coils": lambda: mri(
        cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 3)), birdcage_coils(3, 8, 10, torch.complex128)
    ),
    "mri, one mask per image": lambda: mri(
        torch.stack([cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 4, i)) for i in range(5)])
    ),
    "mri, several coils, masks and coils per image": lambda: mri(
        torch.stack([cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 4, i)) for i in range(5)]),
        torch.stack([birdcage_coils(3, 8, 10).roll(i, -1) for i in range(5)]),
    ),
    "cryo-EM, one defocus": lambda: particles(
        (8, 11), Optics(4.0, 300.0, 2.7, 0.1, 15e3, defocus_v=12e3, defocus_angle=30.0)
    ),
    "cryo-EM, a defocus per image": lambda: particles((9, 10), PARTICLES),
    "interferometry": lambda: interferometry(uv_track(STATIONS, **TRACK), 8, 80.0),
    "interferometry, more pixels than its vectors": lambda: without_vectors(
        interferometry(uv_track(STATIONS, **TRACK), 8, 80.0)
    ),
    "deepinv's physics": physics,
    "turned, one turn": lambda: turned(blur(gaussian_kernel(1.0), 9, 9), Rotate(), 1),
    "turned, a turn and a mask per image": lambda: turned(inpainting(masks(8, 10)), Flip(), 5),
    "turned, one turn and a defocus per image": lambda: turned(particles((9, 9), PARTICLES), Shift(), 1),
    "beside, one exposure and a defocus per image": lambda: Beside(
        particles((9, 10), PARTICLES), torch.ones(1, dtype=torch.float64), torch.empty(1, 1, 9, 10)
    ),
    "beside, an exposure per image": lambda: Beside(
        inpainting(masks(8, 10)),
        torch.tensor([0.0, 0.3, 1.0, 4.0, 30.0], dtype=torch.float64),
        torch.empty(1, 1, 8, 10),
    ),
}
"""name -> the operator of all measurements, or of each of five."""


def draw(
    name: str, device: torch.device, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Operator, torch.Tensor, torch.Tensor]:
    """The operator of three measurements, not in order, white noise x like their images and v like the measurements."""
    operator = CASES[name]()
    operator = operator.select(chosen(operator)).to(device)
    image_shape = operator.image_shape or (2, 8, 10)
    generator = make_generator(device, seed)
    like = {"dtype": dtype, "device": device}
    x = normal(torch.empty(3, *image_shape, **like), generator)
    return operator, x, normal(torch.empty(3, *(operator.measurement_shape or image_shape), **like), generator)


def chosen(operator: Operator) -> torch.Tensor:
    """The numbers of the three measurements."""
    count = operator.count or 3
    return torch.tensor([count - 1, 0, 1 % count])


def some_hidden(operator: Operator, v: torch.Tensor) -> Operator:
    """The operator on six of ten of the measured entries, others in each sample."""
    return operator.hide(torch.rand(v.shape, generator=make_generator(v.device, 9), device=v.device) < 0.6)


def matrices(operator: Operator, x: torch.Tensor) -> torch.Tensor:
    """A (B, m, n) of each sample of x (B, *image), column by column; its rows that are not measured are zero."""
    units = torch.eye(x[0].numel(), dtype=x.dtype, device=x.device).reshape(-1, *x.shape[1:])
    each = (operator.select(torch.tensor([b])) for b in range(operator.count or 1))
    return torch.stack([part.A(units).flatten(1).mT for part in each]).expand(len(x), -1, -1)
