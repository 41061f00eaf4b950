"""Risks: unbiased estimates, from measurements alone, of the supervised risk; one a file."""

from unveil.risks.ambient import AmbientTweedie, inverse_gradient_variance, inverse_target_variance
from unveil.risks.base import Estimator, Law, Risk
from unveil.risks.combine import Mix, Noisier, Sum, Weighted, inverse_variance
from unveil.risks.consistency import MeasurementConsistency
from unveil.risks.dilate import Dilate, dilate
from unveil.risks.divergence import Divergence, ExactDivergence, MonteCarloDivergence
from unveil.risks.each import Each, told
from unveil.risks.equivariance import Equivariance
from unveil.risks.hide import HiddenEntries, Hide, hidden_axes
from unveil.risks.kernels import Kernel, LowPass, box, daubechies4
from unveil.risks.laws import LogUniform, NormalizationLaw, paper_law
from unveil.risks.martingale import Martingale
from unveil.risks.oracle import Oracle
from unveil.risks.r2r import R2R
from unveil.risks.renormalize import PairLaw, Renormalize, renormalize
from unveil.risks.simulated import Simulated
from unveil.risks.supervised import Supervised
from unveil.risks.sure import SURE
from unveil.risks.symmetrize import Symmetrize

__all__ = [
    "R2R",
    "SURE",
    "AmbientTweedie",
    "Dilate",
    "Divergence",
    "Each",
    "Equivariance",
    "Estimator",
    "ExactDivergence",
    "HiddenEntries",
    "Hide",
    "Kernel",
    "Law",
    "LogUniform",
    "LowPass",
    "Martingale",
    "MeasurementConsistency",
    "Mix",
    "MonteCarloDivergence",
    "Noisier",
    "NormalizationLaw",
    "Oracle",
    "PairLaw",
    "Renormalize",
    "Risk",
    "Simulated",
    "Sum",
    "Supervised",
    "Symmetrize",
    "Weighted",
    "box",
    "daubechies4",
    "dilate",
    "hidden_axes",
    "inverse_gradient_variance",
    "inverse_target_variance",
    "inverse_variance",
    "paper_law",
    "renormalize",
    "told",
]  # fmt: skip
