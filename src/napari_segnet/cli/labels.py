"""Annotations of other programs: in and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_segnet._console import Reporter, print_table
from napari_segnet.axes import counted
from napari_segnet.config import Task, Unlabelled, validated

if TYPE_CHECKING:
    from napari_segnet.annotations.model import Problem

_MOST_ROWS = 40


def import_annotations(
    path: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="Annotations: a file, or a folder of them.")],
    images: Annotated[Path, typer.Option(help="The images that were annotated: a folder or a file.")],
    out: Annotated[Path, typer.Option(help="Folder for the label files.")],
    format_: Annotated[str, typer.Option("--format", help="auto, or one: see docs/annotations.md.")] = "auto",
    task: Annotated[Task | None, typer.Option(help="Values are classes, or a number for each region.")] = None,
    unlabelled: Annotated[Unlabelled, typer.Option(help="What pixels outside all regions are.")] = "background",
    classes: Annotated[
        str | None, typer.Option(help="Classes in the order of their values, with commas; others are left out.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="Name of regions that don't count: value 255.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as line_width=5.")] = None,
) -> None:
    """Make label files of annotations that another program wrote."""
    from napari_segnet.annotations import ImportOptions
    from napari_segnet.annotations.convert import import_annotations as convert
    from napari_segnet.request import read_settings

    said = {
        "format": format_,
        "task": task,
        "unlabelled": unlabelled,
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "ignore": ignore,
    }
    settings = {key: value for key, value in said.items() if value is not None} | read_settings(set_ or ())
    made = convert(path, images, out, validated(ImportOptions, settings))
    _print_problems(made.problems, f": {out / 'problems.csv'}")
    named = ", ".join(f"{c.value} {c.name}" for c in made.classes)
    what = "objects" if made.task == "instances" else f"classes: {named}"
    typer.echo(
        f"Written: {counted(len(made.files), 'label file')} in {out} ({counted(made.regions, 'region')}, {what})"
    )


def export_labels(
    labels: Annotated[Path, typer.Argument(help="Label files: a folder, or one.")],
    format_: Annotated[str, typer.Option("--format", help="coco, geojson, imagej or ome-zarr.")],
    out: Annotated[Path, typer.Option(help="COCO: the JSON file. Others: a folder, or a file for one label file.")],
    images: Annotated[
        Path | None, typer.Option(help="The images that are labelled; OME-Zarr holds them, too. Paired by name.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Names and colours of values; without it the classes.json beside the labels.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Values are classes, or numbers of objects.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as tolerance=1.")] = None,
) -> None:
    """Write label files in a format of another program."""
    from napari_segnet.annotations.export import ExportOptions
    from napari_segnet.annotations.export import export_labels as export
    from napari_segnet.request import read_settings

    said = {"format": format_, "task": task}
    settings = {key: value for key, value in said.items() if value is not None} | read_settings(set_ or ())
    made = export(labels, out, validated(ExportOptions, settings), images=images, classes=classes)
    _print_problems(made.problems, "")
    if made.guessed:
        Reporter().note(f"Taken for {made.task} labels (see --task). {made.guessed}")
    named = ", ".join(f"{c.value} {c.name}" for c in made.classes) or "none"
    files = made.files[0] if len(made.files) == 1 else f"{len(made.files)} files in {out}"
    typer.echo(f"Written: {files} ({counted(made.regions, 'region')}, classes: {named})")


def _print_problems(problems: Sequence[Problem], more: str) -> None:
    """Print what didn't fit; `more` says where all of it is."""
    if problems:
        rows = [(p.file, p.problem, p.done) for p in problems[:_MOST_ROWS]]
        print_table(("file", "problem", "what was done"), rows)
    if len(problems) > _MOST_ROWS:
        Reporter().note(f"... {len(problems)} in all{more}")
