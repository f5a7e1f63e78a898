"""What is measured of one image: everything that the tables and pages of an evaluation are made of.

A `Plan` says what to measure, the same for all images of a set; `measure` does it for one of them. Both are small and
can be sent to another process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_segnet.axes import ArrayLike, view
from napari_segnet.errors import DataError, SegNetError
from napari_segnet.evaluation.annotators import Pair, annotator_dice
from napari_segnet.evaluation.calibration import ProbabilityCounts, count_probabilities
from napari_segnet.evaluation.object_comparison import ObjectComparison, compare_objects
from napari_segnet.evaluation.scores import Labels, Rules, Scores, same_white, score
from napari_segnet.evaluation.surface import SurfaceOptions
from napari_segnet.evaluation.thirds import End, RegionScore, score_regions
from napari_segnet.evaluation.topology import TopologyScores, score_topology
from napari_segnet.io.images import ImageFile, open_image, open_labels
from napari_segnet.reports.panels import draw_panel, png, side_by_side

REFERENCE = "reference"
"""The name of the labels that all is compared with, among people."""
_SMALL = 128
"""Side of the pictures in the table of images, pixels."""


@dataclass(frozen=True)
class Job:
    """The files of one image: labels of both sides, what lies beside them, and labels of further people by name."""

    name: str
    prediction: Path
    truth: Path
    probabilities: Path | None = None
    image: Path | None = None
    annotations: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class Plan:
    """What to measure, and how.

    Attributes
    ----------
    rules : Rules
        How labels are compared.
    surface, topology : bool
        Whether distances between surfaces, and the topology of masks are measured.
    base : {"first", "last"}, optional
        The end of stacks where their base is, if parts of them are measured.
    tolerance : float, optional
        Of the surface Dice.
    scaled : bool
        Whether lengths are in the files' units; else they are in pixels.
    probability_values : tuple of int
        The classes of probabilities, in order; empty where there are none.
    colours : dict
        ``"#rrggbb"`` of each class.
    pictures : bool
        Whether a small picture is drawn.
    """

    rules: Rules
    surface: bool = False
    topology: bool = False
    base: End | None = None
    tolerance: float | None = None
    scaled: bool = False
    probability_values: tuple[int, ...] = ()
    colours: dict[int, str] = field(default_factory=dict)
    pictures: bool = True


@dataclass(frozen=True, eq=False)
class Result:
    """What was measured of one image.

    Attributes
    ----------
    job : Job
    scores : Scores
    objects : ObjectComparison or None
        Of numbered objects.
    topology : dict of int to TopologyScores
        Of each class, if it was asked for.
    sizes : dict of int to (float, float)
        Area or volume of each class by reference and by prediction.
    regions : tuple of RegionScore
        Of each part of a stack and class, if they were asked for.
    probability : ProbabilityCounts or None
    annotators : dict
        Dice of each pair of people, and of the prediction with each of them.
    notes : tuple of str
        What could not be measured, and why.
    picture : bytes
        A PNG of reference, prediction and errors; empty if none was drawn.
    """

    job: Job
    scores: Scores
    objects: ObjectComparison | None = None
    topology: dict[int, TopologyScores] = field(default_factory=dict)
    sizes: dict[int, tuple[float, float]] = field(default_factory=dict)
    regions: tuple[RegionScore, ...] = ()
    probability: ProbabilityCounts | None = None
    annotators: dict[Pair, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    picture: bytes = b""

    @property
    def rank(self) -> float:
        """What images are sorted by, the worst first: Dice, of objects average precision; images without it last."""
        value = self.scores.dice if self.scores.ap is None else self.scores.ap
        return 2.0 if math.isnan(value) else value


def read_pair(job: Job) -> tuple[ImageFile, Labels, Labels]:
    """Open the labels of an image.

    Returns
    -------
    ImageFile
        Of the reference, for its axes and pixel size.
    prediction, truth : integer arrays of one shape

    Raises
    ------
    DataError
        If their sizes differ, or a file can't be used.
    """
    prediction, truth = open_labels(job.prediction), open_labels(job.truth)
    if prediction.shape != truth.shape:
        raise DataError(
            f"{job.prediction.name} has the shape {prediction.shape}, {job.truth.name} {truth.shape}.",
            "A prediction and its reference need the same size.",
        )
    known = truth if truth.pixel_size is not None else prediction
    told = ImageFile(truth.path, truth.array, truth.axes, known.pixel_size, known.units)
    return told, np.asarray(prediction.array), np.asarray(truth.array)


def read_spacing(file: ImageFile) -> tuple[float, ...] | None:
    """Return the size of a pixel along each axis of a plane or volume; None where the file doesn't tell all of it."""
    spatial = file.axes.replace("T", "")
    if file.pixel_size is None or len(file.pixel_size) != len(spatial) or min(file.pixel_size) <= 0:
        return None
    return file.pixel_size


