"""Labels for unlabelled images: what a model is sure of, and nothing elsewhere.

Learning from one's own confident answers is self-training (Lee 2013, Pseudo-Label; for segmentation with a
threshold on the probability Zou et al. 2018, https://arxiv.org/abs/1810.07911). Here pixels below the threshold take
no part in the loss, and the answers may come from an ensemble.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import DTypeLike, NDArray

from napari_segnet import events
from napari_segnet.config import LabelClass, PredictConfig
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.io.images import open_image
from napari_segnet.io.pairing import file_stem, list_images
from napari_segnet.io.write import open_output
from napari_segnet.predict.ensemble import make_predictor
from napari_segnet.predict.stacks import check_channels, predict_stack_into
from napari_segnet.run import write_atomically


@dataclass(frozen=True)
class PseudoLabels:
    """What was written.

    Attributes
    ----------
    shares : dict of str to float
        Name of a class -> share of the pixels whose likeliest class it is that are sure enough to be kept.
    vanished : tuple of str
        Classes of which not a pixel was kept.
    config : Path
        The configuration to train with.
    command : str
        The command that trains on the labels.
    """

    shares: dict[str, float]
    vanished: tuple[str, ...]
    config: Path
    command: str


def pseudo_label(
    model: Path | str,
    images: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    confidence: float = 0.9,
    axes: str | None = None,
    config: PredictConfig | None = None,
) -> Generator[events.Event, None, PseudoLabels]:
    """Write labels where a model is sure, 0 (not annotated) elsewhere, and a configuration to train with them.

    Parameters
    ----------
    model : path
        A model file, an ensemble, a run folder or a folder of folds; of classes, not of instances.
    images : path, or sequence of paths
        Images, or folders of images.
    out : path
        Gets STEM.tif for each image, and ``config.yaml``. Values are those of the model's classes; all are one larger
        if 0 is a class of the model, because 0 means *not annotated* here.
    confidence : float
        Least probability of the likeliest class, above 0 and at most 1.
    axes : str, optional
        Axes of the files; default: guessed.
    config : PredictConfig, optional

    Yields
    ------
    Event
        Notice, Progress, Predicted for each image.

    Returns
    -------
    PseudoLabels

    Raises
    ------
    SegNetError
        If something can't work.
    """
    if not 0 < confidence <= 1:
        raise ConfigError(f"A confidence of {confidence} can't be.", "Use a probability, such as 0.9.")
    given = [images] if isinstance(images, Path | str) else list(images)
    paths = list_images([Path(path) for path in given])
    notices: list[str] = []
    predictor = make_predictor(model, config, on_notice=notices.append)
    if predictor.info.task != "semantic":
        raise ConfigError(f"{model} finds instances: pseudo-labels are of classes.", "Name a model of classes.")
    classes = _shifted(predictor.classes)
    keeper = _Keeper(np.array([c.value for c in classes]), confidence)
    out = Path(out)
    for path in paths:
        target = out / f"{file_stem(path)}.tif"
        if target.resolve() == path.resolve():
            raise DataError(f"The labels would replace the image {path}.", "Choose another --out.")
        image = open_image(path, axes)
        items = image.stack(predictor.spatial)
        check_channels(str(path), items, predictor.info)
        with open_output(
            target, items.shape, keeper.dtype, items.axes, kind="tif", pixel_size=image.pixel_size, units=image.units
        ) as labels:
            sink = _Sink(keeper, labels)
            steps = predict_stack_into(
                predictor, items, sink, probabilities=True, pixel_size=image.pixel_size, units=image.units
            )
            for done, total in steps:
                yield from (events.Notice(text) for text in notices)
                notices.clear()
                yield events.Progress(str(path), done, total)
        yield events.Predicted(str(path), {"labels": str(target)})
    made = _describe(model, given, out, classes, keeper, ensemble=bool(predictor.info.members))
    for name in made.vanished:
        yield events.Notice(f"Of class {name} nothing is left: use a lower --confidence, or annotate some of it.")
    return made


def _shifted(classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    shift = int(any(c.value == 0 for c in classes))
    return tuple(c.replace(value=c.value + shift) for c in classes)


class _Keeper:
    """Chooses what is sure, and counts it."""

    def __init__(self, values: NDArray[np.int64], confidence: float) -> None:
        self.dtype = np.dtype(np.min_scalar_type(int(values.max())))
        self._values, self._confidence = values.astype(self.dtype), confidence
        self.found, self.kept = (np.zeros(len(values), np.int64) for _ in range(2))

    def labels(self, probabilities: NDArray[np.float32], axis: int) -> NDArray[Any]:
        """Return labels for probabilities whose classes lie along `axis`."""
        best = probabilities.argmax(axis=axis)
        sure = probabilities.max(axis=axis) >= self._confidence
        self.found += np.bincount(best.ravel(), minlength=len(self._values))
        self.kept += np.bincount(best[sure], minlength=len(self._values))
        labels: NDArray[Any] = np.where(sure, self._values[best], self.dtype.type(0))
        return labels


class _Sink:
    """Takes probabilities as they come, and writes labels of them: they are never held all at once."""

    def __init__(self, keeper: _Keeper, labels: Any) -> None:
        self._keeper, self._labels = keeper, labels

    def __call__(
        self, output: str, shape: tuple[int, ...], _dtype: DTypeLike, axes: str, /
    ) -> contextlib.AbstractContextManager[Any]:
        writes = output == "probabilities"
        return contextlib.nullcontext(_Writer(shape, self._keeper, self._labels, axes) if writes else _Nowhere(shape))


class _Nowhere:
    """An output that nobody reads."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __setitem__(self, key: Any, value: NDArray[Any]) -> None:
        """Forget it."""


class _Writer:
    """An array of probabilities to write into, that writes labels."""

    def __init__(self, shape: tuple[int, ...], keeper: _Keeper, labels: Any, axes: str) -> None:
        self.shape = shape
        self._keeper, self._labels, self._place = keeper, labels, axes.index("C")

    def __setitem__(self, key: tuple[slice | int, ...], value: NDArray[np.float32]) -> None:
        # Axes with one place, a number, are not in `value`.
        axis = sum(isinstance(part, slice) for part in key[: self._place])
        self._labels[key[: self._place] + key[self._place + 1 :]] = self._keeper.labels(value, axis)


def _describe(
    model: Path | str,
    images: Sequence[Path | str],
    out: Path,
    classes: Sequence[LabelClass],
    keeper: _Keeper,
    *,
    ensemble: bool,
) -> PseudoLabels:
    table = [c.model_dump() for c in classes]
    tree = {"data": {"task": "semantic", "unlabelled": "ignore", "classes": table}}
    write_atomically(out / "config.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
    words = ["napari-segnet", "train", str(images[0]), str(out), "--out", f"{out}-run"]
    words += ["--config", str(out / "config.yaml")]
    # Only one model can be gone on with: students of an ensemble start anew.
    words += [] if ensemble else ["--weights", str(model)]
    kept: list[int] = keeper.kept.tolist()
    found: list[int] = keeper.found.tolist()
    return PseudoLabels(
        {c.name: k / max(f, 1) for c, k, f in zip(classes, kept, found, strict=True)},
        tuple(c.name for c, k in zip(classes, kept, strict=True) if k == 0),
        out / "config.yaml",
        shlex.join(words),
    )
