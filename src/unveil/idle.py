"""Keys of a configuration that do nothing for its instrument, its noise or its recipe: they are refused.

A value that is the default, or one of the instrument's settings, is nobody's choice and is not refused; nor is one that
says what is done anyhow.
"""

from collections.abc import Callable
from typing import Any

from unveil.config import Config
from unveil.errors import UnveilError
from unveil.instruments.instrument import Instrument
from unveil.instruments.registry import INSTRUMENTS

__all__ = ["idle_keys", "refuse_idle"]

USED_BY: dict[str, tuple[str, ...]] = {
    "scales": ("default", "ambient"),
    "levels": ("default", "unsure", "ambient", "measured", "sure", "nsure", "equivariant", "equivariant-splitting"),
    "symmetry": ("default", "unsure", "equivariant", "equivariant-splitting"),
    "equivariance": ("default", "unsure", "equivariant"),
    "seen": ("default", "unsure"),
    "near": ("default", "unsure"),
    "hidden": ("default", "unsure", "ambient", "splitting", "equivariant-splitting"),
    "normalized": ("default", "unsure"),
}
"""Key of `loss` -> the recipes that read it."""

UNSEEN = ("symmetry", "equivariance", "seen", "hidden", "camera", "nonnegative")
"""Keys of `loss` that teach what the instrument leaves out."""

Rule = Callable[[Config, Instrument], str | None]
"""(configuration, its instrument) -> why the key does nothing; None where it does something."""


def _loss(key: str) -> Rule:
    def why(config: Config, instrument: Instrument) -> str | None:
        loss = config.loss
        if key in UNSEEN and instrument.sees_all:
            return f"{instrument.kind} leaves nothing out that it could teach"
        if key in USED_BY and config.loss.recipe not in USED_BY[key]:
            readers = ", ".join(USED_BY[key]) + (" does" if len(USED_BY[key]) == 1 else " do")
            return f"loss.recipe = {config.loss.recipe} does not read it; {readers}"
        if key == "nonnegative" and not (loss.camera or (loss.equivariance and loss.recipe in USED_BY["seen"])):
            return "neither equivariant imaging in the default recipe nor loss.camera teaches anything"
        if key == "near" and not instrument.sees_all:
            return f"{instrument.kind} leaves something out, and Stein's estimate is for complete images"
        if key == "near" and not config.noise.additive:
            return f"Stein's estimate is exact for Gaussian noise alone, not for noise.kind = {config.noise.kind}"
        if key == "scales" and not instrument.scales:
            return f"measurements by {instrument.kind} have no coarser ones in them"
        if key == "seen" and not config.loss.equivariance:
            return "loss.equivariance is 0"
        return None

    return why


def _crops(config: Config, instrument: Instrument) -> str | None:
    return None if instrument.sees_all else f"measurements by {instrument.kind} are learned from whole"


def _unwrapped(config: Config, instrument: Instrument) -> str | None:
    form = config.estimator.form
    return (
        None if form == "preconditioned" else f"estimator.form = {form} has no such number: it follows the image's own"
    )


def _prior(config: Config, instrument: Instrument) -> str | None:
    if instrument.sees_all and config.estimator.prior == "stationary":
        return f"{instrument.kind} leaves nothing out that a spectrum could tell"
    return None


def _complete(config: Config, instrument: Instrument) -> str | None:
    if instrument.sees_all:
        return None
    return f"rounds draw complete images, and {instrument.kind} leaves something out, of which loss.camera learns"


def _rounds(config: Config, instrument: Instrument) -> str | None:
    return None if config.em.rounds else "em.rounds is 0"


def _inflation(config: Config, instrument: Instrument) -> str | None:
    if config.loss.camera and not instrument.sees_all:
        return "samples are drawn by going on with a camera"
    return "the sampler has fewer than three steps" if config.sampling.steps < 3 else None


def _gaps(config: Config, instrument: Instrument) -> str | None:
    return None if instrument.sees_all else f"what {instrument.kind} does not measure its own keys say"


RULES: dict[str, Rule] = {
    "data.saturated": _gaps,
    "data.dead": _gaps,
    **{f"loss.{key}": _loss(key) for key in (*USED_BY, "camera", "nonnegative")},
    "estimator.mean": _unwrapped,
    "estimator.std": _unwrapped,
    "estimator.iterations": _unwrapped,
    "estimator.prior": _prior,
    "training.crop": _crops,
    "training.augment": _crops,
    "em.rounds": _complete,
    "em.delta": _rounds,
    "em.steps": _rounds,
    "em.images": _rounds,
    "em.draw_steps": _rounds,
    "sampling.inflation": _inflation,
}
"""Key -> when it does nothing."""

ANYHOW: dict[str, Any] = {"sampling.inflation": 0.0}
"""Key -> the value that says what is done where the key does nothing: x is then drawn by the exact sampler."""


def idle_keys(config: Config, kind: str | None = None) -> dict[str, str]:
    """Return the keys that do nothing, whatever their value: name -> why.

    kind: of the instrument, where the configuration does not say it.
    """
    instrument = INSTRUMENTS[kind or config.operator.kind]
    found = {key: rule(config, instrument) for key, rule in RULES.items()}
    return {key: why for key, why in found.items() if why is not None}


def refuse_idle(config: Config, where: str, kind: str | None = None) -> Config:
    """Return the configuration. kind: as in `idle_keys`.

    Raises UnveilError, which names the key and `where` it stands, for one that does nothing.
    """
    instrument = INSTRUMENTS[kind or config.operator.kind]
    for key, why in idle_keys(config, kind).items():
        section, name = key.split(".")
        value = getattr(getattr(config, section), name)
        usual = type(getattr(config, section)).model_fields[name].default
        setting = instrument.settings.get(section, {}).get(name, usual)
        if value not in (usual, tuple(setting) if isinstance(setting, list) else setting, ANYHOW.get(key, usual)):
            raise UnveilError(f"{where}: {key} = {shown(value)} does nothing: {why}; leave it out")
    return config


def shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
