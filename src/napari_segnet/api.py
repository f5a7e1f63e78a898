"""The Python interface: `train`, `load`, `Model.predict`, `Model.save`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from napari_segnet import events
from napari_segnet.again import copy_records
from napari_segnet.config import LabelClass, PredictConfig, validated
from napari_segnet.devices import pick_device
from napari_segnet.errors import DataError
from napari_segnet.executor import Control
from napari_segnet.folds import train_folder
from napari_segnet.inputs import Images, read_image, write_records
from napari_segnet.models.file import join_models, load_model, write_model
from napari_segnet.models.info import Combine, ModelInfo
from napari_segnet.predict.arrays import predict_stack
from napari_segnet.predict.classes import output_classes
from napari_segnet.predict.ensemble import make_predictor
from napari_segnet.pseudo_labels import PseudoLabels
from napari_segnet.pseudo_labels import pseudo_label as write_labels
from napari_segnet.request import build_config
from napari_segnet.run import RunFolder, check_new

_OPTIONS = (
    *("unlabelled", "task", "axes", "network", "encoder", "weights", "loss", "optimizer", "schedule"),
    *("epochs", "minutes", "val_fraction", "folds", "device"),
)
"""What `train` takes besides its own arguments."""


@dataclass(frozen=True)
class Result:
    """What a model says of an image of Y x X pixels, or a stack of such planes (then Z comes first).

    Attributes
    ----------
    labels : (Y, X) unsigned integers
        Values of the classes; numbers of objects where instances were asked for.
    probabilities : (K, Y, X) float32
        Of each class, in the order of `classes`. (K, Z, Y, X) for a stack.
    uncertainty : (Y, X) float32
        Entropy of the classes, 0 (sure) to 1.
    classes : tuple of LabelClass
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    classes: tuple[LabelClass, ...]


class Model:
    """A trained network and everything needed to use it.

    Parameters
    ----------
    info : ModelInfo
        What its file says of it.
    network : torch.nn.Module
    history : sequence of dict
        One row an epoch, as in ``history.csv``; empty for a model that was loaded.
    """

    def __init__(
        self, info: ModelInfo, network: nn.Module, history: Sequence[Mapping[str, float | int | None]] = ()
    ) -> None:
        self.info, self.network, self.history = info, network, list(history)

    @property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes of its labels and probabilities."""
        return output_classes(self.info)

    def predict(
        self,
        image: Images,
        *,
        axes: str | None = None,
        instances: bool = False,
        device: str = "auto",
        **options: Any,
    ) -> Result:
        """Predict an image.

        Parameters
        ----------
        image : array or path
            (Y, X), (Y, X, C), (C, Y, X), or a stack with Z or T in front.
        axes : str, optional
            What the axes are, such as ``"CYX"``; default: guessed from the shape.
        instances : bool
            Number the objects instead of naming classes.
        device : str
            auto, cpu, cuda, cuda:N or mps.
        **options
            Fields of `PredictConfig`: tta, crf, exact, tile, precision, and for arrays pixel_size ...

        Returns
        -------
        Result

        Raises
        ------
        DataError
            If the image has other channels than those that the model was trained on.
        """
        opened = read_image(image, axes)
        config = validated(PredictConfig, {**options, "device": device})
        predictor = make_predictor((self.info, self.network), config)
        labels, probabilities, uncertainty = predict_stack(predictor, opened, instances=instances)
        return Result(labels, probabilities, uncertainty, self.classes)

    def save(self, path: Path | str) -> Path:
        """Write the model to one ``.safetensors`` file; returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_model(path, self.info, self.network)
        return path


def load(path: Path | str, device: str = "cpu") -> Model:
    """Load a model file, the best model of a run folder, or the models of a folder of folds as one ensemble.

    Nothing in the file is executed or unpickled.

    Raises
    ------
    ModelFileError
        If it is damaged, or was not written by napari-segnet.
    """
    return Model(*load_model(path, pick_device(device)))


def ensemble(models: Sequence[Model | Path | str], combine: Combine = "mean") -> Model:
    """Put models together that were trained for the same job; they may be of different networks.

    Parameters
    ----------
    models : sequence of Model or path
        Ensembles among them count as their members.
    combine : {"mean", "vote"}
        How they agree on labels: the likeliest class by the mean of their probabilities, or the class that most of
        them say, and by the mean where votes are equal. Probabilities and uncertainty are those of the mean.

    Returns
    -------
    Model
        It predicts, and is saved, as any other, with all members in one file.

    Raises
    ------
    ConfigError
        If there are none, or they differ in channels, axes, task or classes.
    ModelFileError
        If a file is damaged.
    """
    loaded = [load(model) if isinstance(model, Path | str) else model for model in models]
    return Model(*join_models([(model.info, model.network) for model in loaded], combine))


