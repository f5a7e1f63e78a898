"""What was found in a data set, as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_segnet.axes import counted, times
from napari_segnet.datasets.sheet import Shown
from napari_segnet.reports.page import (
    Cell,
    Fold,
    Key,
    Page,
    Part,
    Picture,
    Section,
    Text,
    Value,
    embed,
    render,
    simple_table,
)
from napari_segnet.reports.panels import jpeg

if TYPE_CHECKING:
    from napari_segnet.datasets.checking import Report

_MOST_ROWS = 2000
_COLOURS = {"ok": "#31a354", "warn": "#e6a100", "fail": "#d62728"}


def page(report: Report, shown: Sequence[Shown]) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    report : Report
    shown : sequence of Shown
        The images that are drawn.
    """
    rows: list[list[Value | Cell]] = [
        [Cell(f.status, colour=_COLOURS[f.status]), f.name, f.found, f.remedy] for f in report.findings
    ]
    sections = [Section("Findings", (simple_table(["Status", "What", "Found", "Remedy"], rows),))]
    if shown:
        sections.append(Section("Pictures", tuple(_pictures(report, shown))))
    sections.append(Section("Images", (_images(report),)))
    facts = [counted(len(report.images), "image")]
    if report.task:
        facts.append("numbered objects" if report.task == "instances" else "classes")
        facts.append("0 is not annotated" if report.unlabelled == "ignore" else "0 is background")
    return render(Page(f"Check of {report.source}", tuple(sections), tuple(facts)))


def _pictures(report: Report, shown: Sequence[Shown]) -> list[Part]:
    words = "Image, labels, and labels over the image; of volumes the plane in the middle."
    if len(shown) < len(report.images):
        words += f" {len(shown)} of {counted(len(report.images), 'image')}: those with a remark first."
    parts: list[Part] = [Text(words, "note")]
    if report.classes and report.task == "semantic":
        named = tuple((c.name, "#000000" if c.value == 0 else c.colour) for c in report.classes)
        parts.append(Key("Classes:", named))
    rows = []
    for one in shown:
        alt = f"{one.title}: image, labels, and labels over the image"
        picture = Picture(embed(jpeg(one.strip()), "image/jpeg"), alt)
        rows.append([Cell("", picture=picture), Cell(one.title), Cell(one.words), Cell(one.remark)])
    return [*parts, simple_table(["", "Image", "Size", "Remark"], rows)]


def _images(report: Report) -> Part:
    rows = [
        [f.title, times(f.shape), f.channels, f.dtype, f.lowest, f.highest, f.painted, f.label_values, remark]
        for f, remark in zip(report.images[:_MOST_ROWS], report.remarks, strict=False)
    ]
    heads = ["Image", "Size", "Channels", "Type", "Lowest", "Highest", "Painted", "Label values", "Remark"]
    more = "" if len(rows) == len(report.images) else f"The first {_MOST_ROWS} of {len(report.images)}: see check.csv."
    table = simple_table(heads, rows, more, digits=3)
    return Fold(f"All {len(rows)} images", (table,)) if len(rows) > 50 else table