def measure(plan: Plan, job: Job) -> Result:
    """Measure one image.

    Raises
    ------
    DataError
        If a file can't be used, or the sizes differ.
    """
    file, prediction, truth = read_pair(job)
    notes = []
    spacing = read_spacing(file) if plan.scaled else None
    one_body = "T" not in file.axes
    if not one_body and (plan.surface or plan.topology):
        notes.append("surfaces and topology are those of planes and volumes, not of films.")
    surface = SurfaceOptions(spacing=spacing, tolerance=plan.tolerance) if plan.surface and one_body else None
    scores = score(prediction, truth, plan.rules, surface)
    probability = None
    if job.probabilities is not None and plan.probability_values:
        try:
            probability = _count(job.probabilities, file, truth, plan)
        except SegNetError as error:
            notes.append(f"probabilities were left out. {error.problem}")
    sides = _classes(prediction, truth, plan.rules), _classes(truth, truth, plan.rules)
    values, volume = scores.averaged, file.axes == "ZYX"
    if plan.base is not None and not volume:
        notes.append("only volumes (ZYX) have a base, a middle and an apex.")
    return Result(
        job,
        scores,
        objects=_objects(prediction, truth, plan.rules, spacing if one_body else None),
        topology=_topology(*sides, values) if plan.topology and one_body else {},
        sizes=_sizes(scores, math.prod(spacing) if spacing else 1.0),
        regions=_regions(*sides, values, plan.base, spacing) if plan.base is not None and volume else (),
        probability=probability,
        annotators=_annotators(job, truth, sides, plan.rules, values),
        notes=tuple(notes),
        picture=_draw(prediction, truth, plan) if plan.pictures else b"",
    )


def _draw(prediction: Labels, truth: Labels, plan: Plan) -> bytes:
    return png(side_by_side(draw_panel(prediction, truth, plan.rules, colours=plan.colours, side=_SMALL)))


def known_part(labels: Labels, truth: Labels, rules: Rules) -> Labels:
    """Return labels with 0 where the reference has a value that doesn't count."""
    if not rules.ignore_values:
        return labels
    return np.where(np.isin(truth, rules.ignore_values), 0, labels)


def _objects(
    prediction: Labels, truth: Labels, rules: Rules, spacing: tuple[float, ...] | None
) -> ObjectComparison | None:
    if not rules.instances:
        return None
    sides = known_part(prediction, truth, rules), known_part(truth, truth, rules)
    return compare_objects(*sides, spacing=spacing)


def _classes(labels: Labels, truth: Labels, rules: Rules) -> Labels:
    """Return labels of classes, 0 where the reference has a value that doesn't count; all objects are 1."""
    known = known_part(same_white(labels, rules), truth, rules)
    return (known > 0).astype(np.uint8) if rules.instances else known


def _topology(prediction: Labels, truth: Labels, values: tuple[int, ...]) -> dict[int, TopologyScores]:
    return {value: score_topology(prediction == value, truth == value) for value in values}


def _regions(
    prediction: Labels, truth: Labels, values: tuple[int, ...], base: End, spacing: tuple[float, ...] | None
) -> tuple[RegionScore, ...]:
    return tuple(score_regions(prediction, truth, values, base=base, spacing=spacing))


def _annotators(
    job: Job, truth: Labels, sides: tuple[Labels, Labels], rules: Rules, values: tuple[int, ...]
) -> dict[Pair, float]:
    """Return the Dice of people with each other and with the prediction; the reference is one of them."""
    if not job.annotations:
        return {}
    people = {REFERENCE: sides[1]}
    for name, path in job.annotations:
        people[name] = _classes(read_pair(Job(job.name, path, job.truth))[1], truth, rules)
    return annotator_dice(sides[0], people, values)


def _sizes(scores: Scores, of_pixel: float) -> dict[int, tuple[float, float]]:
    """Return area or volume of each class that means are over, by reference and by prediction."""
    classes = {value: scores.per_class[value] for value in scores.averaged}
    return {value: (c.truth_pixels * of_pixel, c.predicted_pixels * of_pixel) for value, c in classes.items()}


def _count(path: Path, file: ImageFile, truth: Labels, plan: Plan) -> ProbabilityCounts:
    """Count the probabilities of one image; the classes come first, the other axes are those of the labels."""
    opened = open_image(path)
    values = plan.probability_values
    array: ArrayLike = opened.array
    if "C" in opened.axes:
        array = view(array, opened.axes, f"C{file.axes}")
    truth = same_white(truth, plan.rules)
    if plan.rules.instances:
        # Where the reference numbers objects, probabilities are those of background and object.
        outside = np.isin(truth, plan.rules.ignore_values)
        truth = (truth > 0).astype(np.uint8)
        truth[outside] = 2
        return count_probabilities(array, truth, values, ignore_values=(2,))
    return count_probabilities(array, truth, values, ignore_values=plan.rules.ignore_values)
