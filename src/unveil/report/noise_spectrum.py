"""A plot of the noise's spectrum, as it is found in images and as whitening leaves it."""

import io

from torch import Tensor

from unveil.noise import NoiseSpectrum

__all__ = ["draw_noise_spectrum"]


def draw_noise_spectrum(
    spectrum: NoiseSpectrum, before: tuple[Tensor, Tensor, Tensor], after: tuple[Tensor, Tensor, Tensor]
) -> bytes:
    """Draw a PNG of power against frequency.

    before, after: `ring_power` of the images as they are, and whitened.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    k = before[0]
    axis.semilogy(k[1:], before[1][1:], label="images")
    axis.semilogy(k, spectrum.power(k), "--", label="noise, fitted above 0.2")
    axis.semilogy(after[0][1:], after[1][1:], label="whitened images")
    axis.axhline(spectrum.level**2, color="0.6", linewidth=0.8)
    axis.axvline(0.5, color="0.8", linewidth=0.8)
    axis.set(xlabel="frequency, cycles per pixel (0.5: Nyquist along an axis)", ylabel="power per coefficient")
    axis.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
