"""The page of an evaluation: ``report.html``, and the figures in it."""

from __future__ import annotations

from collections.abc import Callable

from napari_segnet.axes import counted
from napari_segnet.evaluation.measures import MEASURES
from napari_segnet.reports.charts import Chart
from napari_segnet.reports.comparison_parts import comparison_parts
from napari_segnet.reports.evaluation import Evaluation, Example
from napari_segnet.reports.evaluation_parts import (
    agreement_parts,
    class_parts,
    confusion_parts,
    measure_parts,
    object_parts,
    probability_parts,
    region_parts,
    surface_parts,
    topology_parts,
)
from napari_segnet.reports.figures import Figures
from napari_segnet.reports.page import (
    Cell,
    Column,
    Gallery,
    Page,
    Part,
    Picture,
    Section,
    Text,
    Tile,
    Tiles,
    decimal,
    embed,
    number,
    simple_table,
)
from napari_segnet.reports.panels import PART_WORDS, PARTS, jpeg, png
from napari_segnet.reports.parts import error_key, model_parts
from napari_segnet.reports.training_charts import training_charts
from napari_segnet.reports.words import column, title

_TILES = ("dice", "iou", "pixel_accuracy", "precision", "recall", "ap50", "ap", "pq", "hd95")
_OF_IMAGE = ("dice", "iou", "pixel_accuracy", "precision", "recall", "ap50", "ap", "pq", "hd95", "assd")
_MOST_ROWS = 1000
"""Images in the table; ``metrics.csv`` has all."""
_PHOTOGRAPHS = ("image", "overlay")

Maker = Callable[[Evaluation, Figures], list[Part]]


def evaluation_page(found: Evaluation, *, figures: bool = True) -> tuple[Page, list[Chart]]:
    """Build the page of an evaluation.

    Parameters
    ----------
    found : Evaluation
    figures : bool
        Whether figures are drawn.

    Returns
    -------
    Page
    list of Chart
        The figures in it, to be saved on their own too.
    """
    drawn = Figures(figures)
    makers: dict[str, Maker] = {
        "Classes": class_parts,
        "Best, median, worst": _example_parts,
        "Confusion": confusion_parts,
        "Surfaces": surface_parts,
        "Objects": object_parts,
        "Topology": topology_parts,
        "Probabilities": probability_parts,
        "Agreement": agreement_parts,
        "Parts of stacks": region_parts,
        "Comparison": comparison_parts,
        "Images": _image_parts,
        "All measures": measure_parts,
        "Model": _model_parts,
    }
    made = [(name, make(found, drawn)) for name, make in makers.items()]
    sections = tuple(Section(name, tuple(parts)) for name, parts in made if parts)
    classes = len(found.results[0].scores.averaged)
    task = "numbered objects" if found.rules.instances else f"{classes} class{'' if classes == 1 else 'es'}"
    facts = (counted(len(found.results), "image"), task, f"lengths in {found.unit}")
    return Page(f"Evaluation of {found.name}", sections, facts, (_tiles(found), *_notes(found))), drawn.charts


def _tiles(found: Evaluation) -> Part:
    summary, objects = found.summary, found.summary.get("objects", {})
    tiles = []
    for name in _TILES:
        source = objects if name == "pq" else summary
        value, ends = source.get(name), source.get("confidence", {}).get(name)
        if value is None:
            continue
        length = name in MEASURES and MEASURES[name].unit == "length"
        below = f"{decimal(ends[0], 3)} to {decimal(ends[1], 3)}" if ends else ""
        tiles.append(Tile(f"{title(name)} [{found.unit}]" if length else title(name), decimal(value), below))
    return Tiles(tuple(tiles))


def _notes(found: Evaluation) -> list[Part]:
    """Say what the numbers are, and what is to be known about them."""
    images = len(found.results)
    text = f"Means over {counted(images, 'image')}"
    text += ", with their 95 % confidence intervals (bootstrap over images)." if images > 1 else "."
    if found.rules.instances:
        text += " Labels number objects: Dice, IoU and the like are those of objects against background."
    elif found.rules.unlabelled == "background":
        text += " Pixels of value 0 are background; it is left out of all means but those of all pixels."
    else:
        text += " Pixels of value 0 in the reference are not annotated, and don't count."
    parts: list[Part] = [Text(text, "note")]
    return [*parts, *(Text(warning, "warning") for warning in found.summary["warnings"])]


# ----------------------------------------------------------------------- images


def _example_parts(found: Evaluation, _: Figures) -> list[Part]:
    if not found.examples:
        return []
    parts: list[Part] = [error_key()]
    for example in found.examples:
        result = example.result
        name = "ap" if result.scores.ap is not None else "dice"
        value = getattr(result.scores, name)
        plane = "" if example.panel.plane is None else f", plane {example.panel.plane}"
        words = f"{example.place.capitalize()}: {result.job.name} ({title(name)} {decimal(value)}{plane})"
        pictures = _pictures(example)
        parts.append(Gallery(pictures, words, 5 if len(pictures) == 5 else 3))
    return parts


def _pictures(example: Example) -> tuple[Picture, ...]:
    name = example.result.job.name
    return tuple(
        Picture(
            embed(jpeg(picture), "image/jpeg") if part in _PHOTOGRAPHS else embed(png(picture)),
            f"{PART_WORDS[part]} of {name}",
            PART_WORDS[part],
            pixelated=True,
        )
        for part in PARTS
        if (picture := example.panel.pictures.get(part)) is not None
    )


def _image_parts(found: Evaluation, _: Figures) -> list[Part]:
    """Return the table of all images, the worst first: they are what one wants to look at."""
    rows = found.worst_first[:_MOST_ROWS]
    numbers = [{**row.scores.of_image(), **({"pq": row.objects.pq} if row.objects is not None else {})} for row in rows]
    names = [name for name in _OF_IMAGE if any(name in one for one in numbers)]
    columns = [Column("Image", numeric=False), *(column(name, found.unit) for name in names)]
    columns.append(Column("Reference, prediction, errors", numeric=False))
    cells: list[list[Cell]] = []
    for row, one in zip(rows, numbers, strict=True):
        shown = Cell("")
        if row.picture:
            shown = Cell("", picture=Picture(embed(row.picture), f"Reference, prediction and errors of {row.job.name}"))
        cells.append([Cell(row.job.name), *(number(one.get(name)) for name in names), shown])
    more = "" if len(rows) == len(found.results) else f" The worst {len(rows)} of {len(found.results)} images."
    return [error_key(), simple_table(columns, cells, f"Worst first.{more} metrics.csv has all numbers of all images.")]


# ------------------------------------------------------------------------ model


def _model_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    if found.info is None:
        return []
    charts = training_charts(found.learned.history, found.learned.best_epoch) if found.learned.history else []
    return [*drawn(*charts), *model_parts(found.info)]
