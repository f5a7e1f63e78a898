"""Titles and meanings of numbers on pages: those of the measures, and of what else is counted."""

from __future__ import annotations

from napari_segnet.evaluation.measures import MEASURES
from napari_segnet.reports.page import Column

_OTHERS = {
    "images": ("Images", "Images that have the class in either side."),
    "truth_pixels": ("Pixels in the reference", "Of all images."),
    "predicted_pixels": ("Pixels in the prediction", "Of all images."),
    "missed_images": ("Images with it in one only", "Images that have the class in one of both sides only."),
    "object_precision": ("Precision of objects", "Share of the predicted objects with an IoU of at least 0.5."),
    "object_recall": ("Recall of objects", "Share of the true objects with an IoU of at least 0.5."),
    "object_f1": ("F1 of objects", "2 TP / (2 TP + FP + FN) of objects with an IoU of at least 0.5."),
    "pq": ("PQ", "Panoptic quality: SQ x RQ."),
    "sq": ("SQ", "Segmentation quality: mean IoU of the objects that match."),
    "rq": ("RQ", "Recognition quality: F1 of objects with an IoU above 0.5."),
    "aji": ("AJI", "Aggregated Jaccard index: shared pixels of all objects over their unions."),
    "aji_plus": ("AJI+", "The same with each object in one pair at most."),
    "splits": ("Splits", "True objects that are in pieces in the prediction."),
    "merges": ("Merges", "Predicted objects that cover several true ones."),
    "matched": ("Found", "Objects with an IoU of at least 0.5."),
    "missed": ("Missed", "True objects without a match."),
    "invented": ("Invented", "Predicted objects without a match."),
    "truth_objects": ("True objects", "Objects of the reference."),
    "predicted_objects": ("Predicted objects", "Objects of the prediction."),
    "centroid_error": ("Centroid error", "Mean distance between the centres of mass of objects that match."),
    "count_error": ("Count error", "Predicted minus true objects."),
    "absolute_count_error": ("Absolute count error", "The same without its sign."),
    "relative_count_error": ("Relative count error", "Count error by the number of true objects."),
    "cl_dice": ("clDice", "Harmonic mean of the two shares of centre lines that lie in the other mask."),
    "cl_precision": ("Centre line precision", "Share of the prediction's centre line that lies in the reference."),
    "cl_sensitivity": ("Centre line sensitivity", "Share of the reference's centre line that lies in the prediction."),
    "b0_error": ("Betti 0 error", "Difference in the number of pieces."),
    "b1_error": ("Betti 1 error", "Difference in the number of loops; of volumes, of tunnels."),
    "b2_error": ("Betti 2 error", "Difference in the number of cavities."),
    "betti_error": ("Betti error", "Sum of the differences of all Betti numbers."),
    "best_threshold": ("Best threshold", "Threshold of the probability with the best Dice over all pixels."),
    "dice_at_best_threshold": ("Dice there", "Dice over all pixels at the best threshold."),
    "dice_at_half": ("Dice at 0.5", "Dice over all pixels at a threshold of 0.5."),
}


def title(name: str) -> str:
    """Return what people read for a number."""
    if name in MEASURES:
        return MEASURES[name].title
    return _OTHERS[name][0] if name in _OTHERS else name.replace("_", " ")


def meaning(name: str) -> str:
    """Return what a number means, with its source where it is a measure."""
    if name in MEASURES:
        return f"{MEASURES[name].formula} {MEASURES[name].source}"
    return _OTHERS[name][1] if name in _OTHERS else ""


def column(name: str, unit: str = "") -> Column:
    """Return the column of a number; of a length with its unit."""
    length = name == "centroid_error" or (name in MEASURES and MEASURES[name].unit == "length")
    return Column(f"{title(name)} [{unit}]" if length and unit else title(name), meaning=meaning(name))
