"""Figures: one look, drawn without a window, saved as PNG and PDF, and embedded in pages.

`Figure` objects are used directly, never `matplotlib.pyplot`: nothing is kept after a figure is forgotten, and no
settings of the user's own figures are touched. matplotlib is imported where a figure is made: it takes half a second.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_segnet.reports.colours import CYCLE
from napari_segnet.reports.page import Picture, embed
from napari_segnet.run import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.6, 3.6
"""Size of a figure, inches."""
MANY_POINTS = 500
"""From so many points on they are drawn as pixels, also in a PDF."""
_DOTS_PER_INCH = 150
_CREATOR = "napari-segnet"
_LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 8,
    "pdf.fonttype": 42,
    "svg.hashsalt": "napari-segnet",
    "savefig.facecolor": "white",
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Chart:
    """A figure with the stem of its files, and the sentence below it; `alt` says it to those who can't see it."""

    name: str
    figure: Figure
    caption: str
    alt: str

    def picture(self) -> Picture:
        """Return the figure as vectors, to embed."""
        # Without a date the same numbers give the same file.
        vectors = _saved(self.figure, "svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return Picture(embed(vectors, "image/svg+xml"), self.alt, self.caption)

    def save(self, folder: Path) -> None:
        """Write ``NAME.png`` and ``NAME.pdf`` into a folder that exists."""
        write_atomically(folder / f"{self.name}.png", _saved(self.figure, "png"))
        write_atomically(
            folder / f"{self.name}.pdf",
            _saved(self.figure, "pdf", metadata={"Creator": _CREATOR, "CreationDate": None}),
        )


def save_charts(charts: Sequence[Chart], folder: Path) -> None:
    """Write figures as PNG and PDF into a folder; those of an earlier report that are none of them are removed."""
    names = {chart.name for chart in charts}
    for path in folder.glob("*.pdf"):
        if path.stem not in names and _CREATOR.encode() in path.read_bytes():
            path.unlink()
            path.with_suffix(".png").unlink(missing_ok=True)
    if charts:
        folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        chart.save(folder)


def _saved(figure: Figure, kind: str, metadata: dict[str, str | None] | None = None) -> bytes:
    file = io.BytesIO()
    with the_look(), warnings.catch_warnings():
        # Letters that the font lacks, such as Chinese ones, are boxes in figures; tables have them.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(file, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    # What was laid out once stays so: laying out takes longer than drawing.
    figure.set_layout_engine("none")
    return file.getvalue()


@contextmanager
def the_look() -> Iterator[None]:
    """Draw in the look of all figures, whatever the user's own settings are."""
    import matplotlib as mpl
    from cycler import cycler

    with mpl.rc_context():
        mpl.rcdefaults()
        look: Any = {**_LOOK, "axes.prop_cycle": cycler(color=CYCLE)}
        mpl.rcParams.update(look)
        yield


@contextmanager
def new_figure(
    columns: int = 1, rows: int = 1, width: float = WIDTH, height: float = HEIGHT
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make a figure, and draw on its axes within the ``with`` block.

    Parameters
    ----------
    columns, rows : int
        Number of axes beside and below each other.
    width, height : float
        Size of the whole, inches.

    Yields
    ------
    figure : Figure
    axes : list of Axes
        Row by row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with the_look():
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def literal(name: str, length: int = 28) -> str:
    """Return a name as a figure shows it: not too long, and without a formula, which a dollar sign would begin."""
    short = name if len(name) <= length else f"{name[: length - 1]}…"
    return short.replace("$", r"\$")
