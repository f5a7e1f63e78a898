"""What labels mean, which classes they have, and how much of each is painted. Knows no widgets."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_segnet import _layers
from napari_segnet._layers import CLASSES_KEY
from napari_segnet._widgets.counting import count_steps, sample_planes
from napari_segnet._widgets.outputs import colour_labels
from napari_segnet._widgets.steps import Steps
from napari_segnet.config import DataConfig, LabelClass, Task, Unlabelled
from napari_segnet.data.labels import PALETTE, Meaning, default_classes, guess_meaning, more_careful
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.io.images import open_labels
from napari_segnet.models.info import ModelInfo

_WAIT_MS = 250
_SAMPLED_FILES = 8
"""Mask files that are looked at to guess what labels mean."""


@dataclass(eq=False)
class FilePair:
    """An image file and its label file."""

    image: Path
    labels: Path
    counts: dict[int, int] | None = field(default=None)
    sample: list[NDArray[Any]] | None = field(default=None)


class Labelling(QObject):
    """The meaning and the classes of the labels that are learned from; `DataChoice` says which these are.

    Parameters
    ----------
    steps : Steps
        Runs the counting.
    """

    changed = Signal()

    def __init__(self, steps: Steps, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps = steps
        self.counts: dict[int, int] = {}
        self.meaning = Meaning("semantic", "background", "")
        self.meaning_is_guess = True
        self.classes: tuple[LabelClass, ...] = ()
        self.error = ""
        self._counted: weakref.WeakKeyDictionary[Labels, dict[int, int]] = weakref.WeakKeyDictionary()
        self._guessed_for: weakref.ref[Labels] | None = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_WAIT_MS)
        self._soon.timeout.connect(self.count)

    @property
    def labels(self) -> Labels | None:
        """The labels layer that is painted on."""
        raise NotImplementedError

    def label_layers(self) -> list[Labels]:
        """Return all labels layers that are learned from."""
        raise NotImplementedError

    def file_pairs(self) -> list[FilePair]:
        """Return all pairs of files that are learned from."""
        raise NotImplementedError

    # -------------------------------------------------------- meaning, classes

    def set_meaning(self, task: Task, unlabelled: Unlabelled) -> None:
        """Take the user's word for what the labels mean."""
        words = "Chosen by you."
        if task != self.meaning.task:
            self.classes = ()  # names of classes are none of objects
        self.meaning, self.meaning_is_guess = Meaning(task, unlabelled, words), False
        self._make_classes()
        self.changed.emit()

    def config(self, start: ModelInfo | None = None) -> DataConfig:
        """Return what the labels mean, for a run; `start` is the model that it starts from.

        The classes of that model are kept: what it knows needn't be painted again.
        """
        meaning = self._meaning_from(start)
        classes = self.classes
        if start is not None and start.task == meaning.task:
            theirs = {c.value: c for c in start.classes}
            mine = {
                c.value: _joined(c, theirs.get(c.value)) for c in classes if c.value or meaning.unlabelled != "ignore"
            }
            merged = theirs if meaning.task == "instances" else {**theirs, **mine}
            # The background is class 0 of the network where there is one.
            classes = tuple(sorted(merged.values(), key=lambda c: c.value))
        return DataConfig(task=meaning.task, unlabelled=meaning.unlabelled, classes=classes)

    def restore_config(self, config: DataConfig) -> None:
        """Take over the meaning and the classes of an earlier run."""
        self.meaning_is_guess = False
        self.meaning = Meaning(config.task, config.unlabelled, "As in the interrupted run.")
        self.classes = config.classes
        self._remember_classes()
        self.count()

    def follow(self, start: ModelInfo | None) -> None:
        """Take over what a model to start from was taught of labels, where that was only guessed so far."""
        meaning = self._meaning_from(start)
        if meaning is not self.meaning:
            # From now on it is no guess: counting again must not bring the old one back.
            self.meaning, self.meaning_is_guess = meaning, False

    def _meaning_from(self, start: ModelInfo | None) -> Meaning:
        now = self.meaning
        if start is None or not self.meaning_is_guess:
            return now
        unlabelled = more_careful(now.unlabelled, start.unlabelled)
        if (start.task, unlabelled) == (now.task, now.unlabelled):
            return now
        return Meaning(start.task, unlabelled, "As in the model that it starts from.")

    def set_class(self, value: int, **changes: Any) -> None:
        """Change the name, colour or weight of a class; raises `ConfigError` for a value that can't be."""
        self.classes = tuple(c.replace(**changes) if c.value == value else c for c in self.classes)
        self._remember_classes()
        labels = self.labels
        if "colour" in changes and labels is not None and self.meaning.task == "semantic":
            colour_labels(labels, self.classes)
        self.changed.emit()

    def remove_class(self, value: int) -> None:
        """Take a class without painted pixels off the table.

        Raises
        ------
        DataError
            If pixels of it are painted.
        """
        if self.counts.get(value):
            raise DataError(f"{self.counts[value]} pixels of that class are painted.", "Erase or fill them first.")
        self.classes = tuple(c for c in self.classes if c.value != value)
        self._remember_classes()
        self.changed.emit()

    def _remember_classes(self) -> None:
        labels = self.labels
        if labels is not None and self.meaning.task == "semantic":
            known = {c.value: c.model_dump() for c in self.classes}
            labels.metadata = {**labels.metadata, CLASSES_KEY: known}

    def _make_classes(self) -> None:
        self.error = ""
        labels = self.labels
        remembered = labels.metadata.get(CLASSES_KEY, {}) if labels is not None else {}
        known = {int(v): LabelClass(**c) for v, c in remembered.items()}
        # Names and weights that were given outlive a look at another pair.
        earlier = {c.value: c for c in self.classes}
        values = {v for v, n in self.counts.items() if n}
        if self.meaning.task == "semantic":
            values |= set(known)
        try:
            made = default_classes(values, self.meaning.unlabelled, self.meaning.task)
        except DataError as error:
            self.error, self.classes = str(error), ()
            return
        if self.meaning.task == "semantic":
            made = tuple(
                known.get(c.value) or earlier.get(c.value) or c.replace(colour=self._colour_of(c.value)) for c in made
            )
        else:
            made = tuple(earlier.get(c.value, c) for c in made)
        self.classes = made

    def _colour_of(self, value: int) -> str:
        labels = self.labels
        if value == 0:
            return PALETTE[0]
        if labels is None:
            return PALETTE[value % len(PALETTE)]
        rgba = np.asarray(labels.get_color(value))
        return "#" + "".join(f"{round(float(v) * 255):02x}" for v in rgba[:3])

    # ---------------------------------------------------------------- counting

    def counts_of(self, labels: Labels) -> dict[int, int]:
        """Return the counts of one layer, as far as they are known."""
        return self._counted.get(labels, {})

    def _say_changed(self, _event: Any = None) -> None:
        self.changed.emit()

    def _count_soon(self, _event: Any = None) -> None:
        self._soon.start()

    @property
    def counting(self) -> bool:
        """Whether something was painted that isn't counted yet."""
        return self._soon.isActive() or self._steps.pending("count")

    def count(self) -> None:
        """Count what is painted, in steps; `changed` tells when it is known."""
        self._soon.stop()
        self._steps.run("count", self.count_steps(), self.changed.emit, self._count_failed)

    def count_steps(self) -> Iterator[None]:
        """Count every pair, then guess what the labels mean and make the class table."""
        for labels in self.label_layers():
            counts: dict[int, int] = {}
            yield from count_steps(_layers.array_of(labels), counts)
            self._counted[labels] = counts
        files = self.file_pairs()
        for pair in files:
            if pair.counts is None:
                # Kept when it is complete: a new count may begin before this one has ended.
                found: dict[int, int] = {}
                yield from count_steps(open_labels(pair.labels).array, found)
                pair.counts = found
        for pair in files[:_SAMPLED_FILES]:
            if pair.sample is None:
                pair.sample = sample_planes(open_labels(pair.labels).array, 1)
                yield
        total: dict[int, int] = {}
        for counts in [
            *(self.counts_of(layer) for layer in self.label_layers()),
            *(f.counts or {} for f in files),
        ]:
            for value, number in counts.items():
                total[value] = total.get(value, 0) + number
        self.counts = dict(sorted(total.items()))
        if self.meaning_is_guess and self._may_guess_again():
            before = self.meaning.task
            self._guess(files)
            if self.meaning.task != before:
                self.classes = ()
        self._make_classes()

    def _may_guess_again(self) -> bool:
        # Strokes that grow must not turn into "background" at some pixel: what was once strokes stays strokes.
        strokes = self.meaning.words and (self.meaning.task, self.meaning.unlabelled) == (
            "semantic",
            "ignore",
        )
        guessed_for = self._guessed_for() if self._guessed_for is not None else None
        return not strokes or len([v for v in self.counts if v]) < 2 or guessed_for is not self.labels

    def _guess(self, files: Sequence[FilePair]) -> None:
        planes = [plane for layer in self.label_layers() for plane in sample_planes(_layers.array_of(layer))]
        planes = [p for p in planes if p.any()]
        planes += [plane for pair in files[:_SAMPLED_FILES] for plane in pair.sample or ()]
        self.meaning = guess_meaning(planes) if planes else Meaning("semantic", "background", "Nothing painted yet.")
        self._guessed_for = weakref.ref(self.labels) if self.labels is not None else None

    def _count_failed(self, error: SegNetError) -> None:
        self.error = str(error)
        self.changed.emit()


def _joined(mine: LabelClass, theirs: LabelClass | None) -> LabelClass:
    """Return a class as it was named and weighed here, or else as the model to start from has it."""
    if theirs is None or mine.name != f"class {mine.value}":
        return mine
    return theirs if mine.weight == 1 else theirs.replace(weight=mine.weight)
