"""Measuring: tables of objects and cover, cut-outs, and classical methods as a start for annotation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_segnet._console import Reporter, print_table
from napari_segnet.axes import counted
from napari_segnet.cli.options import Out, TaskChoice
from napari_segnet.config import Unlabelled, merge, validated
from napari_segnet.errors import ConfigError
from napari_segnet.events import Progress

_MOST_ROWS = 20
ClassFile = Annotated[
    Path | None,
    typer.Option(help="classes.json or a model: what values mean; default: classes.json beside the labels."),
]
Probabilities = Annotated[Path | None, typer.Option(help="Folder with STEM_probabilities.tif, as predict writes them.")]
LabelAxes = Annotated[str | None, typer.Option(help="Axes of the label files, such as ZYX; default: guessed.")]


@contextmanager
def _reported(task: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """Give what shows progress, and what prints a sentence."""
    with Reporter() as reporter:
        yield lambda done, total: reporter.show(Progress(task, done, total)), reporter.note


def measure(
    labels: Annotated[Path, typer.Argument(help="Label images: a file or a folder.")],
    out: Out,
    images: Annotated[
        list[Path] | None, typer.Option(help="Images whose intensities are measured; again for more markers.")
    ] = None,
    probabilities: Probabilities = None,
    class_labels: Annotated[
        Path | None, typer.Option(help="For numbered objects: label images that say the class of each pixel.")
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(help="Measure in regions: label images, Shapes saved as CSV, or annotations.")
    ] = None,
    classes: ClassFile = None,
    objects: Annotated[bool, typer.Option("--objects/--no-objects", help="A row an object.")] = True,
    counts: Annotated[bool, typer.Option("--counts/--no-counts", help="Objects of each class and image.")] = True,
    cover: Annotated[bool, typer.Option("--cover/--no-cover", help="The part that each class covers.")] = True,
    circle: Annotated[
        bool, typer.Option("--circle", help="Cover in the largest circle: hemispherical photographs.")
    ] = False,
    planes: Annotated[bool, typer.Option("--planes", help="Measure planes of stacks one by one, not volumes.")] = False,
    task: TaskChoice = None,
    unlabelled: Annotated[Unlabelled | None, typer.Option(help="What 0 means; default: background.")] = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Label values that don't count.")] = None,
    pixel_size: Annotated[
        str | None, typer.Option(help="Size of a pixel, such as 0.5 or 2,0.5,0.5 (Z,Y,X); default: as files say.")
    ] = None,
    units: Annotated[str | None, typer.Option(help="Of --pixel-size, such as micrometer; needed with it.")] = None,
    minimum_pixels: Annotated[int, typer.Option(min=0, help="Leave smaller objects out.")] = 0,
    exclude_border: Annotated[
        bool, typer.Option("--exclude-border", help="Leave objects at the edge of the image out.")
    ] = False,
    fill_holes: Annotated[bool, typer.Option("--fill-holes", help="Count holes of objects as theirs.")] = False,
    axes: LabelAxes = None,
    format_: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Of the tables.")] = "csv",
    write_objects: Annotated[
        bool, typer.Option("--write-objects", help="Write label images with the numbers of the table, too.")
    ] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Such as circle.rings=5 or objects.minimum_size=2.5.")
    ] = None,
) -> None:
    """Measure objects, counts, cover and regions of label images: tables."""
    from napari_segnet.measure.files import measure_files
    from napari_segnet.measure.options import MeasureOptions
    from napari_segnet.request import read_settings

    wanted = {"objects": objects, "counts": counts, "cover": cover, "regions": regions is not None}
    flags = {"minimum_pixels": minimum_pixels, "exclude_border": exclude_border, "fill_holes": fill_holes}
    said = {
        "tables": [name for name, asked in wanted.items() if asked],
        "task": task,
        "unlabelled": unlabelled,
        "ignore_values": ignore or (),
        "pixel_size": None if pixel_size is None else _numbers(pixel_size),
        "units": units,
        "planes": planes,
        "axes": axes,
        "objects": flags,
        **({"circle": {}} if circle else {}),
    }
    options = validated(MeasureOptions, merge(said, read_settings(set_ or ())))
    if (options.pixel_size is None) != (options.units is None):
        raise ConfigError(
            "A size of a pixel needs its unit, and a unit its size.",
            "Give both, such as --pixel-size 0.5 --units micrometer; or neither.",
        )
    with _reported("measure") as (on_progress, on_note):
        made = measure_files(
            labels,
            out,
            images=images or (),
            probabilities=probabilities,
            class_labels=class_labels,
            regions=regions,
            classes=classes,
            options=options,
            table_format=format_,
            write_objects=write_objects,
            on_progress=on_progress,
            on_note=on_note,
        )
    rows = _summary(made.tables)
    if rows:
        print_table(("class", "images", "objects", "mean cover"), rows)
    typer.echo(f"Written: {', '.join(str(path) for path in made.files.values())}")


def _numbers(text: str) -> float | list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(0 < number < math.inf for number in numbers):
        raise ConfigError(f"{text!r} is no pixel size.", "Write a number above 0, or one an axis: 2,0.5,0.5.")
    return numbers[0] if len(numbers) == 1 else numbers


def _summary(tables: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row a class: images, objects, and mean cover over the images."""
    named: dict[int, str] = {}
    for name in ("counts", "cover"):
        if name in tables:
            named |= dict(zip(tables[name]["class"].tolist(), tables[name]["class_name"].tolist(), strict=True))
    rows: list[tuple[str, ...]] = []
    for value in sorted(named)[:_MOST_ROWS]:
        parts = {name: table[table["class"] == value] for name, table in tables.items() if name in ("counts", "cover")}
        number = str(int(parts["counts"]["objects"].sum())) if "counts" in parts and value else "-"
        share = "-"
        if "cover" in parts:
            share = f"{_mean_cover(parts['cover']):.1%}"
        images = max(part["image"].nunique() for part in parts.values())
        rows.append((f"{value} {named[value]}", str(images), number, share))
    return rows


