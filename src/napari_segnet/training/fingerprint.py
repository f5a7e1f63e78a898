"""What the presets look at: measured from the images and labels of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_segnet.data.labels import IGNORE
from napari_segnet.data.pairs import TrainingPair
from napari_segnet.devices import free_memory
from napari_segnet.presets import Fingerprint

_MOST_MEASURED = 6
"""Label images in which objects are measured."""
_VOID = 0.2
"""Largest share of unannotated pixels, such as void edges, with which a label image counts as annotated throughout."""
_MEASURED_SIDE = 512
"""Larger label images are thinned out to about this size before objects in them are measured."""


def fingerprint(
    pairs: Sequence[TrainingPair], targets: Sequence[NDArray[np.uint8]], outputs: int, device: torch.device
) -> Fingerprint:
    """Return what the presets look at.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    targets : sequence of ([Z], Y, X) uint8
        Their labels, encoded: the number of the class, or `IGNORE`.
    outputs : int
        Number of classes.
    device : torch.device
    """
    found_width, grain = (None, None) if targets[0].ndim == 3 else measure_objects(targets)
    *depth, height, width = (int(length) for length in np.median([pair.shape for pair in pairs], axis=0))
    return Fingerprint(
        images=len(pairs),
        depth=depth[0] if depth else None,
        height=height,
        width=width,
        spacing=spacing_of(pairs),
        channels=pairs[0].channels,
        outputs=outputs,
        annotated=int(sum(np.count_nonzero(t != IGNORE) for t in targets)),
        device=device.type,
        memory=free_memory(device) / 2**30,
        object_width=found_width,
        grain=grain,
    )


def measure_objects(targets: Sequence[NDArray[np.uint8]]) -> tuple[float | None, float | None]:
    """Return how wide objects are, and how far edges are apart, pixels; None where too little is annotated to tell.

    Parameters
    ----------
    targets : sequence of (Y, X) uint8
        The number of the class, or `IGNORE`. Those with many unannotated pixels hold strokes, or parts of objects,
        and are left out.

    Returns
    -------
    width : float or None
        The width of an object is the diameter of the largest circle inside it; that of all is the median over their
        pixels, so that crumbs don't count. Class 0 is taken for what lies between objects.
    grain : float or None
        Mean length along which a row or column stays in one class: twice the pixels by the edges between classes.
    """
    whole = [target for target in targets if np.count_nonzero(target == IGNORE) <= _VOID * target.size]
    chosen = np.unique(np.linspace(0, len(whole) - 1, min(len(whole), _MOST_MEASURED)).round().astype(int))
    found = [width for number in chosen for width in _widths(*_thinned(whole[number]))]
    if not found:
        return None, None
    widths, areas = np.array(sorted(found)).T
    middle = np.searchsorted(areas.cumsum(), areas.sum() / 2)
    lengths, edges = np.sum([_edges(*_thinned(whole[number])) for number in chosen], axis=0)
    return float(widths[middle]), float(2 * lengths / max(edges, 1))


def _thinned(target: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Return every so many pixels of a label image, and how many."""
    step = max(1, round(max(target.shape) / _MEASURED_SIDE))
    return target[::step, ::step], step


def _widths(target: NDArray[np.uint8], step: int) -> list[tuple[float, float]]:
    """Return (width, area) of each object of a thinned label image, pixels of the whole."""
    found = []
    for value in np.unique(target):
        if value in (0, IGNORE):
            continue
        inside = target == value
        depths = ndi.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]  # an object ends with the image
        objects, number = ndi.label(inside)
        numbers = np.arange(1, number + 1)
        radii, areas = ndi.maximum(depths, objects, numbers), ndi.sum_labels(inside, objects, numbers)
        found += [(2.0 * step * radius, float(area)) for radius, area in zip(radii, areas, strict=True)]
    return found


def _edges(target: NDArray[np.uint8], step: int) -> tuple[float, float]:
    """Return the annotated pixels of a thinned label image, as lengths in pixels of the whole, and the edges there."""
    known = target != IGNORE
    down = (target[1:] != target[:-1]) & known[1:] & known[:-1]
    across = (target[:, 1:] != target[:, :-1]) & known[:, 1:] & known[:, :-1]
    return float(step * np.count_nonzero(known)), float(np.count_nonzero(down) + np.count_nonzero(across))


def spacing_of(pairs: Sequence[TrainingPair]) -> tuple[float, float, float]:
    """Return the median size of a voxel along Z, Y and X; one where the files don't tell it."""
    sizes = [pair.pixel_size for pair in pairs]
    known = [size for size in sizes if size is not None and len(size) == 3 and min(size) > 0]
    if not known:
        return 1.0, 1.0, 1.0
    z, y, x = (float(step) for step in np.median(known, axis=0))
    return z, y, x


def describe(
    data: Fingerprint, pairs: Sequence[TrainingPair], targets: Sequence[NDArray[np.uint8]]
) -> dict[str, int | float | str]:
    """Say in the model what it has seen; the digest tells whether two models saw the same annotation."""
    digest = hashlib.sha256()
    for pair, target in zip(pairs, targets, strict=True):
        digest.update(f"{pair.name}{target.shape}".encode())
        digest.update(target.tobytes())
    return {
        "images": data.images,
        **({"depth": data.depth} if data.depth else {}),
        "height": data.height,
        "width": data.width,
        "annotated_pixels": data.annotated,
        **({"object_width": round(data.object_width, 1)} if data.object_width else {}),
        "annotated_share": round(data.annotated / sum(target.size for target in targets), 6),
        "annotation_sha256": digest.hexdigest(),
    }
