"""A network for planes applied along the three axes of a volume, and averaged (2.5D, orthoplanes).

A network that learned planes sees no neighbouring planes, and answers differ from plane to plane. Seen from three sides
each voxel gets three opinions, whose mean is steadier (Prasoon et al. 2013,
https://doi.org/10.1007/978-3-642-40763-5_31, taught a network on three orthogonal planes; averaging one network's
answers along the axes is how nnU-Net's and other 2.5D tools apply it).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from napari_segnet.axes import times
from napari_segnet.data.normalization import Limits
from napari_segnet.devices import free_memory
from napari_segnet.errors import SegNetError
from napari_segnet.predict import outputs
from napari_segnet.predict.predictor import Predictor
from napari_segnet.predict.wanted import Wanted

_VIEWS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""The axis that is gone along, then the rows and columns of its planes, as axes of (Z, Y, X)."""
_ALIKE = 1.05
"""Spacings that differ by less are taken for the same."""


class OrthoplanePredictor:
    """Applies a network for planes to volumes; used as a `Predictor` for volumes.

    Parameters
    ----------
    predictor : Predictor
        Of a network for planes.
    spacing : (sz, sy, sx), optional
        Size of a voxel. Planes are stretched to square pixels before the network sees them, and its answer is
        stretched back; default: voxels are cubes.
    """

    spatial = "ZYX"

    def __init__(self, predictor: Predictor, spacing: Sequence[float] | None = None) -> None:
        self.planes = predictor
        self.spacing = tuple(spacing) if spacing is not None and len(spacing) == 3 else (1.0, 1.0, 1.0)
        self.info, self.config, self.device = predictor.info, predictor.config, predictor.device
        self.classes, self.label_dtype = predictor.classes, predictor.label_dtype

    def iterate(self, image: Any, wanted: Wanted, limits: Limits | None = None) -> Generator[tuple[int, int]]:
        """Predict a volume, a plane a step.

        Parameters
        ----------
        image : array-like (C, Z, Y, X)
        wanted : Wanted
            Arrays (Z, Y, X), probabilities (K, Z, Y, X).
        limits : (low, high), optional
            From `Normalization.limits`; default: those of this volume.

        Yields
        ------
        (done, total) : (int, int)
            Planes along all three axes.

        Raises
        ------
        SegNetError
            If the probabilities of the whole volume don't fit into memory.
        """
        shape = tuple(int(length) for length in image.shape[1:])
        number = len(self.classes) + (wanted.interior is not None)
        _check_memory(shape, number)
        limits = limits or self.info.normalization.limits(image)
        mean = np.zeros((number, *shape), np.float32)
        done, total = 0, sum(shape)
        for view in _VIEWS:
            turned = mean.transpose(0, *(axis + 1 for axis in view))
            for position in range(shape[view[0]]):
                turned[:, position] += self._plane(image, view, position, limits, number)
                done += 1
                yield done, total
        mean /= len(_VIEWS)
        self._write(mean, wanted)

    def _plane(
        self,
        image: Any,
        view: tuple[int, int, int],
        position: int,
        limits: Limits,
        number: int,
    ) -> NDArray[np.float32]:
        """Return the probabilities (number, rows, columns) of one plane; the last is the interior of objects."""
        along, rows, columns = view
        index: list[slice | int] = [slice(None)] * 4
        index[along + 1] = position
        plane = np.asarray(image[tuple(index)])
        size = plane.shape[1:]
        square = self._square(size, (self.spacing[rows], self.spacing[columns]))
        if square != size:
            plane = _stretched(plane.astype(np.float32), square)
        answer = np.empty((number, *square), np.float32)
        classes = len(self.classes)
        asked = {"probabilities": answer[:classes]}
        if number > classes:
            asked["interior"] = answer[classes]
        for _ in self.planes.iterate(plane, Wanted(**asked), limits):
            pass
        return answer if square == size else _stretched(answer, size)

    @staticmethod
    def _square(size: tuple[int, ...], spacing: tuple[float, float]) -> tuple[int, ...]:
        finest = min(spacing)
        if max(spacing) / finest < _ALIKE:
            return size
        return tuple(max(1, round(length * step / finest)) for length, step in zip(size, spacing, strict=True))

    def _write(self, mean: NDArray[np.float32], wanted: Wanted) -> None:
        classes = len(self.classes)
        everywhere = (slice(None),) * 3
        values = np.array([c.value for c in self.classes], self.label_dtype)
        if wanted.labels is not None:
            wanted.labels[everywhere] = values[mean[:classes].argmax(axis=0)]
        if wanted.probabilities is not None:
            wanted.probabilities[(slice(None), *everywhere)] = mean[:classes]
        if wanted.uncertainty is not None:
            for z in range(mean.shape[1]):  # a plane at a time: logarithms of a volume take as much memory again
                logarithms = torch.from_numpy(mean[:classes, z]).clamp_min(1e-30).log()[None]
                wanted.uncertainty[(slice(z, z + 1), *everywhere[1:])] = outputs.uncertainty(logarithms).numpy()
        if wanted.interior is not None:
            wanted.interior[everywhere] = mean[classes]


def _stretched(plane: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    stretched = F.interpolate(torch.from_numpy(plane)[None], size=size, mode="bilinear", align_corners=False)
    array: NDArray[np.float32] = stretched[0].numpy()
    return array


def _check_memory(shape: tuple[int, ...], number: int) -> None:
    needed = 4 * number * int(np.prod(shape))
    if needed > 0.8 * free_memory(torch.device("cpu")):
        size = times(shape)
        raise SegNetError(
            f"The answers for a volume of {size} voxels along three axes take {needed / 2**30:.1f} GiB of memory.",
            "Predict plane by plane (without --orthoplanes), or cut the volume into parts.",
        )
