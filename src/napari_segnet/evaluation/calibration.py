"""How good probabilities are: counted over any number of images, then Brier score, ECE and the reliability diagram.

`count_probabilities` counts an image; counts of several images are added, so memory doesn't grow with their number.
ROC, precision-recall and the best threshold follow from the same counts (`napari_segnet.evaluation.curves`).

- Brier score [1]_: of a class, the mean squared difference of its probability from 1 or 0 (0 to 1). Of a set, the sum
  over classes, as Brier defined it (0 to 2): of two classes twice that of either.
- Expected calibration error [2]_: pixels are sorted by the probability of the class that wins into bins of one width,
  (a, b]; the mean of abs(accuracy - confidence) over bins, weighed by their pixels. Of a class, by its own probability,
  where accuracy is the share of pixels of the class; the mean of these over classes is the classwise ECE [3]_.

Probabilities are taken as float32. For the curves they are counted in fine bins, whose width is less than 0.1 % of the
probability or of what is missing to 1, whichever is less, down to 2^-24: networks put most pixels close to 0 and 1.

.. [1] Brier, G. W. (1950). Verification of forecasts expressed in terms of probability. Monthly Weather Review 78, 1-3.
.. [2] Guo, C. et al. (2017). On calibration of modern neural networks. arXiv:1706.04599.
.. [3] Kull, M. et al. (2019). Beyond temperature scaling: obtaining well-calibrated multiclass probabilities with
   Dirichlet calibration. arXiv:1910.12656.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_segnet.axes import ArrayLike
from napari_segnet.errors import ConfigError, DataError, unknown_name
from napari_segnet.evaluation.overlap import mean

Floats = NDArray[np.float32]
# Pixels that are counted at once.
_BLOCK = 2**20
# What rounding may add to a probability.
_SLACK = 1e-4

# A fine bin holds the numbers whose float32 agree in exponent and in the first 10 of 23 bits of the mantissa.
_DROPPED_BITS = 23 - 10
_SMALLEST = 2.0**-24
_FIRST = int(np.float32(_SMALLEST).view(np.int32)) >> _DROPPED_BITS
_HALF = (int(np.float32(0.5).view(np.int32)) >> _DROPPED_BITS) - _FIRST + 1
FINE_BINS = 2 * _HALF + 1
"""Number of fine bins: as many below 0.5 as above, which has its own."""


def fine_bin(probabilities: Floats) -> NDArray[np.int32]:
    """Return the fine bin of each probability (any shape, float32 in 0 ... 1): higher for higher ones."""
    low = probabilities < 0.5
    distance = np.where(low, probabilities, np.float32(1) - probabilities)
    code = np.maximum((distance.view(np.int32) >> _DROPPED_BITS) - (_FIRST - 1), 0)
    bins: NDArray[np.int32] = np.where(low, code, FINE_BINS - 1 - code)
    return bins


def fine_edges() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest float32 of each fine bin, as float64.

    Bins close to 1 that hold no float32 have a smallest above the largest; nothing is ever counted there.
    """
    codes = np.arange(_HALF + 1, dtype=np.int32)
    starts = ((codes + (_FIRST - 1)) << _DROPPED_BITS).view(np.float32)
    starts[0] = 0
    ends = np.nextafter(np.append(starts[1:], np.float32(0)), np.float32(0))
    below = slice(0, _HALF)
    starts, ends = starts.astype(np.float64), ends.astype(np.float64)
    # Above 0.5 float32 are multiples of 2^-24, and so is what they lack to 1.
    farthest, nearest = np.floor(ends / _SMALLEST) * _SMALLEST, np.ceil(starts / _SMALLEST) * _SMALLEST
    farthest[_HALF] = 0.5
    smallest = np.concatenate([starts[below], 1 - farthest[::-1]])
    largest = np.concatenate([ends[below], 1 - nearest[::-1]])
    return smallest, largest


@dataclass(frozen=True)
class Reliability:
    """The table behind a reliability diagram; arrays of one number a bin.

    Attributes
    ----------
    lower, upper : (M,) float64
        Ends of the bins: (lower, upper].
    pixels : (M,) int64
    confidence, accuracy : (M,) float64
        Mean probability, and the share of pixels that are right; NaN in bins without pixels.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Expected calibration error; NaN without pixels."""
        there = self.pixels > 0
        if not there.any():
            return math.nan
        gaps = np.abs(self.accuracy[there] - self.confidence[there])
        return float(np.average(gaps, weights=self.pixels[there]))


