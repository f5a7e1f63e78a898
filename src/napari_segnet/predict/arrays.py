"""Prediction of arrays: for the Python interface in memory, for the viewer as memory-mapped ``.npy`` files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_segnet import events
from napari_segnet.axes import ArrayLike, ImageStack, to_stack
from napari_segnet.channels import join_channels
from napari_segnet.config import PredictConfig
from napari_segnet.io.images import open_image
from napari_segnet.io.write import open_output
from napari_segnet.predict.jobs import SUFFIXES, Job, predict_jobs
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.resampled import pixel_size_of
from napari_segnet.predict.stacks import check_channels, predict_stack_into


def predict_stack(
    predictor: Predictor, image: ArrayLike, axes: str, *, instances: bool = False
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
    """Predict an image in memory.

    Parameters
    ----------
    predictor : Predictor
    image : array-like
        Of the axes `axes`.
    axes : str
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
    items = to_stack(image, axes, predictor.spatial)
    check_channels("The image", items, predictor.info)
    made: dict[str, NDArray[Any]] = {}

    def sink(output: str, shape: tuple[int, ...], dtype: DTypeLike, _axes: str) -> Any:
        made[output] = np.empty(shape, dtype)
        return contextlib.nullcontext(made[output])

    size = pixel_size_of(predictor, None, None)
    for _ in predict_stack_into(
        predictor, items, sink, probabilities=True, uncertainty=True, instances=instances, pixel_size=size
    ):
        pass
    return made["labels"], np.moveaxis(made["probabilities"], -3, 0), made["uncertainty"]


def predict_arrays(
    model: Path | str,
    images: Sequence[tuple[str, Sequence[Path], str]],
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
    images : sequence of (name, files, axes)
        Several files of one image are used as its channels.
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

    def job(name: str, files: Sequence[Path], axes: str) -> Job:
        def write(output: str, shape: tuple[int, ...], dtype: DTypeLike, of_axes: str) -> Any:
            return open_output(target[output], shape, dtype, of_axes, kind="npy")

        def stack(spatial: str) -> ImageStack:
            return join_channels(name, [to_stack(open_image(file, axes).array, axes, spatial) for file in files])

        target = {output: out / f"{name}{suffix}.npy" for output, suffix in SUFFIXES.items()}
        return Job(name, stack, write, target)

    yield from predict_jobs(
        model,
        [job(*image) for image in images],
        probabilities=probabilities,
        uncertainty=uncertainty,
        instances=instances,
        config=config,
        should_stop=should_stop,
    )
