"""Keys of configuration version 1, by the names that they have now.

Scripts that override them go on working, and are told.
"""

__all__ = ["present_name"]

SECTIONS = {"risk": "loss", "refine": "em", "system": "operator"}
KEYS = {
    "loss.dilation": "loss.scales",
    "loss.renormalized": "loss.normalized",
    "estimator.deviation": "estimator.std",
    "operator.deviation": "operator.std",
    "sampling.gain": "sampling.inflation",
}


def present_name(key: str) -> str:
    """Return the name of a key, as "section.name", in the present version: itself unless it has another.

    >>> present_name("risk.dilation"), present_name("training.steps")
    ('loss.scales', 'training.steps')
    """
    section, dot, name = key.partition(".")
    moved = f"{SECTIONS.get(section, section)}{dot}{name}"
    return KEYS.get(moved, moved)
