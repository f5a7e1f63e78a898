"""Every measure by name: what it is called, what is good, its range, its formula and its source.

Tables, the report, the pages and the viewer list measures from here. A new measure is a line here, and a value of the
same name among the scores of a class (`ClassScore`, `SurfaceScore` ...) or of an image (`Scores`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from napari_segnet.errors import unknown_name

Group = Literal["overlap", "surface", "probability", "objects", "topology"]
Better = Literal["higher", "lower", "zero"]
Of = Literal["class", "image", "set"]
_INF = math.inf


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes
    ----------
    name : str
        The column in tables, and the attribute of scores.
    title : str
        What people read.
    group : {"overlap", "surface", "probability", "objects", "topology"}
    better : {"higher", "lower", "zero"}
        Which values are good.
    low, high : float
        The smallest and the largest possible value.
    formula : str
        How it is counted, in a sentence. T and P are the pixels of the class in the reference and in the
        prediction, TP those in common. An image has the mean over its classes, unless the sentence says otherwise.
    source : str
        The publication that it comes from.
    of : tuple of {"class", "image", "set"}
        What has a value: a class of an image, an image, or only a set of images.
    unit : {"", "length"}
        ``"length"`` for distances in the unit of the pixel size.
    aliases : tuple of str
        Other names of the same number.
    """

    name: str
    title: str
    group: Group
    better: Better
    low: float
    high: float
    formula: str
    source: str
    of: tuple[Of, ...] = ("class", "image")
    unit: Literal["", "length"] = ""
    aliases: tuple[str, ...] = ()

    @property
    def best(self) -> float:
        """The value of perfect agreement."""
        return {"higher": self.high, "lower": self.low, "zero": 0.0}[self.better]

    @property
    def limits(self) -> str:
        """The possible values in words: ``"0 to 1"``, ``"0 or more"``."""
        if math.isinf(self.low):
            return "any number"
        return f"{self.low:g} or more" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"


_DICE = "Dice 1945, doi:10.2307/1932409"
_JACCARD = "Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x"
_RIJSBERGEN = "van Rijsbergen 1979, Information Retrieval"
_TAHA = "Taha and Hanbury 2015, doi:10.1186/s12880-015-0068-x"
_LONG = "Long et al. 2015, arXiv:1411.4038"
_HEIMANN = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851"
_GUO = "Guo et al. 2017, arXiv:1706.04599"

_KIRILLOV = "Kirillov et al. 2019, arXiv:1801.00868"
_MATCHED = "Schmidt et al. 2018, MICCAI (matching)"
_HOOVER = "Hoover et al. 1996, doi:10.1109/34.506791"
_SHIT = "Shit et al. 2021, arXiv:2003.07311"
_HU = "Hu et al. 2019, arXiv:1906.05404"


def _objects(
    name: str,
    title: str,
    better: Better,
    formula: str,
    source: str,
    unit: Literal["", "length"] = "",
    low: float | None = None,
) -> Measure:
    lowest = {"higher": 0.0, "lower": 0.0, "zero": -_INF}[better] if low is None else low
    high = 1.0 if better == "higher" else _INF
    return Measure(name, title, "objects", better, lowest, high, formula, source, of=("image",), unit=unit)


def _topology(name: str, title: str, better: Better, formula: str, source: str) -> Measure:
    return Measure(name, title, "topology", better, 0, 1 if better == "higher" else _INF, formula, source)


