"""Colours of figures and error pictures: those of Okabe and Ito, which people with any colour vision tell apart.

Okabe, M., Ito, K. (2008). Color Universal Design: how to make figures and presentations that are friendly to
colorblind people. University of Tokyo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_segnet.config import LabelClass
from napari_segnet.data.labels import PALETTE

BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
SKY, VERMILION, YELLOW, BLACK = "#56b4e9", "#d55e00", "#f0e442", "#000000"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK)
"""Lines of a figure, in order."""

NOTHING, HIT, MISSED, INVENTED, CONFUSED, IGNORED = range(6)
"""What a pixel of an error picture says."""
ERROR_COLOURS = ("#101010", "#d9d9d9", "#56b4e9", "#d55e00", "#cc79a7", "#555555")
"""Of `NOTHING` ... `IGNORED`: background in both, right, missed, invented, another class, doesn't count."""
ERROR_WORDS = ("background in both", "right", "missed", "invented", "another class", "doesn't count")


def class_colours(values: Sequence[int], classes: Sequence[LabelClass] = ()) -> dict[int, str]:
    """Return the colour of each value: that of its class, else the palette's; black for a background without one.

    Parameters
    ----------
    values : sequence of int
    classes : sequence of LabelClass

    Returns
    -------
    dict of int to str
        ``"#rrggbb"``.
    """
    known: Mapping[int, str] = {c.value: c.colour for c in classes}
    return {value: known.get(value, _palette(value)) for value in values}


def _palette(value: int) -> str:
    return "#101010" if value == 0 else PALETTE[(value - 1) % len(PALETTE)]
