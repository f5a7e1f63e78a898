"""Patches for training: drawn where annotation is, balanced over classes, reproducible step by step."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import per_axis
from napari_segnet.data.labels import IGNORE
from napari_segnet.data.normalization import Limits, Normalization, scale
from napari_segnet.data.split import Region

if TYPE_CHECKING:
    from napari_segnet.data.pairs import TrainingPair

_POSITIONS = 20_000
"""Positions remembered for each class of each region: enough for any batch, small for any image."""


class ImageCache:
    """Images of training pairs, kept in memory up to a limit; the least recently used go first.

    Parameters
    ----------
    pairs : sequence of TrainingPair
    normalization : Normalization
    limit : int
        Most bytes to keep.
    """

    def __init__(self, pairs: Sequence[TrainingPair], normalization: Normalization, limit: int = 4 * 2**30) -> None:
        self._pairs = pairs
        self._normalization = normalization
        self._limit = limit
        self._images: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._limits: dict[int, Limits] = {}
        self._bytes = 0

    def read(self, pair: int, window: tuple[slice, ...]) -> NDArray[np.float32]:
        """Return a normalized part (C, [Z], Y, X) of an image."""
        image = self._open(pair)
        if pair not in self._limits:
            self._limits[pair] = self._normalization.limits(image)
        block = np.asarray(image[(slice(None), *window)])
        return scale(block, *self._limits[pair], self._normalization.clip)

    def _open(self, pair: int) -> Any:
        if pair in self._images:
            self._images.move_to_end(pair)
            return self._images[pair]
        image = self._pairs[pair].image()
        size = int(np.prod(image.shape)) * image.dtype.itemsize
        if size > self._limit // 2:
            return image  # too large to keep: windows are read from its file
        kept = np.array(image)  # a copy: a view would keep its file open, or its whole stack in memory
        self._images[pair] = kept
        self._bytes += size
        while self._bytes > self._limit:
            _, dropped = self._images.popitem(last=False)
            self._bytes -= dropped.nbytes
        return kept


Place = tuple[int, ...]
"""Number of a region, and the middle of a window in it along [Z], Y, X."""


@dataclass(frozen=True)
class Windows:
    """A batch of windows, of planes or (with a W more) of volumes.

    images (B, C, W, W) float32, targets (B, W, W) uint8, guide (B, K, W, W) float16 or None, weights of pixels
    (B, W, W) float16 or None; `places` says where each was cut.
    """

    images: NDArray[np.float32]
    targets: NDArray[np.uint8]
    guide: NDArray[np.float16] | None = None
    weights: NDArray[np.float16] | None = None
    places: tuple[Place, ...] = ()


class PatchSampler:
    """Draws windows around annotated pixels.

    Half of the patches are balanced over classes, so that a rare class is seen as often as a common one; half
    follow the annotation as it is, so that its proportions are learned too. What is drawn depends on the seed,
    the number of the step, and what is to be shown again: a resumed run draws the same.

    Parameters
    ----------
    cache : ImageCache
    targets : sequence of ([Z], Y, X) uint8
    regions : sequence of Region
        Where windows may come from; they are mirrored at a region's border.
    seed : int
    balanced : float
        Share of patches that are balanced over classes.
    """

    def __init__(
        self,
        cache: ImageCache,
        targets: Sequence[NDArray[np.uint8]],
        regions: Sequence[Region],
        seed: int,
        balanced: float = 0.5,
    ) -> None:
        self._cache, self._targets, self._regions, self._seed = cache, targets, regions, seed
        self._balanced = balanced
        rng = np.random.default_rng([seed, 1])
        self._places: list[tuple[int, int, NDArray[np.int64]]] = []  # region, class, flat positions
        self._sizes: list[int] = []
        self._guide: dict[int, NDArray[np.float16]] = {}
        self._weights: Sequence[NDArray[np.float16]] = ()
        for number, region in enumerate(regions):
            part = targets[region.pair][region.slices].ravel()
            for value in np.unique(part[part != IGNORE]).tolist():
                flat = np.flatnonzero(part == value)
                self._sizes.append(len(flat))
                self._places.append(
                    (
                        number,
                        value,
                        rng.choice(flat, _POSITIONS, replace=False) if len(flat) > _POSITIONS else flat,
                    )
                )
        self._classes = sorted({value for _, value, _ in self._places})

    def guide_by(self, guide: dict[int, NDArray[np.float16]]) -> None:
        """Take soft targets (K, *shape) for some regions, by their number.

        From then on a part of the patches is drawn anywhere, because the guide knows something of every pixel.
        """
        self._guide = guide

    def weigh_by(self, weights: Sequence[NDArray[np.float16]]) -> None:
        """Take weights of pixels, an array for each region and shaped as it is."""
        self._weights = weights

    def draw(self, step: int, number: int, size: int | Sequence[int], again: Sequence[Place] = ()) -> Windows:
        """Draw windows for one step.

        Parameters
        ----------
        step : int
            Number of the step; the same step gives the same windows.
        number : int
            Windows in the batch.
        size : int, or sequence of int
            Side of a window, pixels, or its length along each axis.
        again : sequence of Place
            Where the last windows of the batch are to be cut, instead of by chance.

        Returns
        -------
        Windows
        """
        sizes = per_axis(size, len(self._regions[0].shape))
        rng = np.random.default_rng([self._seed, 2, step])
        places: list[Place] = []
        for index in range(number - len(again)):
            if self._guide and index % 3 == 2:
                region = int(rng.choice(sorted(self._guide)))
                middle = np.array([int(rng.integers(length)) for length in self._regions[region].shape])
            else:
                region, middle = self._annotated_place(
                    rng, balanced=self._is_balanced(step, index, number), sizes=sizes
                )
            places.append((region, *middle.tolist()))
        places += again
        drawn = [
            self._window(region, tuple((np.array(at) - np.array(sizes) // 2).tolist()), sizes) for region, *at in places
        ]
        images, targets, guides, weights = zip(*drawn, strict=True)
        return Windows(
            np.stack(images),
            np.stack(targets),
            np.stack(guides) if self._guide else None,
            np.stack(weights) if self._weights else None,
            tuple(places),
        )

    def _is_balanced(self, step: int, index: int, number: int) -> bool:
        # Counted through all steps: with small batches, too, the share comes out right.
        at = step * number + index
        return int((at + 1) * self._balanced + 0.5) > int(at * self._balanced + 0.5)

    def _annotated_place(
        self, rng: np.random.Generator, *, balanced: bool, sizes: tuple[int, ...]
    ) -> tuple[int, NDArray[np.int64]]:
        weights = np.asarray(self._sizes, np.float64)
        if balanced:
            chosen = self._classes[rng.integers(len(self._classes))]
            weights = np.where([value == chosen for _, value, _ in self._places], weights, 0)
        # Regions count by the root of their size: one large image must not drown the others.
        weights = np.sqrt(weights)
        region, _, positions = self._places[int(rng.choice(len(weights), p=weights / weights.sum()))]
        place = np.array(np.unravel_index(int(rng.choice(positions)), self._regions[region].shape))
        reach = np.array(sizes) // 4
        return region, place + rng.integers(-reach, reach + 1)

    def _window(
        self, number: int, corner: tuple[int, ...], sizes: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float16] | None, NDArray[np.float16] | None]:
        region = self._regions[number]
        image, target = read_window(self._cache, self._targets[region.pair], region, corner, sizes)
        lines = _mirrored(region, corner, sizes) if self._guide or self._weights else []
        guide = weights = None
        if self._weights:
            weights = self._weights[number][np.ix_(*lines)]
        if number in self._guide:
            whole = self._guide[number]
            guide = whole[np.ix_(np.arange(len(whole)), *lines)]
        elif self._guide:
            # Probabilities that sum up to nothing: no guide here.
            guide = np.zeros((len(next(iter(self._guide.values()))), *sizes), np.float16)
        return image, target, guide, weights


def read_window(
    cache: ImageCache,
    target: NDArray[np.uint8],
    region: Region,
    corner: Sequence[int],
    size: int | Sequence[int],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read a window; beyond the border of `region` image and target are mirrored.

    Parameters
    ----------
    cache : ImageCache
    target : ([Z], Y, X) uint8
        Target of the whole plane or volume.
    region : Region
    corner : sequence of int
        First pixel of the window along [Z], Y, X, relative to the region; may lie outside of it.
    size : int, or sequence of int
        Side of the window, pixels, or its length along each axis.

    Returns
    -------
    image : (C, *size) float32
    target : (*size) uint8
    """
    sizes = per_axis(size, len(region.shape))
    index = [line + start for line, start in zip(_mirrored(region, corner, sizes), region.start, strict=True)]
    first = [int(line.min()) for line in index]
    last = [int(line.max()) for line in index]
    window = tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))
    block, labels = cache.read(region.pair, window), target[window]
    if labels.shape == sizes:
        return block, labels
    lines = [line - low for line, low in zip(index, first, strict=True)]
    return block[np.ix_(np.arange(len(block)), *lines)], labels[np.ix_(*lines)]