_LINES = (
    Measure("dice", "Dice", "overlap", "higher", 0, 1, "2 TP / (T + P).", _DICE, aliases=("f1",)),
    Measure("iou", "IoU", "overlap", "higher", 0, 1, "TP / (T + P - TP).", _JACCARD, aliases=("jaccard",)),
    Measure(
        "precision", "Precision", "overlap", "higher", 0, 1, "TP / P.", _TAHA, aliases=("positive predictive value",),
    ),
    Measure(
        "recall", "Recall", "overlap", "higher", 0, 1, "TP / T.", _TAHA, aliases=("sensitivity", "true positive rate"),
    ),
    Measure(
        "specificity", "Specificity", "overlap", "higher", 0, 1,
        "Share of the pixels outside the class in the reference that are outside it in the prediction, too.", _TAHA,
        aliases=("true negative rate",),
    ),
    Measure(
        "pixel_accuracy", "Pixel accuracy", "overlap", "higher", 0, 1,
        "Share of pixels with the right value, background included; of a class, of those where 'this class or not' is "
        "right.", _LONG, aliases=("accuracy",),
    ),
    Measure(
        "class_accuracy", "Class accuracy", "overlap", "higher", 0, 1,
        "Mean recall over the classes that the reference has, background included.", _LONG, of=("image",),
        aliases=("mean accuracy", "balanced accuracy"),
    ),
    Measure(
        "mean_iou_with_background", "Mean IoU with background", "overlap", "higher", 0, 1,
        "Mean IoU over classes, background included.", _LONG, of=("image",),
    ),
    Measure(
        "frequency_weighted_iou", "Frequency-weighted IoU", "overlap", "higher", 0, 1,
        "Mean IoU over classes, background included, each weighed by its share of the reference.", _LONG, of=("image",),
    ),
    Measure(
        "f2", "F2", "overlap", "higher", 0, 1,
        "5 TP / (4 T + P): recall weighs twice as much as precision.", _RIJSBERGEN,
    ),
    Measure(
        "f05", "F0.5", "overlap", "higher", 0, 1,
        "1.25 TP / (0.25 T + P): precision weighs twice as much as recall.", _RIJSBERGEN,
    ),
    Measure(
        "kappa", "Cohen's kappa", "overlap", "higher", -1, 1,
        "(o - e) / (1 - e): o the pixel accuracy, e the one to expect by chance from how often each value occurs in "
        "either image; of a class for 'this class or not', of an image over all values.",
        "Cohen 1960, doi:10.1177/001316446002000104",
    ),
    Measure(
        "mcc", "MCC", "overlap", "higher", -1, 1,
        "Correlation of 'this class or not' in both images; of an image Gorodkin's R_K over all values.",
        "Matthews 1975, doi:10.1016/0005-2795(75)90109-9; Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006",
        aliases=("Matthews' correlation coefficient",),
    ),
    Measure("voe", "VOE", "overlap", "lower", 0, 1, "Volumetric overlap error: 1 - IoU.", _HEIMANN),
    Measure(
        "rvd", "RVD", "overlap", "zero", -1, _INF,
        "Relative volume difference (P - T) / T: above 0 if too much is predicted.", _HEIMANN,
    ),
    Measure(
        "hausdorff", "Hausdorff distance", "surface", "lower", 0, _INF,
        "The largest distance from a surface element of either image to the other surface.",
        "Huttenlocher et al. 1993, doi:10.1109/34.232073", unit="length",
    ),
    Measure(
        "hd95", "HD95", "surface", "lower", 0, _INF,
        "The larger of the two 95th percentiles: of the distances from the predicted surface to the true one, and the "
        "other way round.", "Menze et al. 2015, doi:10.1109/TMI.2014.2377694", unit="length",
    ),
    Measure(
        "asd_prediction", "ASD from the prediction", "surface", "lower", 0, _INF,
        "Mean distance of the predicted surface from the true one.", _HEIMANN, unit="length",
    ),
    Measure(
        "asd_truth", "ASD from the reference", "surface", "lower", 0, _INF,
        "Mean distance of the true surface from the predicted one.", _HEIMANN, unit="length",
    ),
    Measure(
        "assd", "ASSD", "surface", "lower", 0, _INF,
        "Mean of the distances of both surfaces from the other, all elements together.", _HEIMANN, unit="length",
    ),
    Measure(
        "surface_dice", "Surface Dice", "surface", "higher", 0, 1,
        "Share of both surfaces that is within the tolerance from the other.",
        "Nikolov et al. 2018, arXiv:1809.04430", aliases=("NSD", "normalised surface distance"),
    ),
    Measure(
        "boundary_iou", "Boundary IoU", "surface", "higher", 0, 1,
        "IoU of the two inner borders: the pixels of each mask within a distance (2 % of the image's diagonal) from "
        "its contour.", "Cheng et al. 2021, arXiv:2103.16562",
    ),
    Measure(
        "roc_auc", "ROC AUC", "probability", "higher", 0, 1,
        "Area under the true positive rate over the false positive rate: how often a pixel of the class has a higher "
        "probability than one outside, ties counted half.", "Fawcett 2006, doi:10.1016/j.patrec.2005.10.010",
        of=("class", "set"),
    ),
    Measure(
        "average_precision", "Average precision of pixels", "probability", "higher", 0, 1,
        "Area under precision over recall, in steps: the sum of precision times gain in recall.",
        "Davis and Goadrich 2006, doi:10.1145/1143844.1143874", of=("class", "set"), aliases=("PR AUC",),
    ),
    Measure(
        "brier", "Brier score", "probability", "lower", 0, 2,
        "Mean squared difference of the probability from 1 (class) or 0 (not); of a set the sum over classes.",
        "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2", of=("class", "set"),
    ),
    Measure(
        "ece", "ECE", "probability", "lower", 0, 1,
        "Expected calibration error: mean difference of accuracy and confidence over bins, weighed by their pixels; of "
        "a set for the class that wins.", _GUO, of=("class", "set"),
    ),
    Measure(
        "classwise_ece", "Classwise ECE", "probability", "lower", 0, 1,
        "Mean over classes of the ECE of each class's own probability.", "Kull et al. 2019, arXiv:1910.12656",
        of=("set",),
    ),
    Measure(
        "ap50", "AP50", "objects", "higher", 0, 1,
        "Found objects / (found + invented + missed), where an IoU of at least 0.5 is found.",
        "Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7", of=("image",),
    ),
    Measure(
        "ap", "AP 0.50-0.95", "objects", "higher", 0, 1,
        "Mean of that over the thresholds 0.50, 0.55 ... 0.95.", "Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7",
        of=("image",),
    ),
    _objects("pq", "PQ", "higher", "Panoptic quality: SQ x RQ.", _KIRILLOV),
    _objects("sq", "SQ", "higher", "Segmentation quality: mean IoU of the objects that match.", _KIRILLOV),
    _objects("rq", "RQ", "higher", "Recognition quality: F1 of objects with an IoU above 0.5.", _KIRILLOV),
    _objects(
        "object_precision", "Precision of objects", "higher",
        "Share of the predicted objects with an IoU of at least 0.5.", _MATCHED,
    ),
    _objects(
        "object_recall", "Recall of objects", "higher",
        "Share of the true objects with an IoU of at least 0.5.", _MATCHED,
    ),
    _objects(
        "object_f1", "F1 of objects", "higher", "2 TP / (2 TP + FP + FN) of objects with an IoU of at least 0.5.",
        _MATCHED,
    ),
    _objects(
        "aji", "AJI", "higher", "Aggregated Jaccard index: shared pixels of all objects over their unions.",
        "Kumar et al. 2017, doi:10.1109/TMI.2017.2677499",
    ),
    _objects(
        "aji_plus", "AJI+", "higher", "The same with each object in one pair at most.",
        "Graham et al. 2019, arXiv:1812.06499",
    ),
    _objects("splits", "Splits", "lower", "True objects that are in pieces in the prediction.", _HOOVER),
    _objects("merges", "Merges", "lower", "Predicted objects that cover several true ones.", _HOOVER),
    _objects(
        "centroid_error", "Centroid error", "lower",
        "Mean distance between the centres of mass of objects that match.", _MATCHED, unit="length",
    ),
    _objects("count_error", "Count error", "zero", "Predicted minus true objects.", _MATCHED),
    _objects("absolute_count_error", "Absolute count error", "lower", "The same without its sign.", _MATCHED),
    _objects(
        "relative_count_error", "Relative count error", "zero", "Count error by the number of true objects.", _MATCHED,
        low=-1,
    ),
    _topology(
        "cl_dice", "clDice", "higher", "Harmonic mean of the two shares of centre lines that lie in the other mask.",
        _SHIT,
    ),
    _topology(
        "cl_precision", "Centre line precision", "higher",
        "Share of the prediction's centre line that lies in the reference.", _SHIT,
    ),
    _topology(
        "cl_sensitivity", "Centre line sensitivity", "higher",
        "Share of the reference's centre line that lies in the prediction.", _SHIT,
    ),
    _topology("b0_error", "Betti 0 error", "lower", "Difference in the number of pieces.", _HU),
    _topology(
        "b1_error", "Betti 1 error", "lower", "Difference in the number of loops; of volumes, of tunnels.", _HU
    ),
    _topology("b2_error", "Betti 2 error", "lower", "Difference in the number of cavities.", _HU),
    _topology("betti_error", "Betti error", "lower", "Sum of the differences of all Betti numbers.", _HU),
)  # fmt: skip

MEASURES: dict[str, Measure] = {line.name: line for line in _LINES}
"""All measures by name, in the order of tables."""


def find_measure(name: str) -> Measure:
    """Return a measure by its name, an alias or its title, in capitals or not.

    Raises
    ------
    ConfigError
        If there is none of this name; near names are listed.
    """
    if name in MEASURES:
        return MEASURES[name]
    known = {
        called.lower(): measure
        for measure in MEASURES.values()
        for called in (measure.name, measure.title, *measure.aliases)
    }
    if name.lower() not in known:
        raise unknown_name("measure", name, MEASURES)
    return known[name.lower()]


def list_measures(*groups: Group, of: Of | None = None) -> list[Measure]:
    """Return the measures of some groups (of all, if none is named), and of a class, an image or a set only."""
    return [
        measure
        for measure in MEASURES.values()
        if (not groups or measure.group in groups) and (of is None or of in measure.of)
    ]