@dataclass(frozen=True)
class ProbabilityCounts:
    """What was counted of the probabilities of one or more images; add them with ``+``.

    Attributes
    ----------
    values : tuple of int
        The K classes.
    fine : (K, FINE_BINS, 2) int64
        Of each class, by fine bin of its probability: pixels outside the class, and of the class.
    squares : (K,) float64
        Of each class, the sum of squared differences of its probability from 1 or 0.
    coarse : (K + 1, M, 3) float64
        Of each class, and last of the class that wins, by bin of the probability: pixels, the sum of probabilities,
        and the pixels that are right.
    pixels : int
        That count.
    """

    values: tuple[int, ...]
    fine: NDArray[np.int64]
    squares: NDArray[np.float64]
    coarse: NDArray[np.float64]
    pixels: int

    def __add__(self, other: ProbabilityCounts) -> ProbabilityCounts:
        """Return the counts of both together; they need the same classes and bins."""
        if (self.values, self.coarse.shape) != (other.values, other.coarse.shape):
            raise DataError(
                f"Probabilities of the classes {self.values} in {self.coarse.shape[1]} bins can't be added to those "
                f"of {other.values} in {other.coarse.shape[1]} bins.",
                "Count all images with the same classes and bins.",
            )
        return ProbabilityCounts(
            self.values,
            self.fine + other.fine,
            self.squares + other.squares,
            self.coarse + other.coarse,
            self.pixels + other.pixels,
        )

    def index(self, value: int) -> int:
        """Return the place of a class in `values`; `ConfigError` if it isn't there."""
        if value not in self.values:
            raise unknown_name("class", str(value), map(str, self.values))
        return self.values.index(value)

    def brier(self, value: int | None = None) -> float:
        """Return the Brier score of a class, or the sum over classes; NaN without pixels."""
        if not self.pixels:
            return math.nan
        total = self.squares.sum() if value is None else self.squares[self.index(value)]
        return float(total) / self.pixels

    def reliability(self, value: int | None = None) -> Reliability:
        """Return the reliability diagram of a class, or of the class that wins."""
        pixels, confidence, right = self.coarse[-1 if value is None else self.index(value)].T
        edges = np.linspace(0, 1, len(pixels) + 1)
        shares = [np.divide(x, pixels, out=np.full(len(pixels), np.nan), where=pixels > 0) for x in (confidence, right)]
        return Reliability(edges[:-1], edges[1:], pixels.astype(np.int64), shares[0], shares[1])

    def ece(self, value: int | None = None) -> float:
        """Return the expected calibration error of a class, or of the class that wins."""
        return self.reliability(value).ece

    def classwise_ece(self, values: Iterable[int] | None = None) -> float:
        """Return the mean over classes (all, if none are named) of the expected calibration error."""
        return mean(self.ece(value) for value in (self.values if values is None else values))


