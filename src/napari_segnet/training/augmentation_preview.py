"""What augmentation does to patches of one's own images, as a picture with its labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from napari_segnet.axes import per_axis
from napari_segnet.config import AugmentConfig, DataConfig, RunConfig
from napari_segnet.data.labels import IGNORE, PALETTE
from napari_segnet.errors import SegNetError
from napari_segnet.io.pairing import pair_files
from napari_segnet.io.records import make_records
from napari_segnet.run import RunFolder
from napari_segnet.training.augment import augment, window_size
from napari_segnet.training.prepare import Prepared, prepare

_GAP = 2
"""Pixels between patches."""


@dataclass(frozen=True)
class Preview:
    """A picture of augmented patches: `image` (Y, X, 3) uint8, and `labels` (Y, X) with the values of label images.

    `colours` says how a label is shown: value -> ``"#rrggbb"``. For objects the values are 1, interior, and 2,
    boundary.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    colours: dict[int, str]


def preview_grid(
    images: Tensor,
    targets: Tensor,
    config: AugmentConfig,
    patch: int | tuple[int, ...],
    rows: int,
    columns: int,
    seed: int,
    *,
    spacing: Sequence[float] | None = None,
    frequencies: Tensor | None = None,
    instances: bool = False,
    first_class: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Lay augmented patches out in a grid: a row a window, its unchanged patch first.

    Parameters
    ----------
    images : (B, C, [Z], Y, X) float32
        Windows of the size of `window_size`, normalized.
    targets : (B, [Z], Y, X) uint8
        Their targets.
    config : AugmentConfig
    patch : int or tuple of int
        Sides of a patch, pixels.
    rows : int
        Windows to show, at most B. Copy-paste takes objects from all of them.
    columns : int
        Patches of each window, the unchanged one among them.
    seed : int
    spacing, frequencies, instances, first_class
        As for `augment`.

    Returns
    -------
    image : (C, Y, X) float32
        Of volumes the middle planes. Between patches it is 1, the upper limit of normalized intensities.
    targets : (Y, X) uint8
        Its targets, `IGNORE` between patches.
    """
    sides = per_axis(patch, targets.ndim - 1)
    first = [(window - side) // 2 for window, side in zip(targets.shape[1:], sides, strict=True)]
    middle = tuple(slice(start, start + side) for start, side in zip(first, sides, strict=True))
    shown = [(images[:, :, *middle], targets[:, *middle])]
    for column in range(1, columns):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + column)
        made = augment(
            images, targets, sides, config, generator,
            spacing=spacing, frequencies=frequencies, instances=instances, first_class=first_class,
        )  # fmt: skip
        shown.append((made.images, made.targets))
    rows = min(rows, len(images))
    height, width = sides[-2:]
    size = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    image, labels = np.ones((images.shape[1], *size), np.float32), np.full(size, IGNORE, np.uint8)
    for column, (values, known) in enumerate(shown):
        if len(sides) == 3:
            values, known = values[:, :, sides[0] // 2], known[:, sides[0] // 2]
        for row in range(rows):
            top, left = row * (height + _GAP), column * (width + _GAP)
            image[:, top : top + height, left : left + width] = values[row].float().cpu().numpy()
            labels[top : top + height, left : left + width] = known[row].cpu().numpy()
    return image, labels


def preview_run(run: RunFolder, rows: int = 4, columns: int = 6, seed: int = 0) -> Preview:
    """Show what augmentation does to the patches that a run would learn from.

    Parameters
    ----------
    run : RunFolder
        New or not; nothing is written into it.
    rows, columns : int
        Windows, and patches of each.
    seed : int
        Another one shows other changes of the same patches.

    Raises
    ------
    SegNetError
        If nothing could be learned from the run, in a sentence.
    """
    ready = prepare(run, torch.device("cpu"))
    axes, config = ready.targets[0].ndim, ready.config.train
    spacing = _spacing(ready, axes)
    patch = per_axis(config.patch_size, axes)
    windows = ready.lesson.sampler.draw(0, rows, window_size(patch, config.augment, spacing))
    counts = np.sum([np.bincount(t.ravel(), minlength=IGNORE + 1)[: ready.outputs] for t in ready.targets], axis=0)
    image, targets = preview_grid(
        torch.from_numpy(windows.images),
        torch.from_numpy(np.ascontiguousarray(windows.targets)),
        config.augment,
        patch,
        rows,
        columns,
        seed,
        spacing=spacing,
        frequencies=torch.from_numpy(counts),
        instances=ready.config.data.task == "instances",
        first_class=ready.lesson.first_class,
    )
    labels, colours = _labels(targets, ready.config.data)
    return Preview(show_channels(image), labels, colours)


def write_preview(
    images: Path, labels: Path, out: Path, config: RunConfig, rows: int = 4, columns: int = 6
) -> tuple[Path, Path]:
    """Write ``augmentation.png`` and ``augmentation_labels.png``, as ``napari-segnet preview-augmentation`` does.

    Parameters
    ----------
    images, labels : Path
        Files or folders, as for training.
    out : Path
        Folder to write into.
    config : RunConfig
    rows, columns : int
        Windows, and patches of each.

    Returns
    -------
    Path, Path
        The picture and its labels.

    Raises
    ------
    SegNetError
        If nothing could be learned from the files, or `out` can't be written.
    """
    # A forest would take its time, and nothing of it is shown.
    config = config.replace(train={**config.train.explicit(), "forest_guide": False})
    with tempfile.TemporaryDirectory(prefix="napari-segnet-") as scratch:
        records = make_records(pair_files(images, labels), config.data.axes)
        made = preview_run(RunFolder.create(Path(scratch) / "run", config, records), rows, columns, config.train.seed)
    paths = out / "augmentation.png", out / "augmentation_labels.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        iio.imwrite(paths[0], made.image)
        _write_labels(paths[1], made)
    except OSError as error:
        raise SegNetError(f"{out} can't be written: {error.strerror or error}.", "Choose another --out.") from error
    return paths


def _spacing(ready: Prepared, axes: int) -> tuple[float, ...] | None:
    """Return the pixel size of the first image that says it."""
    sizes = [pair.pixel_size for pair in ready.pairs]
    return next((size[-axes:] for size in sizes if size and len(size) >= axes and min(size[-axes:]) > 0), None)


def show_channels(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return (Y, X, 3) of normalized channels (C, Y, X): one grey, two magenta and green, three in their colours."""
    order = {1: [0, 0, 0], 2: [0, 1, 0]}.get(len(image), [0, 1, 2])
    grey: NDArray[np.uint8] = np.round((image[order].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return grey.transpose(1, 2, 0)


def _labels(targets: NDArray[np.uint8], data: DataConfig) -> tuple[NDArray[np.uint16], dict[int, str]]:
    """Turn classes into the values that label images have."""
    if data.task == "instances":
        shown = [(value, PALETTE[value]) for value in range(3)]
    else:
        shown = [(c.value, c.colour) for c in data.classes]
    table = np.full(IGNORE + 1, data.ignore_values[0] if data.ignore_values else 0, np.uint16)
    table[: len(shown)] = [value for value, _ in shown]
    return table[targets], dict(shown)


def _write_labels(path: Path, made: Preview) -> None:
    """Write labels as a picture of colours whose numbers are the labels; beyond 255 there are only greys."""
    if made.labels.max() > 255:
        iio.imwrite(path, made.labels)
        return
    picture = Image.fromarray(made.labels.astype(np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    for value, colour in made.colours.items():
        if value <= 255:
            palette[value] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    picture.putpalette(palette.tobytes())
    picture.save(path)
