"""unveil: learn to image from measurements alone.

    y = torch.rand(30, 1, 128, 128)                    # noisy images, and nothing else
    model = unveil.learn(y)                            # operator=..., noise=unveil.noise.Poisson(...), steps=...,
                                                       # backbone=...
    x_hat, samples = model(y[:1]), model.sample(y[:1], 8)
    model.save("runs/mine")

What is behind it, each a subpackage or a module:

    measurement m = (y, operator, noise) -> loss -> training -> estimator f(m)
        -> going on measuring -> samples -> evidence

All load when first used, so that `import unveil` and the command line start at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unveil.interop import as_deepinv
    from unveil.measurement import Measurement
    from unveil.model import Model, learn, open_run

__version__ = "0.3.0"
__all__ = [
    "Measurement",
    "Model",
    "as_deepinv",
    "data",
    "diffusion",
    "estimators",
    "evaluation",
    "identifiability",
    "learn",
    "losses",
    "measurement",
    "noise",
    "open_run",
    "operators",
    "report",
    "symmetry",
    "training",
]

_FRONT = {
    "Measurement": "unveil.measurement",
    "Model": "unveil.model",
    "as_deepinv": "unveil.interop",
    "learn": "unveil.model",
    "open_run": "unveil.model",
}
"""Name -> the module that has it."""


def __getattr__(name: str) -> Any:
    if name in _FRONT:
        return getattr(importlib.import_module(_FRONT[name]), name)
    if name in __all__:
        return importlib.import_module(f"unveil.{name}")
    raise AttributeError(f"module 'unveil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
