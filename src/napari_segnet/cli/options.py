"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_segnet import completion
from napari_segnet.config import PresetName, Task, Unlabelled

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Out = Annotated[Path, typer.Option(help="Folder to write into.")]
Images = Annotated[Path, typer.Argument(help="An image, or a folder of images.")]
Labels = Annotated[Path, typer.Argument(help="Its labels, or a folder of labels with the same names.")]
Meaning = Annotated[Unlabelled | None, typer.Option(help="What 0 means; default: guessed.")]
TaskChoice = Annotated[Task | None, typer.Option(help="Classes, or numbered objects; default: guessed.")]
Preset = Annotated[PresetName | None, typer.Option(help="How much effort; default: fast.")]
ValFraction = Annotated[float | None, typer.Option(help="Part kept for validation; 0: none.")]
Axes = Annotated[str | None, typer.Option(help="Axes of the image files, such as ZYX; default: guessed.")]
DeviceOrAuto = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML file of options, as for train.")]
Network = Annotated[
    str | None,
    typer.Option(help="auto, or a name: see napari-segnet networks.", autocompletion=completion.networks_or_auto),
]
Encoder = Annotated[str | None, typer.Option(help="See napari-segnet encoders.", autocompletion=completion.encoders)]
Loss = Annotated[str | None, typer.Option(help="See napari-segnet losses.", autocompletion=completion.losses)]
Optimizer = Annotated[
    str | None, typer.Option(help="See napari-segnet optimizers.", autocompletion=completion.optimizers)
]
Schedule = Annotated[str | None, typer.Option(help="See napari-segnet schedules.", autocompletion=completion.schedules)]
