"""What the network thinks, while it learns, of the part of an image that the user looks at."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_segnet import events
from napari_segnet.axes import per_axis
from napari_segnet.config import PredictConfig
from napari_segnet.data.normalization import Normalization
from napari_segnet.data.pairs import TrainingPair
from napari_segnet.io.write import write_npy
from napari_segnet.predict.predictor import Predictor
from napari_segnet.run import RunFolder
from napari_segnet.training.learner import Learner
from napari_segnet.training.loop import statistics_batches
from napari_segnet.training.prepare import Prepared
from napari_segnet.training.saver import model_info

_MARGIN = 64
"""Pixels around the view that are predicted with it, so that its border knows its surroundings."""


@dataclass(frozen=True)
class View:
    """The part of an image that is looked at: name of the image, plane, and place in it (Y, X), pixels."""

    pair: str
    plane: int
    origin: tuple[int, int]
    shape: tuple[int, int]


def preview(run: RunFolder, view: View, ready: Prepared, learner: Learner, turn: int) -> Iterator[events.Event]:
    """Predict the view with a margin around it, with the averaged weights as they are now.

    A network for volumes sees planes above and below, too; the answer is that for the plane of the view.

    Parameters
    ----------
    run : RunFolder
        Gets the arrays, in its folder ``preview``.
    view : View
    ready : Prepared
    learner : Learner
    turn : int
        0 or 1: two names in turn, because the viewer may still be reading the previous one.
    """
    found = [i for i, pair in enumerate(ready.pairs) if pair.group == view.pair]
    # Where images are resampled, the view's pixels are others than those that are learned from: it waits for the model.
    place = _place(ready.pairs[found[0]], view.plane) if found and ready.config.data.pixel_size is None else None
    if place is None:
        return
    began = time.perf_counter()
    item, z = place
    number = found[item]
    window = _window(ready.pairs[number].shape[-2:], view)
    around = [
        _around(part, length, _MARGIN) for part, length in zip(window, ready.pairs[number].shape[-2:], strict=True)
    ]
    inside: list[int | slice] = [
        slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(window, around, strict=True)
    ]
    if z is not None:
        depth = per_axis(ready.config.train.patch_size, 3)[0]
        planes = _around(slice(z, z + 1), ready.pairs[number].shape[0], depth // 2)
        around.insert(0, planes)
        inside.insert(0, z - planes.start)
    image = ready.cache.read(number, tuple(around))
    network = learner.refresh_average(lambda: statistics_batches(learner, ready.lesson, ready.config.train))
    # The window is normalized already, by the limits of its whole image.
    info = model_info(ready, network, {}).replace(
        normalization=Normalization(mode="none", clip=ready.normalization.clip)
    )
    predictor = Predictor(network, info, PredictConfig(), learner.device)
    outputs = predictor.empty_outputs(image.shape[1:], probabilities=True)
    predictor.predict_plane(image, labels_out=outputs["labels_out"], probabilities_out=outputs["probabilities_out"])
    folder = run.path / "preview"
    folder.mkdir(exist_ok=True)
    files = folder / f"labels-{turn}.npy", folder / f"probabilities-{turn}.npy"
    write_npy(files[0], np.ascontiguousarray(outputs["labels_out"][tuple(inside)]))
    write_npy(files[1], np.ascontiguousarray(outputs["probabilities_out"][(slice(None), *inside)]))
    origin = window[0].start, window[1].start
    yield events.Preview(view.pair, str(files[0]), str(files[1]), origin, time.perf_counter() - began, view.plane)


def _place(first: TrainingPair, plane: int) -> tuple[int, int | None] | None:
    """Return the item that a plane of an image belongs to, and its Z in a volume; None where there is no such plane."""
    images = first.opened.images
    lengths = {letter: n for letter, n in zip(images.axes, images.shape, strict=True) if letter not in "YX"}
    if not 0 <= plane < math.prod(lengths.values()):
        return None
    if images.spatial == "YX":
        return plane, None
    at = dict(zip(lengths, (int(n) for n in np.unravel_index(plane, tuple(lengths.values()))), strict=True))
    item = 0
    for letter in images.leading_axes:
        item = item * lengths[letter] + at[letter]
    return item, at["Z"]


def _window(shape: tuple[int, ...], view: View) -> list[slice]:
    """Return the rows and columns of the view that lie in the image, at least one of each."""
    parts = []
    for length, origin, size in zip(shape, view.origin, view.shape, strict=True):
        start = max(0, min(origin, length - 1))
        parts.append(slice(start, min(length, start + max(1, size))))
    return parts


def _around(part: slice, length: int, margin: int) -> slice:
    return slice(max(0, part.start - margin), min(length, part.stop + margin))
