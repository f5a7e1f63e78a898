"""A run as a text that repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def script(
    run: Annotated[Path, typer.Argument(help="A run folder, or a folder of folds.")],
    python: Annotated[bool, typer.Option("--python", help="Python instead of a command line.")] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder that the text makes; default: RUN-again.")] = None,
) -> None:
    """Print what repeats a run: the same images, labels and settings, and so the same model."""
    from napari_segnet._console import Reporter
    from napari_segnet.again import missing_files, run_of
    from napari_segnet.script import command_line, free_path, python_code, read_training

    training = read_training(run)
    write = python_code if python else command_line
    typer.echo(write(training, free_path(run) if out is None else out.resolve()), nl=False)
    missing = missing_files(run_of(run))
    if missing:
        Reporter().note(f"note: {missing[0]} can't be found: without it the run can't be repeated.")
