"""Data sets: look through them, and make them ready to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import Reporter, print_table
from napari_segnet.axes import counted
from napari_segnet.cli.options import Axes, Meaning, TaskChoice
from napari_segnet.config import validated
from napari_segnet.errors import ConfigError
from napari_segnet.events import Progress

_DATA = "An image, a folder of images, or a folder with images/ and masks/, or train/, val/ and test/, in it."
Data = Annotated[Path, typer.Argument(help=_DATA)]
LabelsOrNot = Annotated[Path | None, typer.Argument(help="Labels of the images, where they are in another folder.")]


def check(
    images: Data,
    labels: LabelsOrNot = None,
    out: Annotated[Path | None, typer.Option(help="Write check.csv, check.json, check.png, check.html here.")] = None,
    pictures: Annotated[int, typer.Option(min=0, max=1000, help="Most images to draw.")] = 60,
    task: TaskChoice = None,
    unlabelled: Meaning = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Label values that don't count.")] = None,
    axes: Axes = None,
) -> None:
    """Look through images and labels before learning: what is wrong or odd, and what to do about it."""
    from napari_segnet import datasets

    with Reporter() as reporter:
        report = datasets.check(
            images,
            labels,
            axes=axes,
            task=task,
            unlabelled=unlabelled,
            ignore_values=ignore,
            on_progress=lambda done, total: reporter.show(Progress("images", done, total)),
        )
    print_table(("", "what", "found", "remedy"), [(f.status, f.name, f.found, f.remedy) for f in report.findings])
    if out is not None:
        typer.echo(f"Written: {', '.join(str(path) for path in report.write(out, pictures))}")
    if report.failed:
        failed = ", ".join(report.failed)
        typer.echo(f"error: {failed}: this can't be learned from as it is. The table says what to do.", err=True)
        raise typer.Exit(2)


def prepare(
    images: Data,
    out: Annotated[Path, typer.Option(help="Folder to write images/, masks/ and prepare.json into.")],
    labels: LabelsOrNot = None,
    crop: Annotated[
        str | None, typer.Option(help="Cut out first: WxH of the middle, WxH+X+Y, or an aspect W:H.")
    ] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Size of imageseg's models: canopy 256x256, understory 160x256.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Resize to WIDTHxHEIGHT pixels; one number: a square.")] = None,
    scale: Annotated[float | None, typer.Option(help="Resize by a factor.")] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Where --size has another aspect: crop (default) or stretch.")
    ] = None,
    anchor: Annotated[str | None, typer.Option(help="What is kept when cropping: center, top, bottom-left ...")] = None,
    tile: Annotated[str | None, typer.Option(help="Cut into tiles of WIDTHxHEIGHT; one number: squares.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels that neighbouring tiles share.")] = None,
    min_labelled: Annotated[
        float | None, typer.Option(help="Leave out tiles of which less than this share is labelled.")
    ] = None,
    colour: Annotated[str | None, typer.Option("--colour", "--color", help="grey or rgb; default: as it is.")] = None,
    bits: Annotated[int | None, typer.Option(help="8: scale intensities to 0..255; default: as they are.")] = None,
    percentiles: Annotated[
        tuple[float, float] | None, typer.Option(help="What becomes 0 and 255 with --bits 8; default: 0.5 99.5.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Labels are masks or probabilities: from this value on they become 1.")
    ] = None,
    relabel: Annotated[list[str] | None, typer.Option(help="OLD=NEW: replace a label value, such as 255=1.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="tif (default) or png.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of the images for validation.")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Share of the images for testing.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Regular expression: images with the same match stay in one part.")
    ] = None,
    alike: Annotated[
        str | None, typer.Option(help="Images that look the same stay together (default), or lie anywhere.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another one divides the images differently.")] = None,
    axes: Axes = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what was prepared here before.")] = False,
) -> None:
    """Make images and labels ready: crop, resize, tile, convert, divide into train, val and test."""
    from napari_segnet import datasets

    said = {
        "crop": crop,
        "type": type_,
        "size": size,
        "scale": scale,
        "aspect": aspect,
        "anchor": anchor,
        "tile": tile,
        "overlap": overlap,
        "min_labelled": min_labelled,
        "colour": colour,
        "bits": bits,
        "percentiles": percentiles,
        "threshold": threshold,
        "relabel": _changes(relabel) if relabel else None,
        "format": format_,
        "val_fraction": val_fraction,
        "test_fraction": test_fraction,
        "group": group,
        "alike": alike,
        "seed": seed,
        "axes": axes,
    }
    config = validated(datasets.PrepareConfig, {name: value for name, value in said.items() if value is not None})
    with Reporter() as reporter:
        made = datasets.prepare(
            images,
            labels,
            out=out,
            config=config,
            overwrite=overwrite,
            on_progress=lambda done, total: reporter.show(Progress("images", done, total)),
        )
        for note in made.notes:
            reporter.note(f"note: {note}")
    parts = ", ".join(f"{name} {number}" for name, number in made.parts.items() if name)
    typer.echo(f"Written: {out} ({counted(len(made.files), 'image')}{': ' if parts else ''}{parts})")


def _changes(relabel: list[str]) -> dict[int, int]:
    """Read OLD=NEW."""
    changes = {}
    for said in relabel:
        old, _, new = said.partition("=")
        try:
            changes[int(old)] = int(new)
        except ValueError as error:
            raise ConfigError(f"--relabel {said!r} is not OLD=NEW.", "Write two numbers, such as 255=1.") from error
    return changes
