"""Can this be learned? All checks of an operator, a symmetry and some measurements, before an hour of training.

In this order: the adjoint is one; the noise can be undone (`unveil.identifiability.noise`); there are enough
measurements (`unveil.identifiability.bound`); A, or the operators together, with the symmetry where A does not commute
with it (`unveil.identifiability.equivariance`), sees all of the images (`unveil.identifiability.spectrum`); the noise
is as strong as is said.

A yes is about the law of signals that truly have the symmetry, and about infinitely many of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unveil.checks.level import find_level
from unveil.errors import UnveilError
from unveil.identifiability.average import JUDGED
from unveil.identifiability.bound import least_measurements, measured_entries
from unveil.identifiability.equivariance import commutes, equivariance_gap
from unveil.identifiability.frequencies import HIDDEN, name_hidden
from unveil.identifiability.noise import noise_family
from unveil.identifiability.spectrum import TOLERANCE, Spectrum, find_spectrum
from unveil.identifiability.suggest import factors_of, may_be_left_out, name_of, suggestion
from unveil.operators.base import Operator
from unveil.symmetry import Product, Symmetry

__all__ = ["Verdict", "check_operator", "never_seen"]

WRONG_LEVEL = 1.25
"""The ratio of the noise level found to the one declared, or its inverse, above which it is said."""


@dataclass
class Verdict:
    """learnable: whether the law of the images follows from that of the measurements, up to a constant at most.

    reasons:        what was found, a sentence each. what_to_change: what would make it learnable, or better.
    gaps:           of each symmetry, by name, see `equivariance_gap`.
    alone, moved:   what A alone sees, and with the symmetries; None where it was not needed, or after an earlier
    failure.
    measured, needed: m, and the least that the order of the group allows.
    sigma_found:    the noise level found in the measurements; None where it cannot be estimated.
    contradictions: what the measurements contradict of the description of their instrument, which all else supposes to
    be
                    right.
    """

    learnable: bool = True
    reasons: list[str] = field(default_factory=list)
    what_to_change: list[str] = field(default_factory=list)
    gaps: dict[str, float] = field(default_factory=dict)
    alone: Spectrum | None = None
    moved: Spectrum | None = None
    measured: int | None = None
    needed: int | None = None
    sigma_found: float | None = None
    contradictions: list[str] = field(default_factory=list)

    @property
    def seen(self) -> Spectrum | None:
        """The spectrum that decided."""
        return self.moved or self.alone

    @property
    def text(self) -> str:
        """One line: can be learned, or cannot and why; then what to change."""
        head = "can be learned" if self.learnable else "cannot"
        return f"{head}: {'; '.join([*self.reasons, *self.what_to_change])}"

    def figures(self) -> dict[str, Any]:
        """Return all numbers, for JSON."""
        numbers: dict[str, Any] = {
            "learnable": self.learnable,
            "contradictions": self.contradictions,
            "reasons": self.reasons,
            "what_to_change": self.what_to_change,
            "equivariance_gaps": self.gaps,
            "measured": self.measured,
            "needed": self.needed,
            "sigma_found": self.sigma_found,
        }
        for name, found in (("alone", self.alone), ("with_symmetry", self.moved)):
            if found is not None:
                numbers[name] = {
                    "judged": found.judged,
                    "rank": found.rank,
                    "least_eigenvalue": float(found.eigenvalues[0]),
                    "tolerance": TOLERANCE,
                    "constant": found.constant,
                    "exact": found.exact,
                    "whole_group": found.complete,
                    "never_seen": name_hidden(found),
                }
        return numbers


def check_operator(
    operator: Operator,
    symmetry: Symmetry | None = None,
    *,
    generator: torch.Generator,
    image_shape: tuple[int, ...] | None = None,
    sigma: float | None = None,
    y: Tensor | None = None,
    noise: str = "gaussian",
) -> Verdict:
    """Judge whether images can be learned from measurements by `operator`, their law being invariant under `symmetry`.

    symmetry:    T_g; None: none is known.
    image_shape: (C, H, W); needed where A is the identity, when no y is given.
    sigma:       the declared noise level. y: some measurements (B, *measurement), in which to look for it.
    noise:       its family, a key of `unveil.identifiability.noise.FAMILIES`.
    generator:   of all draws; what is computed is computed on its device.
    Raises UnveilError where the shape of the images is not known, for a noise family or a symmetry that cannot be
    applied.
    """
    shape = operator.image_shape or image_shape or (None if y is None else tuple(y.shape[1:]))
    if shape is None:
        raise UnveilError("the shape of the images is not known: pass image_shape, (C, H, W)")
    verdict = Verdict()
    if not _adjoint_is_right(verdict, operator, shape, generator):
        return verdict
    _judge_noise(verdict, noise)
    _judge_operator(verdict, operator, symmetry, shape, generator)
    _judge_level(verdict, operator, shape, sigma, y)
    return verdict


def never_seen(
    operator: Operator, symmetry: Symmetry | None, image_shape: tuple[int, ...], generator: torch.Generator
) -> str | None:
    """Name what no measurement sees of images (C, H, W), whichever way `symmetry` moves them.

    None where all is seen, or all but their mean.
    """
    if not operator.unseen:
        return None
    found = find_spectrum(operator, symmetry, image_shape, generator)
    return None if found.full or _only_the_mean(found, image_shape) else name_hidden(found)


def _only_the_mean(seen: Spectrum, shape: tuple[int, ...]) -> bool:
    return seen.constant < TOLERANCE and seen.hidden - shape[0] < 0.5 and float(seen.fourier[0, 0]) > HIDDEN


def _adjoint_is_right(verdict: Verdict, operator: Operator, shape: tuple[int, ...], generator: torch.Generator) -> bool:
    like = torch.zeros(1, *(operator.measurement_shape or shape), device=generator.device)
    try:
        operator.select(torch.zeros(1, dtype=torch.long)).to(like.device).check_adjoint(like, generator)
    except UnveilError as error:
        verdict.learnable = False
        verdict.reasons.append(str(error))
        return False
    return True


def _judge_noise(verdict: Verdict, noise: str) -> None:
    family = noise_family(noise)
    if not family.invertible:
        verdict.learnable = False
        verdict.reasons.append(f"{noise} noise hides part of the law of the signals: {family.why}")
        verdict.what_to_change.append("take measurements whose noise has no such zeros, Gaussian or Poisson")


def _judge_operator(
    verdict: Verdict,
    operator: Operator,
    symmetry: Symmetry | None,
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> None:
    count = operator.count or 1
    factors = factors_of(symmetry)
    verdict.measured = measured_entries(operator, shape)
    verdict.needed = least_measurements(math.prod(shape), Product(factors).order(shape), count)
    verdict.gaps = {name_of(factor): equivariance_gap(operator, factor, shape, generator) for factor in factors}
    verdict.alone = find_spectrum(operator, None, shape, generator)
    subject = "A alone sees" if count == 1 else f"the {count} operators together see"
    verdict.reasons.append(f"{subject} {_rank(verdict.alone)} dimensions of the images")
    if verdict.alone.full:
        return
    idle = [factor for factor in factors if commutes(verdict.gaps[name_of(factor)], factor)]
    if idle:
        names = " and ".join(f"{name_of(f)}{_closely(f, verdict)}" for f in idle)
        verdict.reasons.append(
            f"A commutes with {names}, which therefore teach{'es' if len(idle) == 1 else ''} nothing"
        )
    if len(idle) < len(factors):
        group = Product([factor for factor in factors if not (factor in idle and may_be_left_out(factor, factors))])
        verdict.moved = find_spectrum(operator, group, shape, generator)
        verdict.reasons.append(_with_symmetry(verdict.moved, group, shape))
    _judge_spectrum(verdict, operator, factors, shape, generator)


def _judge_spectrum(
    verdict: Verdict,
    operator: Operator,
    factors: Sequence[Symmetry],
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> None:
    seen = verdict.moved or verdict.alone
    if seen is None or seen.full:
        return
    if _only_the_mean(seen, shape):
        verdict.reasons.append("only the mean of an image is never seen")
        verdict.what_to_change.append("take the mean for what it is known to be, or for zero: it is not learned")
        return
    verdict.learnable = False
    verdict.reasons.append(f"never seen: {name_hidden(seen)}")
    if seen.constant < TOLERANCE:
        verdict.reasons.append("among them the mean of the image")
    if verdict.measured is not None and verdict.needed is not None and verdict.measured < verdict.needed:
        verdict.reasons.append(f"{verdict.measured} measured entries are less than the {verdict.needed} that it takes")
    verdict.what_to_change.append(suggestion(operator, factors, shape, generator))


def _closely(factor: Symmetry, verdict: Verdict) -> str:
    return f" to within {max(0.001, verdict.gaps[name_of(factor)]):.1g}" if factor.interpolates else ""


def _rank(found: Spectrum) -> str:
    return f"{'' if found.exact else 'about '}{found.rank:.0f} of {found.judged}"


def _with_symmetry(moved: Spectrum, group: Product, shape: tuple[int, ...]) -> str:
    text = f"with {' and '.join(name_of(factor) for factor in group.factors)}, {_rank(moved)}"
    if moved.judged < math.prod(shape):
        text += f" (judged below {JUDGED:g} of the highest frequency, where interpolation is right)"
    return text


def _judge_level(
    verdict: Verdict, operator: Operator, shape: tuple[int, ...], sigma: float | None, y: Tensor | None
) -> None:
    if y is None:
        return
    found = find_level(operator, shape, y)
    if isinstance(found, str):
        verdict.reasons.append(f"the noise level was not looked for in the data: {found}")
        return
    verdict.sigma_found = found
    if sigma is not None and not sigma / WRONG_LEVEL < found < sigma * WRONG_LEVEL:
        verdict.reasons.append(f"the noise found in the data has level {found:.3g}, not {sigma:.3g} as declared")
        verdict.what_to_change.append(f"declare noise.sigma {found:.3g}, unless texture was taken for noise")
