"""Numbers and pages: how well predictions agree with references, and how a run went."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from napari_segnet import events
from napari_segnet._console import Reporter, print_table
from napari_segnet.axes import counted
from napari_segnet.cli.options import Out, TaskChoice
from napari_segnet.config import Unlabelled

_MOST_WORKERS = 8
_PRINTED = ("dice", "iou", "pixel_accuracy", "precision", "recall", "hd95", "surface_dice", "ap50", "ap")


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Predicted labels: a file or a folder.")],
    labels: Annotated[Path, typer.Argument(help="Reference labels: a file or a folder.")],
    out: Out,
    unlabelled: Annotated[Unlabelled | None, typer.Option(help="What 0 means in the reference.")] = None,
    task: TaskChoice = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Reference values that don't count.")] = None,
    images: Annotated[Path | None, typer.Option(help="What was segmented, to be shown: a file or a folder.")] = None,
    model: Annotated[Path | None, typer.Option(help="The model that predicted, for its card and curves.")] = None,
    surface: Annotated[
        bool | None, typer.Option("--surface/--no-surface", help="Distances of surfaces; default: where it is quick.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Of the surface Dice, in the files' units; default: a pixel.")
    ] = None,
    topology: Annotated[bool, typer.Option("--topology", help="clDice and Betti errors, too.")] = False,
    thirds: Annotated[
        Literal["first", "last"] | None,
        typer.Option(help="Base, middle and apex of stacks, too: is the base first or last along Z?"),
    ] = None,
    also: Annotated[list[Path] | None, typer.Option(help="Further predictions, to be ranked; repeatable.")] = None,
    annotator: Annotated[list[Path] | None, typer.Option(help="Labels of further people; repeatable.")] = None,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Tables and the page without figures.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes for large sets; default: one a core.")] = None,
) -> None:
    """Compare predictions with reference labels: tables, figures and a page."""
    from napari_segnet.reports.files import evaluate_files

    with Reporter() as reporter:
        summary = evaluate_files(
            predictions,
            labels,
            out,
            unlabelled=unlabelled,
            instances=None if task is None else task == "instances",
            ignore_values=tuple(ignore or ()),
            images=images,
            model=model,
            surface=surface,
            tolerance=tolerance,
            topology=topology,
            thirds=thirds,
            also=tuple(also or ()),
            annotators=tuple(annotator or ()),
            figures=not no_figures,
            workers=_cores() if workers is None else workers,
            on_progress=lambda done, total: reporter.show(events.Progress("evaluating", done, total)),
        )
    for words in summary["warnings"]:
        reporter.note(f"note: {words}")
    print_table(
        ("measure", f"mean over {counted(summary['images'], 'image')}", "95 % confidence interval"),
        [(name, f"{summary[name]:.4f}", _interval(summary, name)) for name in _PRINTED if _is_number(summary, name)],
    )
    if "comparison" in summary:
        rows = [(str(row["rank"]), row["name"], f"{row['score']:.4f}") for row in summary["comparison"]["models"]]
        print_table(("rank", "prediction", summary["comparison"]["measure"]), rows)
    typer.echo(f"Written: {out / 'metrics.csv'}, {out / 'summary.json'}, {out / 'report.html'}")


def _is_number(summary: dict[str, Any], name: str) -> bool:
    return isinstance(summary.get(name), float)


def _interval(summary: dict[str, Any], name: str) -> str:
    ends = summary["confidence"].get(name)
    return "" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _cores() -> int:
    """Return how many cores this process may use, at most eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _MOST_WORKERS))


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, finished or not, or a folder of folds.")],
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Only the page, no PNG and PDF.")] = False,
) -> None:
    """Write the report of a run: RUN/report.html, with what was asked for, learned and chosen."""
    from napari_segnet.reports.training import write_training_report

    typer.echo(f"Written: {write_training_report(run, figures=not no_figures)}")
