"""A page: one HTML file that needs no other, and asks no network for anything.

A page is a tree of frozen parts (texts, tables, pictures ...), and `render` writes it. Every text goes through the
escaping of its template; pictures are embedded. The browser is told to refuse whatever comes from elsewhere, and any
script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

from napari_segnet import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

Value = str | int | float | None
NO_VALUE = "-"
"""What a table shows where there is no number."""


@dataclass(frozen=True)
class Part:
    """Base of all that a page is made of; `kind` is the name of its template."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Text(Part):
    """A paragraph; a `note` is something beside the point, a `warning` something to act on."""

    kind: ClassVar[str] = "text"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Tile:
    """One number that is read first: what it is, its value, and what stands below it in small."""

    label: str
    value: str
    below: str = ""


@dataclass(frozen=True)
class Tiles(Part):
    """The numbers that are read first."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Picture(Part):
    """One embedded picture: `source` is a ``data:`` address (see `embed`)."""

    kind: ClassVar[str] = "picture"
    source: str
    alt: str
    caption: str = ""
    pixelated: bool = False


@dataclass(frozen=True)
class Gallery(Part):
    """Pictures beside each other, so many in a row."""

    kind: ClassVar[str] = "gallery"
    pictures: tuple[Picture, ...]
    title: str = ""
    columns: int = 2


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, what it is sorted by, a colour before it, a note below it, or a picture."""

    text: str
    sort: Value = None
    colour: str = ""
    picture: Picture | None = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """One column: its title, whether it holds numbers, and what the title means."""

    title: str
    numeric: bool = True
    meaning: str = ""


@dataclass(frozen=True)
class Table(Part):
    """A table whose rows can be sorted by a click where scripts run."""

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Key(Part):
    """What colours mean: pairs of a word and ``"#rrggbb"``."""

    kind: ClassVar[str] = "key"
    title: str
    colours: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code(Part):
    """Lines to copy."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Markdown(Part):
    """A text in Markdown; HTML in it is shown, not obeyed, and its pictures are left out."""

    kind: ClassVar[str] = "markdown"
    text: str


@dataclass(frozen=True)
class Fold(Part):
    """Parts behind a title that is clicked to see them."""

    kind: ClassVar[str] = "fold"
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """A whole page; `facts` are the words below its title."""

    title: str
    sections: tuple[Section, ...]
    facts: tuple[str, ...] = ()
    lead: tuple[Part, ...] = ()


def number(value: float | None, digits: int = 4) -> Cell:
    """Make the cell of a number: whole numbers as they are, others with some digits, a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell(NO_VALUE)
    if isinstance(value, int):
        return Cell(f"{value:,}", value)
    if math.isinf(value):
        # What JavaScript reads as a number, too.
        return Cell("∞" if value > 0 else "-∞", "Infinity" if value > 0 else "-Infinity")
    return Cell(decimal(value, digits), float(value))


def decimal(value: float, digits: int = 4) -> str:
    """Write a number with so many decimals, with fewer if it is 10 or more; very small and large ones as powers."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.{digits}f}"
    size = math.floor(math.log10(abs(value)))
    if size < -digits or size >= 6:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(1, digits - max(0, size))}f}"


def simple_table(
    titles: Sequence[str | Column], rows: Sequence[Sequence[Any]], caption: str = "", digits: int = 4
) -> Table:
    """Make a table of plain values: texts at the left, numbers at the right.

    Parameters
    ----------
    titles : sequence of str or Column
        A column is one of numbers if none of its values is a text.
    rows : sequence of sequences
        Texts, numbers, None, or cells.
    caption : str
    digits : int
        Decimals of numbers that are not whole.
    """
    columns = []
    for place, title in enumerate(titles):
        numeric = not any(isinstance(row[place], str) or _is_text(row[place]) for row in rows)
        columns.append(title if isinstance(title, Column) else Column(title, numeric))
    cells = tuple(tuple(_cell(value, digits) for value in row) for row in rows)
    return Table(tuple(columns), cells, caption)


def _is_text(value: Any) -> bool:
    return isinstance(value, Cell) and value.sort is None and value.text not in ("", NO_VALUE)


def _cell(value: Any, digits: int) -> Cell:
    if isinstance(value, Cell):
        return value
    return Cell(value, None) if isinstance(value, str) else number(value, digits)


def embed(content: bytes, kind: str = "image/png") -> str:
    """Return the bytes of a file as a ``data:`` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def render(page: Page) -> str:
    """Return a page as HTML."""
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    html: str = (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            style=_resource("page.css"),
            script=script,
            script_hash=digest,
            version=__version__,
        )
    )
    return html


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = _markdown
    environment.filters["anchor"] = _anchor
    return environment


def _resource(name: str) -> str:
    return (resources.files("napari_segnet.reports") / "templates" / name).read_text(encoding="utf-8")


def _anchor(title: str) -> str:
    """Return a name for a heading that a link within the page can name."""
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower()).strip("-")


def _markdown(text: str) -> Any:
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    # HTML in the text becomes text; a picture of it would have to be fetched from somewhere.
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # The page has headings of its own above these.
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704
