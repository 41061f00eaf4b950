"""Can this be learned from these measurements, whatever the network?

What the operator, the symmetries and the noise determine, one question a file.
"""

from unveil.identifiability.blind import Blind
from unveil.identifiability.equivariance import commutes, equivariance_gap
from unveil.identifiability.frequencies import hidden_frequencies, name_hidden
from unveil.identifiability.spectrum import TOLERANCE, Spectrum, find_spectrum, seconds_needed
from unveil.identifiability.verdict import Verdict, check_operator, never_seen

__all__ = [
    "TOLERANCE", "Blind", "Spectrum", "Verdict", "check_operator", "commutes", "equivariance_gap", "find_spectrum",
    "hidden_frequencies", "name_hidden", "never_seen", "seconds_needed",
]  # fmt: skip
