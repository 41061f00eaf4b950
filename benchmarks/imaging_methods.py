"""What incomplete.py compares: reconstruction without learning, the supervised network, and recipes on measurements
alone."""

from dataclasses import dataclass, field

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True)
class Method:
    """label: in tables. recipe: of `unveil.training.recipes`; supervised, supervised-above; pseudo-inverse, linear, tv,
    which train no network; or the module of a method that is trained in a way of its own (`published.py`).
    loss, estimator, em: settings over the task's.
    """

    label: str
    recipe: str
    loss: dict = field(default_factory=dict)
    estimator: dict = field(default_factory=dict)
    em: dict = field(default_factory=dict)


METHODS = {
    "pseudo-inverse": Method("A^+ y", "pseudo-inverse"),
    "linear": Method("best linear estimate, spectrum learned from y", "linear"),
    "tv": Method("total variation", "tv"),
    "supervised": Method("supervised", "supervised"),
    "supervised-above": Method("supervised, s >= sigma_n", "supervised-above"),
    "measured": Method("measurement space alone", "measured"),
    **{
        f"measured-camera-{weight:g}": Method(
            f"measurement space alone, loss.camera = {weight:g}", "measured", {"camera": weight}
        )
        for weight in (0.03, 0.1, 0.3, 1.0)
    },
    "ei": Method("equivariant imaging (EI)", "equivariant", {"equivariance": 1.0}),
    "ei-0.1": Method("EI, weight 0.1", "equivariant", {"equivariance": 0.1}),
    "splitting": Method("measurement splitting (SSDU)", "splitting", {"hidden": 0.4}),
    "ambient": Method("Ambient Diffusion (further corruption)", "ambient", {"hidden": 0.2}),
    "ambient-white": Method(
        "Ambient Diffusion, white start (as published)", "ambient", {"hidden": 0.2}, estimator={"prior": "white"}
    ),
    "es": Method("equivariant splitting", "equivariant-splitting", {"hidden": 0.2}),
    "default": Method("default", "default"),
    "camera": Method("default, with draws beside a camera", "default", {"camera": 1.0}),
    "supervised-camera": Method("supervised, beside a camera too", "supervised", {"camera": 1.0}),
    "diem": Method("DiEM (Rozet et al.)", "diem", em={"images": 30, "draw_steps": 8}),
    "msm": Method("MSM (Park et al.)", "msm"),
    "weighted-ssdu": Method("weighted SSDU, robust to noise", "weighted-ssdu"),
    "es-averaged": Method("equivariant splitting, network averaged over quarter turns", "reynolds", {"hidden": 0.2}),
}
