"""Parameters of noise from data: one level, the photon-transfer curve, and which family fits."""

from unveil.noise.estimate.choose import Found, choose_noise
from unveil.noise.estimate.each import OwnNoise
from unveil.noise.estimate.level import dct, estimate_common_sigma, estimate_sigma
from unveil.noise.estimate.line import TransferCurve, TransferLine, fit_line
from unveil.noise.estimate.transfer import transfer_curve

__all__ = [
    "Found", "OwnNoise", "TransferCurve", "TransferLine", "choose_noise", "dct", "estimate_common_sigma",
    "estimate_sigma", "fit_line", "transfer_curve",
]  # fmt: skip
