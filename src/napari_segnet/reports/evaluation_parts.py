"""The sections of an evaluation's page: tables with their figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from napari_segnet.evaluation.bootstrap import Interval
from napari_segnet.evaluation.curves import bin_counts, precision_recall_curve, roc_curve
from napari_segnet.evaluation.measures import list_measures
from napari_segnet.reports.agreement_charts import bland_altman_chart, regression_chart
from napari_segnet.reports.charts import Chart
from napari_segnet.reports.evaluation import Compared, Evaluation, class_title
from napari_segnet.reports.figures import Figures
from napari_segnet.reports.object_charts import threshold_curves_chart
from napari_segnet.reports.page import Cell, Column, Fold, Part, Text, decimal, number, simple_table
from napari_segnet.reports.parts import with_interval
from napari_segnet.reports.probability_charts import precision_recall_chart, reliability_chart, roc_chart
from napari_segnet.reports.score_charts import Mean, bars_chart, confusion_chart, distribution_chart
from napari_segnet.reports.summary import OBJECT_COUNTS, OBJECT_NUMBERS, REGION_NUMBERS, object_curves, pooled_confusion
from napari_segnet.reports.words import column, meaning, title

_OF_CLASS = ("dice", "iou", "precision", "recall", "specificity", "mcc", "rvd")
_MORE_OF_CLASS = ("pixel_accuracy", "f2", "f05", "kappa", "voe")
_BARS = ("dice", "iou", "precision", "recall")
_TOPOLOGY = ("cl_dice", "cl_precision", "cl_sensitivity", "b0_error", "b1_error", "b2_error", "betti_error")
_PROBABILITY = (
    "roc_auc", "average_precision", "brier", "ece", "best_threshold", "dice_at_best_threshold", "dice_at_half",
)  # fmt: skip
_MOST_COMPARED = 4
"""Classes that get figures of agreement."""
_FEWEST_POINTS = 3


def _name(found: Evaluation, value: int) -> Cell:
    """Return the cell of a class: its colour and name."""
    shown = class_title(found.results[0].scores.per_class[value].name, value)
    colour = "" if found.rules.instances else found.plan.colours.get(value, "")
    return Cell(shown, value, colour)


def _table_of_classes(
    found: Evaluation, means: Mapping[int, Mapping[str, Interval]], names: Sequence[str], counts: Sequence[str] = ()
) -> Part:
    """Return a row a class with means, and with numbers of the summary."""
    known = [name for name in names if any(name in row for row in means.values())]
    columns = [Column("Class", numeric=False), *(column(name, found.unit) for name in known)]
    columns += [Column(title(name), meaning=meaning(name)) for name in counts]
    rows = []
    for value, row in means.items():
        if row:
            numbers = [number(found.summary["per_class"][str(value)].get(name)) for name in counts]
            rows.append([_name(found, value), *(_mean_cell(row.get(name)) for name in known), *numbers])
    return simple_table(columns, rows, "Means over images; of a class those that have it in either image.")


def _mean_cell(interval: Interval | None) -> Cell:
    return number(None) if interval is None else with_interval(interval)


def class_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return the overlap of each class: table, means with intervals, distribution over the images."""
    counts = ("images", "truth_pixels", "predicted_pixels")
    parts = [
        _table_of_classes(found, found.means.classes, _OF_CLASS, counts),
        Fold("More measures of each class", (_table_of_classes(found, found.means.classes, _MORE_OF_CLASS),)),
    ]
    averaged = [v for v in found.results[0].scores.averaged if found.means.classes[v]["dice"].n]
    if not drawn.wanted or not averaged:
        return parts
    names = {value: _name(found, value).text for value in averaged}
    bars = {
        names[value]: {title(name): _as_mean(found.means.classes[value][name]) for name in _BARS} for value in averaged
    }
    scores = {names[value]: [result.scores.per_class[value].dice for result in found.results] for value in averaged}
    colours = {names[value]: found.plan.colours.get(value, "#0072b2") for value in averaged}
    parts += drawn(
        bars_chart(bars, "Overlap of each class", name="classes"),
        distribution_chart(
            scores, "Dice", name="dice_distribution", colours=None if found.rules.instances else colours
        ),
    )
    return parts


def _as_mean(interval: Interval) -> Mean:
    return Mean(interval.value, interval.low, interval.high)


