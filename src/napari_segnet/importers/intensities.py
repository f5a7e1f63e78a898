"""What a model of another tool was fed with, in the words of our normalization."""

from __future__ import annotations

from typing import Literal

from napari_segnet.data.normalization import Normalization
from napari_segnet.errors import ConfigError

Intensities = Literal["auto", "0..1", "imagenet", "raw"]

_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalization(kind: Intensities, minimum: float, maximum: float, channels: int) -> Normalization:
    """Return the normalization that feeds a network as another tool did.

    Ours maps `low` .. `high` to -1 .. 1, so 0 lies in their middle and 1 at `high`.

    Parameters
    ----------
    kind : {"0..1", "imagenet", "raw"}
        Images scaled so that `minimum` becomes 0 and `maximum` 1; the same, minus ImageNet's mean and divided by its
        standard deviation; or images as they are.
    minimum, maximum : float
        0 and 255 for images of 8 bits.
    channels : int
        Channels of the image.

    Raises
    ------
    ConfigError
        For ImageNet's numbers where the image isn't RGB.
    """
    if kind == "raw":
        return Normalization(mode="none")
    means, spreads = (0.0,) * channels, (1.0,) * channels
    if kind == "imagenet":
        if channels != 3:
            raise ConfigError(
                f"ImageNet's mean and spread are for RGB, but this model has {channels} channels.",
                "Say what it was fed with: --set intensities=0..1 or raw.",
            )
        means, spreads = _MEAN, _SPREAD
    span = maximum - minimum
    return Normalization(
        mode="dataset",
        low=tuple(minimum + span * (mean - spread) for mean, spread in zip(means, spreads, strict=True)),
        high=tuple(minimum + span * (mean + spread) for mean, spread in zip(means, spreads, strict=True)),
    )
