"""The contract of a field's own figure: what it takes of each measurement, and what all of them say together.

    look(subject) -> what it keeps of one measurement, or None where it has no meaning
    pictures(kept) -> maps of that image, which lie beside the others
    found(kept of all) -> the figure, in words and numbers

A figure is a file of this room and a line of its registry. Each is governed by the model check, unless it says that it
needs none: where the noise model does not fit, the figure is written and shown with that warning, and not said.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor

from unveil.data.depth import Place
from unveil.evaluation.risk import Risk
from unveil.measurement import Estimator, Measurement

__all__ = ["Chart", "Figure", "Found", "Map", "State", "Subject"]

State = Literal["good", "bad", "unsure", "told"]
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Subject:
    """One measurement and its estimate, of which figures are made.

    f: the estimator. m: a batch of one. x_hat: f(m) (1, *image). risk: its error without a reference. generator: of the
    figure's draws. repeat: a second exposure of the same scene, or None. place: where it lies in a volume, or None.
    samples: (S, 1, *image), or None. blind: images -> the part of them that no measurement sees; None: all is seen.
    """

    f: Estimator
    m: Measurement
    x_hat: Tensor
    risk: Risk
    generator: torch.Generator
    repeat: Measurement | None = None
    place: Place | None = None
    samples: Tensor | None = None
    blind: Callable[[Tensor], Tensor] | None = None

    @property
    def whole(self) -> bool:
        """Whether y is an image (1, C, H, W) that is seen whole, of the pixels of x."""
        operator = self.m.operator
        return not operator.unseen and operator.measured is None and operator.image_shape is None and self.m.y.ndim == 4


@dataclass(frozen=True)
class Map:
    """A picture (1, H, W) that a figure draws of an image: its file's name, its title, and what it is, in words.

    It is a ratio, without units, from 0 on.
    """

    name: str
    title: str
    note: str


@dataclass(frozen=True)
class Chart:
    """Curves over x, (points,) each; nan where a curve is not known.

    curves: label -> y. errors: label -> its standard errors, drawn twice as long to either side. level: label -> a
    height that is drawn across.
    """

    title: str
    words: str
    xlabel: str
    ylabel: str
    x: Sequence[float]
    curves: Mapping[str, Sequence[float]]
    errors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    level: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a figure says of all images: said, a sentence with its standard error; detail, what it means and rests on.

    state: how the verdict marks it; told: a figure that is neither good nor bad. values: for JSON.
    """

    title: str
    state: State
    said: str
    detail: str
    values: Mapping[str, Any]
    charts: Sequence[Chart] = ()


class Figure(ABC, Generic[Kept]):
    """A field's figure.

    name: in evaluation.json. maps: the pictures that it may draw. governed: whether it holds only where the noise model
    does.
    """

    name: ClassVar[str]
    governed: ClassVar[bool] = True
    maps: ClassVar[tuple[Map, ...]] = ()

    @abstractmethod
    def look(self, subject: Subject) -> Kept | None:
        """Return what is kept of one measurement, on the CPU; None where the figure has no meaning for it."""

    def pictures(self, kept: Kept) -> dict[str, Tensor]:
        """Return the maps (1, H, W) of one image by their names."""
        return {}

    @abstractmethod
    def found(self, kept: Mapping[str, Kept]) -> Found | None:
        """Return what all say together, by the images' names; None where they are too few to say anything."""
