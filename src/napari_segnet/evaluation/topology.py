"""Whether shapes are connected as they should be: clDice for thin structures, Betti numbers, and their errors.

clDice [1]_ of two masks: T_prec is the share of the prediction's skeleton that lies in the reference, T_sens the share
of the reference's skeleton that lies in the prediction, clDice their harmonic mean. Skeletons are those of scikit-image
(Zhang and Suen [2]_ in planes, Lee et al. [3]_ in volumes), as in the authors' code. Lee's makes small blocks of
2 x 2 x 2 voxels and the like vanish; here each connected piece keeps at least its innermost voxel.

Betti numbers count pieces (b0), loops of a plane's mask or tunnels of a volume's (b1), and cavities of a volume's
mask (b2). Pixels that touch at a corner are connected, and then the background's are not ("full": 8 and 4 neighbours
in planes, 26 and 6 in volumes), or the other way round ("face": 4 and 8, 6 and 26) [4]_. b0 and b2 are counted as
connected pieces; b1 of a volume follows from the Euler characteristic, b0 - b1 + b2. Outside of the image is
background.

Betti errors are the absolute differences of the Betti numbers of two masks [5]_. Of whole images errors in different
places may cancel out: with `window` they are the mean over tiles, where the paper takes patches at random.

.. [1] Shit, S. et al. (2021). clDice: a novel topology-preserving loss function for tubular structure segmentation.
   CVPR 2021, 16560-16569.
.. [2] Zhang, T. Y., and Suen, C. Y. (1984). A fast parallel algorithm for thinning digital patterns. Communications of
   the ACM 27, 236-239.
.. [3] Lee, T.-C., Kashyap, R. L., and Chu, C.-N. (1994). Building skeleton models via 3-D medial surface/axis thinning
   algorithms. CVGIP: Graphical Models and Image Processing 56, 462-478.
.. [4] Kong, T. Y., and Rosenfeld, A. (1989). Digital topology: introduction and survey. Computer Vision, Graphics, and
   Image Processing 48, 357-393.
.. [5] Hu, X. et al. (2019). Topology-preserving deep image segmentation. NeurIPS 2019, 5657-5668.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_segnet.axes import ArrayLike, per_axis
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.evaluation.object_matching import checked_sides
from napari_segnet.io.labels import as_labels

Connectivity = Literal["full", "face"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TopologyScores:
    """How well the shape of a mask's structures is that of a reference.

    Attributes
    ----------
    cl_dice, cl_precision, cl_sensitivity : float
        clDice, T_prec and T_sens: NaN if both masks are empty, 0 if one is.
    truth_betti, predicted_betti : tuple of int
        Betti numbers: (b0, b1) of a plane, (b0, b1, b2) of a volume; zeros for an empty mask.
    betti_errors : tuple of float
        One for each Betti number.
    """

    cl_dice: float
    cl_precision: float
    cl_sensitivity: float
    truth_betti: tuple[int, ...]
    predicted_betti: tuple[int, ...]
    betti_errors: tuple[float, ...]

    @property
    def betti_error(self) -> float:
        """Sum of the errors of all Betti numbers."""
        return math.fsum(self.betti_errors)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers, the Betti numbers one by one, as a dictionary that JSON can hold; NaN becomes None."""
        tree = asdict(self)
        numbers = {name: tree[name] for name in ("cl_dice", "cl_precision", "cl_sensitivity")}
        for k, error in enumerate(self.betti_errors):
            numbers[f"truth_b{k}"] = self.truth_betti[k]
            numbers[f"predicted_b{k}"] = self.predicted_betti[k]
            numbers[f"b{k}_error"] = error
        numbers["betti_error"] = self.betti_error
        return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def score_topology(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    connectivity: Connectivity = "full",
    window: int | Sequence[int] | None = None,
) -> TopologyScores:
    """Compare the topology of a predicted mask with that of a reference.

    Parameters
    ----------
    prediction, truth : (Y, X) or (Z, Y, X) arrays of one shape
        Masks: everything but 0 belongs to the structure.
    connectivity, window
        As for `betti_errors`. clDice doesn't depend on them.

    Returns
    -------
    TopologyScores

    Raises
    ------
    DataError
        If the shapes differ, or a side is no mask of a plane or volume.
    ConfigError
        If `connectivity` or `window` is none.
    """
    predicted, true = _checked_masks(prediction, truth)
    precision, sensitivity = _centreline_shares(predicted, true)
    return TopologyScores(
        _harmonic_mean(precision, sensitivity),
        precision,
        sensitivity,
        betti_numbers(true, connectivity),
        betti_numbers(predicted, connectivity),
        betti_errors(predicted, true, connectivity=connectivity, window=window),
    )


