"""The pictures of one image, as the page shows them: cut to one place, in one window, encoded, and in words."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from unveil.errors import UnveilError
from unveil.evaluation.evidence import INTERVAL
from unveil.evaluation.fields import FIGURES
from unveil.report.kept import DEVIATION, MAPS, MOVED, RATIOS
from unveil.report.look import coloured, intensities, png
from unveil.report.record import Row, Shown, own_images
from unveil.report.unsure import Place, where_unsure

__all__ = ["Frame", "Panel", "Viewer", "data_url", "viewers_of"]

MOST_VALUES = 2**18
"""Of a picture on the page, about as many bytes. Of a larger one the middle is shown, pixel by pixel."""
SAMPLES = "samples"
COMPONENTS = 3
TITLES = {"measured": "Measured", "estimate": "Estimate", "reference": "Reference, never seen in training"}

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Frame:
    """One picture: its name, what it shows in words, and its content."""

    name: str
    alt: str
    url: str


@dataclass(frozen=True)
class Panel:
    """One place for pictures: several frames are shown one after the other.

    high: of a map in colours, its highest. note: what the frames are, where the title does not say it; of a map in
    colours in the place of its units.
    """

    key: str
    title: str
    frames: list[Frame]
    high: float | None = None
    note: str = ""

    @property
    def size(self) -> int:
        """In bytes of the page."""
        return sum(len(frame.url) for frame in self.frames)


@dataclass
class Viewer:
    """The pictures of one image.

    cut: which part is shown, in words. samples, places: see `Panel`, `Place`. unsure: a line on where samples differ.
    all_samples: how many there are, of which some may not have fitted the page. spread: panels of how samples differ.
    """

    name: str
    shown: Shown
    width: int
    height: int
    cut: str
    panels: list[Panel] = field(default_factory=list)
    samples: list[Frame] = field(default_factory=list)
    all_samples: int = 0
    spread: list[Panel] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    unsure: str = ""

    @property
    def ordered(self) -> list[Panel]:
        """All panels, the samples after the estimate."""
        samples = [Panel(SAMPLES, "Posterior samples", self.samples)] if self.samples else []
        at = next((i + 1 for i, panel in enumerate(self.panels) if panel.key == "estimate"), 0)
        return [*self.panels[:at], *samples, *self.panels[at:], *self.spread]

    @property
    def wiped(self) -> list[Panel]:
        """The panels whose pictures can be laid over one another."""
        return [panel for panel in self.ordered if panel.high is None and panel not in self.spread]

    @property
    def size(self) -> int:
        """In bytes of the page."""
        return sum(len(frame.url) for frame in self.samples) + sum(p.size for p in [*self.panels, *self.spread])


def viewers_of(folder: Path, rows: Sequence[Row], room: int) -> tuple[list[Viewer], int]:
    """Return the viewers of as many images as fit into `room` bytes, and how many were left out.

    All get their samples in turn, so that the first image does not take the room of the others'; then what shows how
    samples differ.
    """
    kept = [pictures for row in rows if (pictures := Pictures.of(folder, row)) is not None]
    viewers: list[Viewer] = []
    for pictures in kept:
        viewer = pictures.viewer()
        if viewer.size > room:
            break
        room -= viewer.size
        viewers.append(viewer)
    for k in range(max((viewer.all_samples for viewer in viewers), default=0)):
        for pictures, viewer in zip(kept, viewers):
            frame = pictures.sample(k) if k < viewer.all_samples and len(viewer.samples) == k else None
            if frame is not None and len(frame.url) <= room:
                room -= len(frame.url)
                viewer.samples.append(frame)
    for pictures, viewer in zip(kept, viewers):
        for panel in pictures.spread():
            if panel.size <= room:
                room -= panel.size
                viewer.spread.append(panel)
    return viewers, len(kept) - len(viewers)


@dataclass(frozen=True)
class Pictures:
    """The kept pictures of an image: in `folder`, shown within `box`."""

    folder: Path
    row: Row
    box: Box
    cut: str
    names: list[str]

    @classmethod
    def of(cls, folder: Path, row: Row) -> "Pictures | None":
        """Return those of an image; None where there is none that can be read."""
        source = own_images(folder, f"images/{row.name}/estimate.tif")
        if source is None:
            return None
        box, cut = middle_of(source.shape(0))
        return cls(folder, row, box, cut, sorted(f.stem for f in (folder / "images" / row.name).glob("sample_*.tif")))

    def read(self, name: str) -> Tensor | None:
        """Return a picture (C, h, w), in its units; None where it is not there, damaged or of another size."""
        source = own_images(self.folder, f"images/{self.row.name}/{name}.tif")
        try:
            return None if source is None else source.read(0, self.box)
        except UnveilError:
            return None

    @property
    def shown(self) -> Shown:
        return self.row.picture or Shown()

    @property
    def window(self) -> tuple[float, float]:
        low, high = self.shown.window
        return (low, high) if high > low else (low, low + 1)

    def viewer(self) -> Viewer:
        viewer = Viewer(self.row.name, self.shown, self.box[3], self.box[2], self.cut, all_samples=len(self.names))
        found = {name: self.read(name) for name in (*TITLES, *MAPS, *RATIOS)}
        for name, title in TITLES.items():
            if (x := found[name]) is not None:
                viewer.panels.append(Panel(name, title, [self._frame(title, x)]))
        estimate, spread = found["estimate"], found[DEVIATION]
        if spread is not None and estimate is not None:
            high = max(float(spread.max()), 1e-30)
            viewer.places, viewer.unsure = where_unsure(spread[0], intensities(estimate).mean(0))
            alt = f"Map of the samples' standard deviation, {self.row.name}. {viewer.unsure}"
            frame = Frame("Uncertainty", alt, data_url(coloured(spread[0], high)))
            viewer.panels.append(Panel(DEVIATION, "Uncertainty: the samples' standard deviation", [frame], high))
        if (moved := found[MOVED]) is not None:
            high = max(float(moved.max()), 1e-30)
            said = (
                f"Were the measurement repeated: the estimate's standard deviation, in the middle {_middle(moved):.3g}"
            )
            frame = Frame("Noise", f"{said}. {self.row.name}", data_url(coloured(moved[0], high)))
            viewer.panels.append(Panel(MOVED, "Noise in the estimate: its standard deviation", [frame], high))
        for one in (one for figure in FIGURES for one in figure.maps):
            if (x := found[one.name]) is not None:
                high = max(float(x.max()), 1e-30)
                alt = f"{one.title}: {one.note}; in the middle {_middle(x):.3g}. {self.row.name}"
                frame = Frame(one.title, alt, data_url(coloured(x[0], high)))
                viewer.panels.append(Panel(one.name, one.title, [frame], high, one.note))
        return viewer

    def sample(self, k: int) -> Frame | None:
        x = self.read(self.names[k])
        return None if x is None else self._frame(f"Sample {k + 1} of {len(self.names)}", x)

    def spread(self) -> Iterator[Panel]:
        """Yield panels of two pictures: both ends of each principal component, and of the pixels' distribution."""
        for k in range(1, COMPONENTS + 1):
            title = f"Samples differ, way {k}"
            note = f"Two deviations to each side of the samples' mean, along principal component {k}."
            names = {f"component_{k}_minus": "minus two deviations", f"component_{k}_plus": "plus two deviations"}
            yield from self._pair(f"component_{k}", title, note, names)
        names = {"quantile_05": "5% quantile", "quantile_95": "95% quantile"}
        yield from self._pair(
            "quantiles", "Quantiles", "Of each pixel by itself: 90% of the samples lie between.", names
        )
        note = "90% of the pixels' true values lie between, in the mean: made wide enough by the measurements."
        names = dict(zip(INTERVAL, ("lower end", "upper end")))
        yield from self._pair("intervals", "Calibrated intervals of 90%", note, names)

    def _pair(self, key: str, title: str, note: str, names: Mapping[str, str]) -> Iterator[Panel]:
        found = {words: self.read(name) for name, words in names.items()}
        frames = [self._frame(words, x, f"{title}: ") for words, x in found.items() if x is not None]
        if len(frames) == len(names):
            yield Panel(key, title, frames, note=note)

    def _frame(self, name: str, x: Tensor, of: str = "") -> Frame:
        return Frame(name, f"{of}{name}: {self.row.name}", data_url(png(x, self.window)))


def _middle(x: Tensor) -> float:
    return float(x.median())


def middle_of(shape: tuple[int, int, int]) -> tuple[Box, str]:
    """Return the part of an image (C, H, W) that is shown, and that in words."""
    channels, height, width = shape
    side = int((MOST_VALUES / (3 if channels == 3 else 1)) ** 0.5)
    if height * width <= side**2:
        return (0, 0, height, width), f"{width} × {height} pixels"
    h, w = min(height, side), min(width, side)
    box = ((height - h) // 2, (width - w) // 2, h, w)
    return box, f"the middle {w} × {h} of {width} × {height} pixels"


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
