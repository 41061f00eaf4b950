"""The tasks of incomplete.py: clean images, cut or simulated, and the imaging system that measures them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unveil.config_file import override
from unveil.data import open_images
from unveil.instruments.interferometry.example import sources
from unveil.instruments.registry import INSTRUMENTS
from unveil.operators import (
    Operator,
    Optics,
    cartesian_mask,
    demosaicing,
    inpainting,
    interferometry,
    mri,
    particles,
    random_mask,
    random_rotations,
    read_stations,
    uv_track,
    volume,
)
from unveil.random import make_generator

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True)
class Task:
    """train, test: clean images (N, C, H, W), measured by operator and test_operator with noise of level sigma_n.

    settings: of the configuration, over its defaults.
    """

    train: Tensor
    test: Tensor
    operator: Operator
    test_operator: Operator
    sigma_n: float
    settings: dict = field(default_factory=dict)


def settings_of(kind: str, *changed: str) -> dict:
    """What `init` writes for an instrument of this kind, and what a small benchmark changes, key.subkey=value."""
    instrument = INSTRUMENTS[kind]
    values = {section: dict(keys) for section, keys in instrument.settings.items()}
    values["estimator"] = {"mean": instrument.mean, "prior": instrument.prior, **values.get("estimator", {})}
    return override(values, changed)


def windows(path: str, side: int, per_image: int, seed: int) -> Tensor:
    """Random windows (N, C, side, side) of the images at `path`."""
    source, generator = open_images(path), make_generator("cpu", seed)
    cut = []
    for i in range(len(source)):
        _, height, width = source.shape(i)
        for top, left in torch.rand(per_image, 2, generator=generator).tolist():
            window = (int(top * (height - side + 1)), int(left * (width - side + 1)), side, side)
            cut.append(source.read(i, window))
    return torch.stack(cut)


def missing_pixels(options) -> Task:
    """Photographs of which one mask misses 30% of the pixels."""
    train, test = windows(options.train, 64, 4, 1), windows(options.test, 64, 8, 2)
    operator = inpainting(random_mask(64, 64, 0.7, make_generator("cpu", 5)), train.shape[1])
    return Task(train, test, operator, operator, 0.1, settings_of("inpainting"))


def colour_mosaic(options) -> Task:
    """Colour photographs through a Bayer filter."""
    train, test = windows(options.train, 64, 60, 1), windows(options.test, 64, 12, 2)
    operator = demosaicing(64, 64)
    return Task(train, test, operator, operator, 0.1, settings_of("demosaicing"))


def slices(path: str, side: int) -> Tensor:
    """Images at `path` as complex ones (N, 2, side, side), their imaginary part zero, reduced by cropping in
    k-space."""
    source = open_images(path)
    cut = []
    for i in range(len(source)):
        x = source.read(i)[0]
        k = torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"))
        top, left = (k.shape[0] - side) // 2, (k.shape[1] - side) // 2
        k = k[top : top + side, left : left + side] * (side / k.shape[0])
        cut.append(torch.fft.ifft2(torch.fft.ifftshift(k), norm="ortho").real)
    x = torch.stack(cut)[:, None]
    return torch.cat([x, torch.zeros_like(x)], 1)


def undersampled(acceleration: int, several: bool, side: int = 128) -> Callable:
    """MRI slices, k-space simulated by a single coil: one Cartesian mask, or another for each slice."""

    def task(options) -> Task:
        train, test = slices(options.train, side), slices(options.test, side)
        center = 0.32 / acceleration

        def mask(number: int) -> Tensor:
            return cartesian_mask(side, side, acceleration, center, make_generator("cpu", 5, number))

        operator = mri(torch.stack([mask(i) for i in range(len(train))])) if several else mri(mask(0))
        settings = settings_of("mri", "estimator.iterations=2", "estimator.std=0.2", "training.batch=2")
        return Task(train, test, operator, mri(mask(0)), 0.03, settings)

    return task


def horizon(options) -> Task:
    """The Event Horizon Telescope of 2017 looking at Sgr A*: simulated sources, and in the test --train's simulated
    black hole.

    --train: a folder with EHT2017.txt (stations) and grmhd_sgra.npz (jansky per pixel, 130 microarcseconds across).
    """
    folder, side = Path(options.train), 32
    stations = [s for s in read_stations(str(folder / "EHT2017.txt")) if s.name != "SPT"]
    coverage = uv_track(
        stations, right_ascension=17.761, declination=-29.008, frequency=227.1e9, start=9.5, stop=23.5, cadence=10.0,
        bandwidth=4e9, integration=60.0,
    )  # fmt: skip
    train = sources(1500, side, make_generator("cpu", 1))
    test = sources(31, side, make_generator("cpu", 2))
    flux = np.load(folder / "grmhd_sgra.npz")["stokes_i_jy_per_pixel"]
    hole = torch.nn.functional.interpolate(torch.from_numpy(flux)[None, None].float(), size=side, mode="area")
    test = torch.cat([hole / hole.amax(), test])
    operator = interferometry(coverage, side, 130.0, 0.02)
    settings = settings_of("interferometry", "training.batch=16")
    return Task(train, test, operator, operator, operator.sigma, settings)


def horizon_validation(options) -> Task:
    """The same with other sources in the test, on which choices are made."""
    task = horizon(options)
    return replace(task, test=sources(64, task.train.shape[-1], make_generator("cpu", 3)))


def molecules(snr: float) -> Callable:
    """Projections of a density in random directions, each with its own defocus.

    --train: a .npz with `potential` (D, D, D).
    """

    def task(options) -> Task:
        density = torch.from_numpy(np.load(options.train)["potential"]).float()
        side, generator = len(density), make_generator("cpu", 1)
        count = 1000
        rotations = random_rotations(count + 32, generator)
        x = torch.cat([volume(side, r).A(density[None, None])[0] for r in rotations.split(50)])[:, None]
        x = 0.25 * (x - x.mean()) / x.std()
        optics = Optics(4.4, 300.0, 2.7, 0.1, 1e4 + 1.5e4 * torch.rand(count + 32, generator=generator))
        operator = particles((side, side), optics)
        sigma = float((operator.select(torch.arange(100)).A(x[:100]).var() / snr).sqrt())
        settings = settings_of("cryoem", "estimator.iterations=1", "training.batch=8")
        train, test = torch.arange(count), torch.arange(count, count + 32)
        return Task(x[:count], x[count:], operator.select(train), operator.select(test), sigma, settings)

    return task


def molecules_validation(options) -> Task:
    """Of signal-to-noise ratio .1, tested on 32 of the training's particles, which it then leaves out: for choices."""
    task = molecules(0.1)(options)
    rest, last = torch.arange(len(task.train) - 32), torch.arange(len(task.train) - 32, len(task.train))
    return replace(
        task,
        train=task.train[rest],
        test=task.train[last],
        operator=task.operator.select(rest),
        test_operator=task.operator.select(last),
    )


TASKS: dict[str, Callable] = {
    "inpainting": missing_pixels,
    "demosaicing": colour_mosaic,
    "mri": undersampled(4, False),
    "mri8": undersampled(8, False),
    "mri8-several": undersampled(8, True),
    "mri-small": undersampled(4, False, 64),
    "mri8-small": undersampled(8, False, 64),
    "mri8-several-small": undersampled(8, True, 64),
    "eht": horizon,
    "eht-validation": horizon_validation,
    "cryoem": molecules(0.1),
    "cryoem-validation": molecules_validation,
    "cryoem-0.05": molecules(0.05),
    "cryoem-0.5": molecules(0.5),
}
