"""Models for other programs: ONNX, TorchScript, packages of bioimage.io, model cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import Reporter


def _formats() -> list[str]:
    from napari_segnet.export import EXPORTERS

    return list(EXPORTERS)


def export(
    model: Annotated[Path, typer.Argument(help="A model file, a run folder, or a folder of folds.")],
    out: Annotated[Path, typer.Option(help="File to write (others come beside it), .zip, or a new folder.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="onnx, torchscript, torch-export, bioimageio or card.", autocompletion=_formats),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: name, description, authors, license, cite, tags, test_image ..."),
    ] = None,
) -> None:
    """Write a model so that other programs can use it."""
    from napari_segnet.export import export_model, read_options

    report = export_model(model, out, format_, read_options(set_ or ()))
    reporter = Reporter()
    for text in report.words:
        reporter.note(text)
    typer.echo(f"Written: {report.path} ({', '.join(report.files)})")
