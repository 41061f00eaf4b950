"""The contrast transfer function of an electron microscope, what its lenses do to each spatial frequency g.

    CTF(g) = -sin chi(g),   chi(g) = pi lambda |g|^2 (z(alpha) - lambda^2 |g|^2 C_s / 2) + phi + arcsin(w)
    z(alpha) = (z_U + z_V + (z_U - z_V) cos 2(alpha - alpha_U)) / 2
    alpha the angle of g from the x axis towards the y axis

As Rohou and Grigorieff 2015 write it (https://doi.org/10.1016/j.jsb.2015.08.008): defocus z positive under focus,
CTF(0) = -w, so matter is dark, as on the detector. RELION (https://github.com/3dem/relion, src/ctf.h) has the same chi
and the opposite sign, +sin chi, for particles whose contrast was inverted when they were cut out, so that matter is
bright. Reading such particles with the sign here gives the negative of x and changes nothing else.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["Optics", "ctf", "electron_wavelength"]

_HC = 12398.419843320026  # electronvolt angstrom: Planck's constant times the speed of light
_REST_ENERGY = 510998.95  # electronvolt: of the electron


@dataclass(frozen=True)
class Optics:
    """What the contrast transfer function depends on; each a number, or (N,) with one for each of N images.

    pixel_size:         of the images, angstrom. voltage: of the electrons, kilovolt. cs: spherical aberration C_s,
                        millimetre.
    amplitude_contrast: w, a fraction in [0, 1].
    defocus_u, defocus_v: the two principal defoci, angstrom, positive under focus; v is u unless it is given.
    defocus_angle:      alpha_U, from the x axis (columns) towards the y axis (rows) to the direction of u, degrees.
    phase_shift:        phi, of a phase plate, degrees.
    Raises UnveilError when a value is impossible or the lengths differ.
    """

    pixel_size: float | Tensor
    voltage: float | Tensor
    cs: float | Tensor
    amplitude_contrast: float | Tensor
    defocus_u: float | Tensor
    defocus_v: float | Tensor | None = None
    defocus_angle: float | Tensor = 0.0
    phase_shift: float | Tensor = 0.0

    def __post_init__(self) -> None:
        rows = self.rows()
        for name, value in rows.items():
            if not bool(value.isfinite().all()):
                raise UnveilError(f"{name} has values that are not finite: give a number for each image")
        for name, unit in (("pixel_size", "angstrom"), ("voltage", "kilovolt")):
            if not bool((rows[name] > 0).all()):
                raise UnveilError(f"{name} must be > 0 {unit}, not {float(rows[name].min()):g}")
        w = rows["amplitude_contrast"]
        if not bool(((w >= 0) & (w <= 1)).all()):
            raise UnveilError(
                f"amplitude_contrast must be a fraction in [0, 1], not {float(w.min()):g} to {float(w.max()):g}"
            )

    def rows(self) -> dict[str, Tensor]:
        """Return every parameter by its name, all () or all (N,), on one device; numbers have the default precision."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if values["defocus_v"] is None:
            values["defocus_v"] = values["defocus_u"]
        device = next((value.device for value in values.values() if isinstance(value, Tensor)), None)
        tensors = {name: torch.as_tensor(value, device=device) for name, value in values.items()}
        shapes = {name: tuple(value.shape) for name, value in tensors.items() if value.ndim}
        if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
            raise UnveilError(f"the optics have shapes {shapes}: each must be a number, or (N,) for the same N images")
        floating = [v if v.is_floating_point() else v.to(torch.get_default_dtype()) for v in tensors.values()]
        return dict(zip(tensors, torch.broadcast_tensors(*floating)))


def electron_wavelength(voltage: Tensor) -> Tensor:
    """Return lambda, angstrom, of electrons accelerated by `voltage`, kilovolt.

    h c / sqrt(E (E + 2 m c^2)), relativistic.
    """
    energy = 1e3 * voltage
    return _HC / (energy * (energy + 2 * _REST_ENERGY)).sqrt()


def ctf(shape: tuple[int, int], optics: Optics) -> Tensor:
    """Return CTF (H, W), or (N, H, W) where the optics have one row an image, at the frequencies of `torch.fft.fft2`.

    shape: (H, W) of the images, pixels. In the precision of the optics; float32 errs by 1e-4 at phases of some hundred
    radians. At the highest frequency of an even side, which stands for g and -g, it is their mean, so that it is even
    in g always.
    """
    rows = {name: value[..., None, None] for name, value in optics.rows().items()}
    like = {"dtype": rows["defocus_u"].dtype, "device": rows["defocus_u"].device}
    y = torch.fft.fftfreq(shape[0], **like)[:, None] / rows["pixel_size"]
    x = torch.fft.fftfreq(shape[1], **like) / rows["pixel_size"]
    u, v, wavelength = rows["defocus_u"], rows["defocus_v"], electron_wavelength(rows["voltage"])
    angle = torch.atan2(y, x) - torch.deg2rad(rows["defocus_angle"])
    defocus = (u + v + (u - v) * torch.cos(2 * angle)) / 2
    square = x**2 + y**2
    chi = math.pi * wavelength * square * (defocus - wavelength**2 * square * (1e7 * rows["cs"]) / 2)
    chi = chi + torch.deg2rad(rows["phase_shift"]) + torch.asin(rows["amplitude_contrast"])
    values = -torch.sin(chi)
    mirrored = values.flip(-2, -1).roll((1, 1), (-2, -1))
    return (values + mirrored) / 2
