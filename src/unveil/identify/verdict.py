"""Can this be learned? All checks of a problem, a symmetry and some measurements, before an hour is spent on training.

In this order: the adjoint is one; the noise can be undone (`unveil.identify.noise`); there are enough measurements
(`unveil.identify.bound`); A, or the operators together, with the symmetry where A does not commute with it
(`unveil.identify.equivariance`), sees all of the images (`unveil.identify.spectrum`); the noise is as strong as is said.

A yes is about the law of signals that truly have the symmetry, and about infinitely many of them.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unveil.errors import UnveilError
from unveil.identify.average import JUDGED
from unveil.identify.bound import least_measurements, measured_entries
from unveil.identify.equivariance import commutes, equivariance_gap
from unveil.identify.frequencies import hidden_frequencies, name_hidden
from unveil.identify.noise import noise_family
from unveil.identify.spectrum import TOLERANCE, Spectrum, spectrum
from unveil.noise import estimate_common_sigma
from unveil.problem import Problem, Several
from unveil.symmetry import SYMMETRIES, Product, Symmetry

__all__ = ["Verdict", "check_problem"]

SUGGESTED = ("shift", "quarter", "rotate", "flip", "dilation")
WRONG_LEVEL = 1.25
"""The ratio of the noise level found to the one declared, or its inverse, above which it is said."""
SPREAD = 0.25
"""The share of the entries of y over which a point of the image spreads, above which y does not look like an image."""


@dataclass
class Verdict:
    """learnable: whether the law of the images follows from that of the measurements, up to a constant at most.

    reasons:        what was found, a sentence each. what_to_change: what would make it learnable, or better.
    gap:            see `equivariance_gap`; None without a symmetry.
    alone, moved:   what A alone sees, and with the symmetry where it was looked at; None after an earlier failure.
    measured, needed: m, and the least that the order of the group allows.
    sigma_found:    the noise level found in the measurements; None where it cannot be estimated.
    """

    learnable: bool = True
    reasons: list[str] = field(default_factory=list)
    what_to_change: list[str] = field(default_factory=list)
    gap: float | None = None
    alone: Spectrum | None = None
    moved: Spectrum | None = None
    measured: int | None = None
    needed: int | None = None
    sigma_found: float | None = None

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
        """All numbers, for JSON."""
        numbers: dict[str, Any] = {
            "learnable": self.learnable,
            "reasons": self.reasons,
            "what_to_change": self.what_to_change,
            "equivariance_gap": self.gap,
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
                    "frequencies_never_seen": hidden_frequencies(found).tolist(),
                }
        return numbers


def check_problem(
    problem: Problem | Several,
    symmetry: Symmetry | None = None,
    *,
    generator: torch.Generator,
    image_shape: tuple[int, ...] | None = None,
    sigma: float | None = None,
    y: Tensor | None = None,
    noise: str = "gaussian",
) -> Verdict:
    """Whether images can be learned from measurements by `problem`, their law being invariant under `symmetry`.

    symmetry:    T_g; None: none is known.
    image_shape: (C, H, W); needed where A is the identity, when no y is given.
    sigma:       the declared noise level. y: some measurements (B, *measurement), in which to look for it.
    noise:       its family, a key of `unveil.identify.noise.FAMILIES`.
    generator:   of all draws; what is computed is computed on its device.
    Raises UnveilError where the shape of the images is not known, for a noise family or a symmetry that cannot be applied.
    """
    shape = problem.image_shape or image_shape or (None if y is None else tuple(y.shape[1:]))
    if shape is None:
        raise UnveilError("the shape of the images is not known: pass image_shape, (C, H, W)")
    verdict = Verdict()
    if not _adjoint_is_right(verdict, problem, shape, generator):
        return verdict
    _judge_noise(verdict, noise)
    _judge_operator(verdict, problem, symmetry, shape, generator)
    _judge_level(verdict, problem, shape, sigma, y)
    return verdict


def _adjoint_is_right(
    verdict: Verdict, problem: Problem | Several, shape: tuple[int, ...], generator: torch.Generator
) -> bool:
    like = torch.zeros(1, *(problem.measurement_shape or shape), device=generator.device)
    try:
        problem.at(torch.zeros(1, dtype=torch.long, device=like.device)).check_adjoint(like, generator)
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
    problem: Problem | Several,
    symmetry: Symmetry | None,
    shape: tuple[int, ...],
    generator: torch.Generator,
) -> None:
    several = isinstance(problem, Several)
    subject = f"the {len(problem)} operators together" if isinstance(problem, Several) else "A"
    group = Product() if symmetry is None else symmetry
    verdict.measured = measured_entries(problem, shape)
    verdict.needed = least_measurements(
        math.prod(shape), group.order(shape), len(problem) if isinstance(problem, Several) else 1
    )
    verdict.alone = spectrum(problem, None, shape, generator)
    if symmetry is not None:
        verdict.gap = equivariance_gap(problem, symmetry, shape, generator)
    if verdict.alone.full:
        verdict.reasons.append(f"{subject} alone see{'' if several else 's'} all of the images")
        return
    verb = "see" if several else "sees"
    useless = verdict.gap is None or commutes(verdict.gap, group)
    if not useless:
        verdict.moved = spectrum(problem, group, shape, generator)
    seen = verdict.moved or verdict.alone
    alone = f"{subject} {verb} {verdict.alone.rank:.0f} of {verdict.alone.judged} dimensions of the images"
    if useless and verdict.gap is not None:
        alone += f", and commute{'' if several else 's'} with the symmetry, which therefore teaches nothing"
    elif verdict.moved is not None:
        alone += f", and with the symmetry {seen.rank:.0f} of {seen.judged}{_on_what(seen, shape)}"
    verdict.reasons.append(alone)
    if seen.full:
        return
    channels = 1 if len(shape) < 3 else shape[0]
    if seen.constant < TOLERANCE and seen.hidden - channels < 0.5 and float(seen.fourier[0, 0]) > 0.9:
        verdict.reasons.append("only the mean of an image is never seen")
        verdict.what_to_change.append("take the mean for what it is known to be, or for zero: it is not learned")
        return
    verdict.learnable = False
    verdict.reasons.append(f"never seen: {name_hidden(seen)}")
    if seen.constant < TOLERANCE:
        verdict.reasons.append("among them the mean of the image")
    if verdict.measured < verdict.needed:
        verdict.reasons.append(f"{verdict.measured} measured entries are less than the {verdict.needed} that it takes")
    verdict.what_to_change.append(_suggestion(problem, group, shape, generator))


def _on_what(seen: Spectrum, shape: tuple[int, ...]) -> str:
    if seen.judged == math.prod(shape):
        return ""
    return f" (judged below {JUDGED:g} of the highest frequency, where interpolation is right)"


def _suggestion(problem: Problem | Several, group: Symmetry, shape: tuple[int, ...], generator: torch.Generator) -> str:
    """Symmetries that move what A sees, other than those at hand, and more operators."""
    present = {type(factor) for factor in (group.factors if isinstance(group, Product) else (group,))}
    helpful = []
    for name in SUGGESTED:
        candidate = SYMMETRIES[name]()
        if type(candidate) in present or (name == "quarter" and shape[-2] != shape[-1]):
            continue
        if not commutes(equivariance_gap(problem, candidate, shape, generator), candidate):
            helpful.append(name)
    more = (
        "more operators" if isinstance(problem, Several) else "several operators (another mask, angle or defocus each)"
    )
    if not helpful:
        return f"measure with {more}: no symmetry known here moves what is seen"
    return f"add {' or '.join(helpful)}, if the images have that symmetry, or measure with {more}"


def _judge_level(
    verdict: Verdict, problem: Problem | Several, shape: tuple[int, ...], sigma: float | None, y: Tensor | None
) -> None:
    if y is None:
        return
    why = _no_estimate(problem, shape, y)
    if why is None:
        try:
            verdict.sigma_found = estimate_common_sigma(y)
        except UnveilError as error:
            why = str(error)
    if why is not None:
        verdict.reasons.append(f"the noise level was not looked for in the data: {why}")
        return
    found = verdict.sigma_found
    if sigma is not None and found is not None and not 1 / WRONG_LEVEL < found / sigma < WRONG_LEVEL:
        verdict.reasons.append(f"the noise found in the data has level {found:.3g}, not {sigma:.3g} as declared")
        verdict.what_to_change.append(f"declare noise.sigma {found:.3g}, unless texture was taken for noise")


def _no_estimate(problem: Problem | Several, shape: tuple[int, ...], y: Tensor) -> str | None:
    """Why no noise level can be found in y; None where it can."""
    part = problem.at(torch.zeros(1, dtype=torch.long, device=y.device))
    if part.measured is not None:
        return "entries are missing"
    if min(y.shape[-2:]) < 16:
        return "the measurements are smaller than 16 x 16"
    point = torch.zeros(1, *shape, dtype=y.dtype, device=y.device)
    point[0, 0, shape[-2] // 2, shape[-1] // 2] = 1
    squares = part.predict(point).square()
    spread = squares.sum() ** 2 / squares.square().sum() / squares.numel()
    return "the measurements do not look like images" if float(spread) > SPREAD else None