def cl_dice(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Return the clDice of two masks; NaN if both are empty, 0 if one is.

    Parameters and errors as those of `score_topology`.
    """
    return _harmonic_mean(*_centreline_shares(*_checked_masks(prediction, truth)))


def _centreline_shares(predicted: Mask, true: Mask) -> tuple[float, float]:
    """Return the shares of the prediction's skeleton in the reference, and of the reference's in the prediction."""
    if not predicted.any() and not true.any():
        return math.nan, math.nan
    return _share(skeleton(predicted), true), _share(skeleton(true), predicted)


def _share(part: Mask, whole: Mask) -> float:
    return int(np.count_nonzero(part & whole)) / max(int(np.count_nonzero(part)), 1)


def _harmonic_mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b != 0 else 0.0


def skeleton(mask: Mask) -> Mask:
    """Return the skeleton of a mask: scikit-image's, and one pixel of each piece that would vanish.

    Parameters
    ----------
    mask : (Y, X) or (Z, Y, X) bool

    Returns
    -------
    bool array of the same shape
        At least one pixel of each connected piece (along edges and corners).
    """
    from skimage.morphology import skeletonize

    thin: Mask = skeletonize(mask)
    pieces, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    lost = np.flatnonzero(np.bincount(pieces[thin], minlength=count + 1)[1:] == 0) + 1
    if len(lost):
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[(slice(1, -1),) * mask.ndim]
        innermost = ndimage.maximum_position(depth, pieces, lost)
        thin[tuple(np.transpose(innermost))] = True
    return thin


def betti_numbers(mask: ArrayLike, connectivity: Connectivity = "full") -> tuple[int, ...]:
    """Return the Betti numbers of a mask.

    Parameters
    ----------
    mask : (Y, X) or (Z, Y, X) array
        Everything but 0 belongs to the structure.
    connectivity : {"full", "face"}
        Whether pixels of the structure that touch at corners or edges only are connected. Those of the background
        are where the structure's aren't.

    Returns
    -------
    tuple of int
        (b0, b1) of a plane: pieces and loops; (b0, b1, b2) of a volume: pieces, tunnels and cavities.

    Raises
    ------
    DataError
        If the mask is no plane or volume.
    ConfigError
        If `connectivity` is none.
    """
    if connectivity not in get_args(Connectivity):
        raise unknown_name("connectivity", str(connectivity), get_args(Connectivity))
    full = connectivity == "full"
    # One layer more on all sides: the background outside is one piece with whatever reaches it.
    inside = np.pad(_checked_mask(np.asarray(mask), "The mask"), 1)
    pieces = _count_pieces(inside, full)
    holes = _count_pieces(~inside, not full) - 1
    if inside.ndim == 2:
        return pieces, holes
    return pieces, pieces + holes - euler_characteristic(inside, full), holes


def euler_characteristic(inside: Mask, full: bool) -> int:
    """Return the Euler characteristic of a mask with an empty border.

    Parameters
    ----------
    inside : bool array
        False all around.
    full : bool
        Whether pixels that touch at corners are connected. Then pixels are closed squares or cubes, and corners, edges
        and faces that any of them has are counted; otherwise corners are pixels, and edges, faces and cubes those
        between neighbours that are all inside.

    Returns
    -------
    int
        Corners minus edges plus faces minus cubes.
    """
    axes = range(inside.ndim)
    total = 0
    for number in range(inside.ndim + 1):
        for along in itertools.combinations(axes, number):
            cells = inside
            for axis in along:
                first, second = _shifted(cells, axis)
                cells = first | second if full else first & second
            dimension = inside.ndim - number if full else number
            total += (-1) ** dimension * np.count_nonzero(cells)
    return int(total)


def _shifted(cells: Mask, axis: int) -> tuple[Mask, Mask]:
    """Return all but the last, and all but the first, along an axis."""
    before = (slice(None),) * axis
    return cells[(*before, slice(None, -1))], cells[(*before, slice(1, None))]


def _count_pieces(mask: Mask, full: bool) -> int:
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if full else 1)
    return int(ndimage.label(mask, structure)[1])


def betti_errors(
    prediction: ArrayLike,
    truth: ArrayLike,
    *,
    connectivity: Connectivity = "full",
    window: int | Sequence[int] | None = None,
) -> tuple[float, ...]:
    """Return the absolute differences of the Betti numbers of two masks.

    Parameters
    ----------
    prediction, truth : (Y, X) or (Z, Y, X) arrays of one shape
        Masks: everything but 0 belongs to the structure.
    connectivity : {"full", "face"}
        As for `betti_numbers`.
    window : int or sequence of int, optional
        Sides of tiles over which the mean is taken; those at the end of an axis are smaller where it isn't a
        multiple. By default the whole image.

    Returns
    -------
    tuple of float
        One for each Betti number.

    Raises
    ------
    DataError
        If the shapes differ, or a side is no mask of a plane or volume.
    ConfigError
        If `connectivity` or `window` is none.
    """
    predicted, true = _checked_masks(prediction, truth)
    errors = [
        np.abs(np.subtract(betti_numbers(predicted[tile], connectivity), betti_numbers(true[tile], connectivity)))
        for tile in _tiles(true.shape, window)
    ]
    return tuple(np.mean(errors, axis=0).tolist())


def _tiles(shape: tuple[int, ...], window: int | Sequence[int] | None) -> Iterator[tuple[slice, ...]]:
    if window is None:
        sides = tuple(max(length, 1) for length in shape)
    else:
        try:
            sides = per_axis(window, len(shape))
        except ValueError as error:
            raise ConfigError(f"window = {window}.", f"Give one number, or {len(shape)}.") from error
    if min(sides) < 1:
        raise ConfigError(f"window = {window}.", "The sides of a window are whole numbers from 1 on.")
    starts = [range(0, max(length, 1), side) for length, side in zip(shape, sides, strict=True)]
    for start in itertools.product(*starts):
        yield tuple(slice(a, a + side) for a, side in zip(start, sides, strict=True))


def _checked_masks(prediction: ArrayLike, truth: ArrayLike) -> tuple[Mask, Mask]:
    predicted, true = checked_sides(prediction, truth)
    return _checked_mask(predicted, "The prediction"), _checked_mask(true, "The reference")


def _checked_mask(labels: NDArray[Any], name: str) -> Mask:
    mask: Mask = np.asarray(as_labels(labels, name)) != 0
    if mask.ndim not in (2, 3):
        raise DataError(
            f"{name} has the shape {mask.shape}.", "Topology is that of a plane (Y, X) or a volume (Z, Y, X)."
        )
    return mask
