"""What labels mean, where nobody has said it: task, meaning of zero, classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from napari_segnet.config import DataConfig
from napari_segnet.data.labels import count_values, default_classes, guess_meaning, more_careful
from napari_segnet.data.pairs import TrainingPair
from napari_segnet.io.class_file import ClassTable, classes_beside
from napari_segnet.models.info import ModelInfo
from napari_segnet.run import RunFolder

_KEPT_LABELS = 8
"""Labels, and painted labels, that are looked at to guess what labels mean."""


def class_table(run: RunFolder) -> ClassTable | None:
    """Return what the ``classes.json`` beside the labels says, where all of them lie in one folder."""
    labels = [Path(record.labels) for record in run.pairs]
    return classes_beside(labels[0]) if len({path.parent for path in labels}) == 1 else None


def complete_data(
    data: DataConfig, pairs: Sequence[TrainingPair], start: ModelInfo | None = None, table: ClassTable | None = None
) -> tuple[DataConfig, dict[int, int], str]:
    """Find out what the user hasn't said about the labels: from `table`, or by a guess.

    Parameters
    ----------
    data : DataConfig
        What was said.
    pairs : sequence of TrainingPair
    start : ModelInfo, optional
        The model to start from: its classes are kept, new ones come after them.
    table : ClassTable, optional
        What the ``classes.json`` beside the labels says.

    Returns
    -------
    data : DataConfig
        With task, meaning of zero and the class table filled in.
    counts : dict of int to int
        Label value -> pixels.
    words : str
        What was guessed or asked for.
    """
    looked_at: list[NDArray[Any]] = []
    counts = count_values(_remembering(pairs, looked_at))
    guess = guess_meaning(looked_at, counts)
    said = data.explicit()
    if table is not None:
        said = {"task": table.task, "unlabelled": table.unlabelled, "ignore_values": table.ignored} | said
        data = data.replace(ignore_values=said["ignore_values"])
    task = said.get("task") or (start.task if start else guess.task)
    unlabelled = said.get("unlabelled") or more_careful(guess.unlabelled, start.unlabelled if start else "background")
    words = (
        guess.words if (task, unlabelled) == (guess.task, guess.unlabelled) else f"{task}, unlabelled = {unlabelled}."
    )
    classes = data.classes
    if not classes:
        values = [v for v in counts if v not in data.ignore_values]
        found = default_classes(values, unlabelled, task)
        if table is not None and task == "semantic":
            names = {c.value: c for c in table.classes}
            found = tuple(names.get(c.value, c) for c in found)
        kept = start.classes if start else ()
        known = {c.value for c in kept}
        classes = (*kept, *(c for c in found if c.value not in known))
        if unlabelled == "background":
            classes = tuple(sorted(classes, key=lambda c: c.value != 0))  # the background is class 0
    return data.replace(task=task, unlabelled=unlabelled, classes=classes), counts, words


def _remembering(pairs: Sequence[TrainingPair], kept: list[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield all labels, and keep the first, and the first painted ones: reading them takes longest."""
    found = 0
    for number, pair in enumerate(pairs):
        labels = pair.labels()
        is_painted = found < _KEPT_LABELS and bool(labels.any())
        found += is_painted
        if is_painted or number < _KEPT_LABELS:
            kept.append(labels)
        yield labels
