"""Tables of results: like the one that describes the measurements, its rows naming what was made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from unveil.cli.batch import Layer, layer_file
from unveil.cli.outputs import Results
from unveil.config import Config
from unveil.data import atomic_write
from unveil.data.like import Target
from unveil.data.star import image_names, with_image_names
from unveil.training.setup import instrument

__all__ = ["result_tables", "write_tables"]

_STACKS = (".mrc", ".mrcs")


def result_tables(config: Config, targets: Sequence[Target], layers: Sequence[Layer], out: Path) -> dict[str, str]:
    """Return the tables that belong to results in the folder `out`: name -> text, one for each layer of images.

    None where the instrument has no table of RELION whose rows name images, or results are no stacks of MRC.
    """
    stated = instrument(config).table(config.operator)
    if stated is None or Path(stated).suffix.lower() != ".star" or any(t.suffix not in _STACKS for t in targets):
        return {}
    with open(stated, encoding="utf-8", newline="") as file:
        text = file.read()
    tables = {}
    for layer in layers:
        names = [
            f"{k + 1:06d}@{(out / layer_file(target, layer)).as_posix()}"
            for target in targets for k in range(len(target.images))
        ]  # fmt: skip
        if not layer.spread and len(image_names(text)) == len(names):
            quoted = [f'"{name}"' if len(name.split()) > 1 else name for name in names]
            stem = Path(stated).stem
            tables[f"{stem}/{layer.name}.star" if layer.name else f"{stem}.star"] = with_image_names(text, quoted)
    return tables


def write_tables(tables: Mapping[str, str], results: Results) -> None:
    """Write the tables into the folder of results."""
    for name, text in tables.items():
        atomic_write(results.path(name), partial(_write, text))


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="")