def _mirrored(region: Region, corner: Sequence[int], sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return the pixels of a region that a window sees, along each axis."""
    return [
        mirror(np.arange(start, start + size), length)
        for start, size, length in zip(corner, sizes, region.shape, strict=True)
    ]


def mirror(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Reflect indices into 0 .. length - 1, the border pixel not repeated; any distance outside is fine."""
    if length == 1:
        return np.zeros_like(index)
    folded = np.abs(index) % (2 * (length - 1))
    return np.where(folded >= length, 2 * (length - 1) - folded, folded)


def validation_windows(
    targets: Sequence[NDArray[np.uint8]], regions: Sequence[Region], size: int | Sequence[int], most: int
) -> list[tuple[Region, tuple[int, ...]]]:
    """Choose windows that cover the annotation of the validation regions, at most `most` of them, evenly spread.

    Returns
    -------
    list of (Region, tuple of int)
        Region, and the first pixel of the window along each axis, relative to the region.
    """
    windows = []
    for region in regions:
        sizes = per_axis(size, len(region.shape))
        part = targets[region.pair][region.slices]
        steps = [range(0, length, side) for length, side in zip(region.shape, sizes, strict=True)]
        for place in itertools.product(*steps):
            # The last window is moved back into the region instead of reaching beyond its border.
            corner = tuple(
                max(0, min(at, length - side)) for at, length, side in zip(place, region.shape, sizes, strict=True)
            )
            if (part[tuple(slice(at, at + side) for at, side in zip(corner, sizes, strict=True))] != IGNORE).any():
                windows.append((region, corner))
    if len(windows) <= most:
        return windows
    return [windows[round(i)] for i in np.linspace(0, len(windows) - 1, most)]
