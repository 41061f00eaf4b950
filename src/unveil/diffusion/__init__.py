"""Posterior samples: the measurement goes on until it says all.

schedule.py    the exposures at which it stops
go_on.py       the sampler, for every noise family and every instrument
sample.py      posterior samples, by the instrument that began or by a camera
camera.py      the ideal camera, an instrument that sees what A does not
about.py       draws where no loss teaches the levels that samples go through
inflation.py   the one number of the sampler that is fitted to a trained network
consistent.py  a loss: what is learned above the noise holds below it
"""

from unveil.diffusion.about import draws_about
from unveil.diffusion.camera import Camera
from unveil.diffusion.consistent import ConsistentDiffusion
from unveil.diffusion.go_on import Instrument, Progress, Same, go_on
from unveil.diffusion.inflation import fit_inflation
from unveil.diffusion.sample import posterior_samples, samples_by_camera
from unveil.diffusion.schedule import SCHEDULES, Schedule, geometric, karras
from unveil.losses.looks import HIGHEST

__all__ = [
    "HIGHEST",
    "SCHEDULES",
    "Camera",
    "ConsistentDiffusion",
    "Instrument",
    "Progress",
    "Same",
    "Schedule",
    "draws_about",
    "fit_inflation",
    "geometric",
    "go_on",
    "karras",
    "posterior_samples",
    "samples_by_camera",
]
