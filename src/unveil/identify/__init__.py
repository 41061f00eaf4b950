"""Can this be learned from these measurements? Checks on measurements alone, one a file, before an hour is spent."""

from unveil.identify.contradictions import constant_images, contradictions, copied_channels, mixed_types
from unveil.identify.equivariance import commutes, equivariance_gap
from unveil.identify.frequencies import hidden_frequencies, name_hidden
from unveil.identify.look import look
from unveil.identify.outliers import outliers
from unveil.identify.scale import ScaleCheck, scale_invariance
from unveil.identify.seen import Seen, out_of_range, see
from unveil.identify.spectrum import TOLERANCE, Spectrum, find_spectrum
from unveil.identify.verdict import Verdict, check_operator

__all__ = [
    "TOLERANCE",
    "ScaleCheck",
    "Seen",
    "Spectrum",
    "Verdict",
    "check_operator",
    "commutes",
    "constant_images",
    "contradictions",
    "copied_channels",
    "equivariance_gap",
    "find_spectrum",
    "hidden_frequencies",
    "look",
    "mixed_types",
    "name_hidden",
    "out_of_range",
    "outliers",
    "scale_invariance",
    "see",
]
