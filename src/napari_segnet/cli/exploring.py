"""Before learning: what augmentation does, and which rate to learn at."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_segnet import completion
from napari_segnet.cli.options import (
    Axes,
    ConfigFile,
    DeviceOrAuto,
    Encoder,
    Images,
    Labels,
    Loss,
    Meaning,
    Network,
    Optimizer,
    Out,
    Preset,
    TaskChoice,
    ValFraction,
)
from napari_segnet.request import build_config


def preview_augmentation(
    images: Images,
    labels: Labels,
    out: Out,
    rows: Annotated[int, typer.Option(min=1, max=64, help="Patches of the images to show.")] = 4,
    columns: Annotated[int, typer.Option(min=2, max=64, help="Ways to show each; the first is unchanged.")] = 6,
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    axes: Axes = None,
    seed: Annotated[int | None, typer.Option(help="Another one shows other patches and changes.")] = None,
    config: ConfigFile = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Such as train.augment.rotation=90.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Show what augmentation does to patches: augmentation.png and augmentation_labels.png."""
    from napari_segnet.training.augmentation_preview import write_preview

    options = {"unlabelled": unlabelled, "task": task, "axes": axes, "seed": seed}
    paths = write_preview(images, labels, out, build_config(options, set_ or (), config), rows, columns)
    typer.echo(f"Written: {paths[0]}, {paths[1]}")


def find_rate(
    images: Images,
    labels: Labels,
    out: Out,
    unlabelled: Meaning = None,
    task: TaskChoice = None,
    preset: Preset = None,
    network: Network = None,
    encoder: Encoder = None,
    weights: Annotated[str | None, typer.Option(help="As for train.")] = None,
    loss: Loss = None,
    optimizer: Optimizer = None,
    val_fraction: ValFraction = None,
    axes: Axes = None,
    device: DeviceOrAuto = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same data, same CPU: same curve.")] = None,
    config: ConfigFile = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as train.optimizer=sgd.", autocompletion=completion.settings),
    ] = None,
) -> None:
    """Find a learning rate: a hundred steps at growing rates, and where the loss falls quickest."""
    from napari_segnet.find_rate import find_rate as find

    options = {
        "unlabelled": unlabelled,
        "task": task,
        "preset": preset,
        "network": network,
        "encoder": encoder,
        "weights": weights,
        "loss": loss,
        "optimizer": optimizer,
        "val_fraction": val_fraction,
        "axes": axes,
        "device": device,
        "seed": seed,
    }
    curve = find(images, labels, out, build_config(options, set_ or (), config))
    typer.echo(f"The loss falls quickest at a learning rate of {curve.steepest:.2g}; lowest: at {curve.lowest:.2g}.")
    typer.echo(f"To learn with it: --set train.learning_rate={curve.steepest:.2g}")
    typer.echo(f"Written: {out / 'rates.csv'}, {out / 'rates.png'}")
