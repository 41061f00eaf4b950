"""Losses: unbiased estimates, from measurements alone, of the supervised loss; one a file."""

from unveil.losses.base import Law, Loss
from unveil.losses.combine import Mix, Noisier, Sum, Weighted, precision
from unveil.losses.consistency import Consistency
from unveil.losses.equivariance import Equivariance
from unveil.losses.hide import HiddenEntries, Hide
from unveil.losses.laws import LogUniform, NormalizationLaw, paper_law
from unveil.losses.looks import Looks
from unveil.losses.normalize import Normalize, PairLaw
from unveil.losses.recorruption import Recorruption, inverse_gradient_variance, inverse_target_variance
from unveil.losses.simulated import Simulated
from unveil.losses.stein import Stein
from unveil.losses.supervised import Supervised
from unveil.losses.symmetrize import Symmetrize
from unveil.losses.unsure import Unsure

__all__ = [
    "Consistency",
    "Equivariance",
    "HiddenEntries",
    "Hide",
    "Law",
    "LogUniform",
    "Looks",
    "Loss",
    "Mix",
    "Noisier",
    "NormalizationLaw",
    "Normalize",
    "PairLaw",
    "Recorruption",
    "Simulated",
    "Stein",
    "Sum",
    "Supervised",
    "Symmetrize",
    "Unsure",
    "Weighted",
    "inverse_gradient_variance",
    "inverse_target_variance",
    "paper_law",
    "precision",
]
