"""Learning: train, resume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_segnet import completion
from napari_segnet._console import Reporter
from napari_segnet.cli.options import (
    Axes,
    DeviceOrAuto,
    Encoder,
    Loss,
    Meaning,
    Network,
    Optimizer,
    Preset,
    Schedule,
    TaskChoice,
    ValFraction,
)
from napari_segnet.cli.signals import graceful
from napari_segnet.config import RunConfig
from napari_segnet.request import build_config

if TYPE_CHECKING:
    from napari_segnet.run import PairRecord


def train(
    images: Annotated[
        Path, typer.Argument(help="An image, a folder of images, or a run folder: its images and labels, once more.")
    ],
    labels: Annotated[
        Path | None, typer.Argument(help="Its labels, or a folder of labels with the same names; none for a run.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    preset: Preset = None,
    network: Network = None,
    encoder: Encoder = None,
    weights: Annotated[
        str | None, typer.Option(help="imagenet, none, a model to fine-tune, or a file of encoder weights.")
    ] = None,
    loss: Loss = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Most minutes of learning.")] = None,
    val_fraction: ValFraction = None,
    folds: Annotated[int | None, typer.Option(min=2, max=100, help="Cross-validate: so many runs, one model.")] = None,
    axes: Axes = None,
    device: DeviceOrAuto = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same data, same CPU: same model.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as train.batch_size=4.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Train a network on images and their labels."""
    options = {
        "unlabelled": unlabelled,
        "task": task,
        "preset": preset,
        "network": network,
        "encoder": encoder,
        "weights": weights,
        "loss": loss,
        "optimizer": optimizer,
        "schedule": schedule,
        "epochs": epochs,
        "minutes": minutes,
        "val_fraction": val_fraction,
        "folds": folds,
        "axes": axes,
        "device": device,
        "seed": seed,
    }
    _train(images, labels, out, build_config(options, set_ or (), config))


def _train(images: Path, labels: Path | None, out: Path, config: RunConfig) -> None:
    from napari_segnet.again import copy_records
    from napari_segnet.executor import Control
    from napari_segnet.folds import train_folder
    from napari_segnet.run import check_new

    check_new(out)
    records = copy_records(images, out) if labels is None else _records(images, labels, config)
    control = Control(report=True)
    _show(out, control, train_folder(out, config, records, control))


def _records(images: Path, labels: Path, config: RunConfig) -> list[PairRecord]:
    from napari_segnet.io.pairing import pair_files
    from napari_segnet.io.records import make_records

    pairing = pair_files(images, labels)
    reporter = Reporter()
    for path in (*pairing.unpaired_images, *pairing.unpaired_labels):
        reporter.note(f"{path} has no partner and is left out.")
    return make_records(pairing, config.data.axes)


def resume(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Go on with a run, or the folds of a cross-validation, that were stopped or killed."""
    from napari_segnet.folds import is_folds
    from napari_segnet.run import RunFolder

    if is_folds(run):
        _execute(run)
        return
    folder = RunFolder(run)
    if folder.state() == "finished":
        Reporter().note(f"{run} is finished already: {folder.model}")
        return
    _execute(run)


def _execute(path: Path) -> None:
    from napari_segnet.executor import Control
    from napari_segnet.folds import execute_folder

    control = Control(report=True)
    _show(path, control, execute_folder(path, control))


def _show(path: Path, control: Any, told: Iterator[Any]) -> None:
    """Show events as they come; a signal ends them after the step that is going on."""
    with graceful(control) as interrupted, Reporter() as reporter:
        for event in told:
            reporter.show(event)
    if interrupted:
        typer.echo(f"Stopped. To go on: napari-segnet resume {path}", err=True)
        raise typer.Exit(128 + interrupted[0])
