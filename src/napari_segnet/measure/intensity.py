"""How bright objects are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.measure.meaning import LabelMeaning, Labels

# A median of so many pixels is as good as that of all.
_SAMPLE = 4_000_000


def background_of(image: NDArray[Any], labels: Labels, meaning: LabelMeaning) -> float:
    """Return the median intensity where there is no object (value 0); NaN where 0 doesn't mean background.

    Parameters
    ----------
    image, labels : ([Z], Y, X)
        Large volumes are sampled at every n-th pixel. NaN is left out.
    """
    if 0 in meaning.ignore_values:
        return float("nan")
    step = max(1, labels.size // _SAMPLE)
    empty = image.reshape(-1)[::step][labels.reshape(-1)[::step] == 0]
    if empty.dtype.kind == "f":
        empty = empty[~np.isnan(empty)]
    return float(np.median(empty)) if empty.size else float("nan")


def intensities_of(values: NDArray[Any], name: str, background: float) -> dict[str, float]:
    """Return what there is to say of the intensities of one object.

    Parameters
    ----------
    values : (N,) array
        Of its pixels.
    name : str
        What starts the names of the columns.
    background : float
        See `background_of`.

    Returns
    -------
    dict of str to float
        ``NAME_mean``, ``_sd`` (of all pixels, not of a sample of them), ``_min``, ``_max``, ``_median``, ``_sum`` and
        ``_above_background``: the mean less the background.
    """
    mean = float(values.mean(dtype=np.float64))
    return {
        f"{name}_mean": mean,
        f"{name}_sd": float(values.std(dtype=np.float64)),
        f"{name}_min": float(values.min()),
        f"{name}_max": float(values.max()),
        f"{name}_median": float(np.median(values)),
        f"{name}_sum": float(values.sum(dtype=np.float64)),
        f"{name}_above_background": mean - background,
    }
