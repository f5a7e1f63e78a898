"""How labels of known classes look in the viewer: colours, and what the dock remembers of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.utils.colormaps import DirectLabelColormap

from napari_segnet._layers import CLASSES_KEY
from napari_segnet.config import LabelClass
from napari_segnet.data.labels import PALETTE


def class_look(classes: Sequence[LabelClass]) -> dict[str, Any]:
    """Return arguments of a labels layer: its colours, and metadata that the dock's class table is made of."""
    known = [c for c in classes if c.value != 0]
    colours: dict[int | None, str] = {None: PALETTE[-1], 0: "transparent", **{c.value: c.colour for c in known}}
    return {
        "metadata": {CLASSES_KEY: {c.value: c.model_dump() for c in known}},
        "colormap": DirectLabelColormap(color_dict=colours),
    }
