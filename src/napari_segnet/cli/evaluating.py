"""Numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet._console import print_table
from napari_segnet.cli.options import Out, TaskChoice
from napari_segnet.config import Unlabelled


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predicted labels: a file or a folder.")],
    labels: Annotated[Path, typer.Argument(help="Reference labels: a file or a folder.")],
    out: Out,
    unlabelled: Annotated[Unlabelled | None, typer.Option(help="What 0 means in the reference.")] = None,
    task: TaskChoice = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Reference values that don't count.")] = None,
) -> None:
    """Compare predictions with reference labels."""
    from napari_segnet.evaluation.files import evaluate_files

    summary = evaluate_files(
        predictions,
        labels,
        out,
        unlabelled=unlabelled,
        instances=None if task is None else task == "instances",
        ignore_values=tuple(ignore or ()),
    )
    names = ("dice", "iou", "pixel_accuracy", "precision", "recall", "ap50", "ap")
    print_table(
        ("measure", "mean over images"),
        [(name, f"{summary[name]:.4f}") for name in names if isinstance(summary.get(name), float)],
    )
    typer.echo(f"Written: {out / 'metrics.csv'}, {out / 'summary.json'}, {out / 'report.html'}")