def count_probabilities(
    probabilities: ArrayLike,
    truth: NDArray[np.unsignedinteger],
    values: Sequence[int],
    *,
    ignore_values: Iterable[int] = (),
    bins: int = 15,
) -> ProbabilityCounts:
    """Count the probabilities of one image.

    Parameters
    ----------
    probabilities : (K, [Z], Y, X) floats
        From 0 to 1, one a class. Of two classes, ([Z], Y, X) will do: the probability of the second. It is read in
        slabs along the first axis after the classes.
    truth : ([Z], Y, X) integers
        The value of each pixel.
    values : sequence of int
        The K classes, in the order of `probabilities`.
    ignore_values : iterable of int
        Pixels where `truth` has one of these don't count.
    bins : int
        Bins of the reliability diagram.

    Returns
    -------
    ProbabilityCounts

    Raises
    ------
    DataError
        If shapes don't fit, there are numbers below 0 or above 1, or NaN, or `truth` has a value that is neither
        among `values` nor among `ignore_values`.
    ConfigError
        If `bins` is no number from 1 to 10,000.
    """
    if not 1 <= bins <= 10_000:
        raise ConfigError(f"bins = {bins!r}.", "It is a number from 1 to 10,000.")
    single = tuple(probabilities.shape) == truth.shape and len(values) == 2
    if not single and tuple(probabilities.shape) != (len(values), *truth.shape):
        raise DataError(
            f"The probabilities have the shape {tuple(probabilities.shape)}, the reference {truth.shape}, the "
            f"classes are {', '.join(map(str, values))}.",
            "Probabilities have one plane or volume a class, as large as the reference.",
        )
    size = len(values)
    fine = np.zeros((size, FINE_BINS, 2), np.int64)
    squares = np.zeros(size)
    coarse = np.zeros((size + 1, bins, 3))
    pixels = 0
    for block, index in _blocks(probabilities, truth, values, set(ignore_values), single):
        pixels += index.size
        for k in range(size):
            p, of_class = block[k], index == k
            fine[k] += _count(fine_bin(p), of_class, FINE_BINS)
            squares[k] += np.square(p - of_class, dtype=np.float64).sum()
            coarse[k] += _sums(p, of_class, bins)
        winner = block.argmax(axis=0)
        coarse[size] += _sums(block.max(axis=0), winner == index, bins)
    return ProbabilityCounts(tuple(values), fine, squares, coarse, pixels)


def _blocks(
    probabilities: ArrayLike, truth: NDArray[np.unsignedinteger], values: Sequence[int], ignored: set[int], single: bool
) -> Iterator[tuple[Floats, NDArray[np.int64]]]:
    """Yield (K, N) probabilities and the (N,) places of true classes, of pixels that count."""
    rows = max(1, _BLOCK // max(1, math.prod(truth.shape[1:])))
    for start in range(0, truth.shape[0], rows):
        slab = slice(start, start + rows)
        true = truth[slab].reshape(-1)
        kept = ~np.isin(true, sorted(ignored))
        index = _places(true[kept], values)
        if single:
            second = _checked(np.asarray(probabilities[slab]).reshape(1, -1)[:, kept])
            yield np.concatenate([1 - second, second]), index
        else:
            yield _checked(np.asarray(probabilities[:, slab]).reshape(len(values), -1)[:, kept]), index


def _places(true: NDArray[np.unsignedinteger], values: Sequence[int]) -> NDArray[np.int64]:
    order = np.argsort(values)
    places = order[np.minimum(np.searchsorted(values, true, sorter=order), len(values) - 1)]
    wrong = np.asarray(values)[places] != true
    if wrong.any():
        raise DataError(
            f"The reference has the value {int(true[wrong][0])}, the probabilities are of the classes "
            f"{', '.join(map(str, values))}.",
            "Leave such pixels out with ignore_values, or use the reference that belongs to the model.",
        )
    return places.astype(np.int64)


def _checked(probabilities: NDArray[np.floating]) -> Floats:
    if not np.all((probabilities >= -_SLACK) & (probabilities <= 1 + _SLACK)):
        found = probabilities[~((probabilities >= -_SLACK) & (probabilities <= 1 + _SLACK))].flat[0]
        raise DataError(
            f"There is a probability of {found:g}.",
            "Probabilities are from 0 to 1: divide numbers up to 255 by 255, and apply softmax to logits.",
        )
    checked: Floats = np.clip(probabilities, 0, 1).astype(np.float32)
    return checked


def _count(bins: NDArray[np.int32], of_class: NDArray[np.bool_], size: int) -> NDArray[np.int64]:
    """Return how many pixels outside the class, and of the class, are in each bin: (size, 2)."""
    return np.bincount(2 * bins + of_class, minlength=2 * size).reshape(size, 2)


def _sums(p: Floats, right: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """Return the pixels, the sum of probabilities, and the right pixels in each bin (a, b] of one width: (bins, 3)."""
    # The product is exact: a float32 has 24 bits, a float64 53.
    place = np.maximum(np.ceil(p.astype(np.float64) * bins).astype(np.int64) - 1, 0)
    sums = (np.bincount(place, weights, minlength=bins) for weights in (None, p, right))
    return np.stack([np.asarray(total, np.float64) for total in sums], axis=1)