def confusion_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return what was taken for what."""
    confusion = pooled_confusion(found.results)
    if not drawn.wanted or len(confusion.values) < 2:
        return []
    return drawn(confusion_chart(confusion.matrix, [_name(found, value).text for value in confusion.values]))


def surface_parts(found: Evaluation, _: Figures) -> list[Part]:
    """Return how far surfaces are from each other."""
    if not any(result.scores.surface for result in found.results):
        return []
    names = [measure.name for measure in list_measures("surface")]
    averaged = {value: found.means.classes[value] for value in found.results[0].scores.averaged}
    of_pixel = "in units of the files" if found.survey.unit else "in pixels, as the files don't tell their size"
    words = (
        f"Distances between the surfaces of each class, {of_pixel}. Images that have a class in one of the two only "
    )
    words += "have an infinite distance: they are left out of the means of distances, and counted in the last column."
    return [Text(words, "note"), _table_of_classes(found, averaged, names, ("missed_images",))]


def topology_parts(found: Evaluation, _: Figures) -> list[Part]:
    """Return whether shapes are connected as they should be."""
    if not any(found.means.topology.values()):
        return []
    return [_table_of_classes(found, found.means.topology, _TOPOLOGY)]


def object_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return how well objects are found and told apart."""
    if not found.rules.instances:
        return []
    summary = found.summary["objects"]
    means = {name: found.means.image[name] for name in ("ap50", "ap")} | found.means.objects
    rows: list[list[Cell | str]] = [
        [title(name), with_interval(means[name]), meaning(name)] for name in ("ap50", "ap", *OBJECT_NUMBERS)
    ]
    rows += [
        [f"{title(name)} of all together", number(summary["pooled"][name]), "Objects of all images as one."]
        for name in ("pq", "sq", "rq")
    ]
    totals = summary["totals"] | {name: found.summary[name] for name in ("truth_objects", "predicted_objects")}
    counts = [[title(name), totals[name], meaning(name)] for name in OBJECT_COUNTS]
    parts: list[Part] = [
        simple_table(["Measure", Column("Mean over images"), Column("Meaning", numeric=False)], rows),
        simple_table(["Sum over images", "Objects", "Meaning"], counts),
    ]
    if drawn.wanted:
        thresholds, curves = object_curves(found.results)
        parts += drawn(threshold_curves_chart(thresholds, curves))
    return parts


def region_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return the scores of base, middle and apex of stacks."""
    regions = found.means.regions
    if not regions:
        return []
    unit = found.survey.quantity[1] if found.plan.scaled else "px"
    columns = [
        Column("Part", numeric=False),
        Column("Class", numeric=False),
        column("dice"),
        column("iou"),
        Column(f"Volume in the reference [{unit}]"),
        Column(f"Volume in the prediction [{unit}]"),
    ]
    rows = [
        [Cell(region), _name(found, value), *(with_interval(numbers[name]) for name in REGION_NUMBERS)]
        for (region, value), numbers in regions.items()
    ]
    words = "The planes in which the reference has any class, cut into three parts of equal length."
    parts: list[Part] = [simple_table(columns, rows, words)]
    if drawn.wanted:
        bars: dict[str, dict[str, Mean]] = {}
        for (region, value), numbers in regions.items():
            if numbers["dice"].n:
                bars.setdefault(_name(found, value).text, {})[region] = _as_mean(numbers["dice"])
        if bars:
            parts += drawn(bars_chart(bars, "Dice of each part", name="thirds"))
    return parts


def probability_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return what any threshold would give, and whether probabilities mean what they say."""
    counts, summary = found.probability, found.summary.get("probability")
    if counts is None or summary is None:
        return []
    names = {value: _probability_name(found, value) for value in counts.values}
    shown = [value for value in counts.values if value != 0 or len(counts.values) > 2]
    rows = [
        [names[value], *(summary["per_class"][str(value)][name] for name in _PROBABILITY)] for value in counts.values
    ]
    words = (
        "All pixels of all images together, each class against the rest. The best threshold was found on these very "
    )
    words += "images: take it from validation images before you report scores on others."
    whole = ("brier", "ece", "classwise_ece", "roc_auc", "average_precision")
    parts: list[Part] = [
        simple_table(["Class", *(column(name) for name in _PROBABILITY)], rows, words),
        simple_table([column(name) for name in whole], [[summary[name] for name in whole]], "Over all classes."),
    ]
    if not drawn.wanted:
        return parts
    bins = {value: bin_counts(counts, value) for value in shown}
    there = {value: found_bins for value, found_bins in bins.items() if found_bins.positives.sum()}
    charts = []
    if curves := {names[v]: roc_curve(b) for v, b in there.items() if b.negatives.sum()}:
        charts.append(roc_chart(curves))
        shares = {names[v]: float(b.positives.sum() / (b.positives + b.negatives).sum()) for v, b in there.items()}
        charts.append(precision_recall_chart({names[v]: precision_recall_curve(b) for v, b in there.items()}, shares))
    diagram = counts.reliability()
    charts.append(
        reliability_chart(
            diagram.confidence.tolist(), diagram.accuracy.tolist(), diagram.pixels.tolist(), summary["ece"]
        )
    )
    return parts + drawn(*charts)


