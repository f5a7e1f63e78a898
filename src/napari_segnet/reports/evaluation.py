"""Everything that an evaluation found, before it is written: for tables, figures and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_segnet.evaluation.agreement import Agreement, measure_agreement
from napari_segnet.evaluation.annotators import Ceiling
from napari_segnet.evaluation.calibration import ProbabilityCounts
from napari_segnet.evaluation.scores import Rules
from napari_segnet.models.info import ModelInfo
from napari_segnet.reports.comparison import Comparison
from napari_segnet.reports.measuring import Plan, Result
from napari_segnet.reports.panels import Panel
from napari_segnet.reports.planning import Survey
from napari_segnet.reports.summary import Means

Place = Literal["best", "median", "worst"]


@dataclass(frozen=True, eq=False)
class Example:
    """An image that is shown large, and why."""

    place: Place
    result: Result
    panel: Panel


@dataclass(frozen=True, eq=False)
class Compared:
    """What was measured twice, by prediction and by reference, and how well both agree.

    Attributes
    ----------
    value : int
        The class; 0 stands for the number of objects.
    quantity, unit : str
        Such as ``"area of nucleus"`` and ``"µm²"``.
    agreement : Agreement
    """

    value: int
    quantity: str
    unit: str
    agreement: Agreement


@dataclass(frozen=True, eq=False)
class Learned:
    """How the model learned: the rows of its ``history.csv``, and its best epoch."""

    history: list[dict[str, float | None]] = field(default_factory=list)
    best_epoch: int | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    name : str
        Of what was evaluated, such as that of the folder of predictions.
    results : list of Result
        In the order of the images.
    plan : Plan
    survey : Survey
    means : Means
    summary : dict
        What ``summary.json`` holds.
    probability : ProbabilityCounts or None
        Of all images together.
    compared : list of Compared
        Areas or volumes of classes, and numbers of objects.
    comparison : Comparison or None
        Of several predictions.
    ceiling : Ceiling or None
        What people agree on, where several have drawn.
    examples : list of Example
    info : ModelInfo or None
        Of the model that predicted.
    learned : Learned
    """

    name: str
    results: list[Result]
    plan: Plan
    survey: Survey
    means: Means
    summary: dict[str, Any]
    probability: ProbabilityCounts | None = None
    compared: list[Compared] = field(default_factory=list)
    comparison: Comparison | None = None
    ceiling: Ceiling | None = None
    examples: list[Example] = field(default_factory=list)
    info: ModelInfo | None = None
    learned: Learned = field(default_factory=Learned)

    @property
    def rules(self) -> Rules:
        """How labels were compared."""
        return self.plan.rules

    @property
    def unit(self) -> str:
        """The unit of distances."""
        return (self.survey.unit or "px") if self.plan.scaled else "px"

    @property
    def worst_first(self) -> list[Result]:
        """The results by their score, those without one last."""
        return sorted(self.results, key=lambda result: result.rank)


def class_title(name: str, value: int) -> str:
    """Return what a class is called on a page."""
    return f"class {value}" if name == str(value) else name


def compare_sizes(results: Sequence[Result], plan: Plan, survey: Survey) -> list[Compared]:
    """Compare areas or volumes of each class by prediction and reference, and numbers of objects.

    Parameters
    ----------
    results : sequence of Result
    plan : Plan
    survey : Survey
        For the units.
    """
    quantity, unit = survey.quantity if plan.scaled else (survey.quantity[0], "px")
    found = []
    values = results[0].scores.averaged
    for value in values:
        true, predicted = zip(*(result.sizes[value] for result in results), strict=True)
        name = class_title(results[0].scores.per_class[value].name, value)
        found.append(Compared(value, f"{quantity} of {name}", unit, measure_agreement(predicted, true)))
    counts = [result.objects for result in results if result.objects is not None]
    if counts:
        agreement = measure_agreement([c.predicted_objects for c in counts], [c.truth_objects for c in counts])
        found.append(Compared(0, "number of objects", "objects", agreement))
    return found


def choose_examples(results: Sequence[Result], most: int = 3) -> list[tuple[Place, Result]]:
    """Choose the best, median and worst images, as many of each as there are enough images for; best first."""
    ranked = sorted((r for r in results if r.rank <= 1), key=lambda result: -result.rank)
    number = min(most, max(1, len(ranked) // 3))
    if len(ranked) < 3:
        return [("worst", result) for result in ranked]
    middle = (len(ranked) - number) // 2
    chosen: list[tuple[Place, Result]] = [("best", result) for result in ranked[:number]]
    chosen += [("median", result) for result in ranked[middle : middle + number]]
    return [*chosen, *(("worst", result) for result in ranked[len(ranked) - number :])]
