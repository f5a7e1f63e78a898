"""What a label image means: classes or objects, and whether unpainted pixels are background or unknown.

The guesses are made from the labels alone and come with a sentence, so that the user can see and change them.
Label images have integer values; inside the training code a target image holds class indices and `IGNORE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.config import DataConfig, LabelClass, Task, Unlabelled
from napari_segnet.errors import DataError

IGNORE = 255
"""Target value of pixels that take no part in the loss."""

MOST_CLASSES = 250
PALETTE = ("#4a90d9", "#e6550d", "#31a354", "#c51b8a", "#fec44f", "#54278f", "#17becf", "#8c6d31", "#d6616b", "#7f7f7f")
INSTANCE_OUTPUTS = 3
"""Outputs of a network of instances: background, interior, boundary."""


@dataclass(frozen=True)
class Meaning:
    """What labels seem to mean; `words` says it to the user."""

    task: Task
    unlabelled: Unlabelled
    words: str


def count_values(labels: Iterable[NDArray[np.integer]]) -> dict[int, int]:
    """Count how often each value occurs in some label images."""
    counts: dict[int, int] = {}
    for image in labels:
        values, numbers = np.unique(image, return_counts=True)
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
    return dict(sorted(counts.items()))


def guess_meaning(labels: Sequence[NDArray[np.integer]], counts: Mapping[int, int] | None = None) -> Meaning:
    """Guess what label images mean.

    Objects are numbered where there are many values and each is one connected piece. Zero means "not annotated"
    where at least two values are painted on a small part of the pixels, or where no pixel is zero but some values
    are painted.

    Parameters
    ----------
    labels : sequence of ([Z], Y, X) integer arrays
        Those to look at; some painted ones will do.
    counts : mapping of int to int, optional
        Label value -> pixels over all images; default: over `labels`.

    Returns
    -------
    Meaning
    """
    counts = count_values(labels) if counts is None else counts
    painted = {value: number for value, number in counts.items() if value != 0}
    total = max(sum(counts.values()), 1)
    share = sum(painted.values()) / total
    if _look_like_objects(labels, painted):
        words = f"{len(painted)} values, each in one piece: numbered objects on a background."
        return Meaning("instances", "background", words)
    if len(painted) >= 2 and 0 in counts and share < 0.25 and not _rare_but_whole(share, labels):
        words = f"{share:.1%} of the pixels are painted, in {len(painted)} classes: unpainted means not annotated."
        return Meaning("semantic", "ignore", words)
    if 0 not in counts and painted:
        return Meaning("semantic", "ignore", f"Every pixel is painted, in {len(painted)} classes.")
    classes = "1 class" if len(painted) == 1 else f"{len(painted)} classes"
    return Meaning("semantic", "background", f"{classes} painted on {share:.1%} of the pixels: zero means background.")


def more_careful(one: Unlabelled, other: Unlabelled) -> Unlabelled:
    """Return the meaning of zero that claims less: strokes of one class alone look like a mask."""
    return "ignore" if "ignore" in (one, other) else "background"


def _look_like_objects(labels: Sequence[NDArray[np.integer]], painted: dict[int, int]) -> bool:
    if len(painted) < 5:
        return False
    pieces = values = 0
    for image in [image for image in labels if image.any()][:5]:
        # Numbered anew, because the boxes of objects take memory up to the largest number.
        numbers = np.unique(image, return_inverse=True)[1].reshape(image.shape).astype(np.int32)
        numbers += int(image.min() != 0)
        for value, box in enumerate(ndimage.find_objects(numbers, max_label=400), start=1):
            if box is not None:
                pieces += ndimage.label(numbers[box] == value, np.ones((3,) * image.ndim))[1]
                values += 1
    return values > 0 and pieces <= 1.25 * values


def _rare_but_whole(share: float, labels: Sequence[NDArray[np.integer]]) -> bool:
    """Tell masks of rare objects from strokes: strokes leave whole images or wide frames of one colour out."""
    volumes = any(image.ndim == 3 for image in labels)
    if volumes:
        # Strokes lie in planes: what is thick along Z, too, was outlined as a body.
        return float(np.mean([_thickness(image) > 2 for image in list(labels)[:8]])) > 0.5
    if len(labels) < 3:
        return False
    # Strokes are painted on one or a few images; a folder where most images carry thick regions is a set of masks.
    return float(np.mean([_thickness(image) > 12 for image in list(labels)[:8]])) > 0.5 and share > 0.02


def _thickness(image: NDArray[np.integer]) -> int:
    """Return how many pixels the innermost painted pixel is from an unpainted one, along the axes or diagonals."""
    return int(ndimage.distance_transform_cdt(image > 0).max())


def default_classes(values: Iterable[int], unlabelled: Unlabelled, task: Task) -> tuple[LabelClass, ...]:
    """Make the class table of label values, with names and colours to start from.

    Raises
    ------
    DataError
        If there are too many values to be classes, or too few to learn from.
    """
    found = sorted(set(values))
    if task == "instances":
        background = 0 if unlabelled == "background" else 1
        objects = 1 if unlabelled == "background" else 2
        return (
            LabelClass(value=background, name="background", colour=PALETTE[0]),
            LabelClass(value=objects, name="object", colour=PALETTE[1]),
        )
    if unlabelled == "ignore":
        found = [v for v in found if v != 0]
    elif 0 not in found:
        found = [0, *found]
    if len(found) > MOST_CLASSES or (len(found) > 64 and found[-1] <= 255):
        raise DataError(
            f"The labels hold {len(found)} different values.",
            "If they number objects, choose instances; a grey image or a JPEG mask is no label image.",
        )
    first = 0 if unlabelled == "ignore" or 0 in found else 1
    if found and found[-1] > 65535:
        raise DataError(
            f"The labels hold the value {found[-1]}, but classes go up to 65535.",
            "If they number objects, choose instances.",
        )
    colours = (PALETTE[i % len(PALETTE)] for i in range(first, first + len(found)))
    background = unlabelled == "background"
    return tuple(
        LabelClass(value=0, name="background", colour=PALETTE[0])
        if background and value == 0
        else LabelClass(value=value, name=f"class {value}", colour=colour)
        for value, colour in zip(found, colours, strict=True)
    )


def output_names(config: DataConfig) -> list[str]:
    """Return the names of the network's outputs."""
    if config.task == "instances":
        return ["background", "interior", "boundary"]
    return [c.name for c in config.classes]


