"""The bundled images with their strokes: for the demo, the viewer's sample menu and trying things out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from napari_segnet.errors import unknown_name


@dataclass(frozen=True)
class Sample:
    """One bundled image. `classes` names the values of its strokes from 1 on; 0 means not painted.

    `pixel_size` is the side of a pixel in `units`, where it is known.
    """

    name: str
    title: str
    axes: str
    classes: tuple[str, ...]
    reference: bool = False
    pixel_size: float | None = None
    units: str | None = None


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample("coins", "Greek coins (grey)", "YX", ("background", "coin"), reference=True),
        Sample(
            "cell",
            "Cell in saline (phase)",
            "YX",
            ("background", "cell"),
            pixel_size=0.107,
            units="micrometer",
        ),
        Sample("immunohistochemistry", "Colon glands (histology, RGB)", "YXC", ("background", "gland")),
        Sample("retina", "Retina (fundus, RGB)", "YXC", ("background", "vessel", "optic disc")),
    )
}


def load_sample(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Read a bundled image, its strokes, and its reference mask where there is one.

    Parameters
    ----------
    name : str
        A key of `SAMPLES`.

    Returns
    -------
    image : (Y, X) or (Y, X, 3) uint8
    strokes : (Y, X) uint8
        0 where nothing was painted, else the class.
    reference : (Y, X) uint8 or None
        The class of every pixel; the strokes were painted without it.

    Raises
    ------
    ConfigError
        If there is no such image.
    """
    if name not in SAMPLES:
        raise unknown_name("sample image", name, SAMPLES)
    reference = _read(f"{name}_reference.png") if SAMPLES[name].reference else None
    return _read(f"{name}.png"), _read(f"{name}_strokes.png"), reference


def _read(file: str) -> NDArray[Any]:
    content = (resources.files("napari_segnet") / "sample_images" / file).read_bytes()
    return np.asarray(iio.imread(content, extension=".png"))
