"""What a run's configuration says of weights, applied to its data: weights of classes, and of pixels near borders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_segnet.config import DataConfig, RunConfig
from napari_segnet.data.labels import output_names
from napari_segnet.errors import ConfigError
from napari_segnet.training.geometric import relative_spacing
from napari_segnet.training.loss_catalogue import loss_spec
from napari_segnet.training.weights import border_weights, class_weights


def loss_weights(counts: NDArray[np.int64], data: DataConfig, scheme: str) -> tuple[NDArray[np.float32], str]:
    """Return the weight of each output in the loss, and what to tell of it.

    Parameters
    ----------
    counts : (R, K) int
        Annotated pixels of each class in each training region.
    data : DataConfig
        The classes have weights of their own, which the scheme's are multiplied with; objects have none.
    scheme : {"none", "inverse", "median", "effective"}
        See `weights.class_weights`.

    Returns
    -------
    weights : (K,) float32
    words : str
        Empty without a scheme.
    """
    own = [1.0] * counts.shape[1] if data.task == "instances" else [c.weight for c in data.classes]
    if scheme == "none":
        return np.array(own, np.float32), ""
    weights = class_weights(counts, scheme) * np.array(own, np.float32)  # type: ignore[arg-type]
    said = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(output_names(data), weights, strict=True))
    return weights, f"{said}: by {scheme} frequency."


def check_border_weight(config: RunConfig) -> None:
    """Refuse a border weight that could have no effect.

    Raises
    ------
    ConfigError
        If labels are no objects, or the loss can't weigh pixels.
    """
    if not config.train.border_weight:
        return
    if config.data.task != "instances":
        raise ConfigError(
            "train.border_weight weighs the gaps between objects, but these labels hold classes.",
            "Number the objects in the labels (--task instances), or set it to 0.",
        )
    if not loss_spec(config.train.loss).load().weighs_pixels:
        raise ConfigError(
            f"The loss {config.train.loss!r} compares whole regions, so train.border_weight has no effect on it.",
            "Choose a loss with a mean over pixels, such as ce, focal or dice+ce, or set it to 0.",
        )


def border_map(labels: NDArray[np.integer], config: RunConfig, spacing: Sequence[float]) -> NDArray[np.float16]:
    """Return U-Net's weights of pixels for one region, inside of objects too: those that touch have no gap.

    Parameters
    ----------
    labels : ([Z], Y, X) integer array
        One number an object.
    config : RunConfig
    spacing : sequence of float
        Size of a pixel along each axis, in any unit; ``train.border_sigma`` is in those of the finest axis.

    Returns
    -------
    float16 array, shaped as `labels`
        From 1 to 1 + ``train.border_weight``; what takes no part in learning is no object.
    """
    ignored = [*config.data.ignore_values, *((1,) if config.data.unlabelled == "ignore" else ())]
    objects = np.where(np.isin(labels, ignored), 0, labels)
    steps = relative_spacing(spacing, labels.ndim)
    train = config.train
    return border_weights(objects, train.border_weight, train.border_sigma, steps, inside=True).astype(np.float16)
