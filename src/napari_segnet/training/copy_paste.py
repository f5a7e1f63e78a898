"""Objects of one patch, pasted into another: the same objects among other neighbours, on other ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_segnet.data.labels import IGNORE
from napari_segnet.training.draws import Draws

_LARGEST = 0.5
"""Share of a patch above which a region is ground rather than an object."""
_INTERIOR, _BOUNDARY = 1, 2


def paste_objects(
    values: Tensor, targets: Tensor, share: float, draws: Draws, *, instances: bool = False, first_class: int = 1
) -> tuple[Tensor, Tensor]:
    """Paste objects of other patches of the batch into patches, with their targets.

    Ghiasi et al., Simple copy-paste is a strong data augmentation method for instance segmentation (CVPR 2021,
    arXiv:2012.07177). As there: a random half of the objects of another, randomly moved patch, without blending.
    Differences: an object is a connected region of one class (of the foreground, for instances), because targets
    hold no numbers of objects any more; what covers more than half a patch is ground, and a region of a class that
    mostly has unlabelled pixels around it is a stroke: neither is pasted. An object is put anywhere in the patch,
    except that one which the border cuts stays at that border.

    Parameters
    ----------
    values : (B, V, [Z], Y, X) float32
        Images, and what else moves with them.
    targets : (B, [Z], Y, X) uint8
        Classes and `IGNORE`. Only labelled pixels are pasted.
    share : float
        Share of patches that something is pasted into.
    draws : Draws
    instances : bool
        Whether classes are background, interior and boundary: then an object that is covered in part gets a boundary
        where it is cut, and next to a pasted object nobody knows what nobody knew where it comes from.
    first_class : int
        The first class of objects: 1 where class 0 is background. Not used for instances.

    Returns
    -------
    values : (B, V, [Z], Y, X) float32
    targets : (B, [Z], Y, X) uint8
        Copies where something was pasted.
    """
    chosen = draws.chosen(share)
    rng = np.random.default_rng(draws.whole(2**31)[:, 0].tolist())
    if draws.patches < 2 or not chosen.any():
        return values, targets
    known = targets.cpu().numpy()
    pasted, changed = values.clone(), known.copy()
    for host in chosen.nonzero()[:, 0].tolist():
        donor = int((host + rng.integers(1, draws.patches)) % draws.patches)
        source = np.full(known.shape[1:], -1, np.int64)
        for thing in _things(known[donor], instances, first_class, rng):
            _put(thing, known[donor], changed[host], source, instances)
        index = torch.from_numpy(source).to(values.device).flatten()
        taken = values[donor].flatten(1)[:, index.clamp_min(0)]
        pasted[host] = torch.where(index >= 0, taken, values[host].flatten(1)).reshape(values.shape[1:])
    return pasted, torch.from_numpy(changed).to(targets.device)


@dataclass(frozen=True)
class _Thing:
    """An object: its pixels and those around them, in a box, and where the box is and goes to."""

    pixels: NDArray[np.bool_]
    rim: NDArray[np.bool_]
    box: tuple[slice, ...]
    place: tuple[slice, ...]


def _things(target: NDArray[np.uint8], instances: bool, first_class: int, rng: np.random.Generator) -> list[_Thing]:
    """Choose some objects of a patch, of one class, and where each is to go."""
    if instances:
        things = _regions((target == _INTERIOR) | (target == _BOUNDARY), rng)
    else:
        things = []
        # Each class has the same chance, so that rare ones are pasted as often.
        for value in rng.permutation(np.unique(target[(target >= first_class) & (target != IGNORE)])):
            things = [thing for thing in _regions(target == value, rng) if not _is_stroke(thing, target)]
            if things:
                break
    taken = [thing for thing in things if rng.random() < 0.5]
    return taken or [things[i] for i in rng.permutation(len(things))[:1]]


def _regions(foreground: NDArray[np.bool_], rng: np.random.Generator) -> list[_Thing]:
    """Return the connected regions that are small enough."""
    numbers, count = ndimage.label(foreground, np.ones((3,) * foreground.ndim))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)
    boxes = ndimage.find_objects(numbers)
    small = [n for n in range(1, count + 1) if sizes[n] <= _LARGEST * foreground.size]
    return [_thing(numbers, n, boxes[n - 1], rng) for n in small]


def _thing(numbers: NDArray[np.int32], number: int, box: tuple[slice, ...], rng: np.random.Generator) -> _Thing:
    wide, place = [], []
    for part, side in zip(box, numbers.shape, strict=True):
        start, stop = max(0, part.start - 1), min(side, part.stop + 1)
        cut = part.start == 0 or part.stop == side
        to = start if cut else int(rng.integers(side - (stop - start) + 1))
        wide.append(slice(start, stop))
        place.append(slice(to, to + stop - start))
    pixels = numbers[tuple(wide)] == number
    rim = ndimage.binary_dilation(pixels, np.ones((3,) * numbers.ndim)) & ~pixels
    return _Thing(pixels, rim, tuple(wide), tuple(place))


def _is_stroke(thing: _Thing, target: NDArray[np.uint8]) -> bool:
    around = target[thing.box][thing.rim]
    return bool(np.count_nonzero(around == IGNORE) > 0.5 * around.size)


def _put(
    thing: _Thing, donor: NDArray[np.uint8], host: NDArray[np.uint8], source: NDArray[np.int64], instances: bool
) -> None:
    """Put an object's target into `host`, and where its pixels come from into `source`."""
    there, here = donor[thing.box], host[thing.place]
    here[thing.pixels] = there[thing.pixels]
    lines = [line + part.start for line, part in zip(np.nonzero(thing.pixels), thing.box, strict=True)]
    source[thing.place][thing.pixels] = np.ravel_multi_index(tuple(lines), donor.shape)
    if instances:
        here[thing.rim & (here == _INTERIOR)] = _BOUNDARY
        here[thing.rim & (there == IGNORE)] = IGNORE
