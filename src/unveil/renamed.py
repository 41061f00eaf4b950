"""Keys of configuration version 1, by the names that they have now: scripts that override them go on working, and are told."""

__all__ = ["present_name"]

SECTIONS = {"loss": "loss", "em": "em", "operator": "operator"}
KEYS = {
    "loss.scales": "loss.scales",
    "loss.normalized": "loss.normalized",
    "estimator.std": "estimator.std",
    "operator.std": "operator.std",
    "sampling.inflation": "sampling.inflation",
}


def present_name(key: str) -> str:
    """Return the name of a key, as "section.name", in the present version: itself unless it has another.

    >>> present_name("loss.scales"), present_name("training.steps")
    ('loss.scales', 'training.steps')
    """
    section, dot, name = key.partition(".")
    moved = f"{SECTIONS.get(section, section)}{dot}{name}"
    return KEYS.get(moved, moved)
