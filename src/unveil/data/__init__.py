"""Measurements in the formats users have, read lazily and written atomically.

`open_images` turns a path into an `ImageSource`; `crops` draws training batches from one; `save_image` writes
a result. Importing this package loads no file format: each one's library is imported when a file of its kind
is opened.
"""

from unveil.data.atomic import atomic_write
from unveil.data.cells import heldout_cells, training_cells
from unveil.data.crops import crops
from unveil.data.draws import DrawStore
from unveil.data.gaps import Gaps
from unveil.data.measured import Measured
from unveil.data.memory import MemorySource
from unveil.data.open import have_datasets, open_images
from unveil.data.photographs import heldout_photographs, training_photographs
from unveil.data.source import ImageSource, Origin, Subset, Window
from unveil.data.write import save_image

__all__ = [
    "DrawStore",
    "Gaps",
    "ImageSource",
    "Measured",
    "MemorySource",
    "Origin",
    "Subset",
    "Window",
    "atomic_write",
    "crops",
    "have_datasets",
    "heldout_cells",
    "heldout_photographs",
    "open_images",
    "save_image",
    "training_cells",
    "training_photographs",
]
