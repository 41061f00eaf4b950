"""A plot of a photon-transfer curve, and of the noise that was found in it."""

import io

import torch

from unveil.noise import Found, Noise

__all__ = ["draw_transfer"]


def draw_transfer(found: Found, units: str) -> bytes:
    """Draw a PNG of the noise's variance against brightness, measured with two standard errors, and as it was found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    mean, variance, error = found.curve
    axis.errorbar(mean, variance, 2 * error, fmt="o", markersize=4, capsize=2, label="measured, two standard errors")
    noise = found.noise
    if len(mean) and isinstance(noise, Noise):
        low = min(float(mean[0]), found.parameters.get("offset", float(mean[0])))
        x = torch.linspace(low, float(mean[-1]), 100, dtype=torch.float64)
        axis.plot(x, noise.variance(x[None])[0], color="C1", label=str(found).partition(" (")[0])
    if "offset" in found.parameters:
        axis.axvline(found.parameters["offset"], color="0.7", linewidth=0.8, linestyle="--", label="offset")
    axis.set(xlabel=f"brightness, {units}", ylabel="variance of the noise, their squares")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