def pseudo_label(
    model: Path | str,
    images: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    confidence: float = 0.9,
    axes: str | None = None,
    on_event: Callable[[events.Event], None] | None = None,
    **options: Any,
) -> PseudoLabels:
    """Write labels where a model is sure, 0 (not annotated) elsewhere, and a configuration to train with them.

    Parameters
    ----------
    model, images, out, confidence, axes
        As for `napari_segnet.pseudo_labels.pseudo_label`.
    on_event : callable, optional
        Told what happens, as events of `napari_segnet.events`.
    **options
        Fields of `PredictConfig`: tta, tile, device ...

    Returns
    -------
    PseudoLabels
        The share of each class that was kept, the classes that vanished, and how to train on the labels.

    Raises
    ------
    SegNetError
        If something can't work, in a sentence.
    """
    told = write_labels(model, images, out, confidence=confidence, axes=axes, config=validated(PredictConfig, options))
    while True:
        try:
            event = next(told)
        except StopIteration as end:
            made: PseudoLabels = end.value
            return made
        if on_event is not None:
            on_event(event)


def train(
    images: Images | Sequence[Images],
    labels: Images | Sequence[Images] | None = None,
    *,
    preset: str | None = None,
    seed: int = 0,
    spacing: Sequence[float] | None = None,
    run: Path | str | None = None,
    on_event: Callable[[events.Event], None] | None = None,
    settings: Sequence[str] = (),
    **options: Any,
) -> Model:
    """Train a network.

    Parameters
    ----------
    images, labels : array, path, or sequences of these
        Arrays are (Y, X), (Y, X, C), (C, Y, X) or stacks; labels have no C. Folders are paired by file name. A run
        folder alone stands for the images and labels of that run; they know their spacing.
    preset : {"fast", "balanced", "best"}, optional
        Default: the one that `minutes` are enough for, or fast.
    seed : int
        Same seed, same data, same CPU: the same model.
    spacing : sequence of float, optional
        Size of a pixel along [Z], Y, X; default: what files say, and for arrays nothing.
    run : path, optional
        Folder to keep everything in; default: a temporary one that is removed.
    on_event : callable, optional
        Told what happens, as events of `napari_segnet.events`.
    settings : sequence of str
        Such as ``"train.batch_size=4"``.
    **options
        As at the shell: unlabelled, task, axes, network, encoder, weights, loss, optimizer, schedule, epochs,
        minutes, val_fraction, folds, device.

    Returns
    -------
    Model
        The best on validation; with folds the ensemble of theirs.

    Raises
    ------
    SegNetError
        If something can't work, in a sentence.
    """
    unknown = set(options) - set(_OPTIONS)
    if unknown:
        raise TypeError(f"train() has no argument {min(unknown)!r}; other options go into settings")
    config = build_config({**options, "preset": preset, "seed": seed}, settings)
    with tempfile.TemporaryDirectory(prefix="napari-segnet-") as scratch:
        folder = Path(run) if run else Path(scratch) / "run"
        check_new(folder)
        if labels is None:
            records = copy_records(_run_alone(images, spacing), folder)
        else:
            records = write_records(folder, images, labels, config.data.axes, spacing)
        for event in train_folder(folder, config, records, Control(report=run is not None)):
            if on_event is not None:
                on_event(event)
        info, network = load_model(folder)
        return Model(info, network, [] if info.members else _history(RunFolder(folder)))


def _run_alone(images: Images | Sequence[Images], spacing: Sequence[float] | None) -> Path:
    """Return the run folder that stands for images and labels; raises `DataError` if it is something else."""
    if not isinstance(images, Path | str):
        raise DataError("There are no labels.", "Give as many labels as images, or a run folder alone.")
    if spacing is not None:
        raise DataError(f"The images of {images} know their spacing.", "Leave spacing out.")
    return Path(images)


def _history(run: RunFolder) -> list[dict[str, float | int | None]]:
    return [event.row for event in run.events() if isinstance(event, events.Epoch)]
