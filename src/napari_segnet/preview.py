"""What the network thinks, while it learns, of the part of an image that the user looks at."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class _Part:
    """What is predicted for a view, and where its pixels lie in that, along each axis ([Z], Y, X)."""

    around: tuple[slice, ...]
    inside: tuple[NDArray[np.int64], ...]


def preview(run: RunFolder, view: View, ready: Prepared, learner: Learner, number: int) -> Iterator[events.Event]:
    """Predict the view with a margin around it, with the averaged weights as they are now.

    A network for volumes sees planes above and below, too; the answer is that for the plane of the view. Where images
    are resampled, each pixel of the view gets the answer for the pixel that its middle lies in.

    Parameters
    ----------
    run : RunFolder
        Gets the arrays, in its folder ``preview``.
    view : View
    ready : Prepared
    learner : Learner
    number : int
        Of this preview, from 1. The one before it stays, because the viewer may still be reading it.
    """
    found = [i for i, pair in enumerate(ready.pairs) if pair.group == view.pair]
    place = _place(ready.pairs[found[0]], view.plane) if found else None
    if place is None:
        return
    began = time.perf_counter()
    item, z = place
    pair = ready.pairs[found[item]]
    window = _window(pair.opened.item_shape[-2:], view)
    part = _part(pair, window, z, ready)
    image = ready.cache.read(found[item], part.around)
    labels, probabilities = _predict(image, ready, learner)
    files = _write(
        run, number, labels[np.ix_(*part.inside)], probabilities[np.ix_(np.arange(len(probabilities)), *part.inside)]
    )
    origin = window[0].start, window[1].start
    yield events.Preview(view.pair, str(files[0]), str(files[1]), origin, time.perf_counter() - began, view.plane)


def _predict(image: NDArray[np.float32], ready: Prepared, learner: Learner) -> tuple[NDArray[Any], NDArray[np.float32]]:
    network = learner.refresh_average(lambda: statistics_batches(learner, ready.lesson, ready.config.train))
    # The window is normalized already, by the limits of its whole image.
    info = model_info(ready, network, {}).replace(
        normalization=Normalization(mode="none", clip=ready.normalization.clip)
    )
    predictor = Predictor(network, info, PredictConfig(), learner.device)
    outputs = predictor.empty_outputs(image.shape[1:], probabilities=True)
    labels, probabilities = outputs["labels_out"], outputs["probabilities_out"]
    predictor.predict_plane(image, labels_out=labels, probabilities_out=probabilities)
    return labels, probabilities


def _write(run: RunFolder, number: int, labels: NDArray[Any], probabilities: NDArray[np.float32]) -> tuple[Path, Path]:
    """Write labels and probabilities of one plane, and remove those of the preview before the last."""
    folder = run.path / "preview"
    folder.mkdir(exist_ok=True)
    files = folder / f"labels-{number}.npy", folder / f"probabilities-{number}.npy"
    shape = labels.shape[-2:]
    write_npy(files[0], np.ascontiguousarray(labels).reshape(shape))
    write_npy(files[1], np.ascontiguousarray(probabilities).reshape(-1, *shape))
    for name in ("labels", "probabilities"):
        with contextlib.suppress(OSError):  # such as one that is being read, on Windows
            (folder / f"{name}-{number - 2}.npy").unlink(missing_ok=True)
    return files


def _part(pair: TrainingPair, window: Sequence[slice], z: int | None, ready: Prepared) -> _Part:
    """Return what to predict for some rows and columns of a pair, and for one of its planes."""
    parts, margins = [*window], [_MARGIN, _MARGIN]
    if z is not None:
        parts.insert(0, slice(z, z + 1))
        margins.insert(0, per_axis(ready.config.train.patch_size, 3)[0] // 2)
    around, inside = [], []
    for part, margin, length, seen in zip(parts, margins, pair.opened.item_shape, pair.shape, strict=True):
        index = ((np.arange(part.start, part.stop) + 0.5) * seen / length).astype(np.int64)
        around.append(slice(max(0, int(index[0]) - margin), min(seen, int(index[-1]) + 1 + margin)))
        inside.append(index - around[-1].start)
    return _Part(tuple(around), tuple(inside))


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
