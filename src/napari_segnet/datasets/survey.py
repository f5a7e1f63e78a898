"""Going through a data set, one image at a time: memory doesn't grow with the number of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_segnet.config import DataConfig, Task, Unlabelled
from napari_segnet.data.labels import default_classes, guess_meaning
from napari_segnet.datasets.facts import ImageFacts, image_facts, label_facts, middle_item, sentence
from napari_segnet.datasets.finding import Part
from napari_segnet.datasets.likeness import ManyLookalikes
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.class_file import ClassTable, classes_beside
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.io.pairing import file_stem
from napari_segnet.io.records import check_sizes

_KEPT_LABELS = 8
"""Labels, and painted labels, that are looked at to guess what labels mean: as many as before training."""
_KEPT_SIDE = 4096
"""Of larger labels the middle is kept."""
_MOST_VALUES = 100_000
"""Label values that are counted over all images; so many are objects."""


@dataclass(frozen=True)
class Survey:
    """What is known of a data set.

    Attributes
    ----------
    parts : sequence of Part
    facts : sequence of ImageFacts
        Of each image, part by part.
    alike : list of list of int
        Groups of images that look the same; each image is in one at most.
    counts : dict of int to int
        Label value -> pixels over all images.
    data : DataConfig or None
        What the labels mean; None without labels.
    words : str
        Why that was guessed.
    problem : str
        Why the values can't be classes; empty if they can.
    """

    parts: Sequence[Part]
    facts: Sequence[ImageFacts]
    alike: list[list[int]]
    counts: dict[int, int] = field(default_factory=dict)
    data: DataConfig | None = None
    words: str = ""
    problem: str = ""

    @property
    def usable(self) -> list[ImageFacts]:
        """Those images that can be read."""
        return [f for f in self.facts if f.trouble != "image"]

    @property
    def labelled(self) -> list[ImageFacts]:
        """Those images whose labels can be read and fit."""
        return [f for f in self.facts if f.labels and not f.trouble]


def survey(
    parts: Sequence[Part],
    *,
    axes: str | None = None,
    task: Task | None = None,
    unlabelled: Unlabelled | None = None,
    ignore_values: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Look at all images and labels of a data set.

    Parameters
    ----------
    parts : sequence of Part
        From `napari_segnet.datasets.finding.find_parts`.
    axes : str, optional
        Of all images, where the guess is wrong.
    task, unlabelled, ignore_values : optional
        What the labels mean; default: what ``classes.json`` beside them says, or a guess.
    on_progress : callable, optional
        Called with the number of images done and of all.

    Returns
    -------
    Survey
        A file that can't be used is no error here, but a fact.
    """
    facts: list[ImageFacts] = []
    counts: dict[int, int] = {}
    kept: list[NDArray[Any]] = []
    seen, painted = ManyLookalikes(), 0
    everything = [(part, *pair) for part in parts for pair in part.pairs]
    for number, (part, image_path, label_path) in enumerate(everything):
        found, labels, values = _look(part.name, image_path, label_path, axes, number, seen)
        facts.append(found)
        if labels is not None:
            for value, pixels in values.items():
                if value in counts or len(counts) < _MOST_VALUES:
                    counts[value] = counts.get(value, 0) + pixels
            is_painted = painted < _KEPT_LABELS and bool(found.painted)
            painted += is_painted
            if is_painted or len(kept) < _KEPT_LABELS:
                kept.append(_middle(labels))
        if on_progress is not None:
            on_progress(number + 1, len(everything))
    result = Survey(parts, facts, seen.groups())
    if not counts:
        return result
    counts = dict(sorted(counts.items()))
    table = _class_table(everything)
    guess = guess_meaning(kept, counts)
    said = {} if table is None else {"task": table.task, "unlabelled": table.unlabelled, "ignored": table.ignored}
    ignored = tuple(said.get("ignored", ()) if ignore_values is None else ignore_values)
    data = DataConfig(
        task=task or said.get("task") or guess.task,
        unlabelled=unlabelled or said.get("unlabelled") or guess.unlabelled,
        ignore_values=ignored,
    )
    as_guessed = (data.task, data.unlabelled) == (guess.task, guess.unlabelled)
    words = guess.words if as_guessed else f"{data.task}, unlabelled = {data.unlabelled}, as was said."
    problem = ""
    try:
        classes = default_classes([v for v in counts if v not in ignored], data.unlabelled, data.task)
        if table is not None and data.task == "semantic":
            named = {c.value: c for c in table.classes}
            classes = tuple(named.get(c.value, c) for c in classes)
        data = data.replace(classes=classes)
    except DataError as error:
        problem = sentence(error)
    return Survey(parts, facts, result.alike, counts, data, words, problem)


def _look(
    part: str, image_path: Path, label_path: Path | None, axes: str | None, number: int, seen: ManyLookalikes
) -> tuple[ImageFacts, ImageFile | None, dict[int, int]]:
    """Look at one image and its labels."""
    known: dict[str, Any] = {
        "name": file_stem(image_path),
        "part": part,
        "image": str(image_path),
        "labels": "" if label_path is None else str(label_path),
    }
    try:
        image = open_image(image_path, axes)
        known |= image_facts(image)
        with np.errstate(over="ignore", invalid="ignore"):  # values beyond 32 bit are found all the same
            seen.look(number, middle_item(image))
    except SegNetError as error:
        return ImageFacts(**known, trouble="image", error=sentence(error)), None, {}
    if label_path is None:
        return ImageFacts(**known), None, {}
    try:
        labels = open_labels(label_path, image.axes)
        more, values = label_facts(labels)
    except SegNetError as error:
        return ImageFacts(**known, trouble="labels", error=sentence(error)), None, {}
    try:
        check_sizes(image, labels)
    except SegNetError as error:
        return ImageFacts(**known, **more, trouble="size", error=sentence(error)), None, {}
    return ImageFacts(**known, **more), labels, values


def _middle(labels: ImageFile) -> NDArray[Any]:
    array = labels.array
    window = [slice(None)] * len(array.shape)
    for axis in (-1, -2):
        start = max(0, (array.shape[axis] - _KEPT_SIDE) // 2)
        window[axis] = slice(start, start + _KEPT_SIDE)
    return np.asarray(array[tuple(window)])


def _class_table(everything: Sequence[tuple[Part, Path, Path | None]]) -> ClassTable | None:
    first = next((labels for _, _, labels in everything if labels is not None), None)
    return None if first is None else classes_beside(first)
