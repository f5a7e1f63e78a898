"""Prediction of arrays: for the Python interface in memory, for the viewer as memory-mapped ``.npy`` files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet import events
from napari_segnet.axes import ImageStack, to_stack
from napari_segnet.channels import join_channels
from napari_segnet.config import PredictConfig
from napari_segnet.inputs import Pixels
from napari_segnet.io.images import open_image
from napari_segnet.io.write import open_output
from napari_segnet.predict.jobs import SUFFIXES, Job, predict_jobs
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.stacks import check_channels, predict_stack_into


@dataclass(frozen=True)
class ArrayFiles:
    """An image as ``.npy`` files; several of them are used as its channels.

    `pixel_size` is that along [Z], Y, X in `units`, where the layer tells it.
    """

    name: str
    files: Sequence[Path]
    axes: str
    pixel_size: tuple[float, ...] | None = None
    units: str | None = None


def predict_stack(
    predictor: Predictor, image: Pixels, *, instances: bool = False
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
    """Predict an image in memory.

    Parameters
    ----------
    predictor : Predictor
    image : Pixels
    instances : bool
        Number the objects instead of naming classes.

    Returns
    -------
    labels : (Y, X) array, with T and Z before it where the image has them
    probabilities : (K, Y, X) float32, T and Z after the classes
    uncertainty : (Y, X) float32, T and Z before it

    Raises
    ------
    DataError
        If the image has other channels than the model.
    """
    items = to_stack(image.array, image.axes, predictor.spatial)
    check_channels("The image", items, predictor.info)
    made: dict[str, NDArray[Any]] = {}

    def sink(output: str, shape: tuple[int, ...], dtype: DTypeLike, _axes: str) -> Any:
        made[output] = np.empty(shape, dtype)
        return contextlib.nullcontext(made[output])

    steps = predict_stack_into(
        predictor, items, sink, probabilities=True, uncertainty=True, instances=instances,
        pixel_size=image.pixel_size, units=image.units,
    )  # fmt: skip
    for _ in steps:
        pass
    return made["labels"], np.moveaxis(made["probabilities"], -3, 0), made["uncertainty"]


def predict_arrays(
    model: Path | str,
    images: Sequence[ArrayFiles],
    out: Path,
    *,
    probabilities: bool = True,
    uncertainty: bool = True,
    instances: bool = False,
    config: PredictConfig | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[events.Event]:
    """Predict ``.npy`` files into ``.npy`` files, as the viewer asks for it.

    Parameters
    ----------
    model : Path
        A model file or a run folder.
    images : sequence of ArrayFiles
    out : Path
        Gets NAME.npy, NAME_probabilities.npy and NAME_uncertainty.npy. Probabilities have a C before Y and X.
    probabilities, uncertainty, instances : bool
    config : PredictConfig, optional
    should_stop : callable, optional
        Asked between tiles.

    Yields
    ------
    Event
        Notice, Progress, Predicted for each image, Finished.

    Raises
    ------
    SegNetError
        If something can't work, in a sentence.
    """

    def job(image: ArrayFiles) -> Job:
        def write(output: str, shape: tuple[int, ...], dtype: DTypeLike, of_axes: str) -> Any:
            return open_output(target[output], shape, dtype, of_axes, kind="npy")

        def stack(spatial: str) -> ImageStack:
            axes = image.axes
            return join_channels(
                image.name, [to_stack(open_image(file, axes).array, axes, spatial) for file in image.files]
            )

        target = {output: out / f"{image.name}{suffix}.npy" for output, suffix in SUFFIXES.items()}
        return Job(image.name, stack, write, target, lambda: (image.pixel_size, image.units))

    yield from predict_jobs(
        model,
        [job(image) for image in images],
        probabilities=probabilities,
        uncertainty=uncertainty,
        instances=instances,
        config=config,
        should_stop=should_stop,
    )
