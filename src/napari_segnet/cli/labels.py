"""Annotations of other programs: in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import Reporter, print_table
from napari_segnet.axes import counted
from napari_segnet.config import Task, Unlabelled, validated

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
    if made.problems:
        rows = [(p.file, p.problem, p.done) for p in made.problems[:_MOST_ROWS]]
        print_table(("file", "problem", "what was done"), rows)
        if len(made.problems) > _MOST_ROWS:
            Reporter().note(f"... {len(made.problems)} in all: {out / 'problems.csv'}")
    named = ", ".join(f"{c.value} {c.name}" for c in made.classes)
    what = "objects" if made.task == "instances" else f"classes: {named}"
    typer.echo(
        f"Written: {counted(len(made.files), 'label file')} in {out} ({counted(made.regions, 'region')}, {what})"
    )
