"""Figures of a page, where they are wanted."""

from __future__ import annotations

from napari_segnet.reports.charts import Chart
from napari_segnet.reports.page import Part
from napari_segnet.reports.parts import chart_gallery


class Figures:
    """Makes galleries of figures, and keeps the figures.

    Parameters
    ----------
    wanted : bool
        Whether figures are to be drawn at all; who draws asks first.

    Attributes
    ----------
    charts : list of Chart
        All that were drawn.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        self.charts: list[Chart] = []

    def __call__(self, *charts: Chart) -> list[Part]:
        """Return a gallery of figures; nothing of none."""
        self.charts += charts
        return [chart_gallery(charts)] if charts else []