def encode(labels: NDArray[np.integer], config: DataConfig) -> NDArray[np.uint8]:
    """Turn a label image into a target image.

    Parameters
    ----------
    labels : (Y, X) integer array
    config : DataConfig
        With its class table filled in.

    Returns
    -------
    (Y, X) uint8
        Indices of the network's outputs, and `IGNORE` where a pixel takes no part.

    Raises
    ------
    DataError
        If a value has no class.
    """
    if config.task == "instances":
        return _encode_instances(labels, config)
    known = {c.value: index for index, c in enumerate(config.classes)}
    ignored = set(config.ignore_values) | ({0} if config.unlabelled == "ignore" else set())
    values = np.unique(labels)
    unknown = [v for v in values.tolist() if v not in known and v not in ignored]
    if unknown:
        raise DataError(
            f"The labels hold the value {unknown[0]}, which is none of the classes {sorted(known)}.",
            "Add it to the class table, or to the values that are ignored (data.ignore_values).",
        )
    table = np.array([IGNORE if v in ignored else known[v] for v in values.tolist()], np.uint8)
    if values[-1] > 65535:
        found: NDArray[np.uint8] = table[np.searchsorted(values, labels)]
        return found
    whole = np.zeros(int(values[-1]) + 1, np.uint8)
    whole[values] = table
    target: NDArray[np.uint8] = whole[labels]
    return target


def _encode_instances(labels: NDArray[np.integer], config: DataConfig) -> NDArray[np.uint8]:
    first = 1 if config.unlabelled == "background" else 2
    objects = labels >= first
    target = objects.astype(np.uint8)
    # The boundary belongs to the objects: where two touch, both sides of the seam, so that the seam is seen.
    smallest = ndimage.minimum_filter(labels, size=3, mode="nearest")
    largest = ndimage.maximum_filter(labels, size=3, mode="nearest")
    target[objects & (smallest != largest)] = 2
    if config.unlabelled == "ignore":
        target[labels == 0] = IGNORE
        # Next to unpainted pixels nobody knows whether the object ends there.
        target[objects & (smallest == 0)] = IGNORE
    for value in config.ignore_values:
        target[labels == value] = IGNORE
    return target