def _probability_name(found: Evaluation, value: int) -> str:
    names = found.results[0].scores.per_class
    return class_title(names[value].name if value in names else str(value), value)


def agreement_parts(found: Evaluation, drawn: Figures) -> list[Part]:
    """Return whether measurements by prediction can stand for those by reference."""
    if not found.compared or found.compared[0].agreement.n < 2:
        return []
    titles = [
        "Quantity", "Bias", "Limits of agreement", "Bias [%]", "Pearson's r", "ICC(2,1)", "Slope", "Intercept",
        "p (t-test)", "Cohen's dz", "p (Wilcoxon)", "Rank-biserial r",
    ]  # fmt: skip
    rows = [_agreement_row(one) for one in found.compared]
    notes = [f"{one.quantity}: {note}" for one in found.compared for note in one.agreement.notes]
    caption = (
        "One number an image, prediction minus reference. Bland-Altman: mean difference and limits between which 95 % "
    )
    caption += "of the differences are expected; intraclass correlation for absolute agreement; line of least squares."
    parts: list[Part] = [simple_table(titles, rows, caption)]
    if notes:
        parts.append(Fold("What these statistics left out, or can't say", tuple(Text(note) for note in notes)))
    if drawn.wanted:
        enough = [one for one in found.compared if one.agreement.n >= _FEWEST_POINTS][:_MOST_COMPARED]
        parts += drawn(*(chart for one in enough for chart in _agreement_charts(one)))
    return parts


def _agreement_row(one: Compared) -> list[Cell | str]:
    agreement = one.agreement
    altman, icc, percent = agreement.bland_altman, agreement.icc["ICC(2,1)"], agreement.bland_altman_percent
    limits = Cell("-")
    if math.isfinite(altman.lower):
        width = altman.upper - altman.lower
        limits = Cell(decimal(altman.lower, 3), width, note=f"to {decimal(altman.upper, 3)}")
    return [
        f"{one.quantity} [{one.unit}]",
        _ends(altman.bias, altman.bias_low, altman.bias_high),
        limits,
        number(percent.bias if percent else None, 2),
        _ends(agreement.correlation.r, agreement.correlation.low, agreement.correlation.high),
        _ends(icc.value, icc.low, icc.high),
        number(agreement.least_squares.slope),
        number(agreement.least_squares.intercept),
        number(agreement.t_test.p),
        number(agreement.t_test.cohen_dz, 3),
        number(agreement.wilcoxon.p),
        number(agreement.wilcoxon.rank_biserial, 3),
    ]


def _ends(value: float, low: float, high: float) -> Cell:
    return with_interval(Interval(value, low, high, 0))


def _agreement_charts(one: Compared) -> Iterable[Chart]:
    agreement, altman = one.agreement, one.agreement.bland_altman
    stem = "objects" if one.value == 0 else f"class_{one.value}"
    yield bland_altman_chart(
        agreement.reference, agreement.predicted, altman.bias, (altman.lower, altman.upper),
        quantity=one.quantity, unit=one.unit, name=f"bland_altman_{stem}",
    )  # fmt: skip
    line = agreement.least_squares
    if math.isfinite(line.slope):
        yield regression_chart(
            agreement.reference, agreement.predicted, (line.slope, line.intercept), agreement.correlation.r,
            quantity=one.quantity, unit=one.unit, name=f"regression_{stem}",
        )  # fmt: skip


def measure_parts(found: Evaluation, _: Figures) -> list[Part]:
    """Return every measure of images: its mean, that of all pixels together, and what it is."""
    pooled = found.summary["pooled"]
    rows: list[list[Cell | str]] = []
    for name, interval in found.means.image.items():
        shown = column(name, found.unit)
        rows.append([shown.title, with_interval(interval), number(pooled.get(name)), meaning(name)])
    columns = [
        Column("Measure", numeric=False),
        Column("Mean over images"),
        Column("All pixels together", meaning="Large images, and those with much of a class, weigh more."),
        Column("How it is counted", numeric=False),
    ]
    return [Fold("Every measure, and how it is counted", (simple_table(columns, rows),))]
