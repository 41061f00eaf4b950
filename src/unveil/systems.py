"""The `system` section of a configuration: which imaging system measured the data, as YAML. One class a system.

Kept apart from `unveil.operators`, which builds what is described here and loads deepinv.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Identity", "InpaintingSystem", "System"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Identity(Section):
    """The measurements are the images themselves, with noise."""

    kind: Literal["identity"] = "identity"


class InpaintingSystem(Section):
    """Missing pixels: the entries of the measurements that the mask does not select are ignored."""

    kind: Literal["inpainting"] = "inpainting"
    mask: str = Field(
        description="PNG or .npy, (H, W) or one mask per measurement (N, H, W); 0 where a pixel is missing"
    )


System = Annotated[Identity | InpaintingSystem, Field(discriminator="kind")]
