"""The classes of predictions: which they are, and the colours of their values. Imports no torch."""

from __future__ import annotations

from napari_segnet.config import LabelClass
from napari_segnet.models.info import ModelInfo

_BLACK = "#000000"
_MOST_COLOURS = 256


def output_classes(info: ModelInfo) -> tuple[LabelClass, ...]:
    """Return the classes of a model's labels and probabilities, in order.

    For a model of instances they are background and object, whatever the network's outputs are.
    """
    if info.task == "semantic":
        return info.classes
    thing = info.classes[-1]
    return (
        LabelClass(value=0, name="background", colour=_BLACK),
        LabelClass(value=1, name=thing.name, colour=thing.colour),
    )


def colour_table(info: ModelInfo) -> list[str] | None:
    """Return the colours of the label values 0, 1, 2 ...; None where there are too many for a table."""
    colours = {c.value: c.colour for c in output_classes(info)}
    if max(colours) >= _MOST_COLOURS:
        return None
    return [colours.get(value, _BLACK) for value in range(max(colours) + 1)]
