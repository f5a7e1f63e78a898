"""The cover of a package: the test image, and beside it what the model sees in it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_segnet.models.info import ModelInfo

_SIDE = 256
_MIX = 0.45
"""Share of a class's colour over the image."""
_INSTANCE_COLOURS = ("#000000", "#31a354", "#fec44f")
"""Of background, inside and boundary."""


def draw_cover(info: ModelInfo, image: NDArray[Any], probabilities: NDArray[np.float32]) -> bytes:
    """Draw an image, and the image with the likeliest classes in their colours, side by side.

    Parameters
    ----------
    info : ModelInfo
    image : (C, [Z], Y, X) array
        Of volumes the middle plane is drawn; of other than three channels the first.
    probabilities : (K, [Z], Y, X) float32

    Returns
    -------
    bytes
        A PNG, twice as wide as high.
    """
    plane, answer = _middle(image), _middle(probabilities)
    side = min(plane.shape[-2:])
    plane, answer = plane[:, :side, :side], answer[:, :side, :side]
    left = np.moveaxis(plane if len(plane) == 3 else plane[:1].repeat(3, axis=0), 0, -1)
    low, high = np.percentile(left, (1, 99))
    grey = np.clip((left - low) / max(high - low, 1e-6) * 255, 0, 255)
    named = [c.colour for c in info.classes] if info.task == "semantic" else _INSTANCE_COLOURS
    colours = np.array([[int(one[n : n + 2], 16) for n in (1, 3, 5)] for one in named], np.float64)
    mixed = (1 - _MIX) * grey + _MIX * colours[answer.argmax(axis=0)]
    halves = [
        Image.fromarray(half.astype(np.uint8)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        for half in (grey, mixed)
    ]
    cover = Image.new("RGB", (2 * _SIDE, _SIDE))
    for number, half in enumerate(halves):
        cover.paste(half, (number * _SIDE, 0))
    file = io.BytesIO()
    cover.save(file, "PNG", optimize=True)
    return file.getvalue()


def _middle(array: NDArray[Any]) -> NDArray[Any]:
    """Return the middle plane of a volume (C, Z, Y, X), or the plane itself."""
    return array[:, array.shape[1] // 2] if array.ndim == 4 else array
