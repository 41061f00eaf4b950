"""unveil calibrate: gains of stations, by self-calibration with a run's estimates."""

from pathlib import Path

import torch
from torch import Tensor

from unveil.cli.device import torch_device
from unveil.cli.outputs import check_free, keep_inputs
from unveil.cli.screen import figures, say
from unveil.errors import UnveilError, warn
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.random import make_generator
from unveil.runs import open_run

__all__ = ["run_calibrate"]


def run_calibrate(run_folder: Path, data: str, out: Path, seed: int, device: str, force: bool) -> None:
    """Write the observation `data`, averaged over scans and divided by the stations' gains, to `out`, as UVFITS."""
    from unveil.instruments.interferometry import InterferometrySection
    from unveil.instruments.interferometry.coverage import Coverage, whiten
    from unveil.instruments.interferometry.nearest import nearest_source
    from unveil.instruments.interferometry.operator import interferometry
    from unveil.instruments.interferometry.selfcal import misfit, self_calibrate
    from unveil.instruments.interferometry.simulated import read_observation, without_closures
    from unveil.instruments.interferometry.uvfits_write import write_uvfits

    check_free(out, force)
    keep_inputs([Path(data)], [out])
    run = open_run(run_folder)
    section = run.config.operator
    if not isinstance(section, InterferometrySection):
        raise UnveilError(f"{run_folder}: is of {section.kind}, and gains are those of stations of an interferometer")
    seen = read_observation(data, section.field_of_view)
    if (line := without_closures(seen)) is not None:
        raise UnveilError(f"{data}: {line}")
    side = torch_device(device)

    def image(coverage: Coverage, visibilities: Tensor) -> Tensor:
        A = interferometry(coverage, section.pixels, section.field_of_view, section.brightness)
        y = whiten(visibilities, coverage)[None].float()
        f = run.estimator(A).to(side)
        with torch.no_grad():
            x: Tensor = f(Measurement(y, A, Gaussian(A.sigma)).to(side)).cpu()
        return x

    start = nearest_source(seen, section.pixels, make_generator("cpu", seed))
    found = self_calibrate(seen, image, start, section.brightness)
    say("reduced chi^2 of closure phases and of log closure amplitudes")
    turns = len(found.fits) - 1
    last = "estimate" if turns == 1 else f"estimate, {turns} turns"
    for name, (phases, amplitudes) in (("nearest simulated source", found.fits[0]), (last, found.fits[-1])):
        say(f"{name:>25}  {phases:8.2f}  {amplitudes:8.2f}")
    if turns > 1:
        say(
            f"no simulated source fits, so that gains are those of the estimate itself, found in {turns} turns: an "
            "error that both have alike no closure quantity tells"
        )
    factors = found.gains.abs().sqrt()
    low, middle, high = factors.quantile(torch.tensor([0.05, 0.5, 0.95]).to(factors)).tolist()
    say(f"gains of stations, geometric means of pairs: {low:.2f} to {high:.2f}, median {middle:.2f}")
    if (why := misfit(found.fits)) is not None:
        warn(f"{data}: {why}")
    write_uvfits(out, found.coverage, found.visibilities, data)
    level = found.coverage.level
    sets = f"--set operator.uvfits={out} --set noise.sigma={level:.6g}"
    names = ("closure_phases", "log_closure_amplitudes")
    nearest, estimate = (dict(zip(names, fit)) for fit in (found.fits[0], found.fits[-1]))
    figures(
        {
            "reduced_chi2": estimate,
            "reduced_chi2_of_nearest": nearest,
            "turns": turns,
            "gains": {"low": low, "median": middle, "high": high},
            "sigma": level,
            "calibrated": str(out),
        }
    )
    say(f"wrote {out}; next: unveil denoise {run_folder} {out} {sets}, and unveil sample with the same")
