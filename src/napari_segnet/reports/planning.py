"""Before anything is measured: which files belong together, what their labels mean, what can be measured of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from napari_segnet.config import LabelClass, validated
from napari_segnet.errors import ConfigError, DataError
from napari_segnet.evaluation.scores import Labels, Rules, make_rules
from napari_segnet.evaluation.surface import SurfaceOptions
from napari_segnet.evaluation.thirds import End
from napari_segnet.io.class_file import classes_beside
from napari_segnet.io.images import open_image
from napari_segnet.io.pairing import (
    PROBABILITIES,
    Pairing,
    Paths,
    file_stem,
    is_label_output,
    list_images,
    pair_files,
)
from napari_segnet.models.info import ModelInfo
from napari_segnet.predict.classes import output_classes
from napari_segnet.reports.colours import class_colours
from napari_segnet.reports.measuring import Job, Plan, read_pair, read_spacing

_AFFORDABLE = 300_000_000
"""Pixels times classes of which surfaces are measured without being asked: some ten seconds."""
_NO_UNITS = (None, "", "pixel", "pixels", "px")
_SHORT_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm", "meter": "m"}


@dataclass(frozen=True)
class Wishes:
    """What was asked for; None where it is to be found out."""

    unlabelled: Literal["background", "ignore"] | None = None
    instances: bool | None = None
    classes: tuple[LabelClass, ...] | None = None
    ignore_values: tuple[int, ...] = ()
    surface: bool | None = None
    tolerance: float | None = None
    topology: bool = False
    base: End | None = None


@dataclass
class Survey:
    """What the first look at all files tells.

    Attributes
    ----------
    pixels : int
        Of all references.
    spatial : set of str
        Axes of the images, without T.
    units : set of (str or None)
        Units of pixel sizes; None where a file doesn't tell the size of its pixels along all axes.
    """

    pixels: int = 0
    spatial: set[str] = field(default_factory=set)
    units: set[str | None] = field(default_factory=set)

    @property
    def unit(self) -> str | None:
        """The unit of lengths, short; None unless all files tell the size of their pixels in the same unit."""
        known = self.units - {None}
        if len(self.units) != 1 or not known:
            return None
        unit = str(next(iter(known)))
        return _SHORT_UNITS.get(unit, unit)

    @property
    def quantity(self) -> tuple[str, str]:
        """What is measured of a class, and its unit, such as ``("area", "µm²")``."""
        volumes = self.spatial == {"ZYX"}
        if self.unit is None or len(self.spatial) != 1:
            return ("volume" if volumes else "area"), "px"
        return ("volume", f"{self.unit}³") if volumes else ("area", f"{self.unit}²")


def pair_labels(predictions: Paths, labels: Paths) -> Pairing:
    """Pair predictions with their references; probabilities and uncertainties are no predictions.

    Raises
    ------
    DataError
        If there are no labels among the predictions, or nothing goes together.
    """
    files = list_images(predictions, check_stems=False)
    kept = [path for path in files if is_label_output(path)]
    if not kept:
        raise DataError(
            f"There are no label images among the predictions, only {files[0].name} and the like.",
            "Predict first: STEM.tif holds the labels.",
        )
    return pair_files(kept, labels, with_itself=True)


def find_jobs(pairing: Pairing, predictions: Paths, images: Paths | None) -> list[Job]:
    """Find what lies beside the labels: probabilities by name, and images where they were named.

    Raises
    ------
    DataError
        If no image belongs to any reference.
    """
    beside = {}
    for path in list_images(predictions, check_stems=False):
        stem = file_stem(path)
        if stem.lower().endswith(PROBABILITIES):
            beside[path.parent, stem[: -len(PROBABILITIES)]] = path
    shown: dict[Path, Path] = {}
    if images is not None:
        truths = [truth for _, truth in pairing.pairs]
        shown = {truth: image for image, truth in pair_files(images, truths).pairs}
    return [
        Job(
            file_stem(prediction),
            prediction,
            truth,
            beside.get((prediction.parent, file_stem(prediction))),
            shown.get(truth),
        )
        for prediction, truth in pairing.pairs
    ]


def look_at(jobs: Sequence[Job], survey: Survey) -> Iterator[tuple[Labels, Labels]]:
    """Read all labels, and note what `Survey` tells of them; yields (prediction, truth)."""
    for job in jobs:
        file, prediction, truth = read_pair(job)
        survey.pixels += truth.size
        survey.spatial.add(file.axes.replace("T", ""))
        scaled = read_spacing(file) is not None and file.units not in _NO_UNITS
        survey.units.add(file.units if scaled else None)
        yield prediction, truth


def make_plan(
    jobs: Sequence[Job], others: Sequence[Job], wishes: Wishes, info: ModelInfo | None
) -> tuple[Plan, Survey, dict[str, str]]:
    """Decide how labels are compared, and what is measured.

    Parameters
    ----------
    jobs : sequence of Job
    others : sequence of Job
        Further predictions of the same images, which may hold further values.
    wishes : Wishes
    info : ModelInfo or None
        Of the model that predicted.

    Returns
    -------
    plan : Plan
    survey : Survey
    left_out : dict of str to str
        What is not measured, and why.

    Raises
    ------
    DataError
        If a file can't be used, or sizes differ.
    ConfigError
        If the tolerance is none, or not wanted.
    """
    surface = _wants_surfaces(wishes)
    known = classes_beside(jobs[0].truth)
    classes = wishes.classes
    if classes is None and known is not None:
        classes = known.classes
    elif classes is None and info is not None:
        classes = output_classes(info)
    survey = Survey()
    rules = make_rules(
        (sides for some in (jobs, others) for sides in look_at(some, survey)),
        wishes.unlabelled or (known.unlabelled if known else None),
        wishes.instances if wishes.instances is not None or known is None else known.task == "instances",
        classes,
        tuple(dict.fromkeys((*wishes.ignore_values, *(known.ignored if known else ())))),
    )
    left_out = {}
    if info is not None and (info.task == "instances") != rules.instances:
        said, are = ("objects", "classes") if info.task == "instances" else ("classes", "objects")
        left_out["model"] = f"--model names one of {said}, and these are {are}: was it this one that predicted?"
    if surface is None:
        surface = survey.pixels * max(1, len(rules.values) - 1) <= _AFFORDABLE
        if not surface:
            left_out["surface"] = (
                "There are so many pixels that distances between surfaces would take long: ask for them."
            )
    unseen = [job.name for job in jobs if job.image is None]
    if 0 < len(unseen) < len(jobs):
        left_out["images"] = f"No image was found for {', '.join(unseen[:5])}{' ...' if len(unseen) > 5 else ''}."
    if wishes.base is not None and not any("Z" in axes for axes in survey.spatial):
        left_out["thirds"] = "No file holds a stack: there are no base, middle and apex."
    values, reason = _probability_values(jobs, rules, classes or (), info)
    if reason:
        left_out["probability"] = reason
    plan = Plan(
        rules=rules,
        surface=surface,
        topology=wishes.topology,
        base=wishes.base,
        tolerance=wishes.tolerance,
        scaled=survey.unit is not None,
        probability_values=values,
        colours=class_colours(rules.values, classes or ()),
    )
    return plan, survey, left_out


def _wants_surfaces(wishes: Wishes) -> bool | None:
    """Return whether distances between surfaces were asked for, None where it wasn't said; checks the tolerance."""
    validated(SurfaceOptions, {"tolerance": wishes.tolerance})
    if wishes.tolerance is None:
        return wishes.surface
    if wishes.surface is False:
        raise ConfigError(
            f"tolerance = {wishes.tolerance:g} is for distances between surfaces, which were not wanted.",
            "Leave one of the two out.",
        )
    return True


def _probability_values(
    jobs: Sequence[Job], rules: Rules, classes: Sequence[LabelClass], info: ModelInfo | None
) -> tuple[tuple[int, ...], str]:
    """Return the classes of the probabilities in order, and why there are none: a file doesn't say which they are."""
    paths = [job.probabilities for job in jobs if job.probabilities is not None]
    if not paths:
        return (), ""
    opened = open_image(paths[0])
    channels = dict(zip(opened.axes, opened.shape, strict=True)).get("C", 1)
    counted = tuple(value for value in rules.values if rules.instances or value not in rules.ignore_values)
    candidates = [tuple(c.value for c in output_classes(info))] if info is not None else []
    if not rules.instances:
        candidates += [tuple(c.value for c in classes)]
    candidates.append(counted)
    fitting = [v for v in candidates if len(v) == channels or (len(v) == 2 and channels == 1)]
    if fitting:
        # Labels may have other values than the model gave the same classes.
        return next((values for values in fitting if set(counted) <= set(values)), fitting[0]), ""
    return (), (
        f"{paths[0].name} has {channels} channels, and the labels have {len(counted)} classes: it isn't clear which "
        "belong together. Name the model."
    )
