"""One small problem of each imaging system, by name: what the property tests of all operators run on."""

from collections.abc import Callable

import torch

from unveil.operators import (
    Optics,
    Station,
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
from unveil.problem import Problem, Several
from unveil.random import make_generator

STATIONS = (
    Station("A", (5.1e6, -3.0e5, 3.8e6), 1400.0),
    Station("B", (-1.8e6, -5.0e6, 3.4e6), 5000.0),
    Station("C", (2.2e6, -5.4e6, -2.5e6), 90.0),
)
TRACK = {"right_ascension": 5.0, "declination": 30.0, "frequency": 230e9, "start": 0.0, "stop": 8.0, "cadence": 120.0}
TRACK |= {"bandwidth": 2e9, "integration": 10.0, "minimum_elevation": -90.0}

CASES: dict[str, Callable[[], Problem | Several]] = {
    "inpainting, random pixels": lambda: inpainting(random_mask(8, 10, 0.7, make_generator("cpu", 1)), channels=3),
    "inpainting, a box": lambda: inpainting(missing_box(8, 10, 2, 3, 4, 5)),
    "inpainting, one mask per image": lambda: inpainting(
        torch.rand(5, 8, 10, generator=make_generator("cpu", 2)) < 0.7
    ),
    "demosaicing": lambda: demosaicing(8, 10, "GRBG"),
    "blur, a kernel without symmetry": lambda: blur(torch.rand(3, 4, generator=make_generator("cpu", 5)), 9, 12, 3),
    "blur, Gaussian": lambda: blur(gaussian_kernel(1.2), 11, 14),
    "super-resolution, bicubic": lambda: super_resolution(2, 12, 16, channels=3),
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
    "cryo-EM, a defocus per image": lambda: particles(
        (9, 10), Optics(4.0, 300.0, 2.7, 0.1, torch.linspace(9e3, 24e3, 5), defocus_v=12e3, defocus_angle=30.0)
    ),
    "interferometry": lambda: interferometry(uv_track(STATIONS, **TRACK), 8, 80.0)[0],
}
