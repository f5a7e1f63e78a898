"""Pictures of a run for its report: validation patches with the best model's answer, and what augmentation does.

``RUN/examples`` then holds ``image.npy`` (N, Y, X, 3) uint8, ``truth.npy`` and ``prediction.npy`` (N, Y, X) uint16 with
the values of label images (`UNKNOWN` where nothing is annotated), and ``augmentation.png``.
"""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray

from napari_segnet.data.labels import IGNORE
from napari_segnet.io.write import write_npy
from napari_segnet.models.file import load_model
from napari_segnet.run import RunFolder, write_atomically
from napari_segnet.training.augment import window_size
from napari_segnet.training.augmentation_preview import preview_grid, show_channels
from napari_segnet.training.learner import Learner
from napari_segnet.training.prepare import Prepared

FOLDER = "examples"
UNKNOWN = 65535
"""What stands for pixels that nobody annotated; label values are smaller or don't fit."""
_EXAMPLES = 6
_ROWS, _COLUMNS = 3, 6


def write_examples(run: RunFolder, ready: Prepared, learner: Learner) -> None:
    """Write the pictures of a run whose best model is saved.

    Parameters
    ----------
    run : RunFolder
    ready : Prepared
    learner : Learner

    Raises
    ------
    OSError, SegNetError
        If the folder can't be written.
    """
    folder = run.path / FOLDER
    folder.mkdir(exist_ok=True)
    found = _validation(run, ready, learner)
    if found is not None:
        image, truth, prediction = found
        write_npy(folder / "image.npy", image)
        write_npy(folder / "truth.npy", truth)
        write_npy(folder / "prediction.npy", prediction)
    picture = iio.imwrite("<bytes>", _augmentation(ready), extension=".png")
    write_atomically(folder / "augmentation.png", picture)


def _validation(
    run: RunFolder, ready: Prepared, learner: Learner
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]] | None:
    """Return some validation patches, their targets and the answers; None without validation."""
    places = [(batch, row) for batch, (images, _) in enumerate(ready.lesson.validation) for row in range(len(images))]
    if not places:
        return None
    _, network = load_model(run.model, learner.device)
    images, targets, answers = [], [], []
    for index in np.unique(np.linspace(0, len(places) - 1, min(_EXAMPLES, len(places))).round().astype(int)):
        batch, row = places[index]
        image, target = (side[row : row + 1] for side in ready.lesson.validation[batch])
        with torch.inference_mode():
            answer = learner.forward(network, image.to(learner.device)).argmax(dim=1)
        middle = () if target.ndim == 3 else (target.shape[1] // 2,)
        images.append(show_channels(image[(0, slice(None), *middle)].float().cpu().numpy()))
        targets.append(target[(0, *middle)].cpu().numpy())
        answers.append(answer[(0, *middle)].cpu().numpy())
    values = _values(ready)
    return np.stack(images), values[np.stack(targets)], values[np.stack(answers)]


def _values(ready: Prepared) -> NDArray[np.uint16]:
    """Return the label value of each class of the network; those of instances are interior and boundary."""
    data = ready.config.data
    table = np.full(IGNORE + 1, UNKNOWN, np.uint16)
    values = range(ready.outputs) if data.task == "instances" else [c.value for c in data.classes]
    table[: ready.outputs] = list(values)
    return table


def _augmentation(ready: Prepared) -> NDArray[np.uint8]:
    """Draw a row of changed patches for each of some patches, the unchanged one first."""
    config, spacing = ready.config.train, ready.lesson.spacing
    windows = ready.lesson.sampler.draw(0, _ROWS, window_size(config.patch_size, config.augment, spacing))
    patch = tuple(config.patch_size) if isinstance(config.patch_size, tuple) else config.patch_size
    image, _ = preview_grid(
        torch.from_numpy(windows.images),
        torch.from_numpy(np.ascontiguousarray(windows.targets)),
        config.augment,
        patch,
        _ROWS,
        _COLUMNS,
        config.seed,
        spacing=spacing,
        frequencies=ready.lesson.frequencies,
        instances=ready.lesson.instances,
        first_class=ready.lesson.first_class,
    )
    return show_channels(image)
