"""Diffusion samplers: from a measurement y = x + sigma_n n and a denoiser to draws of x ~ p(x | y).

    schedule.py    the noise levels s_0 > ... > s_N = 0
    solver.py      the contract of a solver: one discretisation of the reverse diffusion
    ancestral.py   the shortest solver, and the template of a new one
    heun.py        two evaluations a step, weak order 2: the default
    dpm.py         one evaluation a step, weak order 2, by memory of the last one
    gain.py        the one number of dpm.py that is fitted to a trained network
    sample.py      posterior samples from y, prior samples from noise
    measurement.py the same for y = A x + sigma_n n, in measurement space, by a reconstruction f(y, s)
    mmps.py        the same posterior under a learned prior of x: its denoiser, and samples

To add a solver: one file, one subclass of `Solver`, one entry in `SOLVERS`; the tests take the registry's
members.
"""

from unveil.diffusion.ancestral import Ancestral
from unveil.diffusion.dpm import DPM2M
from unveil.diffusion.gain import fit_gain
from unveil.diffusion.heun import Heun
from unveil.diffusion.measurement import measurement_denoiser, reconstruction_prior_samples, reconstruction_samples
from unveil.diffusion.mmps import posterior_denoiser, samples_under_prior
from unveil.diffusion.sample import posterior_samples, prior_samples
from unveil.diffusion.schedule import SCHEDULES, Schedule, geometric, karras
from unveil.diffusion.solver import Denoise, Progress, Solver

__all__ = [
    "DPM2M",
    "SCHEDULES",
    "SOLVERS",
    "Ancestral",
    "Denoise",
    "Heun",
    "Progress",
    "Schedule",
    "Solver",
    "fit_gain",
    "geometric",
    "karras",
    "measurement_denoiser",
    "posterior_denoiser",
    "posterior_samples",
    "prior_samples",
    "reconstruction_prior_samples",
    "reconstruction_samples",
    "samples_under_prior",
]

SOLVERS: dict[str, type[Solver]] = {"ancestral": Ancestral, "heun": Heun, "dpm2m": DPM2M}
