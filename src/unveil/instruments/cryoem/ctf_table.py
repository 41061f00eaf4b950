"""The optics of each particle from the tables that microscopists have: RELION's .star, or .csv.

A .star file has a table of particles, and since RELION 3.1 another of optics groups whose values hold for every
particle of the group (names and units: https://github.com/3dem/relion, src/metadata_label.h). A .csv file has one line
a particle below a line of names, those of `Optics` or of RELION. Other columns are not read.
"""

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unveil.errors import UnveilError

__all__ = ["box_sides", "read_ctf_table"]

RELION = {
    "rlnImagePixelSize": "pixel_size",
    "rlnVoltage": "voltage",
    "rlnSphericalAberration": "cs",
    "rlnAmplitudeContrast": "amplitude_contrast",
    "rlnDefocusU": "defocus_u",
    "rlnDefocusV": "defocus_v",
    "rlnDefocusAngle": "defocus_angle",
    "rlnPhaseShift": "phase_shift",
}
"""Column of a .star file -> field of `Optics`; the units are the same."""

_PIXEL = ("rlnDetectorPixelSize", "rlnMagnification")
"""Before RELION 3.1: the detector's pixel, micrometres, and by how much the image was magnified."""
_SIDE = "rlnImageSize"
_GROUP = "rlnOpticsGroup"
_IMAGE = "rlnImageName"

Columns = dict[str, Sequence[Any]]


def read_ctf_table(path: str, key: str) -> dict[str, Tensor]:
    """Return those of the fields of `Optics` that the file has, name -> (N,).

    One row for each particle, in the order of the file.

    key: of the configuration, for the messages. Beam tilt, higher aberrations, anisotropic magnification and B-factors
    are not read. Raises UnveilError when the file is missing, of another kind or cannot be read, when it has none of
    the columns or a value that is no number, and when its image names (`rlnImageName`, number@stack) are not in the
    order in which stacks are read.
    """
    file = Path(path)
    if not file.is_file():
        raise UnveilError(f"{key}: {path} does not exist; give a .star or .csv file")
    readers = {".star": _read_star, ".csv": _read_csv}
    if file.suffix.lower() not in readers:
        raise UnveilError(
            f"{key}: {path} is neither .star nor .csv; give a RELION particle table, or a .csv with a line of names"
        )
    try:
        columns = readers[file.suffix.lower()](file)
    except UnveilError as error:
        raise UnveilError(f"{key}: {error}") from None
    except Exception as error:  # parsers raise whatever comes
        reason = " ".join(str(error).split())[:160]
        raise UnveilError(f"{key}: {path} cannot be read ({type(error).__name__}: {reason}); write it again") from None
    if _IMAGE in columns:
        _check_order(columns[_IMAGE], f"{key}: {path}")
    if not {"rlnImagePixelSize", "pixel_size"} & set(columns) and set(_PIXEL) <= set(columns):
        detector, magnification = (_numbers(columns[name], f"{key}: {path}: {name}") for name in _PIXEL)
        columns = {**columns, "rlnImagePixelSize": (1e4 * detector / magnification).tolist()}
    found = {RELION.get(name, name): name for name in columns if RELION.get(name, name) in RELION.values()}
    if not found or not len(next(iter(columns.values()))):
        raise UnveilError(f"{key}: {path} has no rows of {', '.join(RELION)}; give a table of particles")
    return {name: _numbers(columns[column], f"{key}: {path}: {column}") for name, column in found.items()}


def box_sides(path: str) -> set[int]:
    """Return the sides of the images, pixels, that a RELION table states; empty where it, or a .csv, does not.

    path: of a table that `read_ctf_table` can read.
    """
    if Path(path).suffix.lower() != ".star":
        return set()
    try:
        return {int(side) for side in _read_star(Path(path)).get(_SIDE, ())}
    except (TypeError, ValueError):  # no numbers: that of no image
        return set()


def _read_csv(file: Path) -> Columns:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        names, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines) if row)
    wrong = next((k for k, row in enumerate(rows) if len(row) != len(names)), None)
    if wrong is not None:
        raise UnveilError(
            f"{file}: row {wrong + 1} has {len(rows[wrong])} values for {len(names)} names; write it again"
        )
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _read_star(file: Path) -> Columns:
    try:
        import starfile
    except ImportError:
        raise UnveilError(f"{file} needs the starfile package: pip install 'unveil[cryoem]'") from None
    blocks = {name: _columns(block) for name, block in starfile.read(file, always_dict=True).items()}
    tables = [name for name in blocks if name != "optics"]
    name = "particles" if "particles" in blocks else tables[0] if len(tables) == 1 else None
    if name is None:
        raise UnveilError(f"{file} has the tables {', '.join(blocks) or 'none'}; give a file with a table of particles")
    columns, optics = blocks[name], blocks.get("optics", {})
    if not optics or _GROUP not in columns:
        return columns
    row = {group: k for k, group in enumerate(optics[_GROUP])}
    unknown = set(columns[_GROUP]) - set(row)
    if unknown:
        raise UnveilError(f"{file} has particles of the optics group {min(unknown)}, which its table of optics lacks")
    shared = {name: [values[row[group]] for group in columns[_GROUP]] for name, values in optics.items()}
    return {**shared, **columns}


def _columns(block: Any) -> Columns:
    """Return the columns of a table of `starfile`, or of a block of single values, which it gives as a dictionary."""
    if isinstance(block, dict):
        return {name: [value] for name, value in block.items()}
    return {str(name): block[name].tolist() for name in block.columns}


def _numbers(values: Sequence[Any], where: str) -> Tensor:
    numbers = []
    for row, value in enumerate(values):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UnveilError(f"{where}: row {row + 1} is {value!r}, not a number; mend it or remove the particle")
        numbers.append(number)
    return torch.tensor(numbers)


def _check_order(names: Sequence[Any], where: str) -> None:
    """Raise UnveilError for rows in another order than the images.

    They would pair each particle with the optics of another, without any sign of it.
    """
    before: list[str | int] = []
    k = 0
    for row, name in enumerate(names):
        number, _, stack = str(name).partition("@")
        if not stack or not number.isdecimal():
            return  # not an image of a stack
        parts = re.split("([0-9]+)", Path(stack).name.casefold())  # text and numbers in turn: micrograph 2 before 10
        place: list[str | int] = [int(part) if i % 2 else part for i, part in enumerate(parts)]
        if int(number) <= (k if place == before else 0) or place < before:
            raise UnveilError(
                f"{where}: row {row + 1}, {name}, is out of order; sort the rows by stack, in natural order, and "
                f"number, or remove the column {_IMAGE} if the measurements are in the order of "
                "the rows"
            )
        before, k = place, int(number)
