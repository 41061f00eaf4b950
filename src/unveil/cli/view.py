"""unveil view: a run's results in napari where that is installed, and else its page in the browser.

napari (https://napari.org) is no dependency: it brings a window system's libraries, which servers do not have.
"""

import importlib.util
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np

from unveil.cli.screen import say
from unveil.errors import UnveilError
from unveil.report.kept import DEVIATION
from unveil.report.look import MAP, intensities
from unveil.report.record import Row, Shown, own_images, read_evaluation
from unveil.runs import open_run

__all__ = ["run_view"]

INSTALL = "napari is not installed (pip install 'napari[all]' shows the results there)"


def run_view(run_folder: Path) -> None:
    """Raise UnveilError where the run has no results."""
    run = open_run(run_folder)
    evaluation = read_evaluation(run.folder)
    if importlib.util.find_spec("napari") is None:
        page = run.folder / "report.html"
        if not page.is_file():
            raise UnveilError(f"{page}: no such file; first run unveil report {run_folder}")
        opened = webbrowser.open(page.resolve().as_uri())
        say(f"{INSTALL}; {'opened' if opened else 'open'} {page}")
        return
    import napari

    viewer = napari.Viewer(title=f"unveil: {run_folder}")
    shown = 0
    for row in evaluation.images:
        shown += add_image(viewer, run.folder, row, visible=not shown)
    if not shown:
        raise UnveilError(f"{run.folder / 'images'}: holds no pictures; run unveil evaluate {run_folder} again")
    if not evaluation.valid:
        viewer.status = str(evaluation.warnings[0]) if evaluation.warnings else "the noise model does not fit"
    napari.run()


def add_image(viewer: Any, folder: Path, row: Row, visible: bool) -> int:
    """Add the pictures of an image as layers, its samples as one; return how many were there.

    All have one window of intensities, and the pixel's size.
    """
    look = row.picture or Shown()
    layers = {name: read(folder, row, [name]) for name in (DEVIATION, "measured", "estimate", "reference")}
    names = sorted(path.stem for path in (folder / "images" / row.name).glob("sample_*.tif"))
    layers["samples"] = read(folder, row, names)
    found = {name: stack for name, stack in layers.items() if stack is not None}
    for name, stack in found.items():
        colour = stack.shape[-1] == 3 and name != DEVIATION
        low, high = (0.0, float(stack.max())) if name == DEVIATION else look.window
        shown = np.clip((stack - low) / (high - low), 0, 1) if colour else stack[..., 0]  # napari's colours end at 1
        viewer.add_image(
            shown if name == "samples" else shown[0],
            name=f"{row.name}: {name}",
            scale=(look.pixel or 1.0, look.pixel or 1.0),
            visible=visible,
            **({"rgb": True} if colour else {"contrast_limits": (low, high), "colormap": COLOURS.get(name, "gray")}),
        )
    if found and look.pixel is not None:
        viewer.scale_bar.visible, viewer.scale_bar.unit = True, look.pixel_unit
    return len(found)


COLOURS = {DEVIATION: MAP}


def read(folder: Path, row: Row, names: list[str]) -> np.ndarray | None:
    """Return pictures (n, H, W, 1 or 3), in their units; None where one is not there, or damaged."""
    stack = []
    for name in names:
        source = own_images(folder, f"images/{row.name}/{name}.tif")
        try:
            if source is None:
                return None
            stack.append(intensities(source.read(0)).permute(1, 2, 0).numpy())
        except UnveilError:
            return None
    return np.stack(stack) if stack and len({x.shape for x in stack}) == 1 else None
