"""Model files: those of other tools, and several in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet import completion
from napari_segnet._console import Reporter
from napari_segnet.config import validated
from napari_segnet.errors import ModelFileError
from napari_segnet.models.info import Combine


def ensemble(
    models: Annotated[list[Path], typer.Argument(help="Model files, run folders, folders of folds.")],
    out: Annotated[Path, typer.Option(help="Model file to write; ends with .safetensors.")],
    combine: Annotated[Combine, typer.Option(help="Mean of probabilities, or majority of labels.")] = "mean",
) -> None:
    """Put models together into one file: they answer together."""
    from napari_segnet.models.file import join_models, load_model, write_model

    if out.is_dir() or out.suffix != ".safetensors":
        raise ModelFileError(f"{out} is no name for a model file.", "Name a file that ends with .safetensors.")
    info, network = join_models([load_model(model) for model in models], combine)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_model(out, info, network)
    typer.echo(f"Written: {out} ({len(info.members)} models: {', '.join(m.network for m in info.members)})")


def import_(
    file: Annotated[Path, typer.Argument(help="A model of another tool: a file or a folder.")],
    out: Annotated[Path, typer.Option(help="Model file to write; ends with .safetensors.")],
    format_: Annotated[str, typer.Option("--format", help="keras, smp, monai or weights; auto: by the file.")] = "auto",
    network: Annotated[
        str | None,
        typer.Option(help="For weights alone: the network they belong to.", autocompletion=completion.networks),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="For weights alone: its encoder.", autocompletion=completion.encoders)
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, with commas between.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, such as intensities=raw.")] = None,
) -> None:
    """Make a model file of a model that another tool has trained."""
    from napari_segnet.importers import ImportConfig, import_model
    from napari_segnet.request import read_settings

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    said = {"format": format_, "network": network, "encoder": encoder, "classes": names}
    settings = {name: value for name, value in said.items() if value is not None} | read_settings(set_ or ())
    info = import_model(file, out, validated(ImportConfig, settings), on_note=Reporter().note)
    named = ", ".join(f"{c.value} {c.name}" for c in info.classes)
    typer.echo(f"Written: {out} ({info.network}, image channels: {info.channels}, classes: {named})")