def _mean_cover(rows: Any) -> float:
    """Return the mean over images; rings and planes of an image count by their pixels."""
    pixels = rows.groupby("image")["counted_pixels"].sum()
    covered = (rows["fraction"] * rows["counted_pixels"]).groupby(rows["image"]).sum()
    return float((covered / pixels).mean())


def cut_out(
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    labels: Annotated[Path, typer.Argument(help="Its labels, or a folder of labels with the same names.")],
    out: Out,
    background: Annotated[
        str, typer.Option(help="transparent, a colour such as white or #ffcc00, or the file of a picture.")
    ] = "transparent",
    gravity: Annotated[
        str | None, typer.Option(help="Part of a background picture that is kept: centre, north ...")
    ] = None,
    feather: Annotated[float | None, typer.Option(min=0, help="Width of the soft edge, pixels; default: 2.")] = None,
    shrink: Annotated[float | None, typer.Option(help="Move the edge inwards by so many pixels.")] = None,
    edge: Annotated[
        str | None, typer.Option(help="Where softness comes from: distance, gaussian or probability.")
    ] = None,
    probabilities: Probabilities = None,
    crops: Annotated[bool, typer.Option("--crops", help="A picture an object.")] = False,
    margin: Annotated[int | None, typer.Option(min=0, help="Room around a crop, pixels.")] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", help="Value or name of a class; again for more; default: all.")
    ] = None,
    classes: ClassFile = None,
    task: TaskChoice = None,
    contrast: Annotated[
        str | None, typer.Option(help="Of images of more than 8 bits: auto, keep, or darkest,brightest value.")
    ] = None,
    channels: Annotated[str | None, typer.Option(help="One channel, or three for red, green, blue: 3,2,1.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Such as fill_holes=true, minimum_pixels=50.")] = None,
) -> None:
    """Cut objects out of images: PNG files with transparent or replaced background."""
    from napari_segnet.measure.cutting_files import cut_out_files
    from napari_segnet.measure.options import CutOutOptions
    from napari_segnet.request import read_settings

    said = {
        "background": background,
        "gravity": gravity,
        "feather": feather,
        "shrink": shrink,
        "edge": edge,
        "margin": margin,
        "contrast": contrast if contrast is None or contrast in ("auto", "keep") else contrast.split(","),
        "channels": None if channels is None else channels.split(","),
    }
    settings = {name: value for name, value in said.items() if value is not None} | read_settings(set_ or ())
    with _reported("cut out") as (on_progress, on_note):
        files = cut_out_files(
            images,
            labels,
            out,
            validated(CutOutOptions, settings),
            crops=crops,
            classes=class_ or (),
            class_file=classes,
            task=task,
            probabilities=probabilities,
            on_progress=on_progress,
            on_note=on_note,
        )
    typer.echo(f"Written: {counted(len(files), 'picture')} in {out}")


def pre_annotate(
    method: Annotated[str | None, typer.Argument(help="One of the methods; default: list them.")] = None,
    images: Annotated[Path | None, typer.Argument(help="An image, or a folder; default: list the options.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write into.")] = None,
    strokes: Annotated[
        Path | None, typer.Option(help="Label images with strokes to start from: watershed, random-walker.")
    ] = None,
    axes: Annotated[str | None, typer.Option(help="Axes of the image files, such as ZYX; default: guessed.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace label files that are there already.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lists: one name a line.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Such as smooth=2 or classes=3.")] = None,
) -> None:
    """Segment images by a classical method, as a start for annotation; or list methods and their options."""
    from napari_segnet.measure.pre_annotation import METHODS, method_named, method_options
    from napari_segnet.option_rows import option_rows
    from napari_segnet.request import read_settings

    if method is None:
        rows = [(m.name, m.idea, m.strokes, m.paper) for m in METHODS.values()]
        print_table(("name", "idea", "strokes", "paper"), rows, plain)
        return
    chosen = method_named(method)
    if images is None:
        options = [(row.name, row.values, row.default, row.meaning) for row in option_rows(chosen.options)]
        print_table(("option", "values", "default", "meaning"), options, plain)
        return
    if out is None:
        raise ConfigError("There is no folder to write into.", "Name one: --out DIR.")
    from napari_segnet.measure.pre_annotation_files import pre_annotate_files

    with _reported(chosen.title) as (on_progress, on_note):
        files = pre_annotate_files(
            chosen,
            images,
            out,
            method_options(chosen, read_settings(set_ or ())),
            strokes=strokes,
            axes=axes,
            overwrite=overwrite,
            on_progress=on_progress,
            on_note=on_note,
        )
    typer.echo(f"Written: {counted(len(files), 'label file')} and classes.json in {out}")
