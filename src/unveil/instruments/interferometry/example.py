"""Visibilities of simulated sources as the Event Horizon Telescope would see them.

It is the telescope of April 2017, and the sources are in the place of Sgr A*.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.instruments.example import HELDOUT, Example
from unveil.instruments.interferometry.operator import interferometry as interferometer
from unveil.instruments.interferometry.stations import Station
from unveil.instruments.interferometry.uvtrack import uv_track
from unveil.random import make_generator

__all__ = ["DIAMETERS", "PARAMETERS", "STATIONS", "interferometry", "render", "sources"]

DIAMETERS = (0.25, 0.55)
"""Of `sources`, across the image."""
PARAMETERS = 7

STATIONS = (
    Station("PV", (5088967.9, -301681.6, 3825015.8), 1400.0),
    Station("SMT", (-1828796.2, -5054406.8, 3427865.2), 5000.0),
    Station("SMA", (-5464523.4, -2493147.08, 2150611.75), 4900.0),
    Station("LMT", (-768713.9637, -5988541.7982, 2063275.9472), 600.0),
    Station("ALMA", (2225061.164, -5440057.37, -2481681.15), 90.0),
    Station("APEX", (2225039.53, -5441197.63, -2479303.36), 3500.0),
    Station("JCMT", (-5464584.68, -2493001.17, 2150653.98), 6000.0),
)
"""Those of the eight that the simulated track uses; the eighth is at the South Pole."""
TABLE = """\
# Stations of the Event Horizon Telescope in April 2017, except for that at the South Pole. The array is described in
# EHT Collaboration 2019, Paper II, https://doi.org/10.3847/2041-8213/ab0c96; positions and SEFDs are those of the array
# table EHT2017.txt of eht-imaging (https://github.com/achael/eht-imaging).
# name  X  Y  Z (geocentric, m)  SEFD (Jy)
"""
TRACK: dict[str, Any] = {
    "right_ascension": 17.761,
    "declination": -29.008,
    "frequency": 227.1e9,
    "start": 9.5,
    "stop": 23.5,
    "cadence": 40.0,
    "bandwidth": 4e9,
    "integration": 60.0,
}
PIXELS = 32
FIELD_OF_VIEW = 130.0
FLUX = 2.4
"""Of a source, in the mean, jansky: about that of Sgr A* at 1.3 mm."""
SOURCES = 400


def interferometry(folder: Path) -> Example:
    x = sources(SOURCES + HELDOUT, PIXELS, make_generator("cpu", 1))
    brightness = round(FLUX / float(x.sum((1, 2, 3)).mean()), 5)
    operator = interferometer(uv_track(STATIONS, **TRACK), PIXELS, FIELD_OF_VIEW, brightness)
    lines = [" ".join(map(str, (s.name, *s.position, s.sefd))) for s in STATIONS]
    return Example(
        images=x,
        operator=operator,
        sigma=float(operator.sigma or 0),
        section={
            "pixels": PIXELS,
            "field_of_view": FIELD_OF_VIEW,
            "brightness": brightness,
            "track": {"stations": str(folder / "stations.txt"), **TRACK},
        },
        files={"stations.txt": TABLE + "\n".join(lines) + "\n"},
        about="rings, crescents and discs in the place of Sgr A*, seen by the Event Horizon Telescope of 2017",
    )


def sources(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw rings, crescents and discs x (count, 1, side, side) with maximum 1, at random places near the centre."""
    return render(torch.rand(count, PARAMETERS, generator=generator), side)


def render(parameters: Tensor, side: int) -> Tensor:
    """Return the sources x (K, 1, side, side), with maximum 1, of parameters (K, 7) in [0, 1].

    They are radius, width, asymmetry, angle and place (2) of the source, and its kind: ring, crescent or disc.
    """
    axis = torch.linspace(-1, 1, side)
    drawn = []
    for r, width, asymmetry, angle, x0, y0, kind in parameters.tolist():
        x, y = axis - 0.2 * (x0 - 0.5), axis[:, None] - 0.2 * (y0 - 0.5)
        radius, phase = (x**2 + y**2).sqrt(), torch.atan2(y, x)
        r, width = DIAMETERS[0] + (DIAMETERS[1] - DIAMETERS[0]) * r, 0.06 + 0.1 * width
        image = torch.exp(-((radius - r) ** 2) / (2 * width**2))
        if kind > 2 / 3:
            image = torch.sigmoid((r - radius) / (0.3 * width))
        elif kind > 1 / 3:
            image = image * (1 + (0.4 + 0.6 * asymmetry) * torch.cos(phase - 2 * torch.pi * angle))
        drawn.append(image / image.amax())
    return torch.stack(drawn)[:, None]
