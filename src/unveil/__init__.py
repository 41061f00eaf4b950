"""unveil: learn to image from measurements alone.

    measurement m = (y, operator, noise) -> loss -> training -> estimator f(m) -> going on measuring -> samples -> evidence

Each step is a subpackage: `noise`, `operators`, `symmetry`, `data`, `estimators`, `losses`, `identify`, `diffusion`, `training`, `evaluation`, `report`.
They load when first used, so that `import unveil` and the command line start at once.
"""

import importlib
from types import ModuleType

__version__ = "0.2.0"
__all__ = [
    "data",
    "diffusion",
    "estimators",
    "evaluation",
    "identify",
    "losses",
    "measurement",
    "noise",
    "operators",
    "report",
    "symmetry",
    "training",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"unveil.{name}")
    raise AttributeError(f"module 'unveil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
